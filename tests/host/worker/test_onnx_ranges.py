# SPDX-License-Identifier: Apache-2.0
"""Quantized ONNX files become real networks with the ranges that they store."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.host.worker.onnx_ranges import without_quantization

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(each) is None for each in ("onnx", "onnxruntime", "sympy")),
    reason="needs onnx and onnxruntime, whose quantizer needs sympy",
)
pytestmark = [pytest.mark.host, needs_onnx]
_SHAPE = (1, 3, 12, 12)
_LEFT = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


def _network() -> Any:  # noqa: ANN401 - a ModelProto
    """Two branches that are joined, pooled, and end in a dense layer."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    random = np.random.default_rng(0)
    shapes = {"a.w": (8, 3, 3, 3), "a.b": (8,), "b.w": (4, 8, 1, 1), "dense.w": (12, 5)}
    values = {name: random.normal(0, 0.4, shape) for name, shape in shapes.items()}
    values["dense.b"] = random.normal(0, 0.4, 5)
    stored = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()]
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "a.w", "a.b"], ["a"], pads=[1] * 4, kernel_shape=[3, 3]),
        node("LeakyRelu", ["a"], ["left"], alpha=0.1),
        node("Conv", ["left", "b.w"], ["b"]),
        node("Sigmoid", ["b"], ["right"]),
        node("MaxPool", ["left"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("MaxPool", ["right"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", ["pooled", "small"], ["both"], axis=1),
        node("Add", ["both", "both"], ["sum"]),
        node("Mul", ["sum", "both"], ["product"]),
        node("GlobalAveragePool", ["product"], ["mean"]),
        node("Flatten", ["mean"], ["flat"]),
        node("Gemm", ["flat", "dense.w", "dense.b"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, _SHAPE)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 5))],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _images(number: int) -> Any:  # noqa: ANN401 - an array
    return np.random.default_rng(number).random(_SHAPE, np.float32)


def _answers(model: Any) -> Any:  # noqa: ANN401 - a ModelProto
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"images": _images(n)})[0] for n in range(8)])


def _quantized(form: str, folder: Path) -> Any:  # noqa: ANN401 - a ModelProto
    """Let onnxruntime quantize the network."""
    import onnx  # noqa: PLC0415
    from onnxruntime import quantization as q  # noqa: PLC0415

    class Samples(q.CalibrationDataReader):  # type: ignore[misc] # it has no types
        def __init__(self) -> None:
            self._left = iter(range(8))

        def get_next(self) -> dict[str, Any] | None:
            number = next(self._left, None)
            return None if number is None else {"images": _images(number)}

    source, made = str(folder / "float.onnx"), str(folder / "quantized.onnx")
    onnx.save(_network(), source)
    if form == "dynamic":
        q.quantize_dynamic(source, made)
    else:
        q.quantize_static(
            source,
            made,
            Samples(),
            quant_format=q.QuantFormat.QOperator if form == "operators" else q.QuantFormat.QDQ,
            per_channel=form == "channels",
            activation_type=q.QuantType.QInt8 if form == "channels" else q.QuantType.QUInt8,
            weight_type=q.QuantType.QUInt8 if form == "operators" else q.QuantType.QInt8,
        )
    return onnx.load(made)


@pytest.mark.parametrize("form", ["pairs", "channels", "operators", "dynamic"])
def test_each_form_of_onnxruntime_becomes_a_real_network(form: str, tmp_path: Path) -> None:
    model = _quantized(form, tmp_path)
    real, ranges = without_quantization(model)
    kinds = {node.op_type for node in real.graph.node}
    assert not kinds & _LEFT
    assert not [kind for kind in kinds if "QLinear" in kind or "Integer" in kind]
    assert {node.domain for node in real.graph.node} == {""}
    expected, actual = _answers(_network()), _answers(real)
    assert np.abs(actual - expected).max() < 0.05 * np.ptp(expected)
    assert not np.array_equal(actual, expected)  # the weights are those of the quantized file
    if form == "dynamic":
        assert not ranges
        return
    computed = {name for node in real.graph.node for name in node.output} | {"images"}
    assert ranges.keys() <= computed
    low, high = ranges["images"]
    assert -0.01 < low <= 0
    assert high == pytest.approx(1, abs=0.02)
    assert len(ranges) >= 8


def test_scales_in_constant_nodes_are_found(tmp_path: Path) -> None:
    """PyTorch's exporter writes them so."""
    from onnx import helper  # noqa: PLC0415

    model = _quantized("pairs", tmp_path)
    plain, ranges = without_quantization(model)
    graph = model.graph
    for each in list(graph.initializer):
        graph.node.insert(0, helper.make_node("Constant", [], [each.name], value=each))
        graph.initializer.remove(each)
    real, found = without_quantization(model)
    assert found == ranges
    np.testing.assert_allclose(_answers(real), _answers(plain), rtol=1e-5)


def test_weights_that_the_network_quantizes_have_no_range(tmp_path: Path) -> None:
    """Quantization-aware training stores real weights in front of a pair."""
    from onnx import helper, numpy_helper  # noqa: PLC0415

    model = _quantized("channels", tmp_path)
    graph = model.graph
    stored = {each.name: each for each in graph.initializer}
    changed = 0
    for node in list(graph.node):
        if node.op_type == "DequantizeLinear" and "a.w" in node.input[0]:
            q, scale = (numpy_helper.to_array(stored[name]) for name in node.input[:2])
            weights = (q * scale.reshape(-1, 1, 1, 1)).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(weights, "real.w"))
            inputs = ["real.w", *node.input[1:]]
            graph.node.insert(0, helper.make_node("QuantizeLinear", inputs, ["int.w"], axis=0))
            node.input[0] = "int.w"
            changed += 1
    assert changed == 1
    expected = _answers(model)
    real, ranges = without_quantization(model)
    assert "real.w" not in ranges
    assert np.abs(_answers(real) - expected).max() < 0.05 * np.ptp(expected)


def test_blocks_of_weights_have_scales_of_their_own() -> None:
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    q = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)
    scale = np.array([[1, 2, 3, 4], [10, 20, 30, 40]], np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"], axis=0, block_size=2),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [info("x", TensorProto.FLOAT, (1, 4))],
        [info("y", TensorProto.FLOAT, (1, 4))],
        [numpy_helper.from_array(q, "q"), numpy_helper.from_array(scale, "scale")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    real, _ = without_quantization(model)
    (weights,) = [each for each in real.graph.initializer if each.name == "w"]
    np.testing.assert_array_equal(numpy_helper.to_array(weights), q * scale.repeat(2, axis=0))
