# SPDX-License-Identifier: Apache-2.0
"""Tensors that exist at the same time have different lanes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgekit.report.lanes import MAX_LANES, route

_GRAPHS = st.lists(st.lists(st.integers(0, 60), max_size=3), min_size=1, max_size=40)


@given(_GRAPHS)
def test_two_tensors_never_share_a_lane_while_lanes_are_free(takes: list[list[int]]) -> None:
    made = {str(row): row for row in range(len(takes))}
    taken = [(row, [str(each) for each in names]) for row, names in enumerate(takes)]
    edges, num_lanes = route(made, taken)
    assert num_lanes <= MAX_LANES
    for one in edges:
        assert all(end > one.start for end in one.ends)
        for other in edges:
            if other is not one and other.lane == one.lane < MAX_LANES - 1:
                assert one.ends[-1] <= other.start or other.ends[-1] <= one.start


def test_a_chain_needs_one_lane() -> None:
    edges, num_lanes = route({"a": 0, "b": 1, "c": 2}, [(1, ["a"]), (2, ["b"]), (3, ["c"])])
    assert num_lanes == 1
    assert [edge.lane for edge in edges] == [0, 0, 0]
