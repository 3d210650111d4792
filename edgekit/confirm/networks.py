# SPDX-License-Identifier: Apache-2.0
"""Small int8 networks made from a seed: what the rungs of the ladder compute.

The same network is made on every machine: all random numbers are integers of numpy's
``RandomState``, whose sequence never changes, and scales follow from shapes, not from values. So
the network needs no file and no TensorFlow, and an imported report can be made again.

Every tensor has a *spread*, the standard deviation that its real values have for random inputs.
Scales follow from it, so that values use most of the 256 steps, and few saturate; weights are
scaled so that no layer changes the spread much.
"""

from __future__ import annotations

import math
import zlib
from typing import Any, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor

Step = Callable[["NetworkBuilder"], None]

_LAYER_SPREAD = 2.0  # of a layer's sums: a RELU6 then uses half of the steps
# The real range of an activation, in standard deviations, that its 256 steps represent.
_DEVIATIONS = 6.0
_UNIFORM = 255 / math.sqrt(12)  # the spread of integers that are uniform over 8 bits
_FIXED = {  # TensorFlow Lite prescribes the output's scale and zero point (kernel_util.cc)
    "LOGISTIC": (Quantization((1 / 256,), (-128,)), 0.2),
    "TANH": (Quantization((1 / 128,), (0,)), 0.6),
    "SOFTMAX": (Quantization((1 / 256,), (-128,)), 0.1),
}
_BINARY_OPTIONS = {"MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions"}


