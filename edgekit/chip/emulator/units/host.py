# SPDX-License-Identifier: Apache-2.0
"""Transfers between chip and host: pops, infeeds, outfeeds and the host's streams.

The host sends and receives in the order of the transfer hints; activations, parameters and results
are three streams of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.emulator.plan import Planner, Step, Task
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.streams import total
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.memories import ROW_BYTES, SCALAR_WORDS, tiles_of
from edgekit.chip.isa.walks import coarse_walk

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ACTIVATION_UNIT, _PARAMETER_UNIT, _LOOP_UNIT = 8, 64, 4
_LOOP_ROW = 16
_POP_UNITS, _STAGING_UNITS = 1 << 16, 1 << 14  # where pop_wait and the staging buffer wrap
_PARAMETER_STAGING = 1024  # units of the staging buffer for parameters
_TO_MEMORY, _TO_LOOP, _TO_HOST = 0, 1, 3  # outfeed, field k173


class FromHost(Step):
    """Copy bytes of the input, or of earlier results, into new rows."""

    def __init__(self, target: int, first_byte: int, number: int, *, scratch: bool) -> None:
        self.flat = slice(target, target + number)
        self.source = slice(first_byte, first_byte + number)
        self.scratch = scratch

    def run(self, state: State) -> None:
        """Copy."""
        source = state.output if self.scratch else state.input
        state.rows.reshape(-1)[self.flat] = source[self.source]


class FromParameters(Step):
    """Copy parameter bytes into new rows, ``row_bytes`` in each row."""

    def __init__(self, first_row: int, data: NDArray[np.uint8], row_bytes: int) -> None:
        number = -(-data.size // row_bytes)
        padded = np.zeros(number * row_bytes, np.uint8)
        padded[: data.size] = data
        self.data = padded.reshape(number, row_bytes)
        self.rows = slice(first_row, first_row + number)

    def run(self, state: State) -> None:
        """Copy."""
        state.rows[self.rows, : self.data.shape[1]] = self.data


class FromLoop(Step):
    """Split rows that returned through the scalar core into rows of 16 bytes."""

    def __init__(self, first_row: int, packets: tuple[int, ...], number: int) -> None:
        self.packets = np.array(packets)
        self.number = number
        self.rows = slice(first_row, first_row + number // _LOOP_ROW)

    def run(self, state: State) -> None:
        """Copy."""
        data = state.rows[self.packets].reshape(-1)[: self.number]
        state.rows[self.rows, :_LOOP_ROW] = data.reshape(-1, _LOOP_ROW)


class FromMemory(Step):
    """Copy words of scalar memory into new rows."""

    def __init__(self, first_row: int, first_word: int, number: int) -> None:
        self.flat = slice(first_row * ROW_BYTES, first_row * ROW_BYTES + 4 * number)
        self.words = slice(first_word, first_word + number)

    def run(self, state: State) -> None:
        """Copy."""
        state.rows.reshape(-1)[self.flat] = state.scalar[self.words].view(np.uint8)


class Pop(Task):
    """Move the host stream to the staging buffer; later infeeds count from its start."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        self.units = ("pop",)
        self.waiting = 1

    def ready(self, planner: Planner, tile: int) -> bool:
        """Always true: the host sends as fast as it can."""
        del planner, tile
        return True

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Advance the streams."""
        del tiles
        if self.instruction["stream"]:
            planner.popped, planner.next_pop = planner.next_pop, planner.next_pop + self._bytes()
            planner.fed = 0
        self.waiting = 0

    def _bytes(self) -> int:
        return _units(self.instruction) * _ACTIVATION_UNIT


def _units(instruction: Instruction) -> int:
    """The full passes over the staging buffer, plus the units of the last one."""
    full = instruction["cnt0"] + 1
    if instruction["last_en"]:
        return full * instruction["cnt1"] + instruction["last"] + 1
    return full * (instruction["cnt1"] + 1)


class Infeed(Task):
    """Send the staging buffer, or the data that the scalar core returns, to the ring."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        self.units = ("infeed",)
        self.waiting = 1
        self.from_scalar = bool(instruction["from_scalar"])
        self.activations = bool(instruction["stream"])
        if self.from_scalar:
            unit = _LOOP_UNIT
        else:
            unit = _ACTIVATION_UNIT if self.activations else _PARAMETER_UNIT
        self.number = _units(instruction) * unit

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether the data it sends has arrived."""
        del tile
        if self.from_scalar and not self.activations:
            return len(planner.loopback) * ROW_BYTES >= self.number
        if self.from_scalar:
            return not any("outfeed" in task.units for task in planner.pending)
        return True

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Create rows and send them."""
        del tiles
        if self.from_scalar:
            first, number = self._from_scalar(planner)
        elif self.activations:
            first, number = self._from_input(planner)
        else:
            first, number = self._from_parameters(planner)
        numbers = np.arange(first, first + number)
        for tile in tiles_of(self.instruction["tiles"]):
            planner.tiles[tile].inbox[0].put(numbers)
        self.waiting = 0

    def _from_scalar(self, planner: Planner) -> tuple[int, int]:
        if self.activations:
            first_word = self.instruction["offset"]
            number = -(-self.number // ROW_BYTES)
            if first_word + self.number // 4 > SCALAR_WORDS:
                raise self.stop("more words than scalar memory has", "offset")
            first = planner.new_rows(number)
            planner.add(FromMemory(first, first_word, self.number // 4))
            return first, number
        packets: list[int] = []
        while len(packets) * ROW_BYTES < self.number:
            packets.append(planner.loopback.popleft())
        planner.loopback.clear()  # the rest of the last packet is padding
        if self.number % _LOOP_ROW:
            raise self.stop(f"{self.number} bytes are not whole rows of {_LOOP_ROW}", "last")
        number = self.number // _LOOP_ROW
        first = planner.new_rows(number)
        planner.add(FromLoop(first, tuple(packets), self.number))
        if (planner.constant_bytes[packets] == ROW_BYTES).all():
            planner.mark_constant(first, first + number, _LOOP_ROW)
        return first, number

    def _from_input(self, planner: Planner) -> tuple[int, int]:
        start = planner.popped + self._unwrapped(planner) * _ACTIVATION_UNIT
        planner.fed = (start + self.number - planner.popped) // _ACTIVATION_UNIT
        number = -(-self.number // ROW_BYTES)
        first = planner.new_rows(number)
        end, at = start + self.number, start
        while at < end:
            span = next(
                (s for s in planner.streams.activations if s.start <= at < s.start + s.size), None
            )
            if span is None:
                raise self.stop(
                    f"byte {at} of an input of {total(planner.streams.activations)}", "offset"
                )
            part = min(end, span.start + span.size) - at
            row = first * ROW_BYTES + at - start
            if span.source == "scratch":
                source, there = planner.streams.in_scratch(
                    span.offset + at - span.start, span.results, self.instruction.where
                )
                part = min(part, there)
                planner.add(FromHost(row, source, part, scratch=True))
            else:
                planner.add(FromHost(row, span.input_byte(at), part, scratch=False))
            at += part
        return first, number

    def _unwrapped(self, planner: Planner) -> int:
        """Return its first unit, unwrapped: both counters wrap, and infeeds are close together."""
        low = self.instruction["pop_wait"] - 1
        turns = max(0, round((planner.fed - low) / _POP_UNITS))
        start = low + turns * _POP_UNITS
        if (start - self.instruction["offset"]) % _STAGING_UNITS:
            raise self.stop(
                f"unit {self.instruction['offset']} of the buffer, unit {start} of the input",
                "offset",
            )
        return start

    def _from_parameters(self, planner: Planner) -> tuple[int, int]:
        sent = planner.parameters_sent // _PARAMETER_UNIT
        low = self.instruction["pop_wait"] - 1 & _POP_UNITS - 1
        back = (sent - low) & _POP_UNITS - 1
        if back > min(sent, _PARAMETER_STAGING):
            raise self.stop(
                f"parameters from unit {low} on, but the next unit is {sent}",
                "pop_wait",
                "parameters are sent in order; a transfer may only repeat what is still there",
            )
        start = (sent - back) * _PARAMETER_UNIT
        planner.parameters_sent = max(planner.parameters_sent, start + self.number)
        data = planner.parameters[start : start + self.number]
        if data.size < self.number:
            raise self.stop(
                f"{self.number} bytes from {start} on of {planner.parameters.size}", "last"
            )
        row_bytes = _PARAMETER_UNIT * (self.instruction["lanes"] + 1)
        number = -(-self.number // row_bytes)
        first = planner.new_rows(number)
        planner.add(FromParameters(first, data, row_bytes))
        planner.mark_constant(first, first + number, row_bytes)
        return first, number


class Outfeed(Task):
    """Send packets from the scalar core to the host, to scalar memory or back to the ring."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        self.units = ("outfeed",)
        self.waiting = 1
        self.target = instruction["k173"]
        self.walk = coarse_walk(instruction, "", 3, instruction["base"])
        self.number = self.walk.num_steps * (8 if self.target == _TO_HOST else 4)

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether its packets have arrived."""
        del tile
        if self.target == _TO_LOOP:
            return any(ends for _, ends in planner.to_scalar)
        return len(planner.to_scalar) * ROW_BYTES >= self.number

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Pass the packets on; the packets of one producer may go to several outfeeds."""
        del tiles
        taken: list[int] = []
        ends = False
        while not ends if self.target == _TO_LOOP else len(taken) * ROW_BYTES < self.number:
            number, ends = planner.to_scalar.popleft()
            taken.append(number)
        packets = tuple(taken)
        if self.target == _TO_LOOP:
            planner.loopback.extend(packets)
        elif self.target == _TO_HOST:
            planner.add(ToHost(packets, planner.output_bytes, self.number))
            planner.output_bytes += self.number
        elif self.target == _TO_MEMORY:
            words = self.walk.addresses()
            if words.min() < 0 or words.max() >= SCALAR_WORDS:
                raise self.stop(f"scalar memory word {words.max()} of {SCALAR_WORDS}", "base")
            planner.add(ToMemory(packets, words))
            planner.memory_has_data = True
        else:
            raise self.stop(f"target {self.target}", "k173")
        self.waiting = 0


class ToHost(Step):
    """Copy packets to the output stream."""

    def __init__(self, packets: tuple[int, ...], first_byte: int, number: int) -> None:
        self.packets = np.array(packets)
        self.number, self.target = number, slice(first_byte, first_byte + number)

    def run(self, state: State) -> None:
        """Copy."""
        state.output[self.target] = state.rows[self.packets].reshape(-1)[: self.number]


class ToMemory(Step):
    """Copy packets to scalar memory."""

    def __init__(self, packets: tuple[int, ...], words: NDArray[np.int64]) -> None:
        self.packets, self.words = np.array(packets), words

    def run(self, state: State) -> None:
        """Copy."""
        data = state.rows[self.packets].reshape(-1).view(np.uint32)
        state.scalar[self.words] = data[: len(self.words)]
