# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: check the counts that ops, wideToNarrow and ring consumers wait for.

A record names a counter, the count at which the first round begins, and what each further round
adds to it. The counts follow from the instructions before it since the counter's last reset:

- an op or wideToNarrow that takes fills of parameters (or rows, or scaling sets) waits for one more
  than those before it have taken;
- a ring consumer waits until all fills have been taken that its slots have no room for;
- wideToNarrow loads a scaling set when the op has finished the one before the last.

Every program of the corpus follows these rules. Two of their compilers count one more from the
first such record on (``_Constant``). Records on WIDE_TO_NARROW count words, and are not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable, Sequence

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.errors import SyncError
from edgekit.chip.isa.memories import NUM_TILES, tiles_of
from edgekit.chip.isa.walks import product

_AVDATA, _PARAMETERS, _SCALING, _TO_WIDE = 0, 1, 12, 13
_RING_READS = (14, 15)
_NUM_COUNTERS = 19
_COUNT_BITS = 16
_MASK = (1 << _COUNT_BITS) - 1


@dataclass(frozen=True)
class Record:
    """A wait: the counter, the level whose iterations wait, the first count, what a round adds."""

    counter: int
    level: int
    count: int
    round: int
    field: str  # the field that holds most of the count, for a message


class CountChecker:
    """Follows a program in the order in which it is issued."""

    def __init__(self) -> None:
        self._taken = [[0] * _NUM_COUNTERS for _ in range(NUM_TILES)]
        self._fills = [[0, 0] for _ in range(NUM_TILES)]  # that ring consumers 0 and 1 receive
        self._made = [0] * NUM_TILES  # signals of ops
        self._to_wide = [0] * NUM_TILES  # signals of narrowToWide
        # Fills of each tile whose rows only go to the scaling store, if the op takes none of them.
        self._loaded: list[dict[int, int]] = [{} for _ in range(NUM_TILES)]
        self._awaited: list[tuple[int, str]] = [(0, "")] * NUM_TILES  # signals, and where
        self._credits, self._sets = _Constant(), _Constant()

    def issued(self, instruction: Instruction) -> None:
        """Check an instruction's records, and count what it will do.

        Raises:
            SyncError: A count differs from the one that follows from the program so far.
        """
        name, unit = instruction.layout.name, instruction.layout.unit
        if name == "fence":
            self._reset(instruction)
        elif unit == "op" and name != "nlu.load":
            self._op(instruction)
        elif name == "w2n":
            self._to_narrow(instruction)
        elif name == "n2w":
            signals = _iterations(instruction, "n_cnt", instruction["tail"] >> 1, 6)
            for tile in tiles_of(instruction["tiles"]):
                self._to_wide[tile] += signals
        elif name in {"ring.recv0", "ring.recv1"}:
            self._receive(instruction)
        elif name == "ring.send":
            self._send(instruction)

    def _reset(self, fence: Instruction) -> None:
        if fence["count"]:
            return
        counters = [k for k in range(_NUM_COUNTERS) if fence["counters"] >> k & 1]
        for tile in tiles_of(fence["tiles"]):
            for counter in counters:
                self._taken[tile][counter] = 0
            if _AVDATA in counters:
                self._made[tile] = 0
            if _TO_WIDE in counters:
                self._check_awaited(tile)
                self._to_wide[tile] = 0
            for consumer, counter in enumerate(_RING_READS):
                if counter in counters:
                    self._fills[tile][consumer] = 0

    def _op(self, op: Instruction) -> None:
        for record in records_of_op(op):
            if record.counter in {_SCALING, *_RING_READS}:
                self._check(op, record, partial(self._next, counter=record.counter))
            elif record.counter == _TO_WIDE:
                self._check(op, record, partial(self._next_row, op=op, count=record.count))
            elif record.counter == _AVDATA:
                self._check(op, record, partial(self._made_before, count=record.count))
            taken = record.round * _iterations(op, "loop", record.level, 8)
            for tile in tiles_of(op["tiles"]):
                self._taken[tile][record.counter] += taken
                self._loaded[tile].pop(record.counter, None)
        for tile in tiles_of(op["tiles"]):
            for counter, fills in self._loaded[tile].items():
                self._taken[tile][counter] += fills
            self._loaded[tile].clear()
        if op["cfg0"] & 1:
            made = _iterations(op, "out_cnt", op["cfg0"] >> 1 & 7, 8)
            for tile in tiles_of(op["tiles"]):
                self._made[tile] += made

    def _next(self, tile: int, counter: int) -> int:
        return self._taken[tile][counter] + 1

    def _next_row(self, tile: int, op: Instruction, count: int) -> int:
        """The next row of a stream; an op that reads fixed rows waits for some of them, if any."""
        if op["par_rows"]:
            return self._next(tile, _TO_WIDE)
        there = self._to_wide[tile]
        return min(max(count, 1), there)

    def _made_before(self, tile: int, count: int) -> int:
        """At most the signals of earlier ops; an op that waits for its own signal never runs."""
        return min(count, self._made[tile])

    def _to_narrow(self, transfer: Instruction) -> None:
        counter = transfer["s0_id"]
        number = transfer["s0_val"] << 1 | transfer["s0_en1"]
        added = number >> _COUNT_BITS & _MASK
        record = Record(counter, transfer["s0_level"], number & _MASK, added, "s0_val")
        if not transfer["s0_en2"] or counter not in _RING_READS:
            return
        self._check(transfer, record, partial(self._next, counter=counter))
        if transfer["scaling"]:
            # The set before the last one must have been used: there are two.
            finished = Record(_AVDATA, 0, transfer["s0_dec"] & _MASK, 1, "s0_dec")
            self._check(transfer, finished, lambda tile: self._made[tile] - 1, self._sets)
        taken = added * _iterations(transfer, "w_cnt", record.level, 4)
        for tile in tiles_of(transfer["tiles"]):
            if transfer["scaling"]:
                self._loaded[tile][counter] = taken
            else:
                self._taken[tile][counter] += taken

    def _receive(self, receive: Instruction) -> None:
        level = receive["mode"] >> 1
        in_fill = product([receive[f"cnt{k}"] + 1 for k in range(level)])
        room = receive["slots"] // in_fill
        if not level:  # rows that are taken one by one: two programs of old compilers have this
            room = 2 * room - 1
        if receive["s_en_b"] and receive["s_id"] & 31 == _PARAMETERS:
            record = Record(_PARAMETERS, level, receive["s_val"] & _MASK, 1, "s_val")
            self._check(receive, record, lambda tile: sum(self._fills[tile]) - room, self._credits)
        if receive["mode"] & 1:
            consumer = int(receive.layout.name == "ring.recv1")
            for tile in tiles_of(receive["tiles"]):
                self._fills[tile][consumer] += _iterations(receive, "cnt", level, 4)

    def _send(self, send: Instruction) -> None:
        """Keep the rows of narrowToWide that a producer waits for; it may be issued before them."""
        for k in range(3):
            counter, count = send[f"r{k}_id"] & 31, send[f"r{k}_val"]
            if not send[f"r{k}_en_a"] or counter != _TO_WIDE:
                continue
            for tile in tiles_of(send["tiles"]):
                if count > self._awaited[tile][0]:
                    self._awaited[tile] = count, f"{send.where}, field r{k}_val"

    def _check_awaited(self, tile: int) -> None:
        """Check, before the count of narrowToWide restarts, that the waits for it have ended."""
        count, where = self._awaited[tile]
        if count > self._to_wide[tile]:
            raise SyncError(
                f"waits on tile {tile} for {count} signals of narrowToWide, which gives "
                f"{self._to_wide[tile]}",
                where=where,
                why="it would wait for ever",
            )
        self._awaited[tile] = 0, ""

    @staticmethod
    def _check(
        instruction: Instruction,
        record: Record,
        expected: Callable[[int], int],
        constant: _Constant | None = None,
    ) -> None:
        for tile in tiles_of(instruction["tiles"]):
            wanted = expected(tile)
            more = _signed(record.count - wanted)
            if constant.accepts(more) if constant else more == 0:
                continue
            raise SyncError(
                f"waits on tile {tile} until counter {record.counter} is "
                f"{_signed(record.count)}, expected {wanted}",
                where=f"{instruction.where}, field {record.field}",
                why="it would begin too early, or wait for ever",
                fix="compare with a program of Google's compiler for the same step",
            )


