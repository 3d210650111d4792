# SPDX-License-Identifier: Apache-2.0
"""Fences and orders without an effect: without them a program does the same in any order of events.

A fence waits for units and sets counters to 0. It has no effect if what comes after it, until other
fences wait for the same, neither touches the memory that the awaited work touches, nor waits for
one of the counters. Memory is compared by bounding spans, so some fences without an effect count as
having one, and none the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edgekit.chip.emulator.nest import Nest
from edgekit.chip.emulator.sync.counts import records_of_op
from edgekit.chip.emulator.units.fences import UNITS
from edgekit.chip.isa import Instruction
from edgekit.chip.isa.disassemble import COUNTERS
from edgekit.chip.isa.memories import ROW_UNITS, tiles_of
from edgekit.chip.isa.walks import coarse_walk, fine_walk, product

Span = tuple[int, int]  # first and last byte of narrow memory
_ALL = (1 << len(COUNTERS)) - 1
_ALL_UNITS = (1 << len(UNITS)) - 1
_SUMS = 0x12  # cfg2 of the ops whose result goes to wide memory
_BIT_OF = {name: 1 << k for k, name in enumerate(COUNTERS)}
# Unit (the start of its name) -> the counters that its instructions change; for ops see `_counted`.
_COUNTED = {
    "mesh": tuple(name for name in COUNTERS if name.startswith("MESH")),
    "ring": tuple(name for name in COUNTERS if name.startswith("RING")),
    "n2w": ("NARROW_TO_WIDE",),
    "w2n": ("WIDE_TO_NARROW", "WIDE_TO_SCALING"),
}


_USED = ("addr", "levels", "circular", "inc0", "cnt0", "slots")  # a half of a mesh transfer


@dataclass
class _Tile:
    """What a tile's units may be doing, as the program is issued."""

    work: list[Instruction] = field(default_factory=list)  # not yet drained
    dirty: int = _ALL  # counters that may not be 0, a bit each

    def issue(self, instruction: Instruction) -> None:
        """An instruction is issued on the tile."""
        if instruction.layout.name == "fence":
            self.work = _left(self.work, instruction)
            self.dirty &= ~_reset(instruction)
        else:
            self.work.append(instruction)
            self.dirty |= _counted(instruction)


def is_idle(program: Sequence[Instruction], position: int) -> bool:
    """Return whether the program without the fence at ``position`` does the same."""
    fence, after = program[position], program[position + 1 :]
    if fence["signal"] or not any(each.layout.name == "fence" for each in program[:position]):
        return False
    return all(
        _is_idle(fence, _before(program[:position], tile), tile, after) for tile in _on(fence)
    )


def is_idle_swap(program: Sequence[Instruction], position: int) -> bool:
    """Return whether the program does the same if two neighbours change places.

    One of them is a fence, or both are ops.
    """
    first, second = program[position : position + 2]
    if first.layout.name == second.layout.name == "op":
        return _are_alone(program, position) and _commute(first, second)
    after = program[position + 2 :]
    fence, other = (first, second) if first.layout.name == "fence" else (second, first)
    if fence["signal"] or other.layout.name == "fence":
        return False
    for tile in set(_on(fence)) & set(_on(other)):
        alone = _Tile([other], _counted(other))
        if fence is second:  # no longer waits for the other
            idle = _is_idle(fence, alone, tile, after)
        else:  # no longer delays the other, and resets what it counts
            before = _before(program[:position], tile)
            reset = _Tile([], alone.dirty)
            idle = _is_idle(fence, before, tile, [other]) and _is_idle(fence, reset, tile, after)
        if not idle:
            return False
    return True


def _are_alone(program: Sequence[Instruction], position: int) -> bool:
    """Whether nothing else can run on the tiles of two neighbours until both have ended."""
    if not 0 < position < len(program) - 2:
        return False
    tiles = program[position]["tiles"] | program[position + 1]["tiles"]
    around = program[position - 1], program[position + 2]
    return all(
        each.layout.name == "fence" and each["units"] == _ALL_UNITS and not tiles & ~each["tiles"]
        for each in around
    )


def _commute(first: Instruction, second: Instruction) -> bool:
    """Whether two ops wait for nothing, take no stream, and touch different memory."""
    ops = first, second
    return not any(_waits(each) or _rows(each) is None for each in ops) and not _share(*ops)


def _waits(op: Instruction) -> bool:
    """Whether one of an op's records waits for more than 0 in any round."""
    return any(
        record.count or product([op[f"loop{k}"] + 1 for k in range(record.level, 8)]) > 1
        for record in records_of_op(op)
    )


def _on(instruction: Instruction) -> list[int]:
    return list(tiles_of(instruction["tiles"])) if instruction.layout.on_tiles else []


def _before(program: Sequence[Instruction], tile: int) -> _Tile:
    found = _Tile()
    for instruction in program:
        if instruction.layout.on_tiles and instruction["tiles"] >> tile & 1:
            found.issue(instruction)
    return found


def _is_idle(fence: Instruction, before: _Tile, tile: int, after: Sequence[Instruction]) -> bool:
    """Whether nothing of ``after`` needs what the fence does on a tile."""
    left = {id(each) for each in _left(before.work, fence)}
    work = [each for each in before.work if id(each) not in left]
    awaited = _reset(fence) & before.dirty
    for instruction in after:
        if not awaited and not work:
            break
        if instruction.layout.name == "scalar.sync" and instruction["token_wait"] and work:
            return False  # the token of a fence that was to come after the end of the work
        if tile not in _on(instruction):
            continue
        if instruction.layout.name == "fence":
            awaited &= ~_reset(instruction)
            work = _left(work, instruction)
        elif awaited & _awaited(instruction) or any(_conflict(each, instruction) for each in work):
            return False
    return True


