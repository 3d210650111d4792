# SPDX-License-Identifier: Apache-2.0
"""Operators of the source model to nodes: what this compiler takes, and why it does not.

A reshape and a requantization without change become aliases, a PAD becomes the padding of the
convolutions behind it. Multipliers, clamps and zero points come from `edgekit.chip.arithmetic`,
whose formulas are proved on Google's programs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.chip.arithmetic.scales import (
    ACTIVATIONS,
    multiplier_of,
    scale_of,
)
from edgekit.chip.codegen import move_rules, operand_rules, pool_rules
from edgekit.chip.codegen.builder import DTYPES, NodeBuilder
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import Axis, same_padding
from edgekit.chip.codegen.node_list import shape_of
from edgekit.chip.codegen.nodes import (
    COPY,
    Convolution,
    Elementwise,
    L2Normalization,
    Network,
    Softmax,
    Window,
)
from edgekit.chip.codegen.operator_shapes import check_shapes
from edgekit.chip.codegen.rearrange import select_channels
from edgekit.formats.tflite import Model, Operator, Tensor

_ZERO_CROSSING = 128  # what makes an int8 value unsigned
_LONGEST_AXIS = 65_536  # of a tensor
_MOST_CLASSES = 16384  # of a softmax; more do not fit the loops of an op


class Legalizer(NodeBuilder):
    """Takes operators one by one; what it has taken is in ``nodes`` and ``aliases``."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        written = Counter(index for operator in model.main.operators for index in operator.outputs)
        self._written = written + Counter(model.main.inputs)  # how often each tensor is
        self._pads: dict[int, tuple[int, tuple[int, int]]] = {}  # tensor -> source, (top, left)

    def take(self, operator: Operator) -> None:
        """Add the nodes of an operator.

        Raises:
            Unsupported: This compiler does not take it; nothing is added.
        """
        rule = _RULES.get(operator.opcode)
        if rule is None:
            raise Unsupported(f"{operator.label} is not implemented")
        self._check_tensors(operator)
        check_shapes(self, operator)
        restore, pads = self.save(), dict(self._pads)
        try:
            with np.errstate(all="ignore"):  # extreme scales end in clamps
                rule(self, operator)
        except Unsupported:
            restore()
            self._pads = pads
            raise

    def network(self, inputs: Sequence[int], outputs: Sequence[int]) -> Network:
        """The nodes taken so far as a network; an output that is an input becomes a copy."""
        roots = {self.root(tensor) for tensor in inputs}
        for tensor in outputs:
            source = self.root(tensor)
            if source in roots:
                self.aliases.pop(tensor, None)
                self.set_shape(tensor, self.shape(source))
                self.nodes.append(Elementwise(source, tensor, COPY))
        used = {tensor for node in self.nodes for tensor in (*node.sources, node.output)}
        return Network(
            tuple(self.nodes),
            tuple(inputs),
            tuple(outputs),
            {tensor: self.shape(tensor) for tensor in used | {self.root(i) for i in inputs}},
            dict(self.aliases),
        )

    def _weights(self, tensor: int) -> NDArray[np.uint8]:
        """Constant weights, unsigned as on the device."""
        data = self.model.data(self.tensors[tensor])
        if data is None:
            raise Unsupported(f"{self.tensors[tensor].name!r} is not constant")
        dtype = self.tensors[tensor].dtype
        if dtype not in DTYPES:
            raise Unsupported(f"weights of type {dtype}")
        raw: NDArray[np.uint8] = data.view(np.uint8)
        return raw ^ np.uint8(_ZERO_CROSSING) if dtype == "INT8" else raw

    def _zeros(self, tensor: int) -> NDArray[np.uint8]:
        """Weights of one tap that are all zero."""
        kernel = self.tensors[tensor]
        first, _, _, last = kernel.shape
        zero = np.array(kernel.quantization.zero_point if kernel.quantization else (0,))
        unsigned = zero + (_ZERO_CROSSING if kernel.dtype == "INT8" else 0)
        filled = np.broadcast_to(unsigned.reshape(-1, 1, 1, 1), (first, 1, 1, last))
        return filled.astype(np.uint8)

    def _check_tensors(self, operator: Operator) -> None:
        for index in (*operator.inputs, *operator.outputs):
            if index < 0:
                continue
            tensor = self.tensors[index]
            self._check_quantization(tensor)
            if self.is_constant(index):
                continue
            if tensor.dtype not in DTYPES:
                raise Unsupported(f"{tensor.name!r} is {tensor.dtype}")
            if tensor.scale is None:
                raise Unsupported(f"{tensor.name!r} has several scales")
            if tensor.is_variable:
                raise Unsupported(f"{tensor.name!r} keeps its values between inferences")
            if len(tensor.shape) > 1 and tensor.shape[0] != 1:
                raise Unsupported(f"{tensor.name!r} has a batch of {tensor.shape[0]}")
            # Google's compiler, too, takes an unknown batch dimension of size 1.
            if any(size < 0 for size in (*tensor.shape, *tensor.shape_signature[1:])):
                raise Unsupported(f"the shape of {tensor.name!r} is not fixed")
            if not tensor.num_elements:
                raise Unsupported(f"{tensor.name!r} is empty")
            if max(tensor.shape, default=0) > _LONGEST_AXIS:
                raise Unsupported(f"{tensor.name!r} has an axis longer than {_LONGEST_AXIS:,}")
        for index in operator.outputs:
            if self.is_constant(index) or self._written[index] > 1:
                raise Unsupported(f"{self.tensors[index].name!r} is written more than once")

    @staticmethod
    def _check_quantization(tensor: Tensor) -> None:
        """Refuse zero points and scales that 8-bit values cannot have."""
        if tensor.dtype not in DTYPES:
            return
        if tensor.quantization is None or not tensor.quantization.scale:
            raise Unsupported(f"{tensor.name!r} has no scale")
        low = -128 if tensor.dtype == "INT8" else 0
        if any(not low <= zero <= low + 255 for zero in tensor.quantization.zero_point):
            raise Unsupported(f"{tensor.name!r} has a zero point outside of {tensor.dtype}")
        if not all(0 < scale < np.inf for scale in tensor.quantization.scale):
            raise Unsupported(f"{tensor.name!r} has a scale that is not a positive number")

    # Convolutions and dense layers.

    def convolution(self, operator: Operator) -> None:
        """CONV_2D, DEPTHWISE_CONV_2D."""
        source, output = operator.inputs[0], operator.outputs[0]
        options = operator.options
        weights = self._weights(operator.inputs[1])
        height, width, channels = shape_of(self.tensors[source].shape)
        depthwise = operator.opcode == "DEPTHWISE_CONV_2D"
        if depthwise:
            weights = weights.transpose(3, 1, 2, 0)
            depthwise = channels > 1
        elif weights.shape[3] != channels:
            raise Unsupported("a grouped convolution")
        elif self._reads_positions_alone(operator, weights):
            base = self.vectors(source)
            self.set_shape(output, (*self.shape(base)[:2], len(weights)))
            self._add_convolution(operator, base, weights, Window(), depthwise=False)
            return
        base, (top, left) = self._before_pad(source)
        axes = []
        for which, size, extra in (("h", height, top), ("w", width, left)):
            stride = options[f"stride_{which}"]
            dilation = options.get(f"dilation_{which}_factor") or 1
            kernel = weights.shape[1 if which == "h" else 2]
            out = self.shape(output)[0 if which == "h" else 1]
            pad = same_padding(out, size, Axis(kernel, stride, 0, dilation))
            axes.append(
                Axis(kernel, stride, extra + (pad if options["padding"] == "SAME" else 0), dilation)
            )
        times = len(weights) // channels
        if depthwise and times > 1:
            # Every channel as many times as it is read, one after the other.
            base = select_channels(self, base, [number // times for number in range(len(weights))])
        self._add_convolution(operator, base, weights, Window(*axes), depthwise=depthwise)

    def _reads_positions_alone(self, operator: Operator, weights: NDArray[np.uint8]) -> bool:
        """Whether it is a 1 x 1 convolution of a tensor that does not lie as an image."""
        source, options = operator.inputs[0], operator.options
        given, made = (
            shape_of(self.tensors[index].shape) for index in (source, operator.outputs[0])
        )
        return (
            weights.shape[1:3] == (1, 1)
            and options["stride_h"] == options["stride_w"] == 1
            and source not in self._pads
            and self.shape(self.root(source)) != given
            and made[:2] == given[:2]
        )

    def transpose_conv(self, operator: Operator) -> None:
        """TRANSPOSE_CONV: for every phase of its stride a convolution with a part of the taps."""
        _, kernel, source, *bias = operator.inputs
        output, options = operator.outputs[0], operator.options
        weights, base = self._weights(kernel), self.image(source)
        axes = []
        for k, which in enumerate("hw"):
            stride, size = options[f"stride_{which}"], weights.shape[1 + k]
            pad = 0
            if options["padding"] == "SAME":
                # As the convolution that it is the transpose of.
                pad = same_padding(self.shape(base)[k], self.shape(output)[k], Axis(size, stride))
            axes.append([_phase(size, stride, pad, place) for place in range(stride)])
        plain = replace(operator, inputs=(source, kernel, *bias))
        for rows, row_taps in axes[0]:
            for columns, column_taps in axes[1]:
                height, width, _ = self.shape(output)
                if rows.first >= height or columns.first >= width:
                    continue  # an output of fewer rows or columns than the stride
                taken = weights[:, row_taps][:, :, column_taps]
                if not taken.size:  # of this phase only the bias is left
                    taken = self._zeros(kernel)
                self._add_convolution(plain, base, taken, Window(rows, columns), depthwise=False)

    def dense(self, operator: Operator) -> None:
        """FULLY_CONNECTED: a convolution whose window is the whole map.

        On several vectors, such as the tokens of a transformer, one whose window is a position.
        """
        source, output = self.root(operator.inputs[0]), operator.outputs[0]
        weights = self._weights(operator.inputs[1])
        height, width, channels = self.shape(source)
        outputs, inputs = weights.shape
        if height * width * channels != inputs:
            number = height * width * channels // inputs
            vectors = self.shaped(operator.inputs[0], (1, number, inputs))
            self.set_shape(output, (1, number, outputs))
            shaped = weights.reshape(outputs, 1, 1, inputs)
            self._add_convolution(operator, vectors, shaped, Window(), depthwise=False)
            return
        if self.shape(output)[:2] != (1, 1):
            raise Unsupported("a dense layer that keeps positions")
        shaped = weights.reshape(-1, height, width, channels)
        window = Window(Axis(height), Axis(width))
        self._add_convolution(operator, source, shaped, window, depthwise=False)

    def _add_convolution(
        self,
        operator: Operator,
        source: int,
        weights: NDArray[np.uint8],
        window: Window,
        *,
        depthwise: bool,
    ) -> None:
        first, kernel = self.tensors[operator.inputs[0]], self.tensors[operator.inputs[1]]
        output = self.tensors[operator.outputs[0]]
        if kernel.dtype not in DTYPES or kernel.quantization is None:
            raise Unsupported(f"weights of type {kernel.dtype}")
        unsigned = _ZERO_CROSSING if kernel.dtype == "INT8" else 0
        num_channels = weights.shape[0]
        zeros = np.array(kernel.quantization.zero_point or (0,), np.int64) + unsigned
        multipliers = np.atleast_1d(np.asarray(multiplier_of(first, kernel, output), np.float32))
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        bias = self.values(operator.inputs[2]).reshape(-1) if has_bias else None
        activation = operator.options.get("fused_activation_function", "NONE")
        self.nodes.append(
            Convolution(
                source=source,
                output=operator.outputs[0],
                window=window,
                stage=self.stage(first, output, float(multipliers[0]), activation),
                weights=weights,
                weight_zero_points=np.broadcast_to(zeros, num_channels).astype(np.int64),
                bias=np.zeros(num_channels, np.int64) if bias is None else bias,
                multipliers=multipliers,
                depthwise=depthwise,
                dense=operator.opcode == "FULLY_CONNECTED",
            )
        )

    def _before_pad(self, tensor: int) -> tuple[int, tuple[int, int]]:
        """The tensor that a folded PAD reads, and what it adds at the top and on the left."""
        if tensor in self._pads:
            source, extra = self._pads[tensor]
            return source, extra
        return self.image(tensor), (0, 0)

    # Shapes.

    def reshape(self, operator: Operator) -> None:
        """RESHAPE and its kind: the bytes stay where they are until a node reads positions."""
        self.aliases[operator.outputs[0]] = self.root(operator.inputs[0])

    def pad(self, operator: Operator) -> None:
        """PAD of rows and columns: part of the convolutions behind it, or a copy."""
        source, output = operator.inputs[0], operator.outputs[0]
        pads = self.values(operator.inputs[1]).reshape(-1, 2).tolist()
        is_zero = operator.opcode == "PAD"
        if len(pads) != 4 or any(pads[0]) or any(pads[3]) or not is_zero:
            move_rules.pad(self, operator)
            return
        (top, _), (left, _) = pads[1], pads[2]
        graph = self.model.main
        users = [each for each in graph.operators if output in each.inputs]
        windows = all(each.opcode in {"CONV_2D", "DEPTHWISE_CONV_2D"} for each in users)
        if users and windows and output not in graph.outputs:
            self._pads[output] = self.image(source), (top, left)
            return
        move_rules.pad(self, operator)

    # Element by element.

    def requantize(self, operator: Operator) -> None:
        """QUANTIZE, RELU, RELU6, RELU_N1_TO_1; without change, only another name."""
        source, output = operator.inputs[0], operator.outputs[0]
        activation = operator.opcode if operator.opcode in ACTIVATIONS else "NONE"
        stage = self.requantization(self.tensors[source], self.tensors[output], activation)
        if stage == COPY:
            self.aliases[output] = self.root(source)
            return
        self.add_elementwise(source, output, stage)

    def l2_normalization(self, operator: Operator) -> None:
        """L2_NORMALIZATION over channels."""
        source, output = operator.inputs[0], operator.outputs[0]
        root = self.root(source)
        first, last = self.tensors[source], self.tensors[output]
        if self.shape(root) != (1, 1, first.shape[-1]):
            root = self.image(source)
        if first.shape[-1] > _MOST_CLASSES:
            raise Unsupported(f"a normalization over more than {_MOST_CLASSES:,} channels")
        if operator.options.get("fused_activation_function", "NONE") != "NONE":
            raise Unsupported("a normalization with an activation")
        scale, one = scale_of(first), np.float32(1)
        factor = np.float32(65535) / (one / scale)
        multiplier = np.float32((scale * (one / factor)) * (one / scale_of(last)))
        stage = self.stage(first, last, float(multiplier))
        self.set_shape(output, self.shape(root))
        self.nodes.append(L2Normalization(root, output, float(scale * scale), factor, stage))

    def softmax(self, operator: Operator) -> None:
        """SOFTMAX over channels."""
        source, output = operator.inputs[0], operator.outputs[0]
        first, last = self.tensors[source], self.tensors[output]
        if first.shape[-1] > _MOST_CLASSES:
            raise Unsupported(f"a softmax over more than {_MOST_CLASSES:,} classes")
        root = self.vectors(source)
        beta = np.float32(operator.options.get("beta", 1.0))
        stage = replace(
            self.stage(first, last, float(softmax_multiplier(last))), input_zero_point=0
        )
        self.set_shape(output, self.shape(root))
        self.nodes.append(Softmax(root, output, float(scale_of(first) * beta), stage))


def softmax_multiplier(output: Tensor) -> np.float32:
    """The multiplier of the last step: 16-bit exponentials times a 16-bit reciprocal."""
    exponential = np.float32(1) / np.float32(65535)
    root = np.float32(1) / np.float32(46340)
    reciprocal = (root * root) * np.float32(65535)
    return np.float32((exponential * reciprocal) * (np.float32(1) / scale_of(output)))


def _phase(size: int, stride: int, pad: int, place: int) -> tuple[Axis, list[int]]:
    """Every ``stride``-th output of a transposed convolution from ``place`` on.

    Returns the window along one axis, and the taps that it has, in order.
    """
    ahead, first = divmod(place + pad, stride)
    taps = list(range(first, size, stride))[::-1]
    number = max(1, len(taps))
    return Axis(number, pad=number - 1 - ahead, first=place, every=stride), taps


_RULES: dict[str, Callable[[Legalizer, Operator], None]] = {
    "ADD": operand_rules.addition,
    "AVERAGE_POOL_2D": pool_rules.pool,
    "CONCATENATION": move_rules.concatenation,
    "CONV_2D": Legalizer.convolution,
    "DEPTHWISE_CONV_2D": Legalizer.convolution,
    "DEPTH_TO_SPACE": move_rules.depth_to_space,
    "EXPAND_DIMS": Legalizer.reshape,
    "FULLY_CONNECTED": Legalizer.dense,
    "HARD_SWISH": operand_rules.function,
    "L2_NORMALIZATION": Legalizer.l2_normalization,
    "LOGISTIC": operand_rules.function,
    "MAXIMUM": operand_rules.extreme,
    "MAX_POOL_2D": pool_rules.pool,
    "MEAN": pool_rules.reduction,
    "MINIMUM": operand_rules.extreme,
    "MIRROR_PAD": move_rules.mirror_pad,
    "MUL": operand_rules.product,
    "PACK": move_rules.pack,
    "PAD": Legalizer.pad,
    "PADV2": Legalizer.pad,
    "PRELU": operand_rules.prelu,
    "QUANTIZE": Legalizer.requantize,
    "REDUCE_MAX": pool_rules.extreme_reduction,
    "REDUCE_MIN": pool_rules.extreme_reduction,
    "RELU": Legalizer.requantize,
    "RELU6": Legalizer.requantize,
    "RELU_N1_TO_1": Legalizer.requantize,
    "RESHAPE": Legalizer.reshape,
    "RESIZE_BILINEAR": move_rules.resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": move_rules.resize_nearest,
    "RSQRT": operand_rules.function,
    "SLICE": move_rules.slice_,
    "SOFTMAX": Legalizer.softmax,
    "SPACE_TO_DEPTH": move_rules.space_to_depth,
    "SPLIT": move_rules.split,
    "SPLIT_V": move_rules.split,
    "SUB": operand_rules.addition,
    "SQUEEZE": Legalizer.reshape,
    "STRIDED_SLICE": move_rules.strided_slice,
    "SUM": pool_rules.reduction,
    "TANH": operand_rules.function,
    "TILE": move_rules.tile,
    "TRANSPOSE": move_rules.transpose,
    "TRANSPOSE_CONV": Legalizer.transpose_conv,
    "UNPACK": move_rules.unpack,
}
