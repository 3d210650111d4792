# SPDX-License-Identifier: Apache-2.0
"""Small quantized graphs: built by hand, or at random."""

from __future__ import annotations

import importlib.util
from typing import Any, Sequence

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.edgetpu.support import judge_operators
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model
from edgekit.rewrite import Rule, apply_rule
from edgekit.runtime import Runner


class Graph:
    """A graph under construction; ``x`` is the tensor that the next step reads."""

    def __init__(self, shape: Sequence[int], dtype: str = "INT8", seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype = dtype
        self.tensors: list[Tensor] = []
        self.buffers: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
        self.operators: list[Operator] = []
        self.input = self.x = self.tensor(shape)

    def tensor(
        self,
        shape: Sequence[int],
        scale: float | None = 0.05,
        zero: int = 3,
        dtype: str | None = None,
    ) -> int:
        """Add an activation; ``zero`` counts from the middle of the codes."""
        kind = dtype or self.dtype
        quantization = None
        if scale is not None:
            middle = 0 if kind == "INT8" else 128
            quantization = Quantization((float(np.float32(scale)),), (middle + zero,))
        name = f"t{len(self.tensors)}"
        self.tensors.append(Tensor(name, tuple(shape), kind, 0, quantization))
        return len(self.tensors) - 1

    def like(self, index: int, shape: Sequence[int] | None = None) -> int:
        """Add an activation with the scale of tensor ``index``."""
        tensor = self.tensors[index]
        self.tensors.append(
            Tensor(
                f"t{len(self.tensors)}",
                tensor.shape if shape is None else tuple(shape),
                tensor.dtype,
                0,
                tensor.quantization,
            )
        )
        return len(self.tensors) - 1

    def constant(self, values: NDArray[Any], quantization: Quantization | None = None) -> int:
        """Add a constant."""
        names = {"int8": "INT8", "uint8": "UINT8", "int32": "INT32", "float32": "FLOAT32"}
        self.buffers.append(np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8))
        self.tensors.append(
            Tensor(
                f"c{len(self.tensors)}",
                values.shape,
                names[values.dtype.name],
                len(self.buffers) - 1,
                quantization,
            )
        )
        return len(self.tensors) - 1

    def apply(
        self,
        opcode: str,
        inputs: Sequence[int],
        output: int,
        options: dict[str, Any] | None = None,
        kind: str = "NONE",
        version: int = 2,
    ) -> int:
        """Add an operator; its output becomes ``x``."""
        self.operators.append(
            Operator(opcode, version, tuple(inputs), (output,), options or {}, kind)
        )
        self.x = output
        return output

    def shape(self) -> tuple[int, ...]:
        """The shape of the current tensor."""
        return self.tensors[self.x].shape

    def activation(self, opcode: str, **options: Any) -> int:  # noqa: ANN401
        """An activation with its own output range."""
        kind = {"LEAKY_RELU": "LeakyReluOptions", "GELU": "GeluOptions"}.get(opcode, "NONE")
        out = self.tensor(self.shape(), 0.035, -60)
        version = 1 if opcode in ("HARD_SWISH", "LEAKY_RELU") else 2
        return self.apply(opcode, [self.x], out, options, kind, version)

    def logistic(self) -> int:
        """LOGISTIC with the only scale that its kernel accepts."""
        return self.apply("LOGISTIC", [self.x], self.tensor(self.shape(), 1 / 256, -128))

    def prelu(self, slopes: NDArray[Any]) -> int:
        """PRELU with real ``slopes``."""
        scale = float(np.abs(slopes).max()) / 127
        codes = np.rint(slopes / scale) + (0 if self.dtype == "INT8" else 128)
        zero = (0,) if self.dtype == "INT8" else (128,)
        dtype = np.int8 if self.dtype == "INT8" else np.uint8
        alpha = self.constant(codes.astype(dtype), Quantization((float(np.float32(scale)),), zero))
        return self.apply("PRELU", [self.x, alpha], self.tensor(self.shape(), 0.05, -10), version=1)

    def dense(self, units: int, *, per_channel: bool = False, keep_num_dims: bool = False) -> int:
        """FULLY_CONNECTED over the last dimension, int8."""
        depth = self.shape()[-1]
        scales = self.random.uniform(0.002, 0.02, units if per_channel else 1).astype(np.float32)
        zeros = (0,) * len(scales)
        x_scale = self.tensors[self.x].scale or 1
        weights = self.constant(
            self.random.integers(-127, 128, (units, depth)).astype(np.int8),
            Quantization(tuple(scales.tolist()), zeros),
        )
        products = tuple(float(np.float32(x_scale * each)) for each in scales)
        bias = self.constant(
            self.random.integers(-500, 500, units).astype(np.int32), Quantization(products, zeros)
        )
        rows = self.shape()[:-1] if keep_num_dims else (int(np.prod(self.shape()[:-1])),)
        out = self.tensor((*rows, units), 0.1)
        options = {
            "fused_activation_function": "NONE",
            "weights_format": 0,
            "keep_num_dims": keep_num_dims,
        }
        version = 5 if keep_num_dims else 4
        return self.apply(
            "FULLY_CONNECTED",
            [self.x, weights, bias],
            out,
            options,
            "FullyConnectedOptions",
            version,
        )

    def transpose(self, permutation: Sequence[int]) -> int:
        """TRANSPOSE."""
        values = self.constant(np.array(permutation, np.int32))
        out = self.like(self.x, [self.shape()[axis] for axis in permutation])
        return self.apply("TRANSPOSE", [self.x, values], out)

    def reshape(self, shape: Sequence[int]) -> int:
        """RESHAPE."""
        values = self.constant(np.array(shape, np.int32))
        out = self.like(self.x, shape)
        return self.apply("RESHAPE", [self.x, values], out, {}, "NONE", 1)

    def quantize(self, scale: float, zero: int = 0, dtype: str | None = None) -> int:
        """QUANTIZE to another scale or type."""
        out = self.tensor(self.shape(), scale, zero, dtype)
        return self.apply("QUANTIZE", [self.x], out, {}, "QuantizeOptions", 1)

    def dequantize(self) -> int:
        """DEQUANTIZE."""
        out = self.tensor(self.shape(), None, dtype="FLOAT32")
        return self.apply("DEQUANTIZE", [self.x], out, {}, "DequantizeOptions")

    def add(self, left: int, right: int) -> int:
        """ADD of two tensors of one shape."""
        options = {"fused_activation_function": "NONE", "pot_scale_int16": True}
        out = self.tensor(self.tensors[left].shape, 0.08, -4)
        return self.apply("ADD", [left, right], out, options, "AddOptions")

    def concatenate(self, inputs: Sequence[int], axis: int = -1) -> int:
        """CONCATENATION of tensors of one scale."""
        shape = list(self.tensors[inputs[0]].shape)
        shape[axis] = sum(self.tensors[i].shape[axis] for i in inputs)
        out = self.like(inputs[0], shape)
        options = {"axis": axis, "fused_activation_function": "NONE"}
        return self.apply("CONCATENATION", inputs, out, options, "ConcatenationOptions")

    def model(self, *outputs: int) -> Model:
        """Return the model, with ``outputs`` or the current tensor as its outputs."""
        ends = outputs or (self.x,)
        graph = Subgraph(tuple(self.tensors), (self.input,), tuple(ends), tuple(self.operators))
        return Model((graph,), tuple(self.buffers))


