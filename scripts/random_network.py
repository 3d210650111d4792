# SPDX-License-Identifier: Apache-2.0
"""Random int8 networks, with their outputs by real arithmetic, rounded after every operator.

No TensorFlow is needed. Every tensor has a scale and a zero point chosen from the values that it
has for one random input, as a converter would choose them. `RandomNetwork.real` contains
these values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor

Array = NDArray[Any]
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "NONE": lambda x: x,
    "RELU": lambda x: np.maximum(x, 0),
    "RELU6": lambda x: np.clip(x, 0, 6),
    "RELU_N1_TO_1": lambda x: np.clip(x, -1, 1),
}
_SIZES = (1, 2, 3, 5, 7, 8, 9, 12, 13, 16, 17, 24, 31, 32, 33)
_CHANNELS = (1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32, 48, 63, 64, 65, 96, 130)
_MOST_VALUES = 40_000  # of a tensor, so that a network takes about a second
_MOST_WEIGHTS = 300_000


@dataclass
class RandomNetwork:
    """A network that grows operator by operator."""

    generator: np.random.Generator
    tensors: list[Tensor] = field(default_factory=list)
    buffers: list[Array] = field(default_factory=lambda: [np.empty(0, np.uint8)])
    operators: list[Operator] = field(default_factory=list)
    real: dict[int, Array] = field(default_factory=dict)  # on the grid of its quantization
    inputs: list[int] = field(default_factory=list)

    # Tensors.

    def value(self, name: str, real: Array, grid: Quantization | None = None) -> int:
        """An int8 activation; its quantization fits ``real`` unless it is given."""
        quantization = grid or self.grid(real)
        self.tensors.append(Tensor(name, real.shape, "INT8", 0, quantization))
        index = len(self.tensors) - 1
        scale, zero = quantization.scale[0], quantization.zero_point[0]
        q = np.clip(np.rint(real / scale) + zero, -128, 127)
        self.real[index] = (q - zero) * scale
        return index

    def grid(self, real: Array) -> Quantization:
        """A scale and a zero point for values; sometimes too narrow, so that values saturate."""
        low, high = min(float(real.min()), 0.0), max(float(real.max()), 0.0)
        shrink = self.generator.choice([1.0, 1.0, 1.0, 0.6])
        scale = max((high - low) * shrink / 255, 1e-4)
        zero = int(np.clip(np.rint(-128 - low * shrink / scale), -128, 127))
        return Quantization((float(np.float32(scale)),), (zero,))

    def constant(self, name: str, values: Array, quantization: Quantization | None = None) -> int:
        """A constant tensor."""
        array = np.ascontiguousarray(values)
        dtype = array.dtype.name.upper()
        self.tensors.append(Tensor(name, array.shape, dtype, len(self.buffers), quantization))
        self.buffers.append(np.frombuffer(array.tobytes(), np.uint8))
        return len(self.tensors) - 1

    def numbers(self, *values: int) -> int:
        """A constant of int32."""
        return self.constant(f"constant_{len(self.tensors)}", np.array(values, np.int32))

    def add(
        self,
        opcode: str,
        inputs: list[int],
        real: Array | list[Array],
        kind: str,
        grid: Quantization | None = None,
        **options: Any,  # noqa: ANN401 - of several types
    ) -> int:
        """Append an operator; returns its first output."""
        results = real if isinstance(real, list) else [real]
        name = f"{opcode.lower()}_{len(self.operators)}"
        outputs = [self.value(f"{name}_{k}", each, grid) for k, each in enumerate(results)]
        operator = Operator(opcode, 1, tuple(inputs), tuple(outputs), options, kind)
        self.operators.append(operator)
        return outputs[0]

    def grid_of(self, tensor: int) -> Quantization | None:
        """The quantization of a tensor."""
        return self.tensors[tensor].quantization

    def pick(self, *choices: Any) -> Any:  # noqa: ANN401 - of the choices' type
        """One of ``choices``."""
        return choices[int(self.generator.integers(len(choices)))]

    # Operators: each takes the index of a (1, H, W, C) tensor and returns that of its result.

    def conv_2d(self, source: int, *, depthwise: bool = False) -> int:
        """A convolution, per channel or per tensor, with any window, stride and dilation."""
        x = self.real[source]
        _, height, width, channels = x.shape
        size = self.pick((1, 1), (1, 1), (3, 3), (3, 3), (5, 5), (3, 1), (1, 5), (7, 7), (2, 2))
        stride = self.pick((1, 1), (1, 1), (2, 2), (1, 2), (3, 3))
        dilation = self.pick((1, 1), (1, 1), (1, 1), (2, 2)) if stride == (1, 1) else (1, 1)
        reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
        fits = reach[0] <= height and reach[1] <= width
        padding = self.pick("SAME", "SAME", "VALID") if fits else "SAME"
        outputs = channels if depthwise else int(self.pick(*_CHANNELS))
        inputs = 1 if depthwise else channels
        if outputs * inputs * size[0] * size[1] > _MOST_WEIGHTS:
            size, dilation = (1, 1), (1, 1)
        weights, w = self._weights(outputs, (*size, inputs), depthwise=depthwise)
        taps = _windows(x, size, stride, dilation, padding)
        if depthwise:
            total = np.einsum("yxhwc,cyx->hwc", taps, w[..., 0])
        else:
            total = np.einsum("yxhwc,oyxc->hwo", taps, w, optimize=True)
        activation = self.pick("NONE", "RELU", "RELU6")
        bias, b = self._bias(source, weights, outputs, float(np.abs(total).max()))
        options: dict[str, Any] = {
            "padding": padding,
            "stride_h": stride[0],
            "stride_w": stride[1],
            "dilation_h_factor": dilation[0],
            "dilation_w_factor": dilation[1],
            "fused_activation_function": activation,
        }
        if depthwise:
            options["depth_multiplier"] = 1
        return self.add(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            [source, weights, bias],
            _ACTIVATIONS[activation](total + b)[None],
            "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
            **options,
        )

    def depthwise_conv_2d(self, source: int) -> int:
        """A depthwise convolution."""
        return self.conv_2d(source, depthwise=True)

    def fully_connected(self, source: int) -> int:
        """A reshape to a vector and a dense layer, whose result is an image of one position."""
        x = self.real[source]
        if x.size > 12_000:
            source = self.average_pool_2d(source)
            x = self.real[source]
        if x.size > 12_000:
            return source
        vector = self.reshape(source, (1, x.size))
        outputs = int(self.pick(1, 3, 10, 17, 64, 100, 300, 1025))
        weights, w = self._weights(outputs, (x.size,), per_channel=False)
        total = w @ self.real[vector][0]
        bias, b = self._bias(vector, weights, outputs, float(np.abs(total).max()))
        activation = self.pick("NONE", "RELU")
        made = self.add(
            "FULLY_CONNECTED",
            [vector, weights, bias],
            _ACTIVATIONS[activation](total + b)[None],
            "FullyConnectedOptions",
            fused_activation_function=activation,
        )
        return self.reshape(made, (1, 1, 1, outputs))

    def _weights(
        self,
        outputs: int,
        shape: tuple[int, ...],
        *,
        depthwise: bool = False,
        per_channel: bool | None = None,
    ) -> tuple[int, Array]:
        """(tensor, real values with the output channel first)."""
        q = self.generator.integers(-127, 128, (outputs, *shape)).astype(np.int8)
        number = outputs if self.pick(True, False) and per_channel is not False else 1
        scales = self.generator.uniform(0.001, 0.02, number)
        stored = q.transpose(3, 1, 2, 0) if depthwise else q
        axis = 3 if depthwise else 0
        quantization = Quantization(
            tuple(float(np.float32(s)) for s in scales), (0,) * number, axis if number > 1 else 0
        )
        tensor = self.constant(f"weights_{len(self.operators)}", stored, quantization)
        steps = np.broadcast_to(scales, (outputs,)).reshape(-1, *(1,) * len(shape))
        return tensor, q * steps

    def _bias(self, source: int, weights: int, number: int, reach: float) -> tuple[int, Array]:
        if self.pick(True, True, True, False):
            grid, kernel = self.grid_of(source), self.tensors[weights].quantization
            scale = np.array(kernel.scale) * (grid.scale[0] if grid else 1) if kernel else 1.0
            steps = np.broadcast_to(scale, (number,))
            q = np.rint(self.generator.normal(0, 0.1 * reach, number) / steps).astype(np.int32)
            zeros = (0,) * len(np.atleast_1d(scale))
            scales = tuple(float(np.float32(s)) for s in np.atleast_1d(scale))
            quantization = Quantization(scales, zeros)
            return self.constant(f"bias_{len(self.operators)}", q, quantization), q * steps
        return -1, np.zeros(number)

    def reshape(self, source: int, shape: tuple[int, ...]) -> int:
        """The same values in another shape."""
        real = self.real[source].reshape(shape)
        target = self.numbers(*shape)
        grid = self.grid_of(source)
        return self.add("RESHAPE", [source, target], real, "ReshapeOptions", grid, new_shape=shape)

    def _pool(self, opcode: str, source: int) -> int:
        x = self.real[source]
        size = int(self.pick(2, 2, 3))
        stride = int(self.pick(1, 2, 2))
        fits = size <= min(x.shape[1:3])
        maximum = opcode == "MAX_POOL_2D"
        padding = "VALID" if fits and self.pick(True, not maximum) else "SAME"
        if not fits and not maximum:
            return source
        taps = _windows(
            x, (size, size), (stride, stride), (1, 1), padding, fill=-np.inf if maximum else 0.0
        )
        real = taps.max((0, 1)) if maximum else taps.mean((0, 1))
        return self.add(
            opcode,
            [source],
            real[None],
            "Pool2DOptions",
            self.grid_of(source),
            padding=padding,
            stride_h=stride,
            stride_w=stride,
            filter_height=size,
            filter_width=size,
            fused_activation_function="NONE",
        )

    def max_pool_2d(self, source: int) -> int:
        """The largest value of windows."""
        return self._pool("MAX_POOL_2D", source)

    def average_pool_2d(self, source: int) -> int:
        """The mean of windows."""
        return self._pool("AVERAGE_POOL_2D", source)

    def mean(self, source: int) -> int:
        """The mean over rows and columns."""
        axes = self.numbers(1, 2)
        real = self.real[source].mean((1, 2), keepdims=True)
        return self.add("MEAN", [source, axes], real, "ReducerOptions", keep_dims=True)

    def add_(self, source: int) -> int:
        """The sum of a tensor and what a convolution makes of it."""
        return self._binary("ADD", "AddOptions", source, np.add)

    def mul(self, source: int) -> int:
        """The product of a tensor and what a convolution makes of it."""
        return self._binary("MUL", "MulOptions", source, np.multiply)

    def sub(self, source: int) -> int:
        """The difference of a tensor and what a convolution makes of it."""
        return self._binary("SUB", "SubOptions", source, np.subtract)

    def maximum(self, source: int) -> int:
        """The larger one of a tensor and what a convolution makes of it."""
        return self._binary("MAXIMUM", "MaximumMinimumOptions", source, np.maximum)

    def minimum(self, source: int) -> int:
        """The smaller one of a tensor and what a convolution makes of it."""
        return self._binary("MINIMUM", "MaximumMinimumOptions", source, np.minimum)

    def _binary(
        self, opcode: str, kind: str, source: int, operation: Callable[[Array, Array], Array]
    ) -> int:
        channels = self.real[source].shape[3]
        weights, w = self._weights(channels, (1, 1, channels))
        total = np.einsum("hwc,oc->hwo", self.real[source][0], w[:, 0, 0])
        bias, b = self._bias(source, weights, channels, float(np.abs(total).max()))
        other = self.add(
            "CONV_2D",
            [source, weights, bias],
            (total + b)[None],
            "Conv2DOptions",
            padding="SAME",
            stride_h=1,
            stride_w=1,
            dilation_h_factor=1,
            dilation_w_factor=1,
            fused_activation_function="NONE",
        )
        options = {}
        activation = "NONE"
        if kind != "MaximumMinimumOptions":
            activation = self.pick("NONE", "RELU")
            options = {"fused_activation_function": activation}
        real = _ACTIVATIONS[activation](operation(self.real[source], self.real[other]))
        return self.add(opcode, [source, other], real, kind, **options)

    def concatenation(self, source: int) -> int:
        """A tensor and what a convolution makes of it, side by side."""
        other = self.conv_2d(source)
        if self.real[other].shape[1:3] != self.real[source].shape[1:3]:
            return other
        real = np.concatenate([self.real[source], self.real[other]], axis=3)
        grid = self.pick(None, self.grid_of(source))
        return self.add(
            "CONCATENATION",
            [source, other],
            real,
            "ConcatenationOptions",
            grid,
            axis=3,
            fused_activation_function="NONE",
        )

    def split(self, source: int) -> int:
        """The first of equal parts of the channels."""
        channels = self.real[source].shape[3]
        parts = next((n for n in (2, 3, 4) if channels % n == 0), 0)
        if not parts:
            return source
        real = np.split(self.real[source], parts, axis=3)
        axis = self.numbers(3)
        grid = self.grid_of(source)
        return self.add("SPLIT", [axis, source], real, "SplitOptions", grid, num_splits=parts)

    def pad(self, source: int) -> int:
        """Rows and columns of zeros around."""
        pads = self.generator.integers(0, 3, (2, 2)).tolist()
        widths = [[0, 0], *pads, [0, 0]]
        tensor = self.constant(f"pads_{len(self.operators)}", np.array(widths, np.int32))
        real = np.pad(self.real[source], widths)
        return self.add("PAD", [source, tensor], real, "PadOptions", self.grid_of(source))

    def strided_slice(self, source: int) -> int:
        """Rows and columns from a place on, also with steps."""
        _, height, width, channels = self.real[source].shape
        first = [int(self.generator.integers(0, max(1, n // 2))) for n in (height, width)]
        step = [int(self.pick(1, 1, 2)), int(self.pick(1, 1, 2))]
        words = [
            self.numbers(0, *first, 0),
            self.numbers(1, height, width, channels),
            self.numbers(1, *step, 1),
        ]
        real = self.real[source][:, first[0] :: step[0], first[1] :: step[1]]
        masks = dict.fromkeys(("begin", "end", "ellipsis", "new_axis", "shrink_axis"), 0)
        options = {f"{name}_mask": value for name, value in masks.items()}
        grid = self.grid_of(source)
        return self.add(
            "STRIDED_SLICE", [source, *words], real, "StridedSliceOptions", grid, **options
        )

    def slice_(self, source: int) -> int:
        """Some rows, columns and channels, from any place on."""
        sizes = self.real[source].shape[1:]
        first = [int(self.generator.integers(0, max(1, n // 2))) for n in sizes]
        count = [
            int(self.generator.integers(1, n - k + 1)) for n, k in zip(sizes, first, strict=True)
        ]
        where = tuple(slice(k, k + n) for k, n in zip(first, count, strict=True))
        inputs = [source, self.numbers(0, *first), self.numbers(1, *count)]
        real = self.real[source][(slice(None), *where)]
        return self.add("SLICE", inputs, real, "SliceOptions", self.grid_of(source))

    def pad_channels(self, source: int) -> int:
        """Rows, columns and channels of zeros around."""
        pads = self.generator.integers(0, 3, (3, 2)).tolist()
        widths = [[0, 0], *pads]
        tensor = self.constant(f"pads_{len(self.operators)}", np.array(widths, np.int32))
        real = np.pad(self.real[source], widths)
        return self.add("PAD", [source, tensor], real, "PadOptions", self.grid_of(source))

    def mirror_pad(self, source: int) -> int:
        """The image's own rows and columns around it."""
        most = [min(2, n - 1) for n in self.real[source].shape[1:3]]
        pads = [[int(self.generator.integers(0, n + 1)) for _ in "ab"] for n in most]
        widths = [[0, 0], *pads, [0, 0]]
        tensor = self.constant(f"pads_{len(self.operators)}", np.array(widths, np.int32))
        mode = int(self.pick(0, 1))
        kind: Any = ("reflect", "symmetric")[mode]
        real = np.pad(self.real[source], widths, mode=kind)
        inputs, grid = [source, tensor], self.grid_of(source)
        return self.add("MIRROR_PAD", inputs, real, "MirrorPadOptions", grid, mode=mode)

    def tile(self, source: int) -> int:
        """The image several times, side by side."""
        times = [1, *self.generator.integers(1, 3, 3).tolist()]
        real = np.tile(self.real[source], times)
        inputs, grid = [source, self.numbers(*times)], self.grid_of(source)
        return self.add("TILE", inputs, real, "TileOptions", grid)

    def concatenation_of_places(self, source: int) -> int:
        """An image and a part of it, one below or beside the other."""
        axis = int(self.pick(1, 2))
        part = self.slice_(source)
        real = self.real[source]
        wanted = list(real.shape)
        wanted[axis] = self.real[part].shape[axis]
        if list(self.real[part].shape) != wanted:
            part = source
        made = np.concatenate([real, self.real[part]], axis=axis)
        return self.add(
            "CONCATENATION",
            [source, part],
            made,
            "ConcatenationOptions",
            self.grid_of(source),
            axis=axis,
            fused_activation_function="NONE",
        )

    def reshape_places(self, source: int) -> int:
        """The same values with rows, columns and channels of other sizes."""
        _, height, width, channels = self.real[source].shape
        wanted = [(1, 1, height * width, channels), (1, width, height, channels)]
        if channels % 2 == 0:
            wanted.append((1, height, 2 * width, channels // 2))
        if width % 2 == 0:
            wanted.append((1, height, width // 2, 2 * channels))
        shape = wanted[int(self.generator.integers(len(wanted)))]
        # An image is read by a convolution, so that the values really move.
        return self.conv_2d(self.reshape(source, shape))

    def depth_to_space(self, source: int) -> int:
        """Channels as blocks of 2 x 2 positions."""
        _, height, width, channels = self.real[source].shape
        if channels % 4:
            return source
        x = self.real[source].reshape(1, height, width, 2, 2, channels // 4)
        real = x.transpose(0, 1, 3, 2, 4, 5).reshape(1, 2 * height, 2 * width, channels // 4)
        grid = self.grid_of(source)
        return self.add("DEPTH_TO_SPACE", [source], real, "DepthToSpaceOptions", grid, block_size=2)

    def transpose_conv(self, source: int) -> int:
        """A transposed convolution with a stride of 1 to 3."""
        x = self.real[source][0]
        height, width, channels = x.shape
        stride, size = int(self.pick(1, 2, 2, 3)), int(self.pick(1, 2, 3, 4))
        outputs = int(self.pick(1, 3, 4, 8, 17))
        padding = "VALID" if size < stride or self.pick(True, False) else "SAME"
        weights, w = self._weights(outputs, (size, size, channels))
        full = np.zeros(((height - 1) * stride + size, (width - 1) * stride + size, outputs))
        for y in range(size):
            for z in range(size):
                made = np.einsum("hwc,oc->hwo", x, w[:, y, z])
                rows = slice(y, y + (height - 1) * stride + 1, stride)
                full[rows, z : z + (width - 1) * stride + 1 : stride] += made
        real = full
        if padding == "SAME":
            cut = max(size - stride, 0)
            real = full[cut // 2 :, cut // 2 :][: height * stride, : width * stride]
        shape = self.numbers(1, *real.shape)
        return self.add(
            "TRANSPOSE_CONV",
            [shape, weights, source],
            real[None],
            "TransposeConvOptions",
            padding=padding,
            stride_h=stride,
            stride_w=stride,
            fused_activation_function="NONE",
        )

    def depth_multiplier(self, source: int) -> int:
        """A depthwise convolution that makes several channels of each."""
        x = self.real[source]
        channels, times = x.shape[3], int(self.pick(2, 3))
        weights, w = self._weights(channels * times, (3, 3, 1), depthwise=True)
        taps = _windows(x, (3, 3), (1, 1), (1, 1), "SAME")
        real = np.einsum("yxhwc,cyx->hwc", taps.repeat(times, axis=4), w[..., 0])
        return self.add(
            "DEPTHWISE_CONV_2D",
            [source, weights, -1],
            real[None],
            "DepthwiseConv2DOptions",
            padding="SAME",
            stride_h=1,
            stride_w=1,
            depth_multiplier=times,
            dilation_h_factor=1,
            dilation_w_factor=1,
            fused_activation_function="NONE",
        )

    def resize_bilinear(self, source: int) -> int:
        """Twice the size, half-pixel centres."""
        x = self.real[source]
        for axis in (1, 2):
            count = x.shape[axis]
            place = np.clip((np.arange(2 * count) + 0.5) / 2 - 0.5, 0, count - 1)
            low = np.floor(place).astype(int)
            part = (place - low).reshape([-1 if k == axis else 1 for k in range(4)])
            high = np.minimum(low + 1, count - 1)
            x = x.take(low, axis) * (1 - part) + x.take(high, axis) * part
        return self._resize("RESIZE_BILINEAR", "ResizeBilinearOptions", source, x)

    def resize_nearest_neighbor(self, source: int) -> int:
        """Every value twice in both directions."""
        x = self.real[source].repeat(2, axis=1).repeat(2, axis=2)
        return self._resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", source, x)

    def _resize(self, opcode: str, kind: str, source: int, real: Array) -> int:
        size = self.numbers(real.shape[1], real.shape[2])
        grid = self.grid_of(source)
        return self.add(
            opcode, [source, size], real, kind, grid, align_corners=False, half_pixel_centers=True
        )

    def logistic(self, source: int) -> int:
        """The logistic function; its scale is fixed."""
        real = 1 / (1 + np.exp(-self.real[source]))
        return self.add("LOGISTIC", [source], real, "NONE", Quantization((1 / 256,), (-128,)))

    def tanh(self, source: int) -> int:
        """The hyperbolic tangent; its scale is fixed."""
        real = np.tanh(self.real[source])
        return self.add("TANH", [source], real, "NONE", Quantization((1 / 128,), (0,)))

    def hard_swish(self, source: int) -> int:
        """``x * relu6(x + 3) / 6``."""
        x = self.real[source]
        return self.add("HARD_SWISH", [source], x * np.clip(x + 3, 0, 6) / 6, "HardSwishOptions")

    def relu(self, source: int) -> int:
        """RELU or RELU6 alone."""
        name = self.pick("RELU", "RELU6")
        return self.add(name, [source], _ACTIVATIONS[name](self.real[source]), "NONE")

    def quantize(self, source: int) -> int:
        """The same values on another grid."""
        return self.add("QUANTIZE", [source], self.real[source], "QuantizeOptions")

    def softmax(self, source: int) -> int:
        """The softmax of the channels of each position; its scale is fixed."""
        x = self.real[source]
        e = np.exp(x - x.max(-1, keepdims=True))
        real = e / e.sum(-1, keepdims=True)
        grid = Quantization((1 / 256,), (-128,))
        return self.add("SOFTMAX", [source], real, "SoftmaxOptions", grid, beta=1.0)

    def space_to_depth(self, source: int) -> int:
        """Blocks of 2 x 2 positions as channels."""
        _, height, width, channels = self.real[source].shape
        if height % 2 or width % 2:
            return source
        x = self.real[source].reshape(1, height // 2, 2, width // 2, 2, channels)
        real = x.transpose(0, 1, 3, 2, 4, 5).reshape(1, height // 2, width // 2, 4 * channels)
        grid = self.grid_of(source)
        return self.add("SPACE_TO_DEPTH", [source], real, "SpaceToDepthOptions", grid, block_size=2)

    def transpose(self, source: int) -> int:
        """Rows, columns and channels in another order."""
        order = [0, *(1 + self.generator.permutation(3))]
        grid = self.grid_of(source)
        real = self.real[source].transpose(order)
        return self.add("TRANSPOSE", [source, self.numbers(*order)], real, "NONE", grid)

    def model(self, outputs: list[int]) -> Model:
        """The network as a model."""
        graph = Subgraph(
            tuple(self.tensors), tuple(self.inputs), tuple(outputs), tuple(self.operators), "main"
        )
        return Model((graph,), tuple(self.buffers), "random")


def _windows(
    x: Array,
    size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: str,
    *,
    fill: float = 0.0,
) -> Array:
    """Every tap of a sliding window: (rows, columns, H, W, C)."""
    pads, counts = [(0, 0)], []
    for axis in (0, 1):
        length = x.shape[1 + axis]
        reach = (size[axis] - 1) * dilation[axis] + 1
        if padding == "SAME":
            number = -(-length // stride[axis])
            missing = max((number - 1) * stride[axis] + reach - length, 0)
            pads.append((missing // 2, missing - missing // 2))
        else:
            number = (length - reach) // stride[axis] + 1
            pads.append((0, 0))
        counts.append(number)
    padded = np.pad(x, [*pads, (0, 0)], constant_values=fill)[0]
    rows = []
    for y in range(size[0]):
        row = []
        for z in range(size[1]):
            top, left = y * dilation[0], z * dilation[1]
            row.append(
                padded[
                    top : top + (counts[0] - 1) * stride[0] + 1 : stride[0],
                    left : left + (counts[1] - 1) * stride[1] + 1 : stride[1],
                ]
            )
        rows.append(np.stack(row))
    return np.stack(rows)


# What can follow an image, by how often it is drawn.
OPERATORS: dict[str, int] = {
    "conv_2d": 8,
    "depthwise_conv_2d": 4,
    "add_": 3,
    "max_pool_2d": 2,
    "average_pool_2d": 2,
    "concatenation": 3,
    "pad": 2,
    "strided_slice": 1,
    "relu": 1,
    "quantize": 1,
    "logistic": 1,
    "mul": 2,
    "sub": 1,
    "maximum": 1,
    "minimum": 1,
    "split": 1,
    "resize_bilinear": 1,
    "resize_nearest_neighbor": 1,
    "tanh": 1,
    "hard_swish": 1,
    "space_to_depth": 1,
    "slice_": 1,
    "pad_channels": 1,
    "mirror_pad": 1,
    "tile": 1,
    "concatenation_of_places": 1,
    "reshape_places": 1,
    "depth_to_space": 1,
    "transpose_conv": 1,
    "depth_multiplier": 1,
    "transpose": 1,
}
ENDS = ("mean", "fully_connected", "softmax", "logistic", "")


def random_network(seed: int, operators: dict[str, int] | None = None) -> RandomNetwork:
    """One to six operators on an image of random size, sometimes with a head of vectors."""
    network = RandomNetwork(np.random.default_rng(seed))
    shape = (1, network.pick(*_SIZES), network.pick(*_SIZES), network.pick(1, 2, 3, 3, 4, 5, 8, 16))
    real = network.generator.normal(0, 1, shape)
    here = network.value("image", real)
    network.inputs.append(here)
    weights = operators or OPERATORS
    names = [name for name, times in weights.items() for _ in range(times)]
    for _ in range(int(network.generator.integers(1, 7))):
        before = here
        here = getattr(network, network.pick(*names))(here)
        if network.real[here].size > _MOST_VALUES:
            here = before
            break
    end = network.pick(*ENDS) if operators is None else ""
    if end:
        here = getattr(network, end)(here)
    if not network.operators:
        here = network.quantize(here)
    return network


def last_output(network: RandomNetwork) -> int:
    """The output of the last operator: what the network gives."""
    return network.operators[-1].outputs[0]
