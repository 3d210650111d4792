# SPDX-License-Identifier: Apache-2.0
"""Commands take a compiled file that edgekit wrote like the one of Google's compiler.

The file has Google's program, written by edgekit's writers into edgekit's graph of the source.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np
import pytest

from edgekit.bundle import bundle, verify
from edgekit.chip.isa import disasm
from edgekit.evaluate import emulate
from edgekit.formats.darwinn import read_packages, write_custom_options, write_package
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.formats.tflite_metadata import (
    IN_EMULATOR,
    OPEN_COMPILER,
    CompilerNote,
    keep_files,
    write_compiler_note,
)
from edgekit.inspect import inspect
from edgekit.inspect.source import place_source
from edgekit.opencompiler.estimate import estimate
from edgekit.rewrite.custom_operator import EdgeTpuPart, with_custom_operators

pytestmark = pytest.mark.corpus
_GOOGLE = "compiled/google-coral__test_data"
# All on the chip; operators behind it on the CPU; several outputs; states.
_NAMES = (
    "mobilenet_v1_0.25_128_quant",
    "deeplabv3_mnv2_dm05_pascal_quant",
    "split_concat",
    "keras_lstm_mnist_ptq",
)
_ABOUT_THE_FILE = {"model", "sha256", "bytes", "description", "compiler_note", "compiler_release"}


def _ours(source: bytes, compiled: Model) -> bytes:
    """Return what edgekit's compiler writes if its programs are those of ``compiled``."""
    plain = read_model(source)
    packages = read_packages(compiled)
    numbers = {tensor.name: index for index, tensor in enumerate(plain.main.tensors)}
    tensors = compiled.main.tensors

    def in_source(indices: Sequence[int]) -> tuple[int, ...]:
        return tuple(numbers[tensors[index].name] for index in indices)

    parts = []
    for each, inside in zip(packages, place_source(compiled, packages, plain, "")[1]):
        operator = compiled.main.operators[each.operator_index]
        options = write_custom_options(write_package(each.package))
        ends = in_source(operator.inputs), in_source(operator.outputs)
        parts.append(EdgeTpuPart(frozenset(inside), *ends, options))
    written = write_model(with_custom_operators(plain, parts))
    note = CompilerNote(OPEN_COMPILER, IN_EMULATOR, {"inputs": 12})
    return write_compiler_note(keep_files(source, written), note)


@dataclass(frozen=True)
class _Net:
    source: Path
    google: Path
    ours: Path


@pytest.fixture(params=_NAMES)
def net(request: pytest.FixtureRequest, corpus: Path, tmp_path: Path) -> _Net:
    """A source, Google's file, and ours with the same name."""
    source = corpus / _GOOGLE / f"{request.param}.tflite"
    google = source.with_name(f"{request.param}_edgetpu.tflite")
    ours = tmp_path / google.name
    ours.write_bytes(_ours(source.read_bytes(), read_model(google)))
    return _Net(source, google, ours)


def _differences(net: _Net, command: Callable[[Path], Any]) -> set[str]:
    google, ours = (command(path).to_dict() for path in (net.google, net.ours))
    assert google.keys() == ours.keys()
    return {field for field in google if google[field] != ours[field]}


def test_inspect_disasm_and_estimate_read_the_same_program(net: _Net) -> None:
    assert _differences(net, lambda path: inspect(path, source=net.source)) <= _ABOUT_THE_FILE
    assert _differences(net, disasm) == {"model", "sha256"}
    assert _differences(net, estimate) == {"model", "sha256"}
    assert inspect(net.ours).compiler_note is not None


def test_a_bundle_of_source_and_program_is_verified(net: _Net, tmp_path: Path) -> None:
    output = tmp_path / "net.edgekit"
    bundle(net.source, compiled=net.ours, output=output)
    assert "the compiled model was made from the plain one" in verify(output).checked
    assert inspect(output).compiler_note is not None


@pytest.mark.skipif(sys.version_info < (3, 10), reason="the report needs Python 3.10")
def test_the_report_shows_the_same(net: _Net, tmp_path: Path) -> None:
    from edgekit.report.page import report  # noqa: PLC0415 - needs Python 3.10

    folder = tmp_path / "google"
    folder.mkdir()
    (folder / net.google.name).write_bytes(net.google.read_bytes())
    ours, google = report(tmp_path), report(folder)
    assert ours.model == net.ours.name
    by = f"The file was compiled by {OPEN_COMPILER} ({IN_EMULATOR}) and"
    assert by in ours.verdict.text
    text = ours.verdict.text.replace(by, "The file is compiled and")
    assert replace(ours.verdict, text=text) == google.verdict


@pytest.mark.parametrize("net", [_NAMES[0], _NAMES[2]], indirect=True)
def test_the_emulator_computes_the_same(net: _Net, tmp_path: Path) -> None:
    tensor = inspect(net.google).inputs[0]
    values = np.random.default_rng(3).integers(0, 256, tensor.shape).astype(np.float32)
    np.save(str(tmp_path / "x.npy"), values)
    google, ours = (
        emulate(path, [tmp_path / "x.npy"], strict_sync=True) for path in (net.google, net.ours)
    )
    assert [each.num_steps for each in ours.programs] == [
        each.num_steps for each in google.programs
    ]
    (expected,), (answer,) = google.run.answers, ours.run.answers
    assert replace(answer, latency_ms=expected.latency_ms) == expected
    assert answer.outputs
