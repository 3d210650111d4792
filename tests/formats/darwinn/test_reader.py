# SPDX-License-Identifier: Apache-2.0
"""The reader returns what Google's compiler wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from edgekit.errors import ModelFormatError
from edgekit.formats.darwinn import (
    Direction,
    EdgeTpuOperator,
    Executable,
    ExecutableType,
    read_package,
    read_packages,
)
from edgekit.formats.darwinn.options import read_custom_options
from edgekit.formats.tflite import read_model

BuildPackage = Callable[..., bytes]
_WAYS = {Direction.INFEED: "IN", Direction.OUTFEED: "OUT"}


def _compiled(corpus: Path) -> list[tuple[Path, dict[str, Any]]]:
    records = json.loads((corpus / "compiled" / "truth.json").read_text())
    return [(corpus / record["compiled"], record) for record in records]


def _as_recorded(executable: Executable) -> dict[str, Any]:
    transfers = executable.transfer_bytes().items()
    return {
        "type": executable.type.name,
        "parameter_bytes": executable.parameter_bytes,
        "instruction_bytes": executable.instruction_bytes,
        "estimated_cycles": executable.estimated_cycles,
        "used_narrow_memory_bytes_per_tile": executable.used_narrow_memory_bytes_per_tile,
        "scratch_bytes": executable.scratch_size_bytes,
        "parameter_caching_token": f"{executable.parameter_caching_token:016x}",
        "dma_bytes": {f"{kind}:{_WAYS[way]}": size for (kind, way), size in transfers},
    }


def _packages(path: Path) -> tuple[EdgeTpuOperator, ...]:
    return read_packages(read_model(path))


@pytest.mark.corpus
def test_every_value_equals_the_recorded_value(corpus: Path) -> None:
    for path, record in _compiled(corpus):
        found = [
            {
                "min_runtime_version": each.package.min_runtime_version,
                "executables": [_as_recorded(part) for part in each.package.executables],
            }
            for each in _packages(path)
        ]
        assert found == record["packages"], path.name


@pytest.mark.corpus
def test_layers_have_the_names_and_scales_of_the_operators_tensors(corpus: Path) -> None:
    for path, _ in _compiled(corpus):
        model = read_model(path)
        for each in read_packages(model):
            subgraph = model.subgraphs[each.subgraph_index]
            operator = subgraph.operators[each.operator_index]
            inputs = [subgraph.tensors[i] for i in operator.inputs]
            outputs = [subgraph.tensors[i] for i in operator.outputs]
            program = each.package.inference
            assert [layer.name for layer in program.input_layers] == [t.name for t in inputs]
            names = [layer.name for layer in program.output_layers]
            # The state of an LSTM is an output of the device without a tensor.
            assert [n for n in names if not n.endswith("_variable_output")] == [
                t.name for t in outputs
            ]
            for layer, tensor in zip(program.input_layers, inputs):
                assert layer.host_bytes == tensor.num_elements * layer.data_type.item_bytes
                assert layer.dequantization_factor == pytest.approx(tensor.scale)


@pytest.mark.corpus
def test_reading_copies_neither_parameters_nor_instructions(corpus: Path) -> None:
    path = corpus / "compiled/google-coral__test_data/split_concat_edgetpu.tflite"
    for executable in _packages(path)[0].package.executables:
        assert not executable.parameters.flags.owndata
        assert not executable.parameters.flags.writeable
        assert not executable.instruction_bitstreams[0].bitstream.flags.owndata


def test_a_single_executable_streams_all_its_parameters(build_package: BuildPackage) -> None:
    package = read_package(build_package([ExecutableType.STAND_ALONE]))
    assert package.inference.type is ExecutableType.STAND_ALONE
    assert package.caching is None
    assert (package.cached_bytes, package.streamed_bytes) == (0, 64)


def test_a_pair_caches_the_parameters_of_the_caching_one(build_package: BuildPackage) -> None:
    package = read_package(
        build_package([ExecutableType.EXECUTION_ONLY, ExecutableType.PARAMETER_CACHING])
    )
    assert package.inference.type is ExecutableType.EXECUTION_ONLY
    assert package.cached_bytes == 64


def test_the_runtime_uses_the_stand_alone_executable_of_all_three(
    build_package: BuildPackage,
) -> None:
    package = read_package(build_package([2, 1, 0]))
    assert package.inference.type is ExecutableType.STAND_ALONE
    assert package.cached_bytes == 0


@pytest.mark.parametrize("types", [[], [2, 2], [0, 1, 2, 2]])
def test_sets_of_executables_that_the_runtime_refuses_are_errors(
    build_package: BuildPackage, types: list[int]
) -> None:
    with pytest.raises(ModelFormatError, match="executables"):
        read_package(build_package(types))


@pytest.mark.parametrize("chunks", [(), (b"",), (bytes(15),)])
def test_instructions_come_in_words_of_sixteen_bytes(
    build_package: BuildPackage, chunks: tuple[bytes, ...]
) -> None:
    with pytest.raises(ModelFormatError, match="instructions"):
        read_package(build_package([0], chunks=chunks))


def test_a_package_of_any_bytes_is_found_in_the_options(
    build_package: BuildPackage, build_options: Callable[..., bytes]
) -> None:
    package = build_package([0], parameters=b"\x00\xff\xc8DWN1" * 9)
    assert read_custom_options(build_options(package), "here") == package


def test_packages_for_several_chips_are_refused(
    build_package: BuildPackage, build_options: Callable[..., bytes]
) -> None:
    package = build_package([0])
    with pytest.raises(ModelFormatError, match="2 packages, expected 1") as caught:
        read_custom_options(build_options(package, [package]), "operator 3")
    assert caught.value.where == "operator 3"
