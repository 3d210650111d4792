# SPDX-License-Identifier: Apache-2.0
"""Operators that move values and, if they join tensors of several scales, requantize them.

A move is checked wherever a program of the corpus contains one, because the layers behind it would
differ: RESHAPE, PAD, CONCATENATION of parts with one scale, SPLIT, TILE, and, in a YOLOv8,
STRIDED_SLICE. Not proved: a CONCATENATION that requantizes (as QUANTIZE), and the others, which
only move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.chip.arithmetic.formulas.elementwise import rescaled
from edgekit.chip.arithmetic.scales import (
    Values,
    constant,
    operand,
    unsigned,
    zero_point_of,
)
from edgekit.formats.tflite import Model, Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _integers(model: Model, operator: Operator, position: int) -> list[int]:
    """The constant integers of an input; empty if it is not constant."""
    tensor = model.main.tensors[operator.inputs[position]]
    return [int(each) for each in constant(model, tensor).reshape(-1)]


def reshaped(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """The same values in another shape."""
    shape = model.main.tensors[operator.outputs[0]].shape
    return np.asarray(values[operator.inputs[0]].reshape(shape))


def padded(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """Values around the image: zero, or the constant of a PADV2."""
    source = model.main.tensors[operator.inputs[0]]
    widths = np.reshape(_integers(model, operator, 1), (-1, 2)).tolist()
    fill = zero_point_of(source)
    if operator.opcode == "PADV2":
        fill = int(unsigned(constant(model, model.main.tensors[operator.inputs[2]])).flat[0])
    return np.pad(values[operator.inputs[0]], widths, constant_values=fill)


def mirrored(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """The image's own values around it, without (REFLECT) or with those at its border."""
    widths = np.reshape(_integers(model, operator, 1), (-1, 2)).tolist()
    mode: Any = "symmetric" if operator.options.get("mode") else "reflect"
    return np.pad(values[operator.inputs[0]], widths, mode=mode)


def concatenated(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """Parts side by side, each at the scale of the output."""
    parts = _parts(model, operator, values)
    return np.concatenate(parts, axis=operator.options["axis"]) if parts else None


def packed(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """Parts along a new axis, each at the scale of the output."""
    parts = _parts(model, operator, values)
    return np.stack(parts, axis=operator.options["axis"]) if parts else None


def _parts(model: Model, operator: Operator, values: Values) -> list[NDArray[np.uint8]]:
    tensors = model.main.tensors
    output = tensors[operator.outputs[0]]
    return [
        rescaled(operand(model, operator, values, position), tensors[index], output)
        for position, index in enumerate(operator.inputs)
    ]


def unpacked(model: Model, operator: Operator, values: Values) -> list[NDArray[np.uint8]]:
    """The slices along an axis, without that axis."""
    del model
    axis = operator.options["axis"]
    return list(np.moveaxis(values[operator.inputs[0]], axis, 0))


def split(model: Model, operator: Operator, values: Values) -> list[NDArray[np.uint8]]:
    """Equal parts along an axis."""
    axis = _integers(model, operator, 0)[0]
    return np.split(values[operator.inputs[1]], len(operator.outputs), axis=axis)


def split_by_sizes(model: Model, operator: Operator, values: Values) -> list[NDArray[np.uint8]]:
    """Parts of given sizes along an axis; the output shapes have them all."""
    axis = _integers(model, operator, 2)[0]
    sizes = [model.main.tensors[index].shape[axis] for index in operator.outputs]
    return np.split(values[operator.inputs[0]], np.cumsum(sizes)[:-1].tolist(), axis=axis)


def tiled(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """The image several times, side by side."""
    return np.tile(values[operator.inputs[0]], _integers(model, operator, 1))


def sliced(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """A part that starts at given positions; the output's shape is its size."""
    begin = _integers(model, operator, 1)
    shape = model.main.tensors[operator.outputs[0]].shape
    where = tuple(slice(first, first + size) for first, size in zip(begin, shape))
    return np.asarray(values[operator.inputs[0]][where])


def strided_slice(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """A part with steps, as numpy's slices; a bit of a mask is one axis."""
    options = operator.options
    begin, end, step = (_integers(model, operator, position) for position in (1, 2, 3))
    where: list[Any] = []
    for k, each in enumerate(step):
        if options.get("ellipsis_mask", 0) >> k & 1:
            where.append(Ellipsis)
        elif options.get("new_axis_mask", 0) >> k & 1:
            where.append(None)
        elif options.get("shrink_axis_mask", 0) >> k & 1:
            where.append(begin[k])
        else:
            first = None if options.get("begin_mask", 0) >> k & 1 else begin[k]
            last = None if options.get("end_mask", 0) >> k & 1 else end[k]
            where.append(slice(first, last, each))
    shape = model.main.tensors[operator.outputs[0]].shape
    return np.asarray(values[operator.inputs[0]][tuple(where)].reshape(shape))


def transposed(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """The axes in another order."""
    return np.ascontiguousarray(values[operator.inputs[0]].transpose(_integers(model, operator, 1)))


def space_to_depth(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """Squares of pixels become channels of one pixel."""
    output = model.main.tensors[operator.outputs[0]]
    size = operator.options["block_size"]
    batch, height, width, channels = output.shape
    blocks = values[operator.inputs[0]].reshape(batch, height, size, width, size, -1)
    return np.asarray(blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels))


def depth_to_space(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """Channels of a pixel become squares of pixels."""
    output = model.main.tensors[operator.outputs[0]]
    size = operator.options["block_size"]
    batch, height, width, _ = model.main.tensors[operator.inputs[0]].shape
    blocks = values[operator.inputs[0]].reshape(batch, height, width, size, size, -1)
    return np.asarray(blocks.transpose(0, 1, 3, 2, 4, 5).reshape(output.shape))
