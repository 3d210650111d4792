# SPDX-License-Identifier: Apache-2.0
"""Cut a part of a model's operators out as a separate model, with its inputs and outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

from edgekit.formats.tflite import Model, Subgraph


def with_operators(model: Model, first: int, end: int) -> Model:
    """Return a model of operators ``first`` to ``end`` of subgraph 0, with the same tensors.

    Its inputs are the activations that these operators read but do not compute. Its outputs are
    those that they compute and that a later operator, or the whole model, uses. Variable tensors
    stay variable. Tensor indices stay the same.
    """
    graph = model.main
    inside = graph.operators[first:end]
    made = {index for operator in inside for index in operator.outputs}
    read = [index for operator in inside for index in operator.inputs if index >= 0]
    inputs = [
        index
        for index in dict.fromkeys(read)
        if index not in made
        and not graph.tensors[index].is_variable
        and not model.buffers[graph.tensors[index].buffer].size
    ]
    used = {index for operator in graph.operators[end:] for index in operator.inputs}
    used.update(graph.outputs)
    outputs = [index for operator in inside for index in operator.outputs if index in used]
    part = replace(
        graph, inputs=tuple(inputs), outputs=tuple(dict.fromkeys(outputs)), operators=inside
    )
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
