# SPDX-License-Identifier: Apache-2.0
"""Write a small network as ONNX; run by an interpreter that has the package onnx.

``python make_onnx.py VARIANT FILE``: a classifier of images of 32 x 32 pixels in NCHW, with
convolutions, a depthwise one, a sum and a dense layer.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 10
# Variant -> (opset, batch); the others have opset 17 and a dynamic batch.
_VARIANTS = {"opset9": (9, "N"), "opset21": (21, "N"), "batch3": (17, 3)}


class _Network:
    """The nodes and weights of a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(0)

    def weight(self, name: str, *shape: int, scale: float | None = None) -> str:
        scale = scale or (2 / np.prod(shape[1:])) ** 0.5
        values = (self._random.standard_normal(shape) * scale).astype(np.float32)
        return self.constant(name, values)

    def constant(self, name: str, values: Any) -> str:  # noqa: ANN401
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def conv(
        self,
        x: str,
        ends: tuple[int, int],
        name: str,
        size: int = 1,
        stride: int = 1,
        group: int = 1,
    ) -> str:
        weights = self.weight(f"{name}.w", ends[1], ends[0] // group, size, size)
        bias = self.weight(f"{name}.b", ends[1], scale=0.1)
        return self.node(
            "Conv",
            [x, weights, bias],
            name,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            group=group,
        )

    def ranged(self, x: str, low: float, high: float) -> str:
        """A pair of QuantizeLinear and DequantizeLinear, uint8."""
        scale = np.float32((high - low) / 255)
        zero_point = np.uint8(round(-low / float(scale)))
        given = [self.constant(f"{x}.scale", scale), self.constant(f"{x}.zero", zero_point)]
        q = self.node("QuantizeLinear", [x, *given], f"{x}.q")
        return self.node("DequantizeLinear", [q, *given], f"{x}.real")

    def resized_to(self, x: str, like: str, channels: int) -> str:
        """Resize an image to the size of another, which is computed in the network."""
        shape = self.node("Shape", [like], "shape")
        bounds = [self.constant(f"bound{i}", np.array([i], np.int64)) for i in (2, 4)]
        size = self.node("Slice", [shape, *bounds], "size")
        ends = [self.node("Slice", [shape, *self._first_of_shape()], "batch")]
        ends.append(self.constant("channels", np.array([channels], np.int64)))
        sizes = self.node("Concat", [*ends, size], "sizes", axis=0)
        return self.node("Resize", [x, "", "", sizes], "resized", mode="nearest")

    def _first_of_shape(self) -> list[str]:
        return [self.constant(f"first{i}", np.array([i], np.int64)) for i in (0, 1)]


def build(variant: str) -> Any:  # noqa: ANN401
    """Return the network as a ModelProto."""
    opset, batch = _VARIANTS.get(variant, (17, "N"))
    net = _Network()
    x = "images"
    shape = [batch, 3, 32, 32]
    if variant == "nhwc":
        shape = [batch, 32, 32, 3]
        x = net.node("Transpose", [x], "turned", perm=[0, 3, 1, 2])
    if variant == "qdq":
        x = net.ranged(x, 0, 1)
    x = net.node("Relu", [net.conv(x, (3, 16), "stem", 3, 2)], "stem_relu")
    if variant == "qdq":
        x = net.ranged(x, 0, 7)
    y = net.node("Relu", [net.conv(x, (16, 32), "expand")], "expand_relu")
    y = net.node("Relu", [net.conv(y, (32, 32), "depthwise", 3, group=32)], "depthwise_relu")
    x = net.node("Add", [x, net.conv(y, (32, 16), "project")], "sum")
    if variant == "computed":
        x = net.resized_to(x, "images", 16)
    x = net.node("GlobalAveragePool", [x], "pool")
    x = net.node("Flatten", [x], "flat")
    weights = net.weight("dense.w", CLASSES, 16)
    x = net.node(
        "Gemm", [x, weights, net.weight("dense.b", CLASSES, scale=0.1)], "logits", transB=1
    )
    if variant == "custom":
        net.nodes.append(helper.make_node("Magic", [x], ["scores"], name="magic", domain="my.org"))
        x = "scores"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        net.nodes,
        "net",
        [info("images", TensorProto.FLOAT, shape)],
        [info(x, TensorProto.FLOAT, [batch, CLASSES])],
        net.weights,
    )
    domains = [helper.make_opsetid("", opset)]
    domains += [helper.make_opsetid("my.org", 1)] if variant == "custom" else []
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def _to_float16(model: Any) -> None:  # noqa: ANN401
    for each in model.graph.initializer:
        half = numpy_helper.to_array(each).astype(np.float16)
        each.CopyFrom(numpy_helper.from_array(half, each.name))
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.elem_type = TensorProto.FLOAT16