def run(model: Model, inputs: Sequence[NDArray[Any]]) -> list[tuple[NDArray[Any], ...]]:
    """Return raw outputs for each of ``inputs``, from reference kernels."""
    with Runner(write_model(model), kernels="reference") as runner:
        return [runner.invoke(each) for each in inputs]


def random_inputs(model: Model, count: int = 4) -> list[NDArray[Any]]:
    """Return codes over the whole range of the model's only input."""
    tensor = model.main.tensors[model.main.inputs[0]]
    random = np.random.default_rng(7)
    if tensor.dtype == "FLOAT32":
        return [random.normal(0, 2, tensor.shape).astype(np.float32) for _ in range(count)]
    limits = np.iinfo(tensor.dtype.lower())
    return [
        random.integers(limits.min, limits.max + 1, tensor.shape).astype(limits.dtype)
        for _ in range(count)
    ]


def rewritten(model: Model, rule: Rule, *, maps: bool = True) -> Model:
    """Apply ``rule`` to all that it fits; every output stays equal, and with ``maps`` all maps."""
    changed = apply_rule(rule, model)
    assert changed is not None
    inputs = random_inputs(model)
    for expected, actual in zip(run(model, inputs), run(changed, inputs)):
        for left, right in zip(expected, actual):
            np.testing.assert_array_equal(left, right)
    assert apply_rule(rule, changed) is None
    if maps:
        assert {each.alone for each in judge_operators(changed)} == {"tpu"}
    return changed


