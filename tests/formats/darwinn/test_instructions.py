# SPDX-License-Identifier: Apache-2.0
"""Cycles counted in instructions."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest

from edgekit.formats.darwinn import Executable, arithmetic_cycles, read_package, read_packages
from edgekit.formats.tflite import read_model

BuildPackage = Callable[..., bytes]


def _operation(tiles: int, counts: tuple[int, ...]) -> bytes:
    word = 0x01 << 6 | tiles << 12
    for loop, count in enumerate(counts):
        word |= (count - 1) << (62 + 14 * loop)
    return word.to_bytes(17 * 16, "little")


def _executable(build_package: BuildPackage, *instructions: bytes) -> Executable:
    return read_package(build_package([0], chunks=instructions)).inference


def test_an_operation_counts_the_product_of_its_loops_on_its_tiles(
    build_package: BuildPackage,
) -> None:
    executable = _executable(build_package, _operation(0b101, (3, 5, 7)))
    assert arithmetic_cycles(executable) == (105, 0, 105, *(0,) * 13)


def test_operations_add_up_over_chunks_and_other_instructions(build_package: BuildPackage) -> None:
    halt = (0x21 << 6).to_bytes(16, "little")
    mesh = (0x15 << 6).to_bytes(6 * 16, "little")
    first = halt + _operation(1, (4,)) + mesh
    executable = _executable(build_package, first, _operation(1, (2, 2)))
    assert arithmetic_cycles(executable)[0] == 8


def test_an_operation_that_the_chunk_cuts_off_is_not_a_crash(build_package: BuildPackage) -> None:
    assert max(arithmetic_cycles(_executable(build_package, _operation(1, (9,))[:16]))) >= 1


@pytest.mark.corpus
def test_counts_of_convolution_stacks_follow_their_shapes(corpus: Path) -> None:
    folder = corpus / "compiled/Jorgitou98__EdgeTPU-QuantRL-Evaluation"
    for path in folder.glob("*_edgetpu.tflite"):
        source = read_model(path.with_name(path.name.replace("_edgetpu", ""))).main
        expected = 0
        for operator in source.operators:
            if operator.opcode == "CONV_2D":
                outs, height, width, ins = source.tensors[operator.inputs[1]].shape
                _, rows, columns, _ = source.tensors[operator.outputs[0]].shape
                expected += (rows * columns // 16) * height * width * -(-ins // 4) * -(-outs // 64)
        counted = max(arithmetic_cycles(read_packages(read_model(path))[0].package.inference))
        assert counted == pytest.approx(expected, rel=0.02), path.name
