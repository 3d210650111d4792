# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: counts follow from the program, tokens and resets have their fences."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.sync.counts import CountChecker, Record, records_of_op
from edgekit.chip.emulator.sync.frame import FrameChecker
from edgekit.chip.isa import Instruction, SyncError, decode, encode_one

OP, SEND, RECEIVE, TO_NARROW, FENCE, SYNC = 0x01, 0x10, 0x11, 0x14, 0x1A, 0x24
EVERY_COUNTER = (1 << 19) - 1
_STACK = "Jorgitou98__EdgeTPU-QuantRL-Evaluation/N120-nMACs544112640_quant_edgetpu.tflite"


def made(opcode: int, **fields: int) -> Instruction:
    return decode(encode_one(opcode, {"tiles": 1, **fields}))[0]


def receive(num_fills: int, credit: int, *, slots: int = 2) -> Instruction:
    """Two rows a fill; the next fill waits until ``credit`` fills have been taken."""
    return made(
        RECEIVE,
        cnt0=1, cnt1=num_fills - 1, mode=3, slots=slots,
        s_id=33, s_val=credit, s_en_a=1, s_en_b=1,
    )  # fmt: skip


def op(first: int, num_fills: int) -> Instruction:
    """Each iteration of level 1 takes a fill of ring consumer 0."""
    return made(
        OP, loop1=num_fills - 1, cfg1=14 | 1 << 5 | (first & 3) << 8,
        sync0=first >> 2 | 1 << 14, sync1=1 << 14,
    )  # fmt: skip


def follow(*instructions: Instruction) -> None:
    checker = CountChecker()
    for each in instructions:
        checker.issued(each)


RESET = made(FENCE, counters=EVERY_COUNTER)


def test_an_op_waits_for_one_fill_more_than_those_before_it_have_taken() -> None:
    follow(receive(3, -1), op(1, 3), receive(2, 2), op(4, 2))


@pytest.mark.parametrize("first", [3, 5])
def test_another_count_of_an_op_is_found(first: int) -> None:
    with pytest.raises(SyncError, match=f"until counter 14 is {first}, expected 4"):
        follow(receive(3, -1), op(1, 3), receive(2, 2), op(first, 2))


def test_counts_begin_again_after_a_reset() -> None:
    follow(receive(3, -1), op(1, 3), RESET, receive(2, -1), op(1, 2))


def test_a_fence_that_waits_for_a_count_resets_nothing() -> None:
    waiting = made(FENCE, counters=EVERY_COUNTER, count=1)
    with pytest.raises(SyncError, match="expected 4"):
        follow(receive(3, -1), op(1, 3), waiting, op(1, 2))


def test_a_consumer_waits_until_its_slots_have_room() -> None:
    follow(receive(3, -2, slots=4), op(1, 3), receive(2, 1, slots=4))
    with pytest.raises(SyncError, match="counter 1 is 2, expected 1"):
        follow(receive(3, -2, slots=4), op(1, 3), receive(2, 2, slots=4))


def test_a_compiler_may_add_one_to_all_credits_but_not_to_one() -> None:
    follow(receive(3, 0), op(1, 3), receive(2, 3))
    with pytest.raises(SyncError, match="field s_val"):
        follow(receive(3, 0), op(1, 3), receive(2, 2))


def scaling(first: int, finished: int) -> Instruction:
    number = first | 1 << 16
    return made(
        TO_NARROW, scaling=1, s0_id=14, s0_level=1, s0_en2=1,
        s0_en1=number & 1, s0_val=number >> 1, s0_dec=finished & 0xFFFF | 1 << 16,
    )  # fmt: skip


def test_a_scaling_set_waits_for_the_fill_it_comes_with() -> None:
    follow(receive(3, -1), scaling(1, -1), op(1, 3), receive(2, 2), scaling(4, -1))
    with pytest.raises(SyncError, match="field s0_val"):
        follow(receive(3, -1), scaling(1, -1), op(1, 3), receive(2, 2), scaling(3, -1))


