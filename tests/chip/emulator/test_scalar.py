# SPDX-License-Identifier: Apache-2.0
"""The scalar core, compared with numpy's float32 and with unrolled loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.units.scalar import ScalarStep
from edgekit.chip.isa import EmulationError, decode, encode_one

_ALU, _BRANCH, _LOOP = 0x20, 0x22, 0x23
_ADD, _MOVE = 1, 15
_FLOATS = st.floats(width=32, allow_nan=False)
_OPERATIONS = {18: np.add, 19: np.subtract, 20: np.multiply, 21: np.maximum, 22: np.minimum}


def _run(*words: bytes, memory: dict[int, int] | None = None) -> tuple[State, list[int]]:
    state = State()
    for address, value in (memory or {}).items():
        state.scalar[address] = value
    return state, ScalarStep(decode(b"".join(words))).execute(state)


def _alu(op: int, x: int, y: int = 0, **fields: int) -> bytes:
    return encode_one(_ALU, {"alu_op": op, "x": x, "y": y, **fields})


def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


@given(st.sampled_from(sorted(_OPERATIONS)), _FLOATS, _FLOATS)
def test_arithmetic_is_that_of_float32(op: int, first: float, second: float) -> None:
    state, _ = _run(
        _alu(_MOVE, 1, immediate=1, imm=_bits(first)),
        _alu(op, 2, 1, immediate=1, imm=_bits(second)),
    )
    with np.errstate(all="ignore"):
        expected = _OPERATIONS[op](np.float32(first), np.float32(second))
    found = np.uint32(state.registers[2]).view(np.float32)
    assert found == expected or (np.isnan(found) and np.isnan(expected))


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_integers_become_the_nearest_float32(value: int) -> None:
    state, _ = _run(_alu(_MOVE, 1, immediate=1, imm=value & 0xFFFFFFFF), _alu(16, 2, imm=1))
    assert state.registers[2] == _bits(value)


def test_loops_run_inside_loops() -> None:
    state, _ = _run(
        encode_one(_LOOP, {"count": 3, "body": 3}),
        _alu(_ADD, 1, 1, immediate=1, imm=100),
        encode_one(_LOOP, {"count": 4, "body": 1}),
        _alu(_ADD, 1, 1, immediate=1, imm=1),
    )
    assert state.registers[1] == 3 * (100 + 4)


def test_slots_of_a_bundle_read_before_any_of_them_writes() -> None:
    load = {"load": 3, "load_to": 2, "load_from": 1, "load_inc": 1}
    send = {"vector": 8, "vector_from": 2}
    memory = {0: 7, 1: 8}
    state, words = _run(
        encode_one(_ALU, {**load, **send}), encode_one(_ALU, {**load, **send}), memory=memory
    )
    assert words == [0, 7]
    assert state.registers[1:3] == [2, 8]


def test_a_predicated_bundle_runs_only_if_its_predicate_is_set() -> None:
    compare = _alu(9, 3, immediate=1, imm=0)  # predicate 3: register 0 is 0
    gates = [{"gate": 1, "pred": 3, "polarity": polarity} for polarity in (0, 1)]
    state, _ = _run(
        compare, *(_alu(_MOVE, k, immediate=1, imm=5, **gate) for k, gate in enumerate(gates, 1))
    )
    assert state.registers[1:3] == [0, 5]


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"count": 2, "body": 0}, "body"), ({"count": 2, "body": 2}, "body"),
     ({"count": 2, "body": 1, "gate": 1}, "gate")],
)  # fmt: skip
def test_a_loop_that_is_not_whole_stops(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(EmulationError) as caught:
        _run(encode_one(_LOOP, fields), _alu(_MOVE, 1, immediate=1, imm=5))
    assert caught.value.where == f"pc 0, loop, field {name}"


def test_nested_loops_of_a_damaged_program_stop_at_once() -> None:
    nest = [encode_one(_LOOP, {"count": 65535, "body": 3 - k}) for k in range(3)]
    with pytest.raises(EmulationError, match="more than"):
        _run(*nest, _alu(_MOVE, 1, immediate=1, imm=5))


def test_a_branch_that_would_be_taken_stops() -> None:
    with pytest.raises(EmulationError, match="branch"):
        _run(encode_one(_BRANCH, {"cond": 16}))


def test_a_store_beyond_the_memory_stops() -> None:
    for store in (
        {"vector": 4, "vector_slot": 1},
        {"vector": 2, "vector_slot": 0, "vector_cmd": 16},
    ):
        with pytest.raises(EmulationError, match="scalar memory word 4096") as caught:
            _run(_alu(_MOVE, 1, immediate=1, imm=4096), encode_one(_ALU, store))
        assert caught.value.where.endswith("field vector_slot")
