# SPDX-License-Identifier: Apache-2.0
"""Compute the shapes of an operator's outputs from those of its inputs, without an interpreter."""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np

from edgekit.formats.tflite import Operator

Shape = Tuple[int, ...]
Shapes = Sequence[Shape]
Values = Sequence[Any]  # the constant of each input, None for an activation
_Inference = Callable[[Operator, Shapes, Values], Optional[List[Shape]]]

_SAME = frozenset(
    [
        "ABS",
        "CAST",
        "CEIL",
        "COS",
        "DEQUANTIZE",
        "ELU",
        "EXP",
        "FLOOR",
        "GELU",
        "HARD_SWISH",
        "L2_NORMALIZATION",
        "LEAKY_RELU",
        "LOG",
        "LOGISTIC",
        "LOG_SOFTMAX",
        "LOCAL_RESPONSE_NORMALIZATION",
        "NEG",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RELU_0_TO_1",
        "RELU_N1_TO_1",
        "ROUND",
        "RSQRT",
        "SIGN",
        "SIN",
        "SOFTMAX",
        "SQRT",
        "SQUARE",
        "TANH",
        "ZEROS_LIKE",
    ]
)
_BROADCAST = frozenset(
    [
        "ADD",
        "DIV",
        "EQUAL",
        "FLOOR_DIV",
        "FLOOR_MOD",
        "GREATER",
        "GREATER_EQUAL",
        "LESS",
        "LESS_EQUAL",
        "MAXIMUM",
        "MINIMUM",
        "MUL",
        "NOT_EQUAL",
        "POW",
        "PRELU",
        "SELECT_V2",
        "SQUARED_DIFFERENCE",
        "SUB",
    ]
)
_REDUCE = frozenset(
    ["MEAN", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"]
)


def infer_shapes(op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    """Return the shape of each output of ``op``; None for an unknown operator or case.

    Args:
        op: Any operator.
        shapes: The shape of each input; () also for an input that was left out.
        values: The constant of each input, None for an activation.
    """
    if op.opcode in _SAME:
        return [shapes[0]]
    if op.opcode in _BROADCAST:
        return [tuple(np.broadcast(*(np.empty(s, np.bool_) for s in shapes)).shape)]
    if op.opcode in _REDUCE:
        return _reduce(op, shapes, values)
    rule = _RULES.get(op.opcode)
    return None if rule is None else rule(op, shapes, values)


def _window(size: int, kernel: int, stride: int, dilation: int, padding: object) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else -(-(size - reach + 1) // stride)


def _conv(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    get = op.options.get
    batch, height, width = shapes[0][:3]
    outputs, kernel_h, kernel_w = shapes[1][:3]
    if op.opcode == "DEPTHWISE_CONV_2D":
        outputs = shapes[1][3]
    return [
        (
            batch,
            _window(
                height, kernel_h, get("stride_h", 1), get("dilation_h_factor", 1), get("padding")
            ),
            _window(
                width, kernel_w, get("stride_w", 1), get("dilation_w_factor", 1), get("padding")
            ),
            outputs,
        )
    ]


def _pool(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    get = op.options.get
    batch, height, width, depth = shapes[0]
    return [
        (
            batch,
            _window(height, get("filter_height", 1), get("stride_h", 1), 1, get("padding")),
            _window(width, get("filter_width", 1), get("stride_w", 1), 1, get("padding")),
            depth,
        )
    ]


def _dense(op: Operator, shapes: Shapes, _values: Values) -> list[Shape] | None:
    units, depth = shapes[1]
    if op.options.get("keep_num_dims"):
        return [(*shapes[0][:-1], units)]
    rows = int(np.prod(shapes[0])) // depth
    return [(rows, units)] if rows * depth == int(np.prod(shapes[0])) else None


def _reshape(op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    wanted = values[1] if len(values) > 1 else op.options.get("new_shape")
    if wanted is None:
        return None
    sizes = [int(size) for size in np.ravel(wanted)]
    count = int(np.prod(shapes[0]))
    if -1 in sizes:
        known = int(np.prod([size for size in sizes if size != -1]))
        if not known or count % known:
            return None
        sizes[sizes.index(-1)] = count // known
    return [tuple(sizes)] if int(np.prod(sizes)) == count else None


def _reduce(op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    if values[1] is None:
        return None
    rank = len(shapes[0])
    axes = {int(axis) % rank for axis in np.ravel(values[1])}
    if op.options.get("keep_dims"):
        return [tuple(1 if i in axes else size for i, size in enumerate(shapes[0]))]
    return [tuple(size for i, size in enumerate(shapes[0]) if i not in axes)]


def _concatenation(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    axis = int(op.options.get("axis", 0)) % len(shapes[0])
    joined = list(shapes[0])
    joined[axis] = sum(shape[axis] for shape in shapes)
    return [tuple(joined)]


def _pad(_op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    if values[1] is None:
        return None
    return [tuple(size + int(sum(pads)) for size, pads in zip(shapes[0], values[1]))]


def _transpose(_op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    return None if values[1] is None else [tuple(shapes[0][int(axis)] for axis in values[1])]


def _split(op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    if values[0] is None:
        return None
    axis, count = int(np.ravel(values[0])[0]) % len(shapes[1]), int(op.options.get("num_splits", 1))
    if shapes[1][axis] % count:
        return None
    part = list(shapes[1])
    part[axis] //= count
    return [tuple(part)] * count


def strided_slices(op: Operator, shape: Shape, values: Values) -> tuple[Any, ...] | None:
    """Return the index of STRIDED_SLICE in numpy's form; None for unknown masks."""
    get = op.options.get
    if any(each is None for each in values[1:4]) or get("ellipsis_mask") or get("new_axis_mask"):
        return None
    if get("offset"):
        return None
    found: list[Any] = []
    for axis, (begin, end, stride) in enumerate(zip(*(np.ravel(each) for each in values[1:4]))):
        bit = 1 << axis
        if get("shrink_axis_mask", 0) & bit:
            found.append(int(begin))
            continue
        first = None if get("begin_mask", 0) & bit else int(begin)
        last = None if get("end_mask", 0) & bit else int(end)
        found.append(slice(first, last, int(stride)))
    return tuple(found) if len(found) <= len(shape) else None


def _strided_slice(op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    slices = strided_slices(op, shapes[0], values)
    return None if slices is None else [_like(shapes[0])[slices].shape]


def _slice(_op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    if values[1] is None or values[2] is None:
        return None
    return [
        tuple(
            int(size) if size != -1 else whole - int(begin)
            for whole, begin, size in zip(shapes[0], values[1], values[2])
        )
    ]


def _pack(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    rank = len(shapes[0]) + 1
    axis = int(op.options.get("axis", 0)) % rank
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


def _unpack(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    axis = int(op.options.get("axis", 0)) % len(shapes[0])
    return [shapes[0][:axis] + shapes[0][axis + 1 :]] * shapes[0][axis]


def _expand_dims(_op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    if values[1] is None:
        return None
    axis = int(np.ravel(values[1])[0]) % (len(shapes[0]) + 1)
    return [(*shapes[0][:axis], 1, *shapes[0][axis:])]


def _squeeze(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    dims = op.options.get("squeeze_dims")
    axes = {int(axis) % len(shapes[0]) for axis in (() if dims is None else dims)}
    return [
        tuple(
            size for i, size in enumerate(shapes[0]) if not (i in axes or (not axes and size == 1))
        )
    ]


def _resize(_op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    if values[1] is None:
        return None
    height, width = (int(size) for size in np.ravel(values[1]))
    return [(shapes[0][0], height, width, shapes[0][3])]


def _space_to_depth(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    block = int(op.options.get("block_size", 1))
    batch, height, width, depth = shapes[0]
    return [(batch, height // block, width // block, depth * block * block)]


def _depth_to_space(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    block = int(op.options.get("block_size", 1))
    batch, height, width, depth = shapes[0]
    return [(batch, height * block, width * block, depth // (block * block))]


def _transpose_conv(_op: Operator, _shapes: Shapes, values: Values) -> list[Shape] | None:
    return None if values[0] is None else [tuple(int(size) for size in values[0])]


def _tile(_op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    if values[1] is None:
        return None
    return [tuple(size * int(times) for size, times in zip(shapes[0], values[1]))]


def _gather(op: Operator, shapes: Shapes, _values: Values) -> list[Shape] | None:
    if op.options.get("batch_dims"):
        return None
    axis = int(op.options.get("axis", 0)) % len(shapes[0])
    return [(*shapes[0][:axis], *shapes[1], *shapes[0][axis + 1 :])]


def _arg(_op: Operator, shapes: Shapes, values: Values) -> list[Shape] | None:
    if values[1] is None:
        return None
    axis = int(np.ravel(values[1])[0]) % len(shapes[0])
    return [shapes[0][:axis] + shapes[0][axis + 1 :]]


def _batch_matmul(op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    left, right = shapes
    rows = left[-1] if op.options.get("adj_x") else left[-2]
    columns = right[-2] if op.options.get("adj_y") else right[-1]
    batch = np.broadcast(_like(left[:-2]), _like(right[:-2])).shape
    return [(*batch, rows, columns)]


def _shape(_op: Operator, shapes: Shapes, _values: Values) -> list[Shape]:
    return [(len(shapes[0]),)]


def _fill(_op: Operator, _shapes: Shapes, values: Values) -> list[Shape] | None:
    return None if values[0] is None else [tuple(int(size) for size in np.ravel(values[0]))]


def _like(shape: Shape) -> Any:  # noqa: ANN401 - an array of the shape that takes no memory
    return np.broadcast_to(np.zeros((), np.bool_), shape)


_RULES: dict[str, _Inference] = {
    "ARG_MAX": _arg,
    "ARG_MIN": _arg,
    "AVERAGE_POOL_2D": _pool,
    "BATCH_MATMUL": _batch_matmul,
    "BROADCAST_TO": lambda op, shapes, values: _fill(op, shapes, values[1:]),
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "DEPTH_TO_SPACE": _depth_to_space,
    "EXPAND_DIMS": _expand_dims,
    "FILL": _fill,
    "FULLY_CONNECTED": _dense,
    "GATHER": _gather,
    "L2_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "MIRROR_PAD": _pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SHAPE": _shape,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPLIT": _split,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": _unpack,
}
