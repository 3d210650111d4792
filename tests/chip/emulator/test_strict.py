# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization passes Google's programs and finds each wait that a test removes."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.sync.capacity import check_capacity
from edgekit.chip.emulator.units.ring import RingReceive
from edgekit.chip.isa import EmulationError, Instruction, SyncError, decode

pytestmark = pytest.mark.corpus

_MOBILENET = "google-coral__edgetpu/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
_PASSING = [
    _MOBILENET,
    "google-coral__test_data/split_concat_edgetpu.tflite",
    "ricardodeazambuja__LibrEdgeTPU/gabor_64x64_7k_4o_2s_edgetpu.tflite",
    "ricardodeazambuja__LibrEdgeTPU/color_blue_128x128_edgetpu.tflite",
]


def _mesh_that_waits_for_an_op(instruction: Instruction) -> bool:
    if not instruction.layout.name.startswith("mesh"):
        return False
    return bool(instruction["s0_en_a"]) and instruction["s0_id"] == 0 and instruction["s0_val"] >= 4


@pytest.mark.parametrize("path", _PASSING)
def test_programs_of_googles_compiler_pass(path: str, load: Callable[..., Any]) -> None:
    EdgeTpu(load(path), strict_sync=True)


def test_a_removed_wait_is_found_only_by_strict_mode(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    gone = {"s0_en_a": 0, "s0_en_b": 0, "s0_id": 0, "s0_val": 0}
    package = with_fields(load(_MOBILENET), _mesh_that_waits_for_an_op, **gone)
    EdgeTpu(package)
    with pytest.raises(SyncError, match="sends words of tile"):
        EdgeTpu(package, strict_sync=True)


def test_a_lowered_count_is_found(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    def counts(instruction: Instruction) -> bool:
        return instruction.layout.name == "ring.send" and instruction["r0_val"] > 1

    package = with_fields(load(_MOBILENET), counts, r0_val=1)
    with pytest.raises(SyncError, match="waits for 1 packets before it"):
        EdgeTpu(package, strict_sync=True)


def test_an_overlapping_buffer_gives_other_values(
    load: Callable[..., Any],
    with_fields: Callable[..., Any],
    random_inputs: Callable[..., Any],
) -> None:
    package = load(_MOBILENET)
    values = random_inputs(package.inference)
    seen: list[int] = []

    def second_op(instruction: Instruction) -> bool:
        if instruction.layout.name == "op":
            seen.append(instruction["out_base"])
        return len(seen) == 2

    right = EdgeTpu(package).invoke(values)
    package = with_fields(package, second_op, out_base=0)
    wrong = EdgeTpu(package).invoke(values)
    assert any(not np.array_equal(wrong[name], right[name]) for name in right)


def test_an_unaligned_parameter_region_stops(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    def sends_parameters(instruction: Instruction) -> bool:
        return instruction.layout.name == "ring.send" and not instruction["slots"]

    package = with_fields(load(_MOBILENET), sends_parameters, addr=1)
    with pytest.raises(EmulationError, match="256"):
        EdgeTpu(package)


def _makes_a_queue(instruction: Instruction) -> bool:
    return instruction.layout.name == "ring.recv0" and instruction["slots"] == 2


def test_a_queue_beyond_the_end_of_the_memory_is_found(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    package = with_fields(load(_MOBILENET), _makes_a_queue, slots=2047)
    with pytest.raises(SyncError, match="a queue of 2047 rows from row 2050"):
        EdgeTpu(package, strict_sync=True)


def test_a_queue_over_parameters_is_found(load: Callable[..., Any]) -> None:
    (chunk,) = load(_MOBILENET).inference.instruction_bitstreams
    queue = next(each for each in decode(chunk.bitstream.tobytes()) if _makes_a_queue(each))
    task = RingReceive(queue, 0)
    check_capacity(task, [0], [{2049, 2052}])
    with pytest.raises(SyncError, match="covers 1 rows of parameters of tile 0"):
        check_capacity(task, [0], [{2051}])
