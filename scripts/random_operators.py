# SPDX-License-Identifier: Apache-2.0
"""Random quantized operators whose outputs use the whole range of their type.

`random_model` returns a chain of operators as a quantizer would write them: scales follow from the
spread of the values, so that neither zeros nor saturated values are all there is to compare. It
depends only on the seed. Every operator of ``MAKERS`` is one that edgekit's formulas know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor

# Operator -> version for int8, if it is not 2; uint8 came with version 1.
_INT8_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEPTH_TO_SPACE": 1,
    "EXPAND_DIMS": 1,
    "FULLY_CONNECTED": 4,
    "HARD_SWISH": 1,
    "PRELU": 1,
    "RELU_N1_TO_1": 1,
    "RESHAPE": 1,
    "SQUEEZE": 1,
    "TRANSPOSE_CONV": 3,
}
_FUSED = ("NONE", "NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass
class Graph:
    """A graph under construction; methods that add a tensor return its index."""

    random: np.random.Generator
    dtype: str  # of activations: "INT8" or "UINT8"
    tensors: list[Tensor] = field(default_factory=list)
    buffers: list[Any] = field(default_factory=lambda: [np.empty(0, np.uint8)])
    operators: list[Operator] = field(default_factory=list)
    spreads: dict[int, float] = field(default_factory=dict)  # standard deviation of real values

    def pick(self, *values: Any) -> Any:  # noqa: ANN401 - any values
        """Return one of ``values``."""
        return values[int(self.random.integers(len(values)))]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return self.tensors[index].shape

    def quantization(self, index: int) -> Quantization:
        """Return the quantization of an activation."""
        quantization = self.tensors[index].quantization
        if quantization is None:
            raise ValueError(f"tensor {index} is not quantized")
        return quantization

    def activation(
        self,
        shape: Sequence[int],
        spread: float,
        quantization: Quantization | None = None,
        dtype: str = "",
    ) -> int:
        """Add an activation whose values spread by ``spread`` around zero."""
        dtype = dtype or self.dtype
        if quantization is None:
            low = -128 if dtype == "INT8" else 0
            zero = low + int(self.random.integers(100, 156))
            scale = float(np.float32(spread * self.random.uniform(4, 8) / 255))
            quantization = Quantization((scale,), (zero,))
        sizes = tuple(int(size) for size in shape)
        self.tensors.append(Tensor(f"t{len(self.tensors)}", sizes, dtype, 0, quantization))
        self.spreads[len(self.tensors) - 1] = spread
        return len(self.tensors) - 1

    def like(self, index: int, shape: Sequence[int] = ()) -> int:
        """Add an activation with the quantization of another one."""
        return self.activation(
            shape or self.shape(index),
            self.spreads[index],
            self.quantization(index),
            self.tensors[index].dtype,
        )

    def fixed(self, index: int, scale: float, zero_point: int) -> int:
        """Add an activation of a shape whose quantization the operator prescribes (int8)."""
        zero = zero_point + (0 if self.dtype == "INT8" else 128)
        quantization = Quantization((scale,), (zero,))
        return self.activation(self.shape(index), 64 * scale, quantization)

    def constant(self, values: Any, quantization: Quantization | None = None) -> int:  # noqa: ANN401
        """Add a constant of the type of ``values``."""
        array = np.ascontiguousarray(values)
        name, dtype = f"c{len(self.tensors)}", array.dtype.name.upper()
        self.tensors.append(Tensor(name, array.shape, dtype, len(self.buffers), quantization))
        self.buffers.append(np.frombuffer(array.tobytes(), np.uint8))
        return len(self.tensors) - 1

    def integers(self, values: Any) -> int:  # noqa: ANN401 - any nested integers
        """Add an int32 constant."""
        return self.constant(np.asarray(values, np.int32))

    def weights(self, shape: Sequence[int], axis: int, *, per_channel: bool) -> tuple[int, float]:
        """Add weights; return their index, and the root mean square of their real values."""
        if self.dtype == "UINT8":
            zero, scale = int(self.random.integers(90, 170)), float(self.random.uniform(1e-3, 2e-2))
            values = np.clip(np.rint(self.random.normal(zero, 40, shape)), 0, 255)
            quantization = Quantization((float(np.float32(scale)),), (zero,))
            return self.constant(values.astype(np.uint8), quantization), 40 * scale
        channels = shape[axis] if per_channel else 1
        scales = self.random.uniform(5e-3, 2e-2, channels).astype(np.float32)
        values = np.clip(np.rint(self.random.normal(0, 45, shape)), -127, 127)
        listed = tuple(float(scale) for scale in scales)
        quantization = Quantization(listed, (0,) * channels, axis if per_channel else 0)
        return self.constant(values.astype(np.int8), quantization), 45 * float(scales.mean())

    def bias(self, source: int, weights: int, number: int, spread: float) -> int:
        """Add a bias at the scale of the products."""
        scales = np.array(self.quantization(weights).scale, np.float32)
        scales *= np.float32(self.quantization(source).scale[0])
        real = self.random.normal(0, spread / 2, number)
        quantization = Quantization(tuple(float(each) for each in scales), (0,) * len(scales))
        return self.constant(np.rint(real / scales).astype(np.int32), quantization)

    def fused(self) -> str:
        """Return a fused activation."""
        return str(self.pick(*_FUSED))

    def add(
        self,
        opcode: str,
        inputs: Sequence[int],
        outputs: int | Sequence[int],
        kind: str = "NONE",
        **options: Any,  # noqa: ANN401 - fields of any options table
    ) -> int:
        """Add an operator; return its first output."""
        made = (outputs,) if isinstance(outputs, int) else tuple(outputs)
        version = 1 if self.dtype == "UINT8" else _INT8_VERSIONS.get(opcode, 2)
        self.operators.append(Operator(opcode, version, tuple(inputs), made, options, kind))
        return made[0]


Maker = Callable[[Graph, int], int]


def random_model(seed: int, opcodes: Sequence[str], shape: Sequence[int] = ()) -> Model:
    """Return a chain of ``opcodes``; its outputs are the ends of the graph.

    Raises:
        ValueError: An operator does not take the shape of its input.
    """
    random = np.random.default_rng(seed)
    graph = Graph(random, str(random.choice(["INT8", "UINT8"])))
    if any(opcode in _INT8_ONLY for opcode in opcodes):
        graph.dtype = "INT8"
    sizes = shape or (1, *random.integers(3, 14, 2), random.choice([1, 3, 4, 8, 18, 33]))
    first = current = graph.activation(sizes, float(10 ** random.uniform(-2, 1)))
    for opcode in opcodes:
        current = MAKERS[opcode](graph, current)
    read = {index for operator in graph.operators for index in operator.inputs}
    made = [index for operator in graph.operators for index in operator.outputs]
    ends = tuple(index for index in made if index not in read)
    inputs = tuple(
        index
        for index in dict.fromkeys(index for each in graph.operators for index in each.inputs)
        if index >= 0 and index not in made and not graph.tensors[index].buffer
    )
    operators = tuple(graph.operators)
    subgraph = Subgraph(tuple(graph.tensors), inputs or (first,), ends, operators, "main")
    return Model((subgraph,), tuple(graph.buffers), f"random operators {seed}")


def random_feeds(model: Model, seed: int, *, extreme: int | None = None) -> dict[str, Any]:
    """Return values over the whole range for every input; all equal if ``extreme`` is a byte."""
    random, feeds = np.random.default_rng(seed), {}
    for index in model.main.inputs:
        tensor = model.main.tensors[index]
        values = random.integers(0, 256, tensor.shape).astype(np.uint8)
        if extreme is not None:
            values[...] = extreme
        feeds[tensor.name] = values.view(np.int8) if tensor.dtype == "INT8" else values
    return feeds


# -- layers with weights


def _conv(graph: Graph, x: int) -> int:
    batch, height, width, channels = graph.shape(x)
    size = [min(graph.pick(1, 1, 2, 3, 5), length) for length in (height, width)]
    dilation = graph.pick(1, 1, 1, 2) if min(size) > 1 and min(height, width) > 4 else 1
    reach = [(each - 1) * dilation + 1 for each in size]
    padding = "SAME" if reach[0] > height or reach[1] > width else graph.pick("SAME", "VALID")
    stride = 1 if dilation > 1 else graph.pick(1, 1, 2, 3)
    filters = int(graph.pick(1, 3, 8, 17, 40))
    weights, spread = graph.weights((filters, *size, channels), 0, per_channel=graph.pick(0, 1))
    spread *= graph.spreads[x] * float(np.sqrt(size[0] * size[1] * channels))
    bias = graph.bias(x, weights, filters, spread)
    out = _window_counts((height, width), reach, stride, padding)
    options = _window_options(graph, padding, stride, dilation)
    made = graph.activation((batch, *out, filters), spread)
    return graph.add("CONV_2D", (x, weights, bias), made, "Conv2DOptions", **options)


def _depthwise(graph: Graph, x: int) -> int:
    batch, height, width, channels = graph.shape(x)
    size = [min(graph.pick(1, 2, 3, 5), length) for length in (height, width)]
    dilation = graph.pick(1, 1, 2) if min(size) > 1 and min(height, width) > 4 else 1
    reach = [(each - 1) * dilation + 1 for each in size]
    padding = "SAME" if reach[0] > height or reach[1] > width else graph.pick("SAME", "VALID")
    stride = 1 if dilation > 1 else graph.pick(1, 2)
    times = int(graph.pick(1, 1, 1, 2, 4))
    weights, spread = graph.weights((1, *size, channels * times), 3, per_channel=graph.pick(0, 1))
    spread *= graph.spreads[x] * float(np.sqrt(size[0] * size[1]))
    bias = graph.bias(x, weights, channels * times, spread)
    out = _window_counts((height, width), reach, stride, padding)
    options = _window_options(graph, padding, stride, dilation)
    made = graph.activation((batch, *out, channels * times), spread)
    return graph.add(
        "DEPTHWISE_CONV_2D",
        (x, weights, bias) if graph.pick(0, 1, 1) else (x, weights),
        made,
        "DepthwiseConv2DOptions",
        depth_multiplier=times,
        **options,
    )


def _window_counts(
    sizes: Sequence[int], reach: Sequence[int], stride: int, padding: str
) -> list[int]:
    if padding == "SAME":
        return [-(-length // stride) for length in sizes]
    return [(length - each) // stride + 1 for length, each in zip(sizes, reach, strict=True)]


def _window_options(graph: Graph, padding: str, stride: int, dilation: int) -> dict[str, Any]:
    return {
        "padding": padding,
        "stride_w": stride,
        "stride_h": stride,
        "dilation_w_factor": dilation,
        "dilation_h_factor": dilation,
        "fused_activation_function": graph.fused(),
    }


def _dense(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    length, filters = int(np.prod(shape[1:])), int(graph.pick(1, 5, 16, 70))
    weights, spread = graph.weights((filters, length), 0, per_channel=False)
    spread *= graph.spreads[x] * float(np.sqrt(length))
    bias = graph.bias(x, weights, filters, spread)
    made = graph.activation((shape[0], filters), spread)
    fused = graph.fused()
    return graph.add(
        "FULLY_CONNECTED",
        (x, weights, bias if graph.pick(0, 1, 1) else -1),
        made,
        "FullyConnectedOptions",
        fused_activation_function=fused,
    )


def _transpose_conv(graph: Graph, x: int) -> int:
    batch, height, width, channels = graph.shape(x)
    size, stride, filters = graph.pick(1, 2, 3, 4), graph.pick(1, 2, 3), int(graph.pick(1, 4, 9))
    padding = graph.pick("SAME", "VALID")
    sides = (height, width)
    out = [
        length * stride if padding == "SAME" else (length - 1) * stride + size for length in sides
    ]
    shape = graph.integers([batch, *out, filters])
    per_channel = graph.pick(0, 1)
    weights, spread = graph.weights((filters, size, size, channels), 0, per_channel=per_channel)
    spread *= graph.spreads[x] * float(np.sqrt(size * size * channels)) / stride
    bias = graph.bias(x, weights, filters, spread)
    inputs = (shape, weights, x, bias) if graph.pick(0, 1) else (shape, weights, x)
    return graph.add(
        "TRANSPOSE_CONV",
        inputs,
        graph.activation((batch, *out, filters), spread),
        "TransposeConvOptions",
        padding=padding,
        stride_w=stride,
        stride_h=stride,
    )


# -- two operands


def _two_operands(opcode: str, kind: str) -> Maker:
    def make(graph: Graph, x: int) -> int:
        shape, spread = graph.shape(x), graph.spreads[x]
        other_shape = graph.pick(shape, shape, (1,) * (len(shape) - 1) + shape[-1:], ())
        size = spread * float(10 ** graph.random.uniform(-0.7, 0.7))
        if graph.random.random() < 0.5 and other_shape:
            other = graph.activation(other_shape, size)
        else:
            quantization = Quantization(
                (float(np.float32(size / 50)),), (int(graph.random.integers(60, 120)),)
            )
            dtype: Any = np.int8 if graph.dtype == "INT8" else np.uint8
            bounds = (-128, 128) if dtype is np.int8 else (0, 256)
            values = graph.random.integers(*bounds, other_shape).astype(dtype)
            other = graph.constant(np.reshape(values, other_shape), quantization)
        is_sum = opcode in ("ADD", "SUB")
        made = graph.activation(shape, float(np.hypot(spread, size)) if is_sum else spread * size)
        inputs = (x, other) if graph.random.random() < 0.7 else (other, x)
        fused = graph.fused()
        return graph.add(opcode, inputs, made, kind, fused_activation_function=fused)

    return make


def _extreme(opcode: str) -> Maker:
    def make(graph: Graph, x: int) -> int:
        return graph.add(opcode, (x, graph.like(x)), graph.like(x), "MaximumMinimumOptions")

    return make


def _prelu(graph: Graph, x: int) -> int:
    alpha = graph.random.integers(-127, 128, (1, 1, graph.shape(x)[-1])).astype(np.int8)
    zero = 0
    if graph.dtype == "UINT8":
        alpha, zero = (alpha.astype(np.int16) + 128).astype(np.uint8), 128
    slopes = graph.constant(alpha, Quantization((float(np.float32(0.006)),), (zero,)))
    return graph.add("PRELU", (x, slopes), graph.activation(graph.shape(x), graph.spreads[x]))


def _squared_difference(graph: Graph, x: int) -> int:
    spread = graph.spreads[x]
    other = graph.activation(graph.shape(x), spread * float(graph.random.uniform(0.3, 2)))
    made = graph.activation(graph.shape(x), 2 * spread * spread)
    return graph.add("SQUARED_DIFFERENCE", (x, other), made, "SquaredDifferenceOptions")


# -- one operand


def _rescaling(opcode: str) -> Maker:
    def make(graph: Graph, x: int) -> int:
        factor = float(graph.random.uniform(0.5, 2))
        return graph.add(opcode, (x,), graph.activation(graph.shape(x), graph.spreads[x] * factor))

    return make


def _hard_swish(graph: Graph, x: int) -> int:
    source = graph.activation(graph.shape(x), float(graph.random.uniform(0.5, 4)))
    made = graph.activation(graph.shape(x), graph.spreads[source] / 2)
    return graph.add("HARD_SWISH", (source,), made, "HardSwishOptions")


def _fixed_function(opcode: str, kind: str, scale: float, zero: int, **options: Any) -> Maker:  # noqa: ANN401
    def make(graph: Graph, x: int) -> int:
        source = graph.activation(graph.shape(x), float(10 ** graph.random.uniform(-0.5, 1)))
        return graph.add(opcode, (source,), graph.fixed(source, scale, zero), kind, **options)

    return make


def _rsqrt(graph: Graph, x: int) -> int:
    scale = float(np.float32(graph.random.uniform(0.01, 1)))
    source = graph.activation(graph.shape(x), 60 * scale, Quantization((scale,), (-128,)))
    largest = float(np.float32(1 / np.sqrt(3 * scale) / 255))
    made = graph.activation(graph.shape(x), 60 * largest, Quantization((largest,), (-128,)))
    return graph.add("RSQRT", (source,), made)


# -- pools and reductions


def _pool(opcode: str) -> Maker:
    def make(graph: Graph, x: int) -> int:
        batch, height, width, channels = graph.shape(x)
        size = [int(graph.random.integers(1, min(length, 7) + 1)) for length in (height, width)]
        stride, padding = graph.pick(1, 2, 3), graph.pick("SAME", "VALID")
        out = _window_counts((height, width), size, stride, padding)
        return graph.add(
            opcode,
            (x,),
            graph.like(x, (batch, *out, channels)),
            "Pool2DOptions",
            padding=padding,
            stride_w=stride,
            stride_h=stride,
            filter_width=size[1],
            filter_height=size[0],
            fused_activation_function="NONE",
        )

    return make


def _reduction(opcode: str) -> Maker:
    def make(graph: Graph, x: int) -> int:
        shape = graph.shape(x)
        axes = graph.pick(*(each for each in ((1,), (2,), (3,), (1, 2), (2, 3)) if len(shape) == 4))
        keep = bool(graph.pick(0, 1))
        kept = [1 if k in axes else n for k, n in enumerate(shape) if keep or k not in axes]
        number = float(np.prod([shape[axis] for axis in axes]))
        if opcode in ("REDUCE_MAX", "REDUCE_MIN"):
            made = graph.like(x, kept)
        else:
            power = 0.5 if opcode == "SUM" else -0.5
            made = graph.activation(kept, graph.spreads[x] * number**power)
        inputs = (x, graph.integers(axes))
        return graph.add(opcode, inputs, made, "ReducerOptions", keep_dims=keep)

    return make


# -- moves


def _reshape(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    wanted = (shape[0], int(np.prod(shape[1:-1])), shape[-1])
    return graph.add("RESHAPE", (x, graph.integers(wanted)), graph.like(x, wanted))


def _expand_dims(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    made = graph.like(x, (*shape[:-1], 1, shape[-1]))
    inputs = (x, graph.integers(len(shape) - 1))
    return graph.add("EXPAND_DIMS", inputs, made, "ExpandDimsOptions")


def _squeeze(graph: Graph, x: int) -> int:
    kept = [n for n in graph.shape(x)[1:] if n > 1]
    made = graph.like(x, (graph.shape(x)[0], *kept))
    dims = tuple(k for k, n in enumerate(graph.shape(x)) if k and n == 1)
    return graph.add("SQUEEZE", (x,), made, "SqueezeOptions", squeeze_dims=dims)


def _pad(opcode: str, kind: str) -> Maker:
    def make(graph: Graph, x: int) -> int:
        shape = graph.shape(x)
        largest = [0] + [min(3, n - 1) for n in shape[1:]]
        pads = [[int(graph.random.integers(most + 1)) for _ in "ab"] for most in largest]
        wanted = [n + a + b for n, (a, b) in zip(shape, pads, strict=True)]
        inputs = [x, graph.integers(pads)]
        options = {"mode": graph.pick(0, 1)} if opcode == "MIRROR_PAD" else {}
        if opcode == "PADV2":
            dtype: Any = np.int8 if graph.dtype == "INT8" else np.uint8
            inputs.append(graph.constant(np.array(graph.pick(0, 5, 100), dtype).reshape(1),
                                         graph.quantization(x)))  # fmt: skip
        return graph.add(opcode, inputs, graph.like(x, wanted), kind, **options)

    return make


def _concatenate(graph: Graph, x: int) -> int:
    shape, axis = graph.shape(x), int(graph.random.integers(1, len(graph.shape(x))))
    sizes = [int(graph.random.integers(1, 6)) for _ in range(graph.pick(1, 2))]
    parts = [x]
    for size in sizes:
        wanted = [*shape[:axis], size, *shape[axis + 1 :]]
        # TensorFlow Lite's kernel rescales uint8 only.
        same = graph.dtype == "INT8" or graph.random.random() < 0.3
        factor = float(graph.random.uniform(0.5, 1.5))
        part = (
            graph.like(x, wanted) if same else graph.activation(wanted, graph.spreads[x] * factor)
        )
        parts.append(part)
    wanted = [*shape[:axis], shape[axis] + sum(sizes), *shape[axis + 1 :]]
    rescales = graph.dtype == "UINT8" and graph.random.random() < 0.5
    made = graph.activation(wanted, graph.spreads[x]) if rescales else graph.like(x, wanted)
    return graph.add(
        "CONCATENATION",
        parts,
        made,
        "ConcatenationOptions",
        axis=axis - (len(shape) if graph.pick(0, 1) else 0),
        fused_activation_function="NONE",
    )


def _pack(graph: Graph, x: int) -> int:
    shape = graph.shape(x)[1:]
    flat = graph.like(x, shape)
    graph.add("RESHAPE", (x, graph.integers(shape)), flat)
    axis = int(graph.random.integers(1, len(shape) + 1))
    parts = [flat, graph.like(x, shape), graph.like(x, shape)]
    made = graph.like(x, (*shape[:axis], 3, *shape[axis:]))
    return graph.add("PACK", parts, made, "PackOptions", values_count=3, axis=axis)


def _unpack(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    axis = int(graph.random.integers(1, len(shape)))
    parts = [graph.like(x, (*shape[:axis], *shape[axis + 1 :])) for _ in range(shape[axis])]
    return graph.add("UNPACK", (x,), parts, "UnpackOptions", num=shape[axis], axis=axis)


def _split(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    axis = int(graph.random.integers(1, len(shape)))
    number = next(n for n in (3, 2, 1) if shape[axis] % n == 0)
    wanted = (*shape[:axis], shape[axis] // number, *shape[axis + 1 :])
    parts = [graph.like(x, wanted) for _ in range(number)]
    return graph.add("SPLIT", (graph.integers(axis), x), parts, "SplitOptions", num_splits=number)


def _split_v(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    axis = int(np.argmax(shape))
    first = int(graph.random.integers(1, shape[axis]))
    sizes = (first, shape[axis] - first)
    parts = [graph.like(x, (*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]
    inputs = (x, graph.integers(sizes), graph.integers(axis))
    return graph.add("SPLIT_V", inputs, parts, "SplitVOptions", num_splits=2)


def _slice(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    begin = [0] + [int(graph.random.integers(n)) for n in shape[1:]]
    sizes = [int(graph.random.integers(1, n - b + 1)) for n, b in zip(shape, begin, strict=True)]
    inputs = (x, graph.integers(begin), graph.integers(sizes))
    return graph.add("SLICE", inputs, graph.like(x, sizes), "SliceOptions")


def _strided_slice(graph: Graph, x: int) -> int:
    shape = graph.shape(x)
    begin = [0] + [int(graph.random.integers(n)) for n in shape[1:]]
    end = [int(graph.random.integers(b + 1, n + 1)) for n, b in zip(shape, begin, strict=True)]
    begin_mask, end_mask = int(graph.random.integers(8)) | 1, int(graph.random.integers(8)) | 1
    shrink = graph.pick(0, 0, 8)
    wanted = []
    for k, n in enumerate(shape):
        first = 0 if begin_mask >> k & 1 else begin[k]
        last = n if end_mask >> k & 1 else end[k]
        if not shrink >> k & 1:
            wanted.append(last - first)
    inputs = (x, *(graph.integers(each) for each in (begin, end, [1] * len(shape))))
    return graph.add(
        "STRIDED_SLICE",
        inputs,
        graph.like(x, wanted),
        "StridedSliceOptions",
        begin_mask=begin_mask,
        end_mask=end_mask,
        shrink_axis_mask=shrink,
    )


def _transpose(graph: Graph, x: int) -> int:
    order = [0, *(1 + graph.random.permutation(len(graph.shape(x)) - 1))]
    wanted = [graph.shape(x)[axis] for axis in order]
    return graph.add("TRANSPOSE", (x, graph.integers(order)), graph.like(x, wanted))


def _tile(graph: Graph, x: int) -> int:
    times = [1, *graph.random.integers(1, 3, len(graph.shape(x)) - 1)]
    wanted = [n * k for n, k in zip(graph.shape(x), times, strict=True)]
    return graph.add("TILE", (x, graph.integers(times)), graph.like(x, wanted))


def _space_to_depth(graph: Graph, x: int) -> int:
    batch, height, width, channels = graph.shape(x)
    source = graph.like(x, (batch, 2 * height, 2 * width, channels))
    made = graph.like(x, (batch, height, width, 4 * channels))
    return graph.add("SPACE_TO_DEPTH", (source,), made, "SpaceToDepthOptions", block_size=2)


def _depth_to_space(graph: Graph, x: int) -> int:
    batch, height, width, channels = graph.shape(x)
    source = graph.like(x, (batch, height, width, 4 * channels))
    made = graph.like(x, (batch, 2 * height, 2 * width, channels))
    return graph.add("DEPTH_TO_SPACE", (source,), made, "DepthToSpaceOptions", block_size=2)


def _resize(opcode: str, kind: str) -> Maker:
    def make(graph: Graph, x: int) -> int:
        batch, height, width, channels = graph.shape(x)
        align, half = graph.pick((0, 0), (1, 0), (0, 1))
        factor = graph.pick(1, 2, 2, 3, 4)
        out = [n * factor - (factor - 1) * align for n in (height, width)]
        size, made = graph.integers(out), graph.like(x, (batch, *out, channels))
        words = {"align_corners": bool(align), "half_pixel_centers": bool(half)}
        return graph.add(opcode, (x, size), made, kind, **words)

    return make


MAKERS: dict[str, Maker] = {
    "ADD": _two_operands("ADD", "AddOptions"),
    "AVERAGE_POOL_2D": _pool("AVERAGE_POOL_2D"),
    "CONCATENATION": _concatenate,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEPTH_TO_SPACE": _depth_to_space,
    "EXPAND_DIMS": _expand_dims,
    "FULLY_CONNECTED": _dense,
    "HARD_SWISH": _hard_swish,
    "L2_NORMALIZATION": _fixed_function(
        "L2_NORMALIZATION", "L2NormOptions", 1 / 128, 0, fused_activation_function="NONE"
    ),
    "LOGISTIC": _fixed_function("LOGISTIC", "NONE", 1 / 256, -128),
    "MAXIMUM": _extreme("MAXIMUM"),
    "MAX_POOL_2D": _pool("MAX_POOL_2D"),
    "MEAN": _reduction("MEAN"),
    "MINIMUM": _extreme("MINIMUM"),
    "MIRROR_PAD": _pad("MIRROR_PAD", "MirrorPadOptions"),
    "MUL": _two_operands("MUL", "MulOptions"),
    "PACK": _pack,
    "PAD": _pad("PAD", "PadOptions"),
    "PADV2": _pad("PADV2", "PadV2Options"),
    "PRELU": _prelu,
    "QUANTIZE": _rescaling("QUANTIZE"),
    "REDUCE_MAX": _reduction("REDUCE_MAX"),
    "REDUCE_MIN": _reduction("REDUCE_MIN"),
    "RELU": _rescaling("RELU"),
    "RELU6": _rescaling("RELU6"),
    "RELU_N1_TO_1": _rescaling("RELU_N1_TO_1"),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize("RESIZE_BILINEAR", "ResizeBilinearOptions"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    "RSQRT": _rsqrt,
    "SLICE": _slice,
    "SOFTMAX": _fixed_function("SOFTMAX", "SoftmaxOptions", 1 / 256, -128, beta=1.0),
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUARED_DIFFERENCE": _squared_difference,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _two_operands("SUB", "SubOptions"),
    "SUM": _reduction("SUM"),
    "TANH": _fixed_function("TANH", "NONE", 1 / 128, 0),
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": _unpack,
}
_INT8_ONLY = ("RSQRT", "SQUARED_DIFFERENCE", "REDUCE_MAX", "REDUCE_MIN", "RELU_N1_TO_1")
