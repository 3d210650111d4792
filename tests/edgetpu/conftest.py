# SPDX-License-Identifier: Apache-2.0
"""Small quantized graphs for the tests: sequences of operators, built by hand."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor

STEP = Quantization((0.05,), (0,))
_OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "PACK": "PackOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
}


class Graph:
    """Collects tensors and operators; every method returns the index of a tensor."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.buffers = [np.empty(0, np.uint8)]
        self.operators: list[Operator] = []
        self.inputs: list[int] = []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "INT8",
        quantization: Quantization | None = STEP,
        name: str = "",
        signature: Sequence[int] = (),
    ) -> int:
        number = len(self.tensors)
        self.tensors.append(
            Tensor(
                name or f"t{number}",
                tuple(shape),
                dtype,
                0,
                None if dtype.startswith(("FLOAT", "INT32")) else quantization,
                tuple(signature),
            )
        )
        return number

    def feed(self, shape: Sequence[int], **fields: Any) -> int:  # noqa: ANN401
        self.inputs.append(self.tensor(shape, **fields))
        return self.inputs[-1]

    def constant(self, values: Any, quantization: Quantization | None = None) -> int:  # noqa: ANN401
        array = np.ascontiguousarray(values)
        dtype = array.dtype.name.upper()
        self.tensors.append(
            Tensor(f"c{len(self.tensors)}", array.shape, dtype, len(self.buffers), quantization)
        )
        self.buffers.append(np.frombuffer(array.tobytes(), np.uint8))
        return len(self.tensors) - 1

    def weights(self, shape: Sequence[int], scales: int = 1) -> int:
        scale = tuple(0.01 + 0.001 * index for index in range(scales))
        values = np.ones(tuple(shape), np.int8)
        return self.constant(values, Quantization(scale, (0,) * scales))

    def bias(self, size: int, value: int = 1) -> int:
        return self.constant(np.full(size, value, np.int32), Quantization((0.0005,), (0,)))

    def add(
        self,
        opcode: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        version: int = 1,
        options: Mapping[str, Any] | None = None,
        custom_code: str = "",
        **fields: Any,  # noqa: ANN401
    ) -> int:
        output = self.tensor(shape, **fields)
        kind = _OPTIONS.get(opcode, "NONE") if options else "NONE"
        self.operators.append(
            Operator(opcode, version, tuple(inputs), (output,), options or {}, kind, custom_code)
        )
        return output

    def model(self, *outputs: int) -> Model:
        graph = Subgraph(
            tuple(self.tensors), tuple(self.inputs), outputs, tuple(self.operators), "main"
        )
        return Model((graph,), tuple(self.buffers), "made by hand")

    def conv(self, before: int, outputs: int, kernel: int = 3, scales: int = 1) -> int:
        """A convolution with constant weights, SAME padding."""
        shape = self.tensors[before].shape
        weights = self.weights((outputs, kernel, kernel, shape[-1]), scales)
        out = (*shape[:-1], outputs)
        return self.add("CONV_2D", (before, weights, self.bias(outputs)), out, version=3)


NewGraph = Callable[[], Graph]
Unary = Callable[..., Model]


@pytest.fixture
def new_graph() -> Callable[[], Graph]:
    """Return a function that creates empty graphs."""
    return Graph


@pytest.fixture
def graph() -> Graph:
    """One empty graph."""
    return Graph()


@pytest.fixture
def unary() -> Unary:
    """Return a function that creates graphs of one operator: one input, constants, one output."""

    def make(
        opcode: str,
        shape: tuple[int, ...],
        out: tuple[int, ...],
        *,
        constants: Sequence[Sequence[int]] = (),
        **more: Any,  # noqa: ANN401
    ) -> Model:
        graph = Graph()
        x = graph.feed(shape)
        numbers = [graph.constant(np.array(each, np.int32)) for each in constants]
        return graph.model(graph.add(opcode, (x, *numbers), out, **more))

    return make
