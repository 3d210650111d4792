# SPDX-License-Identifier: Apache-2.0
"""Small float networks, built by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor
from edgekit.rewrite.versions import needed_version

NO_ACTIVATION = {"fused_activation_function": "NONE"}
WINDOW = {"padding": "SAME", "stride_w": 1, "stride_h": 1}
DILATION = {"dilation_w_factor": 1, "dilation_h_factor": 1}


class FloatGraph:
    """A graph under construction; each method adds an operator and returns its output."""

    def __init__(self, shape: Sequence[int], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.buffers: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
        self.operators: list[Operator] = []
        self.input = self.tensor(shape)

    def tensor(self, shape: Sequence[int]) -> int:
        self.tensors.append(Tensor(f"t{len(self.tensors)}", tuple(shape), "FLOAT32", 0))
        return len(self.tensors) - 1

    def constant(self, values: NDArray[Any]) -> int:
        dtype = "FLOAT32" if values.dtype.kind == "f" else "INT32"
        stored = np.ascontiguousarray(values, np.float32 if dtype == "FLOAT32" else np.int32)
        self.buffers.append(np.frombuffer(stored.tobytes(), np.uint8))
        name = f"t{len(self.tensors)}"
        self.tensors.append(Tensor(name, values.shape, dtype, len(self.buffers) - 1))
        return len(self.tensors) - 1

    def weights(self, *shape: int) -> int:
        return self.constant(self.random.normal(0, 1 / np.sqrt(np.prod(shape[1:3]) * 4), shape))

    def scale(self, index: int, factors: NDArray[Any]) -> None:
        """Multiply a constant, along its last axis."""
        tensor = self.tensors[index]
        old = self.buffers[tensor.buffer].view(np.float32).reshape(tensor.shape)
        self.set(index, old * factors)

    def set(self, index: int, values: Any) -> None:  # noqa: ANN401 - anything array-like
        """Replace the values of a constant."""
        stored = np.asarray(values, np.float32).tobytes()
        self.buffers[self.tensors[index].buffer] = np.frombuffer(stored, np.uint8)

    def shape(self, index: int) -> tuple[int, ...]:
        return self.tensors[index].shape

    def add(
        self,
        opcode: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: dict[str, Any] | None = None,
        options_type: str = "NONE",
    ) -> int:
        out = self.tensor(shape)
        self.place(opcode, inputs, [out], options, options_type)
        return out

    def place(
        self,
        opcode: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: dict[str, Any] | None = None,
        options_type: str = "NONE",
    ) -> None:
        op = Operator(opcode, 1, tuple(inputs), tuple(outputs), options or {}, options_type)
        version = needed_version(op, self.tensors) or 1
        self.operators.append(
            Operator(opcode, version, op.inputs, op.outputs, op.options, options_type)
        )

    def conv(self, x: int, channels: int, size: int = 1, activation: str = "NONE") -> int:
        shape = self.shape(x)
        inputs = (x, self.weights(channels, size, size, shape[-1]), self.weights(channels))
        options = {**WINDOW, **DILATION, "fused_activation_function": activation}
        return self.add("CONV_2D", inputs, (*shape[:3], channels), options, "Conv2DOptions")

    def depthwise(self, x: int, multiplier: int = 1, activation: str = "NONE") -> int:
        shape = self.shape(x)
        channels = shape[-1] * multiplier
        options = {
            **WINDOW,
            **DILATION,
            "depth_multiplier": multiplier,
            "fused_activation_function": activation,
        }
        inputs = (x, self.weights(1, 3, 3, channels), self.weights(channels))
        kind = "DepthwiseConv2DOptions"
        return self.add("DEPTHWISE_CONV_2D", inputs, (*shape[:3], channels), options, kind)

    def dense(self, x: int, units: int, activation: str = "NONE") -> int:
        depth = int(np.prod(self.shape(x)[1:]))
        inputs = (x, self.weights(units, depth), self.weights(units))
        options = {
            "fused_activation_function": activation,
            "weights_format": 0,
            "keep_num_dims": False,
            "asymmetric_quantize_inputs": False,
        }
        return self.add("FULLY_CONNECTED", inputs, (1, units), options, "FullyConnectedOptions")

    def simple(self, opcode: str, x: int) -> int:
        return self.add(opcode, (x,), self.shape(x))

    def arithmetic(self, opcode: str, left: int, right: int) -> int:
        kind = f"{opcode.capitalize()}Options"
        return self.add(opcode, (left, right), self.shape(left), NO_ACTIVATION, kind)

    def prelu(self, x: int) -> int:
        return self.add("PRELU", (x, self.weights(1, 1, self.shape(x)[-1])), self.shape(x))

    def pad(self, x: int, amounts: Sequence[Sequence[int]]) -> int:
        shape = [size + sum(each) for size, each in zip(self.shape(x), amounts, strict=True)]
        return self.add("PAD", (x, self.constant(np.array(amounts))), shape, {}, "PadOptions")

    def pool(self, opcode: str, x: int) -> int:
        b, h, w, c = self.shape(x)
        options = {
            "padding": "VALID",
            "stride_w": 2,
            "stride_h": 2,
            "filter_width": 2,
            "filter_height": 2,
            "fused_activation_function": "NONE",
        }
        return self.add(opcode, (x,), (b, h // 2, w // 2, c), options, "Pool2DOptions")

    def mean(self, x: int) -> int:
        b, _, _, c = self.shape(x)
        axes = self.constant(np.array([1, 2]))
        return self.add("MEAN", (x, axes), (b, 1, 1, c), {"keep_dims": True}, "ReducerOptions")

    def concat(self, *parts: int) -> int:
        first = self.shape(parts[0])
        shape = (*first[:-1], sum(self.shape(each)[-1] for each in parts))
        options = {"axis": len(first) - 1, **NO_ACTIVATION}
        return self.add("CONCATENATION", parts, shape, options, "ConcatenationOptions")

    def split(self, x: int, number: int) -> list[int]:
        *rest, c = self.shape(x)
        outs = [self.tensor((*rest, c // number)) for _ in range(number)]
        axis = self.constant(np.array([len(rest)]))
        self.place("SPLIT", (axis, x), outs, {"num_splits": number}, "SplitOptions")
        return outs

    def reshape(self, x: int, shape: Sequence[int]) -> int:
        wanted = self.constant(np.array(shape))
        options = {"new_shape": tuple(shape)}
        return self.add("RESHAPE", (x, wanted), shape, options, "ReshapeOptions")

    def depth_to_space(self, x: int) -> int:
        b, h, w, c = self.shape(x)
        options = {"block_size": 2}
        shape = (b, h * 2, w * 2, c // 4)
        return self.add("DEPTH_TO_SPACE", (x,), shape, options, "DepthToSpaceOptions")

    def model(self, *outputs: int) -> Model:
        graph = Subgraph(tuple(self.tensors), (self.input,), outputs, tuple(self.operators))
        return Model((graph,), tuple(self.buffers))
