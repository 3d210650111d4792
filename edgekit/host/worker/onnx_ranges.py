# SPDX-License-Identifier: Apache-2.0
"""Quantized ONNX files (QDQ): the real network in them, and the ranges that they store."""

from __future__ import annotations

from typing import Any

import numpy as np

Ranges = dict[str, tuple[float, float]]


def without_quantization(model: Any) -> tuple[Any, Ranges]:  # noqa: ANN401 - a ModelProto
    """Return the network without QuantizeLinear and DequantizeLinear, and the ranges these held.

    A pair of both on an activation is removed, and its range stored for the tensor that remains. A
    DequantizeLinear of stored integers becomes a stored real tensor. Others stay.
    """
    import onnx  # noqa: PLC0415
    from onnx import numpy_helper  # noqa: PLC0415

    graph = model.graph
    if not any(node.op_type == "DequantizeLinear" for node in graph.node):
        return model, {}
    stored = {each.name: each for each in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    renamed: dict[str, str] = {}
    ranges: Ranges = {}
    kept, added = [], []
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            kept.append(node)
            continue
        source = made.get(node.input[0])
        if node.input[0] in stored:
            q = numpy_helper.to_array(stored[node.input[0]])
            real = _real(q, *_parameters(node, stored, q.dtype))
            added.append(numpy_helper.from_array(real, node.output[0]))
        elif source is not None and source.op_type == "QuantizeLinear":
            _, scale, zero_point = (None, *_parameters(node, stored, None)[:2])
            renamed[node.output[0]] = source.input[0]
            if scale.size == 1:
                ends = np.iinfo(zero_point.dtype)
                low, high = (
                    float(scale.reshape(()) * (float(end) - float(zero_point.reshape(()))))
                    for end in (ends.min, ends.max)
                )
                ranges[source.input[0]] = (low, high)
        else:
            kept.append(node)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    outputs = {each.name for each in graph.output}
    names = {old: _last(old, renamed) for old in renamed}
    wanted = {name for node in kept for name in node.input if name not in names} | outputs
    wanted |= set(names.values())
    del result.graph.node[:]
    for node in kept:
        if node.op_type == "QuantizeLinear" and node.output[0] not in wanted:
            continue
        copy = result.graph.node.add()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
    for name in outputs & set(names):
        result.graph.node.append(onnx.helper.make_node("Identity", [names[name]], [name]))
    result.graph.initializer.extend(added)
    return result, ranges


def _parameters(node: Any, stored: Any, dtype: Any) -> tuple[Any, Any, int]:  # noqa: ANN401
    """Return scale, zero point and axis of a DequantizeLinear."""
    from onnx import numpy_helper  # noqa: PLC0415

    scale = numpy_helper.to_array(stored[node.input[1]])
    if len(node.input) > 2 and node.input[2]:
        zero_point = numpy_helper.to_array(stored[node.input[2]])
    else:
        zero_point = np.zeros_like(scale, dtype=dtype or np.uint8)
    axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
    return scale, zero_point, axis


def _real(q: Any, scale: Any, zero_point: Any, axis: int) -> Any:  # noqa: ANN401
    """Return ``scale * (q - zero_point)``, float32; per channel along ``axis`` if not scalar."""
    if scale.size > 1:
        shape = [1] * q.ndim
        shape[axis] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    return (scale * (q.astype(np.float64) - zero_point)).astype(np.float32)


def _last(name: str, renamed: dict[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name
