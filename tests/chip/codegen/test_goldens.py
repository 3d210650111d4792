# SPDX-License-Identifier: Apache-2.0
"""Programs that equal those of Google's compiler, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.chip.codegen import Program, make_program, partition
from edgekit.formats.darwinn import Executable, Package, read_packages
from edgekit.formats.tflite import read_model

# Stacks of two or five convolutions, compiler 16.
_STACKS = ("N120", "N160", "N180", "N250", "N260", "N275")
_MOBILENETS = (
    "mobilenet_v1_0.75_192_quant",
    "mobilenet_v1_1.0_224_quant_embedding_extractor",
    "mobilenet_v2_1.0_224_inat_bird_quant",
)


def _compiled(source: Path) -> Program:
    model = read_model(source.read_bytes())
    part = partition(model)
    network = part.network
    tensors = {i: model.main.tensors[i] for i in (*network.inputs, *network.outputs)}
    return make_program(network, tensors)


def _google(path: Path) -> Package:
    return read_packages(read_model(path.read_bytes()))[0].package


def _instructions(executable: Executable | None) -> bytes:
    chunks = executable.instruction_bitstreams if executable else ()
    return b"".join(chunk.bitstream.tobytes() for chunk in chunks)


@pytest.mark.corpus
@pytest.mark.parametrize("name", _STACKS)
def test_stacks_of_convolutions_equal_googles_to_the_byte(corpus: Path, name: str) -> None:
    (path,) = (corpus / "compiled").glob(f"Jorgitou98*/**/{name}-*_edgetpu.tflite")
    source = path.with_name(path.name.replace("_edgetpu", ""))
    made, google = _compiled(source).package, _google(path)
    assert _instructions(made.inference) == _instructions(google.inference)
    assert _instructions(made.caching) == _instructions(google.caching)
    assert made.cached_bytes == google.cached_bytes
    assert made.caching is not None
    assert google.caching is not None
    assert bytes(made.caching.parameters) == bytes(google.caching.parameters)
    layers = zip(made.inference.output_layers, google.inference.output_layers)
    assert all(mine.size_bytes == theirs.size_bytes for mine, theirs in layers)


@pytest.mark.corpus
@pytest.mark.parametrize("name", _MOBILENETS)
def test_parameters_of_mobilenets_equal_googles_to_the_byte(corpus: Path, name: str) -> None:
    """The cache also contains what a SOFTMAX on the chip needs, behind the layers."""
    paths = sorted((corpus / "compiled").glob(f"**/*{name}_edgetpu.tflite"))
    assert paths
    for path in paths:
        sources = path.parent.glob(path.name.replace("_edgetpu", ""))
        for source in sources:
            made, google = _compiled(source).package.caching, _google(path).caching
            assert made is not None
            assert google is not None
            mine, theirs = bytes(made.parameters), bytes(google.parameters)
            assert theirs[: len(mine)] == mine
