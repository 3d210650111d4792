# SPDX-License-Identifier: Apache-2.0
"""A run of a model's operators as a model of its own: what goes in and out of it."""

from __future__ import annotations

from dataclasses import replace

from edgekit.formats.tflite import Model


def with_operators(model: Model, first: int, end: int) -> Model:
    """Operators ``first`` to ``end`` of subgraph 0 alone, on the same tensors.

    Its inputs are the activations that they read and do not make, its outputs those that they make
    and that an operator behind them, or the whole model, uses. Tensor indices stay the same.
    """
    graph = model.main
    inside = graph.operators[first:end]
    made = {index for operator in inside for index in operator.outputs}
    read = [index for operator in inside for index in operator.inputs if index >= 0]
    inputs = [
        index
        for index in dict.fromkeys(read)
        if index not in made and not model.buffers[graph.tensors[index].buffer].size
    ]
    used = {index for operator in graph.operators[end:] for index in operator.inputs}
    used.update(graph.outputs)
    outputs = [index for operator in inside for index in operator.outputs if index in used]
    part = replace(
        graph, inputs=tuple(inputs), outputs=tuple(dict.fromkeys(outputs)), operators=inside
    )
    return replace(model, subgraphs=(part, *model.subgraphs[1:]), signature_defs=(), metadata={})