def test_a_scaling_set_waits_for_the_one_before_the_last() -> None:
    with pytest.raises(SyncError, match="field s0_dec"):
        follow(receive(3, -1), scaling(1, -2))


def test_a_wait_for_rows_that_nothing_writes_is_found_at_the_reset() -> None:
    send = made(SEND, r0_id=45, r0_val=1, r0_en_a=1)
    follow(send)
    with pytest.raises(SyncError, match="1 signals of narrowToWide, which gives 0"):
        follow(send, RESET)


def test_the_two_records_of_an_op_are_read_across_its_fields() -> None:
    two = {
        "cfg1": 15 | 3 << 5 | 2 << 8,
        "sync0": 5 | 1 << 14,
        "sync1": 1 << 14,
        "sync2": 6 | 2 << 4 | 9 << 7,
        "sync3": 1 << 7,
        "sync4": 1 << 7,
    }
    found = records_of_op(made(OP, **two))
    assert found == [Record(15, 3, 22, 1, "sync0"), Record(12, 2, 9, 1, "sync2")]


def begin(*instructions: Instruction) -> None:
    checker = FrameChecker()
    for each in instructions:
        checker.issued(each)


SIGNAL = made(FENCE, tiles=0xFFFF, counters=EVERY_COUNTER, signal=1)
WAIT = made(SYNC, tiles=0xFFFF, token_wait=1, token_tiles=0xFFFF)


def test_a_program_first_resets_the_counters() -> None:
    begin(SIGNAL, WAIT, op(1, 1))
    with pytest.raises(SyncError, match="before the first reset"):
        begin(op(1, 1))


def test_a_token_is_waited_for_once() -> None:
    begin(SIGNAL, WAIT, SIGNAL, WAIT)
    with pytest.raises(SyncError, match="waits for a token"):
        begin(SIGNAL, WAIT, WAIT)


@pytest.mark.corpus
def test_an_op_needs_the_fence_after_narrow_to_wide(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    def after_identity(instruction: Instruction) -> bool:
        return instruction.layout.name == "fence" and instruction["units"] == 0x20

    package = load(_STACK)
    EdgeTpu(package, strict_sync=True)
    package = with_fields(package, after_identity, units=0)
    EdgeTpu(package)
    with pytest.raises(SyncError, match="without waiting for narrowToWide"):
        EdgeTpu(package, strict_sync=True)


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "field"), [("op", "sync0"), ("w2n", "s0_val"), ("ring.recv1", "s_val")]
)
def test_a_changed_count_of_googles_program_is_found_only_by_strict_mode(
    name: str, field: str, load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    package = load(_STACK)
    (chunk,) = package.inference.instruction_bitstreams
    last = [each for each in decode(chunk.bitstream.tobytes()) if each.layout.name == name][-1]
    changed = {field: last[field] + 1}
    package = with_fields(package, lambda each: each.pc == last.pc, **changed)
    EdgeTpu(package)
    with pytest.raises(SyncError, match=f"pc {last.pc}, {name}, field {field}"):
        EdgeTpu(package, strict_sync=True)


@pytest.mark.corpus
def test_outputs_do_not_depend_on_what_narrow_memory_contains(
    load: Callable[..., Any], random_inputs: Callable[..., Any]
) -> None:
    package = load(_STACK)
    values = random_inputs(package.inference)
    clean, used = EdgeTpu(package), EdgeTpu(package)
    used.state.narrow_words[...] = 0xA5A5A5A5
    first, second = clean.invoke(values), used.invoke(values)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def op_after(count: int) -> Instruction:
    """An op that waits for ``count`` signals of ops, and gives one."""
    return made(OP, cfg0=1, cfg1=(count & 3) << 8, sync0=count >> 2, sync1=1 << 14)


def test_an_op_waits_for_no_signal_of_its_own() -> None:
    follow(RESET, op_after(0), op_after(1), op_after(1))
    with pytest.raises(SyncError, match="until counter 0 is 2, expected 1"):
        follow(RESET, op_after(0), op_after(2))
