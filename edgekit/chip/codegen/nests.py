# SPDX-License-Identifier: Apache-2.0
"""Nested loops as the fields of an address generator: the inverse of `edgekit.chip.isa.walks`.

A nest is a list of (stride, count), innermost first. A generator stores increments that undo the
levels inside: ``inc_k = stride_k - sum over j < k of stride_j * (count_j - 1)``.
"""

from __future__ import annotations

import functools
from typing import Dict, List, Sequence, Tuple

Nest = List[Tuple[int, int]]  # (stride, count), innermost first
Fields = Dict[str, int]

OP_LEVELS = 8  # of the four generators of an op
DMA_LEVELS = 4  # of ring, mesh and wide memory
NARROW_DMA_LEVELS = 6  # of the narrow side of a copy between the memories
SCALAR_LEVELS = 3  # of pop, infeed and outfeed


def divide_up(value: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-value // by)


def round_up(value: int, to: int) -> int:
    """The next multiple of ``to``."""
    return divide_up(value, to) * to


@functools.lru_cache(maxsize=None)
def _names(prefix: str, levels: int) -> list[tuple[str, str, str]]:
    """The fields of each level: increment, count, and the low bits of an op's increment."""
    return [(f"{prefix}inc{k}", f"{prefix}cnt{k}", f"{prefix}lo{k}") for k in range(levels)]


def nest_fields(prefix: str, nest: Sequence[tuple[int, int]], levels: int) -> Fields:
    """The increments and counts of a generator with ``levels`` levels."""
    fields: Fields = {}
    rewind = 0
    for level, (increment, repeats, _) in enumerate(_names(prefix, levels)):
        stride, count = nest[level] if level < len(nest) else (0, 1)
        fields[increment] = stride - rewind
        fields[repeats] = count - 1
        rewind += stride * (count - 1)
    return fields


def op_nest_fields(prefix: str, nest: Sequence[tuple[int, int]]) -> Fields:
    """The same for an op: strides in bytes (narrow memory) or 64-byte units (wide memory)."""
    fields = nest_fields(prefix, nest, OP_LEVELS)
    for increment, _, low in _names(prefix, OP_LEVELS):
        value = fields[increment]
        fields[increment], fields[low] = value >> 2, value & 3
    return fields


def merged(nest: Nest) -> Nest:
    """The nest with contiguous levels joined and outer levels of one iteration dropped."""
    result = [nest[0]]
    for stride, count in nest[1:]:
        inner_stride, inner_count = result[-1]
        if inner_count == 1 and len(result) == 1 and count == 1:
            continue
        if stride == inner_stride * inner_count:
            result[-1] = inner_stride, inner_count * count
        else:
            result.append((stride, count))
    while len(result) > 1 and result[-1][1] == 1:
        result.pop()
    return result


def filled(nest: Nest, levels: int = 4) -> Nest:
    """The nest with levels of one iteration behind it, as Google's compiler writes it."""
    extent = max(abs(stride) * count for stride, count in nest)
    return [*nest, *[(extent, 1)] * (levels - len(nest))]


def level_mask(levels: int) -> int:
    """The mask of the lowest ``levels`` levels."""
    return (1 << max(0, levels)) - 1