class _Constant:
    """What a program's compiler adds to all counts of one kind: 0 or 1, the same everywhere."""

    def __init__(self) -> None:
        self._value: int | None = None

    def accepts(self, more: int) -> bool:
        if self._value is None and more in {0, 1}:
            self._value = more
        return more == self._value


def records_of_op(op: Instruction) -> Sequence[Record]:
    """Return the used ones of an op's two records, which lie across cfg1 and sync0 to sync4."""
    cfg1 = op["cfg1"]
    sync0, sync1, sync2, sync3, sync4 = (op[f"sync{k}"] for k in range(5))
    records = []
    if sync1 >> 14 & 1:
        count = cfg1 >> 8 | (sync0 & 0x3FFF) << 2
        added = sync0 >> 14 | (sync1 & 0x3FFF) << 2
        records.append(Record(cfg1 & 31, cfg1 >> 5 & 7, count, added, "sync0"))
    if sync4 >> 7 & 1:
        counter = sync1 >> 15 | (sync2 & 15) << 1
        count = sync2 >> 7 | (sync3 & 0x7F) << 9
        added = sync3 >> 7 | (sync4 & 0x7F) << 9
        records.append(Record(counter, sync2 >> 4 & 7, count, added, "sync2"))
    return records


def _iterations(instruction: Instruction, name: str, level: int, levels: int) -> int:
    return product([instruction[f"{name}{k}"] + 1 for k in range(level, levels)])


def _signed(count: int) -> int:
    count &= _MASK
    return count - (1 << _COUNT_BITS) if count >> _COUNT_BITS - 1 else count