def opcodes(model: Model) -> list[str]:
    """Return the operators in their order."""
    return [op.opcode for op in model.main.operators]


# For dense layers with a scale for each output, tflite-runtime reads memory it never wrote.
_HAS_LITERT = importlib.util.find_spec("ai_edge_litert") is not None
_STEPS = (
    "hard_swish",
    "leaky",
    "logistic",
    "prelu",
    "transpose",
    "transpose_back",
    "reshape",
    "reshape_same",
    "quantize",
    "quantize_same",
    "dense",
    *(("dense_per_channel",) if _HAS_LITERT else ()),
    "twice",
    "dead",
    "relu",
    "island",
)


def _step(graph: Graph, name: str) -> None:
    shape = graph.shape()
    if name == "hard_swish":
        graph.activation("HARD_SWISH")
    elif name == "leaky":
        graph.activation("LEAKY_RELU", alpha=float(graph.random.uniform(0, 1)))
    elif name == "logistic":
        graph.logistic()
    elif name == "relu":
        graph.activation("RELU")
    elif name == "prelu":
        graph.prelu(graph.random.uniform(-0.5, 1.5, (1,) * (len(shape) - 2) + shape[-1:]))
    elif name == "transpose":
        graph.transpose((0, *range(2, len(shape)), 1))
    elif name == "transpose_back":
        graph.transpose((0, len(shape) - 1, *range(1, len(shape) - 1)))
    elif name == "reshape":
        graph.reshape((1, shape[2], shape[1]))
    elif name == "reshape_same":
        graph.reshape(shape)
    elif name == "quantize":
        graph.quantize(float(graph.random.uniform(0.02, 0.1)), int(graph.random.integers(-20, 20)))
    elif name == "quantize_same":
        out = graph.like(graph.x)
        graph.apply("QUANTIZE", [graph.x], out, {}, "QuantizeOptions", 1)
    elif name == "dense":
        graph.dense(int(graph.random.integers(2, 6)), keep_num_dims=True)
    elif name == "dense_per_channel":
        graph.dense(int(graph.random.integers(2, 6)), keep_num_dims=True, per_channel=True)
    elif name == "twice":
        start = graph.x
        left = graph.logistic()
        graph.x = start
        graph.add(left, graph.logistic())
    elif name == "dead":
        start = graph.x
        graph.logistic()
        graph.x = start
    elif name == "island":
        graph.dequantize()
        out = graph.tensor(shape, None, dtype="FLOAT32")
        graph.apply("LOGISTIC", [graph.x], out, version=1)
        graph.quantize(0.01, -100)


@st.composite
def graphs(draw: st.DrawFn) -> Model:
    """A model of up to seven steps on rank 3."""
    names = draw(st.lists(st.sampled_from(_STEPS), min_size=1, max_size=7))
    shape = draw(st.tuples(st.just(1), st.integers(1, 3), st.integers(2, 4)))
    graph = Graph(shape, seed=draw(st.integers(0, 1000)))
    for name in names:
        _step(graph, name)
    graph.quantize(0.06, 1)
    return graph.model()
