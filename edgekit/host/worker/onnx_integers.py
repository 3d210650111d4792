# SPDX-License-Identifier: Apache-2.0
"""ONNX operators on integers, as real operators between QuantizeLinear and DequantizeLinear.

onnxruntime's quantizer writes three forms: pairs of QuantizeLinear and DequantizeLinear, operators
that contain their scales (QLinearConv, QGemm), and dynamic ones, which compute the scale of each
input (DynamicQuantizeLinear, ConvInteger).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class _Form:
    """How an operator with scales lists its inputs: (value, scale, zero point) each."""

    real: str  # the operator on real numbers
    inputs: int  # how many have a scale and zero point, first
    bias: bool = False  # int32 values follow, in steps of the product of the first two scales
    many: bool = False  # the output's scale comes first, then any number of inputs
    left_out: tuple[str, ...] = field(default=())  # attributes that the real operator does not have


_FORMS = {
    "QLinearConv": _Form("Conv", 2, bias=True),
    "QLinearMatMul": _Form("MatMul", 2),
    "QLinearAdd": _Form("Add", 2),
    "QLinearMul": _Form("Mul", 2),
    "QLinearSigmoid": _Form("Sigmoid", 1),
    "QLinearLeakyRelu": _Form("LeakyRelu", 1),
    "QLinearSoftmax": _Form("Softmax", 1, left_out=("opset",)),
    "QLinearAveragePool": _Form("AveragePool", 1, left_out=("channels_last",)),
    "QLinearGlobalAveragePool": _Form("GlobalAveragePool", 1, left_out=("channels_last",)),
    "QLinearConcat": _Form("Concat", 0, many=True),
    "QGemm": _Form("Gemm", 2, bias=True),
}
_DYNAMIC = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
_EACH = 3  # a value, its scale and its zero point
_CHANNELS_LAST = "channels_last"


def with_real_operators(model: Any) -> Any:  # noqa: ANN401 - a ModelProto
    """Return the network with real operators in place of those on integers; itself without any."""
    kinds = {node.op_type for node in model.graph.node}
    if not kinds & {*_FORMS, *_DYNAMIC, "DynamicQuantizeLinear"}:
        return model
    return _Rewriting(model).run()


def constants(graph: Any) -> dict[str, Any]:  # noqa: ANN401 - a GraphProto
    """Return the stored tensors, also those of Constant nodes, by name."""
    stored = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values = [each.t for each in node.attribute if each.name == "value"]
            stored.update((node.output[0], value) for value in values)
    return stored


class _Rewriting:
    """The nodes that take the place of those of one network."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - a ModelProto
        import onnx  # noqa: PLC0415

        self._onnx = onnx
        self._model, self._stored = model, constants(model.graph)
        self._nodes: list[Any] = []
        self._added: list[Any] = []

    def run(self) -> Any:  # noqa: ANN401 - a ModelProto
        for node in self._model.graph.node:
            form = _FORMS.get(node.op_type)
            if form is not None and not _attribute(node, _CHANNELS_LAST, 0):
                self._with_scales(node, form)
            elif node.op_type == "DynamicQuantizeLinear":
                self._not_quantized(node)
            elif node.op_type in _DYNAMIC:
                self._of_real_weights(node)
            else:
                self._nodes.append(node)
        result = self._onnx.ModelProto()
        result.CopyFrom(self._model)
        del result.graph.node[:]
        result.graph.node.extend(self._nodes)
        result.graph.initializer.extend(self._added)
        return result

    def _with_scales(self, node: Any, form: _Form) -> None:  # noqa: ANN401 - a NodeProto
        given = list(node.input)
        if form.many:
            ends, values = given[:2], given[2:]
        else:
            values, ends = given[: _EACH * form.inputs], given[_EACH * form.inputs :]
        out, name = node.output[0], node.name or node.output[0]
        real: list[str] = []
        for place in range(0, len(values), _EACH):
            value, *how = values[place : place + _EACH]
            real.append(self._dequantized(value, how, f"{name}/in{len(real)}"))
        if form.bias:
            # QLinearConv has the bias last, QGemm before the scale of the output.
            is_last = node.op_type == "QLinearConv"
            bias = ends[2:] if is_last else ends[:1]
            ends = ends[:2] if is_last else ends[1:]
            if bias and bias[0]:
                real.append(self._real_bias(bias[0], values[1], values[4], f"{name}/bias"))
        attributes = [each for each in node.attribute if each.name not in form.left_out]
        made = self._make(form.real, real, f"{out}/real" if ends and ends[0] else out, name)
        made.attribute.extend(attributes)
        if made.output[0] != out:
            self._make("QuantizeLinear", [made.output[0], *ends], out, f"{name}/quantized")

    def _dequantized(self, value: str, how: list[str], name: str) -> str:
        node = self._make("DequantizeLinear", [value, *how], name, name)
        if value in self._stored and self._array(how[0]).size > 1:
            axis = self._onnx.helper.make_attribute("axis", 0)
            node.attribute.append(axis)
        return name

    def _real_bias(self, bias: str, first: str, second: str, name: str) -> str:
        step = self._array(first).astype(np.float64) * self._array(second)
        return self._store(self._array(bias) * step.reshape(-1), name)

    def _not_quantized(self, node: Any) -> None:  # noqa: ANN401 - a NodeProto
        """Keep the real values; their scale is one, and their zero point zero."""
        quantized, scale, zero_point = node.output
        self._make("Identity", [node.input[0]], quantized, node.name or quantized)
        self._store(np.array(1.0), scale)
        if zero_point:
            self._added.append(
                self._onnx.numpy_helper.from_array(np.zeros((), np.uint8), zero_point)
            )

    def _of_real_weights(self, node: Any) -> None:  # noqa: ANN401 - a NodeProto
        weights = node.input[1]
        if weights in self._stored:
            values = self._array(weights).astype(np.float64)
            if len(node.input) > _EACH and node.input[_EACH]:
                values = values - self._array(node.input[_EACH])
            weights = self._store(values, f"{node.output[0]}/weights")
        made = self._make(
            _DYNAMIC[node.op_type],
            [node.input[0], weights],
            node.output[0],
            node.name or node.output[0],
        )
        made.attribute.extend(node.attribute)

    def _make(self, kind: str, inputs: list[str], output: str, name: str) -> Any:  # noqa: ANN401
        node = self._onnx.helper.make_node(kind, inputs, [output], name=name)
        self._nodes.append(node)
        return node

    def _store(self, values: Any, name: str) -> str:  # noqa: ANN401 - an array
        tensor = self._onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)
        self._added.append(tensor)
        return name

    def _array(self, name: str) -> Any:  # noqa: ANN401 - an array
        return self._onnx.numpy_helper.to_array(self._stored[name])


def _attribute(node: Any, name: str, default: int) -> int:  # noqa: ANN401 - a NodeProto
    return next((int(each.i) for each in node.attribute if each.name == name), default)