def _left(work: Sequence[Instruction], fence: Instruction) -> list[Instruction]:
    """The work that a fence does not wait for."""
    drained = {name for k, name in enumerate(UNITS) if fence["units"] >> k & 1}
    return [each for each in work if each.layout.unit not in drained]


def _reset(fence: Instruction) -> int:
    return 0 if fence["count"] else int(fence["counters"])


def _counted(instruction: Instruction) -> int:
    """The counters that may change because of an instruction, a bit each."""
    unit = instruction.layout.unit
    if unit != "op":
        return sum(_BIT_OF[name] for name in _COUNTED[unit.split("_")[0]])
    if instruction.layout.name == "nlu.load":
        return 0
    sums = instruction.layout.name == "op" and instruction["cfg2"] == _SUMS
    signals = instruction["cfg0"] & 1
    return signals | _BIT_OF["PARAMETERS"] | sums * _BIT_OF["PARTIAL_SUMS"]


def _awaited(instruction: Instruction) -> int:
    """The counters that an instruction may wait for; all if that is not plain to see."""
    unit, name = instruction.layout.unit, instruction.layout.name
    if unit.startswith("mesh"):
        used = [k for k in range(5) if instruction[f"s{k}_en_a"]]
        return sum(1 << counter for counter in {instruction[f"s{k}_id"] >> 1 for k in used})
    if name == "nlu.load":
        return 0
    if unit == "op":
        return sum(
            1 << counter for counter in {each.counter for each in records_of_op(instruction)}
        )
    if unit in {"n2w", "w2n"}:
        used = [
            k
            for k in range(6)
            if any(instruction.fields.get(f"s{k}_{part}") for part in ("id", "val", "en1"))
        ]
        return sum(1 << counter for counter in {instruction[f"s{k}_id"] for k in used}) | (
            _BIT_OF["AVDATA"] * (unit == "w2n")
        )
    if unit == "ring_send":
        used = [k for k in range(3) if instruction[f"r{k}_en_a"]]
        return sum(1 << counter for counter in {instruction[f"r{k}_id"] & 31 for k in used})
    if unit in {"ring_recv0", "ring_recv1"}:
        return 1 << (instruction["s_id"] & 31) if instruction["s_en_b"] else 0
    return _ALL


def _conflict(first: Instruction, second: Instruction) -> bool:
    """Whether two instructions touch the same memory, and one of them writes it."""
    if first.layout.unit == second.layout.unit:
        return False  # a unit keeps the order of its instructions
    if _counts_words(first, second) or _counts_words(second, first):
        return False
    if _share(first, second):
        return True
    rows, others = _rows(first), _rows(second)
    if rows is not None and others is not None and not rows & others:
        return False
    pairs = ((first, second), (second, first))
    return any(_writes_wide(writer) and _touches_wide(other) for writer, other in pairs)


def _share(first: Instruction, second: Instruction) -> bool:
    """Whether two instructions touch the same narrow memory, and one of them writes it."""
    for writer, other in ((first, second), (second, first)):
        written = _narrow(writer, writes=True)
        touched = [*_narrow(other, writes=False), *_narrow(other, writes=True)]
        if any(a <= d and c <= b for a, b in written for c, d in touched):
            return True
    return False


def _counts_words(copy: Instruction, op: Instruction) -> bool:
    """Whether an op reads chunks of a copy, whose words it counts."""
    return (
        copy.layout.name == "w2n"
        and op.layout.name == "op"
        and any(each.counter == COUNTERS.index("WIDE_TO_NARROW") for each in records_of_op(op))
    )


def _rows(instruction: Instruction) -> frozenset[int] | None:
    """The rows of wide memory that an instruction reads or writes; None if not plain to see."""
    name = instruction.layout.name
    if name in {"ring.recv0", "ring.recv1"} and instruction["slots"]:
        base = instruction["addr"] // ROW_UNITS
        return frozenset(range(base, base + instruction["slots"]))
    if name == "op" and not (instruction["bias"] or instruction["per_channel"]):
        nest = Nest(instruction)
        if nest.access.sums or nest.has_zero_rows or nest.stream_row >= 0:
            return None
        return nest.read
    return None


def _writes_wide(instruction: Instruction) -> bool:
    unit = instruction.layout.unit
    sums = instruction.layout.name == "op" and instruction["cfg2"] == _SUMS
    return sums or unit in {"n2w", "ring_recv0", "ring_recv1"}


def _touches_wide(instruction: Instruction) -> bool:
    return not instruction.layout.unit.startswith("mesh")


def _narrow(instruction: Instruction, *, writes: bool) -> Iterator[Span]:
    """The spans of narrow memory that an instruction reads or writes."""
    unit = instruction.layout.unit
    if unit.startswith("mesh"):
        half = "i_" if writes else "o_"
        if not any(instruction[f"{half}{name}"] for name in _USED):
            return
        low, high = coarse_walk(instruction, half, 4, instruction[f"{half}addr"], unit=4).span
        yield low, high + 3
    elif unit == "op" and instruction.layout.name != "nlu.load":
        low, high = fine_walk(instruction, "out_" if writes else "in_").span
        yield low, high + 3
    elif unit in {"n2w", "w2n"} and (unit == "w2n") == writes:
        unit_bytes = 4 if unit == "n2w" else 1
        low, high = coarse_walk(instruction, "n_", 6, instruction["n_addr"], unit=unit_bytes).span
        if unit == "w2n":  # addresses of words
            low, high = 4 * low, 4 * high
        yield low, high + 3
