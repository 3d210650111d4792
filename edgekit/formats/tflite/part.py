# SPDX-License-Identifier: Apache-2.0
"""Cut a part of a model's operators out as a separate model, with its inputs and outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Collection, Sequence

from edgekit.formats.tflite import Model, Subgraph


def ends_of(model: Model, operators: Collection[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the tensors that some operators of subgraph 0 exchange with the rest of the model.

    Inputs, in the order of first use, are the activations that the operators read but do not
    compute; constants and variables are not among them. Outputs, in the order in which they are
    computed, are those that another operator, or the whole model, uses.
    """
    graph, inside = model.main, sorted(operators)
    made = dict.fromkeys(i for number in inside for i in graph.operators[number].outputs)
    read = dict.fromkeys(i for number in inside for i in graph.operators[number].inputs)
    inputs = [
        index
        for index in read
        if index >= 0
        and index not in made
        and not graph.tensors[index].is_variable
        and not model.buffers[graph.tensors[index].buffer].size
    ]
    rest = (op for number, op in enumerate(graph.operators) if number not in operators)
    used = {index for op in rest for index in op.inputs}.union(graph.outputs)
    return tuple(inputs), tuple(index for index in made if index in used)


def with_operators(model: Model, first: int, end: int) -> Model:
    """Return a model of operators ``first`` to ``end`` of subgraph 0, with the same tensors.

    Its inputs are the activations that these operators read but do not compute. Its outputs are
    those that they compute and that a later operator, or the whole model, uses. Variable tensors
    stay variable. Tensor indices stay the same.
    """
    inputs, outputs = ends_of(model, range(first, end))
    inside = model.main.operators[first:end]
    part = replace(model.main, inputs=inputs, outputs=outputs, operators=inside)
    return replace(model, subgraphs=(part, *model.subgraphs[1:]), signature_defs=(), metadata={})


def between(model: Model, inputs: Sequence[int], outputs: Sequence[int]) -> Model | None:
    """Return a model of the operators of subgraph 0 that compute ``outputs`` from ``inputs``.

    Tensor indices stay the same. None if the outputs need an activation that cannot be computed
    from ``inputs`` and constants.
    """
    graph = model.main
    producers = {
        index: position
        for position, operator in enumerate(graph.operators)
        for index in operator.outputs
    }
    wanted, needed, seen = set(), list(outputs), set(inputs)
    while needed:
        index = needed.pop()
        if index < 0 or index in seen or model.buffers[graph.tensors[index].buffer].size:
            continue
        seen.add(index)
        position = producers.get(index)
        if position is None:
            return None
        wanted.add(position)
        needed.extend(graph.operators[position].inputs)
    part = replace(
        graph,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        operators=tuple(graph.operators[position] for position in sorted(wanted)),
    )
    return replace(model, subgraphs=(part, *model.subgraphs[1:]), signature_defs=(), metadata={})


def live_operators(graph: Subgraph) -> set[int]:
    """Return the positions of the operators that an output depends on."""
    needed = set(graph.outputs)
    live: set[int] = set()
    for position in range(len(graph.operators) - 1, -1, -1):
        operator = graph.operators[position]
        if needed.intersection(operator.outputs):
            live.add(position)
            needed.update(operator.inputs)
    return live
