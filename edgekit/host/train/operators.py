# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Lite's float operators as TensorFlow functions with gradients, on any batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.formats.tflite import Model, Operator

Value = Any  # a tensor of TensorFlow, or a numpy array if it is a constant; None if left out


@dataclass(frozen=True)
class Call:
    """One operator with its inputs."""

    tf: Any
    model: Model
    operator: Operator
    inputs: Sequence[Value]

    def option(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in the file
        """Return an option by its name in schema.fbs."""
        return self.operator.options.get(name, default)

    def shape(self) -> tuple[int, ...]:
        """The shape of the first output, for a batch of 1."""
        return self.model.main.tensors[self.operator.outputs[0]].shape

    def strides(self) -> list[int]:
        """The strides, (1, height, width, 1)."""
        return [1, int(self.option("stride_h", 1)), int(self.option("stride_w", 1)), 1]

    def dilations(self) -> list[int]:
        """The dilations (height, width)."""
        names = ("dilation_h_factor", "dilation_w_factor")
        return [int(self.option(name, 1)) for name in names]

    def activated(self, value: Value) -> Value:
        """Return ``value`` behind the fused activation."""
        tf, name = self.tf, self.option("fused_activation_function", "NONE")
        if name == "NONE":
            return value
        return {
            "RELU": tf.nn.relu,
            "RELU6": tf.nn.relu6,
            "RELU_N1_TO_1": lambda x: tf.clip_by_value(x, -1.0, 1.0),
            "TANH": tf.tanh,
        }[name](value)

    def with_bias(self, value: Value, place: int) -> Value:
        """Return ``value`` plus the bias at input ``place``, activated."""
        has_bias = len(self.inputs) > place and self.inputs[place] is not None
        return self.activated(value + self.inputs[place] if has_bias else value)


def compute(tf: Any, model: Model, operator: Operator, inputs: Sequence[Value]) -> list[Value]:  # noqa: ANN401
    """Return the outputs of ``operator``.

    Args:
        tf: The module.
        model: The network, with batch 1.
        operator: One of `KNOWN`.
        inputs: A value for each input, of any batch; a numpy array for a constant.
    """
    made = KNOWN[operator.opcode](Call(tf, model, operator, inputs))
    return list(made) if isinstance(made, (list, tuple)) else [made]


def unknown_operators(model: Model) -> list[str]:
    """Return the operators without a function here."""
    labels = [operator.label for _, _, operator in model.operators()]
    return list(dict.fromkeys(label for label in labels if label not in KNOWN))


def _conv(call: Call) -> Value:
    data, weights = call.inputs[0], call.tf.transpose(call.inputs[1], (1, 2, 3, 0))
    made = call.tf.nn.conv2d(
        data, weights, call.strides(), call.option("padding"), dilations=call.dilations()
    )
    return call.with_bias(made, 2)


def _depthwise(call: Call) -> Value:
    tf, (data, weights) = call.tf, call.inputs[:2]
    _, height, width, channels = weights.shape
    depth = data.shape[-1]
    filters = tf.reshape(weights, (height, width, depth, channels // depth))
    made = tf.nn.depthwise_conv2d(
        data, filters, call.strides(), call.option("padding"), dilations=call.dilations()
    )
    return call.with_bias(made, 2)


def _transpose_conv(call: Call) -> Value:
    tf, (_, weights, data) = call.tf, call.inputs[:3]
    shape = tf.concat([tf.shape(data)[:1], call.shape()[1:]], 0)
    filters = tf.transpose(weights, (1, 2, 0, 3))
    made = tf.nn.conv2d_transpose(data, filters, shape, call.strides(), call.option("padding"))
    return call.with_bias(made, 3)


def _dense(call: Call) -> Value:
    tf, (data, weights) = call.tf, call.inputs[:2]
    rows = data if call.option("keep_num_dims") else tf.reshape(data, (-1, weights.shape[1]))
    made = call.with_bias(tf.linalg.matmul(rows, weights, transpose_b=True), 2)
    return tf.reshape(made, (-1, *call.shape()[1:]))


def _pool(call: Call) -> Value:
    tf = call.tf
    pool = tf.nn.max_pool2d if call.operator.opcode == "MAX_POOL_2D" else tf.nn.avg_pool2d
    size = [int(call.option("filter_height")), int(call.option("filter_width"))]
    return call.activated(pool(call.inputs[0], size, call.strides(), call.option("padding")))


def _reshape(call: Call) -> Value:
    return call.tf.reshape(call.inputs[0], (-1, *call.shape()[1:]))


def _reduce(name: str) -> Callable[[Call], Value]:
    def reduce(call: Call) -> Value:
        keeps = bool(call.option("keep_dims", default=False))
        axes = [int(each) for each in np.ravel(call.inputs[1])]
        return getattr(call.tf, name)(call.inputs[0], axis=axes, keepdims=keeps)

    return reduce


def _resize(call: Call) -> Value:
    tf = call.tf
    is_bilinear = call.operator.opcode == "RESIZE_BILINEAR"
    resize = tf.raw_ops.ResizeBilinear if is_bilinear else tf.raw_ops.ResizeNearestNeighbor
    return resize(
        images=call.inputs[0],
        size=tf.constant(call.shape()[1:3]),
        align_corners=bool(call.option("align_corners", default=False)),
        half_pixel_centers=bool(call.option("half_pixel_centers", default=False)),
    )


def _strided_slice(call: Call) -> Value:
    data, begin, end, strides = call.inputs
    keeps_batch = 1  # bit 0: the whole first dimension
    return call.tf.strided_slice(
        data,
        begin,
        end,
        strides,
        begin_mask=int(call.option("begin_mask", 0)) | keeps_batch,
        end_mask=int(call.option("end_mask", 0)) | keeps_batch,
        ellipsis_mask=int(call.option("ellipsis_mask", 0)),
        new_axis_mask=int(call.option("new_axis_mask", 0)),
        shrink_axis_mask=int(call.option("shrink_axis_mask", 0)),
    )


def _slice(call: Call) -> Value:
    data, begin, size = call.inputs
    whole = np.array(size).copy()
    whole[0] = -1
    return call.tf.slice(data, begin, whole)


def _split(call: Call) -> Value:
    axis, data = call.inputs
    return call.tf.split(data, int(call.option("num_splits")), axis=int(np.ravel(axis)[0]))


def _split_sizes(call: Call) -> Value:
    data, sizes, axis = call.inputs
    return call.tf.split(data, np.ravel(sizes), axis=int(np.ravel(axis)[0]))


def _concatenation(call: Call) -> Value:
    return call.activated(call.tf.concat(list(call.inputs), int(call.option("axis"))))


def _pad(call: Call) -> Value:
    fill = call.inputs[2] if len(call.inputs) > 2 else 0.0
    fill = float(np.ravel(fill)[0]) if isinstance(fill, np.ndarray) else fill
    return call.tf.pad(call.inputs[0], call.inputs[1], constant_values=fill)


def _mirror_pad(call: Call) -> Value:
    mode = "SYMMETRIC" if int(call.option("mode", 0)) else "REFLECT"
    return call.tf.pad(call.inputs[0], call.inputs[1], mode)


def _blocks(name: str) -> Callable[[Call], Value]:
    return lambda call: getattr(call.tf.nn, name)(call.inputs[0], int(call.option("block_size")))


def _gather(call: Call) -> Value:
    return call.tf.gather(call.inputs[0], call.inputs[1], axis=int(call.option("axis", 0)))


def _unpack(call: Call) -> Value:
    return call.tf.unstack(
        call.inputs[0], num=int(call.option("num")), axis=int(call.option("axis", 0))
    )


def _matmul(call: Call) -> Value:
    left, right = call.inputs
    return call.tf.linalg.matmul(
        left,
        right,
        transpose_a=bool(call.option("adj_x", default=False)),
        transpose_b=bool(call.option("adj_y", default=False)),
    )


def _softmax(call: Call) -> Value:
    return call.tf.nn.softmax(call.inputs[0] * float(call.option("beta", 1.0)))


def _two(name: str) -> Callable[[Call], Value]:
    return lambda call: call.activated(getattr(call.tf, name)(*call.inputs))


def _one(name: str) -> Callable[[Call], Value]:
    """Return the function ``name`` of TensorFlow; a dot separates its module."""

    def one(call: Call) -> Value:
        function = call.tf
        for part in name.split("."):
            function = getattr(function, part)
        return function(call.inputs[0])

    return one


KNOWN: Mapping[str, Callable[[Call], Value]] = {
    "ABS": _one("abs"),
    "ADD": _two("add"),
    "AVERAGE_POOL_2D": _pool,
    "BATCH_MATMUL": _matmul,
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEPTH_TO_SPACE": _blocks("depth_to_space"),
    "DIV": _two("divide"),
    "ELU": _one("nn.elu"),
    "EXP": _one("exp"),
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": _dense,
    "GATHER": _gather,
    "GELU": lambda call: call.tf.nn.gelu(
        call.inputs[0], approximate=bool(call.option("approximate", default=False))
    ),
    "HARD_SWISH": lambda call: call.inputs[0] * call.tf.nn.relu6(call.inputs[0] + 3) / 6,
    "L2_NORMALIZATION": lambda call: call.tf.math.l2_normalize(call.inputs[0], -1),
    "LEAKY_RELU": lambda call: call.tf.nn.leaky_relu(
        call.inputs[0], float(call.option("alpha", 0.0))
    ),
    "LOGISTIC": _one("sigmoid"),
    "LOG_SOFTMAX": _one("nn.log_softmax"),
    "MAXIMUM": _two("maximum"),
    "MAX_POOL_2D": _pool,
    "MEAN": _reduce("reduce_mean"),
    "MINIMUM": _two("minimum"),
    "MIRROR_PAD": _mirror_pad,
    "MUL": _two("multiply"),
    "NEG": _one("negative"),
    "PACK": lambda call: call.tf.stack(list(call.inputs), axis=int(call.option("axis", 0))),
    "PAD": _pad,
    "PADV2": _pad,
    "PRELU": lambda call: (
        call.tf.nn.relu(call.inputs[0]) - call.inputs[1] * call.tf.nn.relu(-call.inputs[0])
    ),
    "REDUCE_MAX": _reduce("reduce_max"),
    "REDUCE_MIN": _reduce("reduce_min"),
    "RELU": _one("nn.relu"),
    "RELU6": _one("nn.relu6"),
    "RELU_0_TO_1": lambda call: call.tf.clip_by_value(call.inputs[0], 0.0, 1.0),
    "RELU_N1_TO_1": lambda call: call.tf.clip_by_value(call.inputs[0], -1.0, 1.0),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RSQRT": _one("math.rsqrt"),
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": _blocks("space_to_depth"),
    "SPLIT": _split,
    "SPLIT_V": _split_sizes,
    "SQRT": _one("sqrt"),
    "SQUARE": _one("square"),
    "SQUARED_DIFFERENCE": lambda call: call.tf.math.squared_difference(*call.inputs),
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _two("subtract"),
    "SUM": _reduce("reduce_sum"),
    "TANH": _one("tanh"),
    "TILE": lambda call: call.tf.tile(*call.inputs),
    "TRANSPOSE": lambda call: call.tf.transpose(*call.inputs),
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": _unpack,
}
