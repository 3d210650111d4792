# SPDX-License-Identifier: Apache-2.0
"""Steps of a run as machine code, made by numba; the steps themselves compute the same in numpy.

Only `edgekit.chip.emulator.kernels` imports this module, where numba is installed. Every value is
exact or rounded by the same operations in the same order, so that all bytes are those of numpy.
Memory is (tiles, bytes) or (tiles, words); addresses were checked when the program was planned.
Loops run over slices, because an index that may be negative keeps a loop from being vectorized.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, TypeVar, cast

import numba
import numpy as np

from edgekit.chip.emulator.kernels import (
    FROM_MESH,
    IS_ODD,
    REDUCES,
    TO_MESH,
    TO_NARROW,
    TO_WIDE,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(function: _F) -> _F:
    return cast("_F", numba.njit(nogil=True, cache=True, error_model="numpy")(function))


@_compiled
def send(
    mesh: NDArray[np.uint32],
    first: int,
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    where: NDArray[np.int64],
) -> None:
    """Put words of narrow memory in flight, tile after tile."""
    for tile in tiles:
        for at in where:
            mesh[first] = words[tile, at]
            first += 1


@_compiled
def receive(
    mesh: NDArray[np.uint32],
    first: int,
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    where: NDArray[np.int64],
) -> None:
    """Store words in flight, which are in order, in narrow memory."""
    for tile in tiles:
        for at in where:
            words[tile, at] = mesh[first]
            first += 1


@_compiled
def fill(
    words: NDArray[np.uint32], tiles: NDArray[np.int64], where: NDArray[np.int64], pattern: int
) -> None:
    """Fill words of narrow memory."""
    for tile in tiles:
        for at in where:
            words[tile, at] = pattern


@_compiled
def gather(
    memory: NDArray[Any],
    tiles: NDArray[np.int64],
    starts: NDArray[np.int64],
    run: int,
    values: NDArray[np.float32],
) -> None:
    """Convert ``run`` integers from each of ``starts`` to float32: (tiles, starts x run)."""
    for position in range(len(tiles)):
        source = memory[tiles[position]]
        target = values[position]
        at = 0
        for start in starts:
            taken, put = source[start : start + run], target[at : at + run]
            for k in range(run):
                put[k] = np.float32(taken[k])
            at += run


@_compiled
def requantize(
    total: NDArray[Any],
    bias: NDArray[Any],
    multiplier: NDArray[np.float32],
    limits: NDArray[np.float32],
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    where: NDArray[np.int64],
) -> None:
    """Add biases, scale, round and store bytes, or 16-bit values.

    ``total`` is (tiles, sets, rows, values), ``bias`` and ``multiplier`` (sets, values); ``limits``
    are least and largest of the clamp, zero point, the largest stored value, and the table of a
    function if there is one, see `_looked_up`. ``where`` is (sets x rows, words): the words of a
    row follow each other from one, or each lies elsewhere; negative ones are not stored.
    """
    sets, rows = total.shape[1], total.shape[2]
    row = np.empty(total.shape[3] * (2 if limits[3] > 255 else 1), np.uint8)
    for position in range(len(tiles)):
        target = words[tiles[position]]
        for group in range(sets):
            for place in range(rows):
                sums = total[position, group, place]
                _round(sums, bias[group], multiplier[group], limits, row)
                _store(target, where[group * rows + place], row.view(np.uint32))


@_compiled
def _round(
    sums: NDArray[Any],
    bias: NDArray[Any],
    multiplier: NDArray[np.float32],
    limits: NDArray[np.float32],
    row: NDArray[np.uint8],
) -> None:
    low, high, zero_point, highest = limits[0], limits[1], limits[2], limits[3]
    curve = limits[4:]
    if not len(curve) and highest == 255:  # a loop without a branch
        for k in range(len(row)):
            real = np.float32(sums[k] + bias[k]) * multiplier[k]
            real = np.rint(min(max(real, low), high)) + zero_point
            real = min(max(real, np.float32(0)), np.float32(255))
            row[k] = np.uint8(np.int32(real))
        return
    halves = row.view(np.uint16)
    for k in range(len(sums)):
        real = np.float32(sums[k] + bias[k]) * multiplier[k]
        real = min(max(real, low), high)
        if len(curve):
            real = _looked_up(real, curve)
        real = min(max(np.rint(real) + zero_point, np.float32(0)), highest)
        if highest == 255:
            row[k] = np.uint8(np.int32(real))
        else:
            halves[k] = np.uint16(np.int32(real))


_SEGMENTS, _COEFFICIENTS = 8, 5
_FIRST_BREAK = 1 + _SEGMENTS * _COEFFICIENTS
_TINY = np.finfo(np.float32).tiny


@_compiled
def _looked_up(real: Any, curve: NDArray[np.float32]) -> Any:  # noqa: ANN401
    """Return a value of a table, as `edgekit.chip.arithmetic.spline.Spline` does.

    ``curve`` is its use (a constant of `edgekit.chip.emulator.kernels`), its coefficients and its
    breakpoints.
    """
    argument, halves = real, 0
    if curve[0] == IS_ODD:
        argument = abs(real)
    elif curve[0] == REDUCES:
        _, exponent = math.frexp(max(real, _TINY))
        halves = (exponent - 1) >> 1
        argument = np.float32(math.ldexp(real, -2 * halves))
    segment = 0
    for at in range(_FIRST_BREAK, len(curve)):
        if curve[at] <= argument:
            segment += 1
    last = segment * _COEFFICIENTS + _COEFFICIENTS
    value = curve[last]
    for at in range(1, _COEFFICIENTS):
        value = np.float32(value * argument) + curve[last - at]
    if curve[0] == IS_ODD:
        return np.float32(math.copysign(value, real))
    return np.float32(math.ldexp(value, -halves)) if halves else value


@_compiled
def _store(target: NDArray[np.uint32], where: NDArray[np.int64], row: NDArray[np.uint32]) -> None:
    if len(where) == 1:
        target[where[0] : where[0] + len(row)] = row
        return
    for word in range(len(row)):
        if where[word] >= 0:
            target[where[word]] = row[word]


@_compiled
def depthwise(
    memory: NDArray[np.uint8],
    tiles: NDArray[np.int64],
    starts: NDArray[np.int64],
    weights: NDArray[np.float32],
    bias: NDArray[Any],
    multiplier: NDArray[np.float32],
    limits: NDArray[np.float32],
    where: NDArray[np.int64],
) -> None:
    """Sum each channel by itself, tap by tap, and requantize, as `requantize` does.

    ``starts`` is (taps, rows, runs of a row), whose bytes follow each other; ``weights`` is (taps,
    values of a row), and ``where`` (rows, words), as in `requantize`.
    """
    taps, width = weights.shape
    rows, runs = starts.shape[1], starts.shape[2]
    run = width // runs
    total = np.empty(width, np.float32)
    made = np.empty(
        (rows, width * (2 if limits[3] > 255 else 1)), np.uint8
    )  # an op may write where it reads
    for tile in tiles:
        source = memory[tile]
        for place in range(rows):
            total[:] = 0
            for tap in range(taps):
                for index in range(runs):
                    start, at = starts[tap, place, index], index * run
                    taken = source[start : start + run]
                    sums, factors = total[at : at + run], weights[tap, at : at + run]
                    for k in range(run):
                        sums[k] += np.float32(taken[k]) * factors[k]
            _round(total, bias, multiplier, limits, made[place])
        for place in range(rows):
            _store(source.view(np.uint32), where[place], made[place].view(np.uint32))


_EXACT_INTEGERS = 1 << 63  # beyond, a float32 is a multiple of 2 to the power of 32
_INFINITY = np.uint32(0x7F800000)


@_compiled
def run_scalar(
    code: NDArray[np.int64],
    registers: NDArray[np.uint32],
    predicates: NDArray[np.int64],
    memory: NDArray[np.uint32],
    host: NDArray[np.uint32],
) -> int:
    """Execute bundles and loops of the scalar core, see `edgekit.chip.emulator.units.scalar_code`.

    Returns:
        The number of words for the host. Negative if an address is outside the memory, or a
        result is not a number: the Python functions have to execute the run.
    """
    reals = registers.view(np.float32)
    operand = np.zeros(1, np.uint32)
    operand_real = operand.view(np.float32)
    result = np.zeros(4, np.uint32)  # vector slot, load, special, ALU
    result_real = result.view(np.float32)
    loops = np.zeros((3, len(code)), np.int64)
    ends, starts, left = loops[0], loops[1], loops[2]
    depth = at = sent = 0
    words = np.uint32(len(memory))
    while True:
        while depth and at == ends[depth - 1]:
            left[depth - 1] -= 1
            if left[depth - 1]:
                at = starts[depth - 1]
            else:
                depth -= 1
        if at >= len(code):
            return sent
        row = code[at]
        at += 1
        if row[0] == 1:
            starts[depth], ends[depth], left[depth] = at, at + row[1], row[2]
            depth += 1
            continue
        if row[1] and predicates[row[2]] != row[3]:
            continue
        # Compute all results before anything is written.
        vector, slot, source = row[14], row[15], row[16]
        result[0] = registers[slot & 31] + np.uint32(1)
        load, load_from, load_to = row[9], row[10], row[11]
        loaded_from = registers[load_from & 31]
        if load:
            address = np.uint32(row[12]) if load == 1 else loaded_from
            if address >= words:
                return -1
            result[1] = memory[address]
        special = row[18]
        if special == 2:
            value = np.float64(reals[row[19]])
            if value:
                result_real[2] = np.float32(1 / value)
            else:
                result[2] = _INFINITY
        elif special == 3:
            result_real[2] = np.float32(np.exp2(np.float64(reals[row[19]])))
        operation = row[4]
        y = registers[row[6]]
        real = np.float64(reals[row[6]])
        operand[0] = np.uint32(row[7]) if row[8] else registers[row[7] & 31]
        b = operand[0]
        other = np.float64(operand_real[0])
        if operation == 1:
            result[3] = y + b
        elif operation == 2:
            result[3] = y - b
        elif operation == 3:
            result[3] = y & b
        elif operation == 4:
            result[3] = y | b
        elif operation == 5:
            result[3] = y ^ b
        elif operation == 6:
            result[3] = y << (b & np.uint32(31))
        elif operation == 7:
            result[3] = y >> (b & np.uint32(31))
        elif operation == 8:
            result[3] = np.uint32(np.int32(y) >> np.int32(b & np.uint32(31)))
        elif operation == 15:
            result[3] = b
        elif operation == 16:
            result_real[3] = np.float32(np.int32(b))
        elif operation == 17:
            whole = np.rint(other)
            if abs(whole) < _EXACT_INTEGERS:
                result[3] = np.uint32(np.int64(whole) & 0xFFFFFFFF)
            else:
                result[3] = 0
        elif operation == 18:
            result_real[3] = np.float32(real + other)
        elif operation == 19:
            result_real[3] = np.float32(real - other)
        elif operation == 20:
            result_real[3] = np.float32(real * other)
        elif operation == 21:
            result_real[3] = np.float32(other if other > real else real)
        elif operation == 22:
            result_real[3] = np.float32(other if other < real else real)
        if 18 <= operation <= 22 and np.isnan(result_real[3]):
            return -1
        if special and np.isnan(result_real[2]):
            return -1
        # Write memory, words for the host, and predicates.
        if vector == 2 or vector == 4 or vector == 6:
            target = np.uint32(row[17]) if vector == 2 else registers[slot & 31]
            if target >= words:
                return -1
            memory[target] = registers[source]
        elif vector == 8:
            host[sent] = registers[source]
            sent += 1
        if 9 <= operation <= 14:
            signed, other_signed = np.int32(y), np.int32(b)
            holds = y == b
            if operation == 10:
                holds = y != b
            elif operation == 11:
                holds = signed > other_signed
            elif operation == 12:
                holds = signed < other_signed
            elif operation == 13:
                holds = y >= b
            elif operation == 14:
                holds = signed >= other_signed
            predicates[row[5] & 7] = 1 if holds else 0
        # Write registers.
        if vector == 6 and slot >> 5 & 1:
            registers[slot & 31] = result[0]
        if load:
            registers[load_to] = result[1]
            if load == 3 and row[13]:
                registers[load_from] = loaded_from + np.uint32(1)
        if special:
            registers[row[20]] = result[2]
        if operation and not 9 <= operation <= 14:
            registers[row[5]] = result[3]


@_compiled
def to_wide(
    rows: NDArray[np.uint32],
    first: int,
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    where: NDArray[np.int64],
    layout: tuple[int, int],
) -> None:
    """Copy words of narrow memory into the rows from ``first``; the others become 0.

    ``layout`` is rows of each tile, words of each row.
    """
    number, per_row = layout
    row = first
    for tile in tiles:
        source = words[tile]
        for place in range(number):
            target = rows[row]
            row += 1
            start = place * per_row
            for k in range(per_row):
                target[k] = source[where[start + k]] if start + k < len(where) else np.uint32(0)


@_compiled
def to_narrow(
    rows: NDArray[np.uint32],
    numbers: NDArray[np.int64],
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    where: NDArray[np.int64],
    layout: tuple[int, int],
) -> None:
    """Copy words of rows into narrow memory; ``layout`` is words of each row, words left out."""
    per_row, skip = layout
    for position in range(len(tiles)):
        target = words[tiles[position]]
        for k in range(len(where)):
            row, column = divmod(k + skip, per_row)
            target[where[k]] = rows[numbers[position, row], column]


@_compiled
def copy(
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> None:
    """Copy words inside narrow memory; an op may write where it reads."""
    taken = np.empty(len(sources), np.uint32)
    for tile in tiles:
        memory = words[tile]
        for k in range(len(sources)):
            taken[k] = memory[sources[k]]
        for k in range(len(targets)):
            if targets[k] >= 0:
                memory[targets[k]] = taken[k]


@_compiled
def move(
    kinds: NDArray[np.int64],
    ends: NDArray[np.int64],
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
    narrow: NDArray[np.uint32],
    wide: NDArray[np.uint32],
    mesh: NDArray[np.uint32],
) -> None:
    """Copy words, one move after another, see `edgekit.chip.emulator.moves`."""
    first = 0
    for number in range(len(kinds)):
        end, kind = ends[number], kinds[number]
        taken, put = sources[first:end], targets[first:end]
        if kind == TO_WIDE:
            for k in range(len(put)):
                wide[put[k]] = narrow[taken[k]] if taken[k] >= 0 else np.uint32(0)
        elif kind == TO_NARROW:
            for k in range(len(put)):
                narrow[put[k]] = wide[taken[k]]
        elif kind == TO_MESH:
            for k in range(len(put)):
                mesh[put[k]] = narrow[taken[k]]
        elif kind == FROM_MESH:
            for k in range(len(put)):
                narrow[put[k]] = mesh[taken[k]]
        else:
            for k in range(len(put)):
                narrow[put[k]] = np.uint32(taken[k])
        first = end
