# SPDX-License-Identifier: Apache-2.0
"""Put edgetpu-custom-ops into a model, each in place of the operators that it computes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Collection, Iterator, Sequence

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import CUSTOM, EDGETPU_CUSTOM_OP, Model, Operator
from edgekit.formats.tflite.part import ends_of
from edgekit.rewrite.edit import Edit, has_effects, is_editable


@dataclass(frozen=True)
class EdgeTpuPart:
    """Operators that run on the Edge TPU as one program.

    ``inputs`` and ``outputs`` are tensor indices in the order of the program's layers.
    """

    operators: frozenset[int]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: bytes = b""  # of the custom operator, as of `write_custom_options`


def part_of(model: Model, operators: Collection[int]) -> EdgeTpuPart:
    """Return the part of ``operators``, with the tensors that it exchanges with the rest.

    Inputs are in the order of first use, outputs in the order in which they are computed. Constants
    and variables are not inputs.
    """
    inputs, outputs = ends_of(model, operators)
    return EdgeTpuPart(frozenset(operators), inputs, outputs)


def with_custom_operators(model: Model, parts: Sequence[EdgeTpuPart]) -> Model:
    """Return ``model`` with an edgetpu-custom-op in place of the operators of each part.

    The other operators stay, around the custom ones, in the order of the file as far as the data
    allow it. Tensors and constants that no operator uses any more are removed; metadata and
    signatures stay.

    Raises:
        UnsupportedModelError: The model has several subgraphs or is compiled; or there is no order
            of execution: a part needs a result that depends on its own, or does not give a
            tensor that another operator reads.
    """
    if not is_editable(model):
        raise UnsupportedModelError(
            "the model cannot be compiled",
            why="it is already compiled, or has several subgraphs",
            fix="give the file that it was compiled from",
        )
    edit = Edit(model)
    inside = {number for part in parts for number in part.operators}
    others = {i: op for i, op in enumerate(edit.operators) if i not in inside}
    customs = {min(part.operators): _custom_operator(part) for part in parts}
    edit.operators = _in_order({**others, **customs}, edit)
    return edit.build()


def _custom_operator(part: EdgeTpuPart) -> Operator:
    return Operator(
        CUSTOM,
        1,
        part.inputs,
        part.outputs,
        custom_code=EDGETPU_CUSTOM_OP,
        custom_options=part.options,
    )


def _in_order(operators: dict[int, Operator], edit: Edit) -> list[Operator]:
    """Return the operators so that each follows those that it needs.

    Args:
        operators: By their places in the file; of those that can run, the first one is next.
        edit: The graph before the change; it shows which tensors are computed.
    """
    needs = _needs(operators, {i for op in edit.operators for i in op.outputs})
    followers: dict[int, list[int]] = {place: [] for place in operators}
    for place, before in needs.items():
        for each in before & operators.keys():
            followers[each].append(place)
    ready = [place for place in operators if not needs[place]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        done = heapq.heappop(ready)
        ordered.append(operators[done])
        for place in followers[done]:
            needs[place].discard(done)
            if not needs[place]:
                heapq.heappush(ready, place)
    if len(ordered) < len(operators):
        late = min(place for place in operators if needs[place])
        raise UnsupportedModelError(
            "the operators for the Edge TPU cannot run as one part",
            where=f"operator {late}, {operators[late].label}",
            why="an operator outside the part is needed inside it and depends on it",
        )
    return ordered


def _needs(operators: dict[int, Operator], computed: set[int]) -> dict[int, set[int]]:
    """Return for each place the places that must run before it; -1 is a place that never runs."""
    made_by = {index: place for place, op in operators.items() for index in op.outputs}
    needs = {
        place: {made_by.get(index, -1) for index in op.inputs if index in computed}
        for place, op in operators.items()
    }
    for before, after in _pairs_with_effects(operators):
        needs[after].add(before)
    return needs


def _pairs_with_effects(operators: dict[int, Operator]) -> Iterator[tuple[int, int]]:
    """Yield neighbours among the operators with effects, which keep their order."""
    places = sorted(
        place for place, op in operators.items() if has_effects(op) and op.opcode != CUSTOM
    )
    yield from zip(places, places[1:])
