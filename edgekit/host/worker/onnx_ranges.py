# SPDX-License-Identifier: Apache-2.0
"""Quantized ONNX files (QDQ): the real network in them, and the ranges that they store."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.host.worker.onnx_integers import constants, with_real_operators

Ranges = dict[str, tuple[float, float]]
# Operators that move or choose values of their first input, whatever these are.
_MOVES = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)


def without_quantization(model: Any) -> tuple[Any, Ranges]:  # noqa: ANN401 - a ModelProto
    """Return the network without QuantizeLinear and DequantizeLinear, and the ranges these held.

    A QuantizeLinear of an activation is removed, and its range stored for the tensor that remains;
    so is each DequantizeLinear behind it, also behind operators that only move integers. A
    DequantizeLinear of stored integers becomes a stored real tensor. Others stay.
    """
    import onnx  # noqa: PLC0415

    model = with_real_operators(model)
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return model, {}
    found = _Pairs(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(found.kept())
    result.graph.initializer.extend(found.added)
    for each in result.graph.output:
        if each.name in found.real:
            each.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return result, found.ranges


class _Pairs:
    """What takes the place of the tensors around QuantizeLinear and DequantizeLinear."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - a ModelProto
        self._graph = model.graph
        self._stored = constants(model.graph)
        self.ranges: Ranges = {}
        self.added: list[Any] = []
        self._renamed: dict[str, str] = {}
        self.real = self._quantized()  # tensors of integers that become real

    def _quantized(self) -> set[str]:
        """Return the tensors of integers between QuantizeLinear and DequantizeLinear only."""
        found: set[str] = set()
        for node in self._graph.node:
            is_moved = node.op_type in _MOVES and node.input[0] in found
            if node.op_type == "Concat":
                is_moved = all(name in found for name in node.input)
            if (node.op_type == "QuantizeLinear" and self._is_known(node)) or is_moved:
                found.update(node.output)
        while True:
            wrong = {
                name
                for node in self._graph.node
                for name in node.input
                if name in found
                and node.op_type != "DequantizeLinear"
                and not found.issuperset(node.output)
            }
            # An operator keeps its integers if one of its results must have them.
            wrong |= {
                name
                for node in self._graph.node
                if node.op_type != "QuantizeLinear" and not found.isdisjoint(node.output)
                for name in node.output
                if not found.issuperset(self._moved_inputs(node))
            }
            if not wrong:
                return found
            found -= wrong

    @staticmethod
    def _moved_inputs(node: Any) -> list[str]:  # noqa: ANN401 - a NodeProto
        return list(node.input) if node.op_type == "Concat" else [node.input[0]]

    def kept(self) -> list[Any]:
        """Return the nodes of the network without quantization."""
        import onnx  # noqa: PLC0415

        nodes = []
        for node in self._graph.node:
            if node.op_type == "QuantizeLinear" and node.output[0] in self.real:
                self._renamed[node.output[0]] = self._name(node.input[0])
                self._take_range(node)
            elif (
                node.op_type == "DequantizeLinear"
                and node.input[0] in self._stored
                and self._is_known(node)
            ):
                self.added.append(self._real_constant(node))
            elif node.op_type == "DequantizeLinear" and node.input[0] in self.real:
                self._renamed[node.output[0]] = self._name(node.input[0])
            else:
                nodes.append(node)
        ends = [each.name for each in self._graph.output if each.name in self._renamed]
        copies = []
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [self._name(name) for name in node.input]
            copies.append(copy)
        copies += [onnx.helper.make_node("Identity", [self._name(end)], [end]) for end in ends]
        return copies

    def _is_known(self, node: Any) -> bool:  # noqa: ANN401 - a NodeProto
        """Whether scale and zero point are stored."""
        return all(name in self._stored for name in node.input[1:] if name)

    def _name(self, name: str) -> str:
        return self._renamed.get(name, name)

    def _take_range(self, node: Any) -> None:  # noqa: ANN401 - a NodeProto
        """Store the range of an activation: the weights have theirs in themselves."""
        tensor = self._name(node.input[0])
        scale, zero_point, _ = _parameters(node, self._stored, np.uint8)
        is_whole = np.issubdtype(zero_point.dtype, np.integer)
        if scale.size != 1 or tensor in self._stored or not is_whole:
            return
        ends = np.iinfo(zero_point.dtype)
        low, high = (
            float(scale.reshape(()) * (float(end) - float(zero_point.reshape(()))))
            for end in (ends.min, ends.max)
        )
        # A tensor that is quantized again keeps its first range.
        self.ranges.setdefault(tensor, (low, high))

    def _real_constant(self, node: Any) -> Any:  # noqa: ANN401 - a TensorProto
        from onnx import numpy_helper  # noqa: PLC0415

        q = numpy_helper.to_array(self._stored[node.input[0]])
        real = _real(q, *_parameters(node, self._stored, q.dtype))
        return numpy_helper.from_array(real, node.output[0])


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
    """Return ``scale * (q - zero_point)``, float32.

    A scale may be for the whole tensor, for each channel along ``axis``, or for blocks along it.
    """
    if scale.ndim == q.ndim > 1:
        block = -(-q.shape[axis] // scale.shape[axis])
        scale, zero_point = (
            each.repeat(block, axis).take(range(q.shape[axis]), axis)
            for each in (scale, zero_point.astype(np.float64))
        )
    elif scale.size > 1:
        shape = [1] * q.ndim
        shape[axis] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    return (scale * (q.astype(np.float64) - zero_point)).astype(np.float32)
