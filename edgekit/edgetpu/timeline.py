# SPDX-License-Identifier: Apache-2.0
"""Activation memory over time: the activations alive while each operator runs."""

from __future__ import annotations

import numpy as np

from edgekit.formats.tflite import NUMPY_DTYPES, Model, Subgraph


def peak_activation_bytes(model: Model) -> int:
    """Return the largest number of bytes of activations alive at once in the main subgraph."""
    return max(activation_profile(model), default=0)


def activation_profile(model: Model) -> list[int]:
    """Return the bytes of activations alive while each operator of the main subgraph runs."""
    graph = model.main
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.outputs, len(graph.operators) - 1)
    for index, operator in enumerate(graph.operators):
        for tensor in operator.outputs:
            first.setdefault(tensor, index)
            last.setdefault(tensor, index)
        for tensor in operator.inputs:
            if tensor in first:
                last[tensor] = max(last.get(tensor, index), index)
    profile = [0] * len(graph.operators)
    for tensor, start in first.items():
        size = tensor_bytes(graph, tensor)
        for index in range(start, last.get(tensor, start) + 1):
            if index < len(profile):
                profile[index] += size
    return profile


def tensor_bytes(graph: Subgraph, index: int) -> int:
    """Return the bytes of a tensor on the host; one byte per element for unknown types."""
    tensor = graph.tensors[index]
    dtype = NUMPY_DTYPES.get(tensor.dtype, "uint8")
    return tensor.num_elements * np.dtype(dtype).itemsize
