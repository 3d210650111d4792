# SPDX-License-Identifier: Apache-2.0
"""One Edge TPU part, decided by the flow of data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgekit.edgetpu.limits import CPU, TPU, UNKNOWN
from edgekit.edgetpu.partition import partition
from edgekit.formats.tflite import Operator, Subgraph


def graph_of(edges: list[tuple[int, ...]]) -> Subgraph:
    """Operator i reads the outputs of ``edges[i]``, all earlier; tensor i is its output."""
    operators = tuple(Operator("ADD", 1, sources, (i,)) for i, sources in enumerate(edges))
    return Subgraph((), (), (), operators)


def verdicts(edges: list[tuple[int, ...]], own: list[str]) -> list[str]:
    return [place.verdict for place in partition(graph_of(edges), own)]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], list[str]]:
    size = draw(st.integers(1, 10))
    edges = [
        tuple(draw(st.sets(st.integers(0, index - 1), max_size=3))) if index else ()
        for index in range(size)
    ]
    return edges, [draw(st.sampled_from((TPU, CPU, UNKNOWN))) for _ in range(size)]


def test_cpu_operators_at_the_start_do_not_block_others() -> None:
    assert verdicts([(), (0,), (1,)], [CPU, CPU, TPU]) == [CPU, CPU, TPU]


def test_operators_that_depend_on_a_cpu_operator_after_mapped_ones_do_not_map() -> None:
    places = partition(graph_of([(), (0,), (1,), (2,)]), [TPU, CPU, TPU, TPU])
    assert [place.verdict for place in places] == [TPU, CPU, CPU, CPU]
    assert [place.blocker for place in places] == [None, None, 1, 1]


def test_a_later_operator_that_does_not_depend_on_the_blocked_one_maps() -> None:
    """The rule follows the data, not the order in the file."""
    assert verdicts([(), (0,), (0,), (1,)], [TPU, CPU, TPU, TPU]) == [TPU, CPU, TPU, CPU]


def test_operators_after_an_unknown_one_are_unknown() -> None:
    assert verdicts([(), (0,), (1,)], [TPU, UNKNOWN, TPU]) == [TPU, UNKNOWN, UNKNOWN]
    assert verdicts([(), (0,)], [UNKNOWN, TPU]) == [UNKNOWN, TPU]


@given(graphs())
def test_no_path_from_a_mapped_operator_to_another_contains_a_cpu_operator(
    case: tuple[list[tuple[int, ...]], list[str]],
) -> None:
    edges, own = case
    found = verdicts(edges, own)
    behind = [False] * len(edges)  # depends on a CPU operator that depends on a mapped one
    reached = [False] * len(edges)  # depends on a mapped operator, or is one
    for index, sources in enumerate(edges):
        behind[index] = any(behind[i] for i in sources)
        reached[index] = any(reached[i] for i in sources) or found[index] == TPU
        if found[index] == TPU:
            assert not behind[index]
        elif any(reached[i] for i in sources):
            behind[index] = True


@given(graphs())
def test_verdicts_stay_right_if_unknown_operators_map(
    case: tuple[list[tuple[int, ...]], list[str]],
) -> None:
    edges, own = case
    promised = [i for i, verdict in enumerate(verdicts(edges, own)) if verdict == TPU]
    for truth in (TPU, CPU):
        certain = verdicts(edges, [truth if each == UNKNOWN else each for each in own])
        assert all(certain[index] == TPU for index in promised)
