# SPDX-License-Identifier: Apache-2.0
"""Fuse activations into the layers before them: the layer's result then needs no scale."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from edgekit.formats.tflite import Model, Operator

_LAYERS = ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MUL", "SUB")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")


def fuse_activations(model: Model) -> Model:
    """Return ``model`` with each activation fused that alone reads the result of a layer."""
    graph = model.main
    readers = Counter(index for op in graph.operators for index in op.inputs)
    readers.update(graph.outputs)
    layers = {
        op.outputs[0]: op
        for op in graph.operators
        if op.opcode in _LAYERS
        and op.options.get("fused_activation_function", "NONE") == "NONE"
        and readers[op.outputs[0]] == 1
    }
    fused: dict[int, Operator] = {}  # by the output of the layer
    for op in graph.operators:
        layer = layers.get(op.inputs[0]) if op.opcode in _ACTIVATIONS else None
        if layer is not None:
            options = {**layer.options, "fused_activation_function": op.opcode}
            fused[layer.outputs[0]] = replace(layer, outputs=op.outputs, options=options)
    operators = tuple(
        fused.get(op.outputs[0], op)
        for op in graph.operators
        if op.opcode not in _ACTIVATIONS or op.inputs[0] not in fused
    )
    return replace(model, subgraphs=(replace(graph, operators=operators), *model.subgraphs[1:]))