class NetworkBuilder:
    """A network that grows operator by operator; ``here`` is the tensor to continue from."""

    def __init__(
        self, name: str, shape: Sequence[int], scales: Sequence[float] = (), spread: float = 1.0
    ) -> None:
        """Start from one int8 input.

        Args:
            name: Of the network; its random numbers follow from it.
            shape: Of the input, (height, width, channels) or (values,).
            scales: Of the input and of the layers behind it, whose zero points are then -128 and
                whose biases 0; empty chooses them.
            spread: Of the input.
        """
        self.name = name
        self._scales = list(scales[1:])
        self._has_scales = bool(scales)
        self._random = np.random.RandomState(zlib.crc32(name.encode()))
        self._tensors: list[Tensor] = []
        self._buffers: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
        self._operators: list[Operator] = []
        self._spreads: dict[int, float] = {}
        self._kept: dict[str, int] = {}
        first = scales[0] if scales else float(np.float32(spread / _UNIFORM))
        zero = -128 if scales else self._zero_point()
        grid = Quantization((first,), (zero,))
        self.here = self._activation((1, *shape), first * _UNIFORM, grid)
        self._inputs = [self.here]
        self._ends: list[int] = []

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor ``here``."""
        return self._tensors[self.here].shape

    def model(self) -> Model:
        """Return the network; its outputs are ``here`` and all tensors that were ended."""
        graph = Subgraph(
            tuple(self._tensors),
            tuple(self._inputs),
            (*self._ends, self.here),
            tuple(self._operators),
            "main",
        )
        return Model((graph,), tuple(self._buffers), self.name)

    def keep(self, name: str) -> None:
        """Name the tensor ``here``, to use it again later."""
        self._kept[name] = self.here

    def back_to(self, name: str) -> None:
        """Continue from a tensor that was kept."""
        self.here = self._kept[name]

    def end(self) -> None:
        """Make the tensor ``here`` an output; the network continues from it."""
        self._ends.append(self.here)

    # Layers with weights.

    def convolution(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        stride: int = 1,
        padding: str = "SAME",
        dilation: int = 1,
        activation: str = "RELU",
        bias: bool = True,
    ) -> None:
        """A CONV_2D with one scale for each output channel."""
        depth = self.shape[3]
        weights, spread = self._weights((channels, *size, depth), 0, size[0] * size[1] * depth)
        options = _options(stride, padding, dilation, activation)
        places = _window(self.shape, size, stride, padding, dilation)
        inputs = self._with_bias(weights, channels, spread) if bias else (weights, -1)
        shape, kind = (1, *places, channels), "Conv2DOptions"
        self._layer("CONV_2D", 3, inputs, shape, spread, kind, options)

    def depthwise(
        self,
        size: tuple[int, int],
        *,
        stride: int = 1,
        padding: str = "SAME",
        dilation: int = 1,
        activation: str = "RELU6",
        multiplier: int = 1,
    ) -> None:
        """A DEPTHWISE_CONV_2D with one scale for each channel."""
        channels = self.shape[3] * multiplier
        weights, spread = self._weights((1, *size, channels), 3, size[0] * size[1])
        options = {
            **_options(stride, padding, dilation, activation),
            "depth_multiplier": multiplier,
        }
        places = _window(self.shape, size, stride, padding, dilation)
        inputs, shape = self._with_bias(weights, channels, spread), (1, *places, channels)
        kind = "DepthwiseConv2DOptions"
        self._layer("DEPTHWISE_CONV_2D", 3, inputs, shape, spread, kind, options)

    def dense(self, outputs: int, *, activation: str = "NONE") -> None:
        """A FULLY_CONNECTED over all values, with one scale for all weights."""
        values = int(np.prod(self.shape))
        if len(self.shape) != 2:
            self.reshape((values,))
        weights, spread = self._weights((outputs, values), None, values)
        inputs = self._with_bias(weights, outputs, spread)
        options = {"fused_activation_function": activation}
        shape, kind = (1, outputs), "FullyConnectedOptions"
        self._layer("FULLY_CONNECTED", 4, inputs, shape, spread, kind, options)

    def transpose_convolution(self, channels: int, size: int, stride: int) -> None:
        """A TRANSPOSE_CONV, SAME; rows and columns become ``stride`` times as many."""
        _, height, width, depth = self.shape
        taps = max(size * size * depth // (stride * stride), 1)
        weights, spread = self._weights((channels, size, size, depth), 0, taps)
        shape = (1, height * stride, width * stride, channels)
        options = {
            "padding": "SAME",
            "stride_h": stride,
            "stride_w": stride,
            "fused_activation_function": "NONE",
        }
        inputs = (self._integers(shape), weights, self.here)
        output = self._activation(shape, spread)
        self._append("TRANSPOSE_CONV", 3, inputs, output, "TransposeConvOptions", options)

    # Two operands.

    def binary(self, opcode: str, other: str, *, activation: str = "NONE") -> None:
        """ADD, SUB, MUL, MAXIMUM or MINIMUM of ``here`` and a tensor that was kept."""
        second = self._kept[other]
        first, spreads = self.here, (self._spreads[self.here], self._spreads[second])
        kind = _BINARY_OPTIONS.get(opcode, f"{opcode.title()}Options")
        options = {} if opcode in _BINARY_OPTIONS else {"fused_activation_function": activation}
        spread = spreads[0] * spreads[1] if opcode == "MUL" else math.hypot(*spreads)
        output = self._activation(self.shape, spread)
        self._append(opcode, 2, (first, second), output, kind, options)

    def concatenation(self, *others: str, axis: int = 3, same_scale: bool = True) -> None:
        """``here`` and tensors that were kept, side by side."""
        inputs = (self.here, *(self._kept[each] for each in others))
        shapes = [self._tensors[each].shape for each in inputs]
        shape = list(shapes[0])
        shape[axis] = sum(each[axis] for each in shapes)
        grid = self._tensors[self.here].quantization if same_scale else None
        spread = max(self._spreads[each] for each in inputs)
        options = {"axis": axis, "fused_activation_function": "NONE"}
        output = self._activation(shape, spread, grid)
        self._append("CONCATENATION", 2, inputs, output, "ConcatenationOptions", options)

    # One operand.

    def pool(self, opcode: str, size: int, stride: int, padding: str = "VALID") -> None:
        """MAX_POOL_2D or AVERAGE_POOL_2D."""
        places = _window(self.shape, (size, size), stride, padding, 1)
        options = {
            "padding": padding,
            "stride_h": stride,
            "stride_w": stride,
            "filter_height": size,
            "filter_width": size,
            "fused_activation_function": "NONE",
        }
        self._same_scale(opcode, (1, *places, self.shape[3]), "Pool2DOptions", options)

    def mean(self) -> None:
        """A MEAN over rows and columns."""
        _, height, width, channels = self.shape
        spread = self._spreads[self.here] / math.sqrt(height * width)
        inputs = (self.here, self._integers((1, 2)))
        output = self._activation((1, 1, 1, channels), spread)
        self._append("MEAN", 2, inputs, output, "ReducerOptions", {"keep_dims": True})

    def unary(self, opcode: str) -> None:
        """RELU, RELU6, QUANTIZE, LOGISTIC, TANH, HARD_SWISH, SOFTMAX or L2_NORMALIZATION."""
        grid, spread = _FIXED.get(opcode, (None, self._spreads[self.here]))
        kinds: dict[str, tuple[int, str, dict[str, Any]]] = {
            "HARD_SWISH": (1, "HardSwishOptions", {}),
            "QUANTIZE": (2, "QuantizeOptions", {}),
            "SOFTMAX": (2, "SoftmaxOptions", {"beta": 1.0}),
        }
        version, kind, options = kinds.get(opcode, (2, "NONE", {}))
        output = self._activation(self.shape, spread, grid)
        self._append(opcode, version, (self.here,), output, kind, options)

    def reshape(self, shape: Sequence[int]) -> None:
        """A RESHAPE to (1, *shape)."""
        whole = (1, *shape)
        inputs, options = (self._integers(whole),), {"new_shape": whole}
        self._same_scale("RESHAPE", whole, "ReshapeOptions", options, inputs, version=1)

    def pad(self, before: tuple[int, int], after: tuple[int, int], channels: int = 0) -> None:
        """A PAD of rows, columns and channels."""
        _, height, width, depth = self.shape
        pads = [[0, 0], [before[0], after[0]], [before[1], after[1]], [0, channels]]
        shape = (1, height + sum(pads[1]), width + sum(pads[2]), depth + channels)
        self._same_scale("PAD", shape, "PadOptions", {}, (self._integers(pads),))

    def mirror_pad(self, rows: int, columns: int) -> None:
        """A MIRROR_PAD by reflection."""
        _, height, width, depth = self.shape
        pads = [[0, 0], [rows, rows], [columns, columns], [0, 0]]
        shape = (1, height + 2 * rows, width + 2 * columns, depth)
        inputs = (self._integers(pads),)
        self._same_scale("MIRROR_PAD", shape, "MirrorPadOptions", {"mode": 0}, inputs)

    def strided_slice(self, begin: Sequence[int], end: Sequence[int], step: int = 1) -> None:
        """A STRIDED_SLICE of rows and columns, with all channels."""
        depth = self.shape[3]
        steps = (1, step, step, 1)
        inputs = tuple(self._integers(each) for each in ((0, *begin, 0), (1, *end, depth), steps))
        sizes = [-(-(high - low) // step) for low, high in zip(begin, end)]
        options = dict.fromkeys(
            ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0
        )
        shape = (1, *sizes, depth)
        self._same_scale("STRIDED_SLICE", shape, "StridedSliceOptions", options, inputs)

    def slice_channels(self, begin: int, size: int) -> None:
        """A SLICE of channels."""
        _, height, width, _ = self.shape
        shape = (1, height, width, size)
        inputs = (self._integers((0, 0, 0, begin)), self._integers(shape))
        self._same_scale("SLICE", shape, "SliceOptions", {}, inputs)

    def split(self, number: int, name: str) -> None:
        """A SPLIT of the channels; ``here`` is the first part, the second is kept as ``name``."""
        _, height, width, depth = self.shape
        axis, source = self._integers(3, scalar=True), self.here
        grid, spread = self._tensors[source].quantization, self._spreads[source]
        shape = (1, height, width, depth // number)
        outputs = [self._activation(shape, spread, grid) for _ in range(number)]
        options, kind = {"num_splits": number}, "SplitOptions"
        self._append("SPLIT", 2, (axis, source), outputs, kind, options)
        self._kept[name] = outputs[1]

    def resize(self, opcode: str, rows: int, columns: int, *, half_pixel: bool = True) -> None:
        """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR."""
        kind = {
            "RESIZE_BILINEAR": "ResizeBilinearOptions",
            "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
        }[opcode]
        options = {"align_corners": False, "half_pixel_centers": half_pixel}
        shape = (1, rows, columns, self.shape[3])
        inputs = (self._integers((rows, columns)),)
        self._same_scale(opcode, shape, kind, options, inputs, version=3)

    def blocks(self, opcode: str) -> None:
        """SPACE_TO_DEPTH or DEPTH_TO_SPACE with blocks of 2 x 2."""
        _, height, width, depth = self.shape
        shape = (1, height // 2, width // 2, 4 * depth)
        kind, version = "SpaceToDepthOptions", 2
        if opcode == "DEPTH_TO_SPACE":
            shape = (1, 2 * height, 2 * width, depth // 4)
            kind, version = "DepthToSpaceOptions", 1
        self._same_scale(opcode, shape, kind, {"block_size": 2}, version=version)

    # Parts.

    def _layer(
        self,
        opcode: str,
        version: int,
        constants: Sequence[int],
        shape: Sequence[int],
        spread: float,
        kind: str,
        options: dict[str, Any],
    ) -> None:
        inputs = (self.here, *constants)
        self._append(opcode, version, inputs, self._activation(shape, spread), kind, options)

    def _same_scale(
        self,
        opcode: str,
        shape: Sequence[int],
        kind: str,
        options: dict[str, Any],
        constants: Sequence[int] = (),
        version: int = 2,
    ) -> None:
        source = self.here
        grid, spread = self._tensors[source].quantization, self._spreads[source]
        output = self._activation(shape, spread, grid)
        self._append(opcode, version, (source, *constants), output, kind, options)

    def _append(
        self,
        opcode: str,
        version: int,
        inputs: Sequence[int],
        output: int | Sequence[int],
        kind: str,
        options: dict[str, Any],
    ) -> None:
        outputs = (output,) if isinstance(output, int) else tuple(output)
        self._operators.append(Operator(opcode, version, tuple(inputs), outputs, options, kind))
        self.here = outputs[0]

    def _activation(
        self, shape: Sequence[int], spread: float, grid: Quantization | None = None
    ) -> int:
        if grid is None and self._scales:
            grid = Quantization((self._scales.pop(0),), (-128,))
        elif grid is None:
            scale = float(np.float32(spread * _DEVIATIONS / 255))
            grid = Quantization((scale,), (self._zero_point(),))
        name = f"t{len(self._tensors)}"
        self._tensors.append(Tensor(name, tuple(shape), "INT8", 0, grid))
        self._spreads[len(self._tensors) - 1] = spread
        return len(self._tensors) - 1

    def _zero_point(self) -> int:
        return int(self._random.randint(-24, 25))

    def _weights(self, shape: Sequence[int], axis: int | None, taps: int) -> tuple[int, float]:
        """Return a tensor of weights, and the spread of sums of ``taps`` products."""
        number = 1 if axis is None else shape[axis]
        spread = self._scales[0] * 255 / 3 if self._scales else _LAYER_SPREAD
        mean = spread / (math.sqrt(taps) * _UNIFORM * self._spreads[self.here])
        # From 2/3 to 4/3 of it, so that channels have different multipliers.
        parts = [(64 + int(each)) / 96 for each in self._random.randint(0, 65, number)]
        scales = tuple(float(np.float32(mean * each)) for each in parts)
        values = self._random.randint(-127, 128, tuple(shape)).astype(np.int8)
        grid = Quantization(scales, (0,) * number, axis or 0)
        return self._constant(values, grid), spread

    def _with_bias(self, weights: int, number: int, spread: float) -> tuple[int, int]:
        """Return the weights, and a bias of up to one spread."""
        source, kernel = self._tensors[self.here].quantization, self._tensors[weights].quantization
        if source is None or kernel is None:
            raise ValueError("every tensor of a rung is quantized")
        scales = tuple(float(np.float32(source.scale[0] * each)) for each in kernel.scale)
        most = 0 if self._has_scales else max(int(spread / max(scales)), 1)
        values = self._random.randint(-most, most + 1, number).astype(np.int32)
        return weights, self._constant(values, Quantization(scales, (0,) * len(scales)))

    def _integers(self, values: Any, *, scalar: bool = False) -> int:  # noqa: ANN401 - nested
        array = np.asarray(values, np.int32)
        return self._constant(array.reshape(()) if scalar else array)

    def _constant(self, values: NDArray[Any], grid: Quantization | None = None) -> int:
        array = np.ascontiguousarray(values)
        name, dtype = f"c{len(self._tensors)}", array.dtype.name.upper()
        self._tensors.append(Tensor(name, values.shape, dtype, len(self._buffers), grid))
        self._buffers.append(np.frombuffer(array.tobytes(), np.uint8))
        return len(self._tensors) - 1


def _options(stride: int, padding: str, dilation: int, activation: str) -> dict[str, Any]:
    """The options that CONV_2D and DEPTHWISE_CONV_2D have in common."""
    return {
        "padding": padding,
        "stride_h": stride,
        "stride_w": stride,
        "dilation_h_factor": dilation,
        "dilation_w_factor": dilation,
        "fused_activation_function": activation,
    }


def _window(
    shape: Sequence[int], size: Sequence[int], stride: int, padding: str, dilation: int
) -> tuple[int, int]:
    """Return rows and columns of the result of a sliding window."""
    reach = [(each - 1) * dilation + 1 if padding == "VALID" else 1 for each in size]
    rows, columns = ((shape[k + 1] - reach[k]) // stride + 1 for k in (0, 1))
    return rows, columns
