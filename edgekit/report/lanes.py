# SPDX-License-Identifier: Apache-2.0
"""Lay out a graph as rows with lanes next to them, like a version history, for a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MAX_LANES = 12


@dataclass(frozen=True)
class Edge:
    """A tensor's line from the row that writes it to the rows that read it."""

    tensor: str
    start: int
    ends: tuple[int, ...]
    lane: int  # 0 is next to the rows


def route(
    made: Mapping[str, int], taken: Sequence[tuple[int, Sequence[str]]]
) -> tuple[tuple[Edge, ...], int]:
    """Give each tensor a lane that no other tensor uses between its first and last row.

    Args:
        made: Tensor name -> row that writes it.
        taken: (row, names of the tensors that it reads), in the order of rows.

    Returns:
        The edges, and the number of lanes; with more than `MAX_LANES`, lanes are shared.
    """
    ends: dict[str, list[int]] = {}
    for row, names in taken:
        for name in names:
            if name in made and made[name] < row:
                ends.setdefault(name, []).append(row)
    busy_until: list[int] = []
    edges = []
    for name in sorted(ends, key=lambda each: (made[each], max(ends[each]))):
        start, last = made[name], max(ends[name])
        lane = next((i for i, row in enumerate(busy_until) if row <= start), len(busy_until))
        if lane == len(busy_until):
            busy_until.append(last)
        busy_until[lane] = last
        edges.append(Edge(name, start, tuple(sorted(set(ends[name]))), min(lane, MAX_LANES - 1)))
    return tuple(edges), min(len(busy_until), MAX_LANES)