def _with_scales(model: Any) -> None:  # noqa: ANN401
    """Replace the first convolution by QLinearConv: its ranges are 0 to 1 and 0 to 7."""
    graph = model.graph
    stored = {each.name: each for each in graph.initializer}
    weights = numpy_helper.to_array(stored["stem.w"])
    bias = numpy_helper.to_array(stored["stem.b"])
    steps = np.float32(1 / 255), np.float32(np.abs(weights).max() / 127), np.float32(7 / 255)
    values = {
        "x.scale": steps[0],
        "w.scale": steps[1],
        "y.scale": steps[2],
        "x.zero": np.uint8(0),
        "w.zero": np.int8(0),
        "w": np.rint(weights / steps[1]).astype(np.int8),
        "b": np.rint(bias / (steps[0] * steps[1])).astype(np.int32),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in values.items())
    x, y = ["x.scale", "x.zero"], ["y.scale", "x.zero"]
    conv, relu = graph.node[0], graph.node[1]
    new = [
        helper.make_node("QuantizeLinear", ["images", *x], ["q"], name="q"),
        helper.make_node(
            "QLinearConv", ["q", *x, "w", "w.scale", "w.zero", *y, "b"], ["stem.q"], name="stem"
        ),
        helper.make_node("DequantizeLinear", ["stem.q", *y], ["stem_relu"], name="back"),
    ]
    new[1].attribute.extend(conv.attribute)
    others = [each for each in graph.node if each.name not in (conv.name, relu.name)]
    del graph.node[:]
    graph.node.extend([*new, *others])


def recurrent() -> Any:  # noqa: ANN401
    """Return an LSTM over 10 steps of 6 numbers, and a dense layer on its last answer."""
    net = _Network()
    x = net.node("Transpose", ["steps"], "turned", perm=[1, 0, 2])
    weights = [net.weight(f"lstm.{name}", 1, 64, size) for name, size in (("w", 6), ("r", 16))]
    weights.append(net.weight("lstm.b", 1, 128))
    x = net.node("LSTM", [x, *weights], "answers", hidden_size=16)
    x = net.node("Squeeze", [x, net.constant("axes", np.array([1], np.int64))], "rows")
    x = net.node("Gather", [x, net.constant("end", np.array(9, np.int64))], "last", axis=0)
    x = net.node("MatMul", [x, net.weight("dense.w", 16, 4)], "logits")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        net.nodes,
        "net",
        [info("steps", TensorProto.FLOAT, [1, 10, 6])],
        [info(x, TensorProto.FLOAT, [1, 4])],
        net.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main(variant: str, path: str) -> None:
    """Write the network."""
    model = recurrent() if variant == "lstm" else build(variant)
    if variant == "float16":
        _to_float16(model)
    if variant == "qlinear":  # a ReLU is in its range
        _with_scales(model)
    if variant in ("external", "elsewhere"):
        onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=0)
    else:
        onnx.save(model, path)
    if variant == "elsewhere":
        model = onnx.load(path, load_external_data=False)
        for each in model.graph.initializer:
            for entry in each.external_data:
                entry.value = "../net.data" if entry.key == "location" else entry.value
        onnx.save(model, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
