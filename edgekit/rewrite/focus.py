# SPDX-License-Identifier: Apache-2.0
"""Focus (YOLOX, YOLOv5 before 6): slices of every second pixel, joined, as one convolution.

A convolution of k x k on images of every s-th pixel is one of s k x s k, with the stride s, on the
whole image. It reads the same values with the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Mapping, Sequence

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, same_quantization
from edgekit.rewrite.rule import Rule

_HEIGHT, _WIDTH, _CHANNELS = 1, 2, 3
_X, _FILTER = 0, 1


@dataclass(frozen=True)
class _Part:
    """Every ``step``-th pixel of a tensor, from (y, x) on."""

    source: int
    offset: tuple[int, int]
    step: tuple[int, int]


def join_focus(model: Model) -> Model | None:
    """Return ``model`` with convolutions on joined slices of steps as convolutions with strides."""
    edit = Edit(model)
    found = False
    for join in list(edit.operators):
        if join.opcode == "CONCATENATION" and _join_focus(edit, join):
            found = True
    return edit.build() if found else None


def _join_focus(edit: Edit, join: Operator) -> bool:
    parts = _parts(edit, join)
    readers = edit.consumers(join.outputs[0])
    if not parts or len(readers) != 1 or not edit.is_internal(join.outputs[0]):
        return False
    conv, paddings = readers[0], np.zeros((4, 2), np.int64)
    if conv.opcode == "PAD":
        values = edit.data(conv.inputs[1])
        after = edit.consumers(conv.outputs[0])
        if values is None or len(after) != 1 or not edit.is_internal(conv.outputs[0]):
            return False
        conv, paddings = after[0], np.asarray(values, np.int64)
    if not _is_plain(edit, conv) or paddings[[0, _CHANNELS]].any():
        return False
    if paddings.any() and conv.options.get("padding") == "SAME":
        return False
    step = parts[0].step
    around = _padding(edit, conv) + paddings[_HEIGHT:_CHANNELS]
    _replace(edit, conv, parts, around * np.array(step)[:, None])
    return True


def _parts(edit: Edit, join: Operator) -> list[_Part]:
    """Return the parts that ``join`` joins; empty if they are not those of a Focus layer."""
    out = edit.tensors[join.outputs[0]]
    is_last = len(out.shape) == 4 and int(join.options.get("axis", 0)) % 4 == _CHANNELS
    if not is_last or join.options.get("fused_activation_function", "NONE") != "NONE":
        return []
    producers = edit.producers()
    found = [_part(edit, producers, index) for index in join.inputs]
    parts = [each for each in found if each is not None]
    if len(parts) < len(found) or len({(part.source, part.step) for part in parts}) != 1:
        return []
    (source, step), shape = (parts[0].source, parts[0].step), out.shape
    image = edit.tensors[source].shape
    inside = all(0 <= at < by for part in parts for at, by in zip(part.offset, part.step))
    whole = (shape[_HEIGHT] * step[0], shape[_WIDTH] * step[1]) == image[_HEIGHT:_CHANNELS]
    same = same_quantization(edit.tensors[source], out)
    # Weights of a part that is joined twice would have to be added, and integers can overflow.
    distinct = len({part.offset for part in parts}) == len(parts)
    return parts if inside and whole and same and distinct and max(step) > 1 else []


def _part(edit: Edit, producers: Mapping[int, Operator], index: int) -> _Part | None:
    """Follow STRIDED_SLICEs up to a tensor that none of them makes; None if none has a step."""
    offset, step, source = [0, 0], [1, 1], index
    while source in producers and producers[source].opcode == "STRIDED_SLICE":
        op = producers[source]
        bounds = _bounds(edit, op)
        if bounds is None:
            return None
        for axis, (begin, stride) in enumerate(bounds):
            offset[axis] = begin + offset[axis] * stride
            step[axis] *= stride
        source = op.inputs[_X]
    return None if source == index else _Part(source, (offset[0], offset[1]), (step[0], step[1]))


def _bounds(edit: Edit, op: Operator) -> list[tuple[int, int]] | None:
    """Return begin and stride in height and width; None if the slice does anything else."""
    x, y = edit.tensors[op.inputs[_X]], edit.tensors[op.outputs[0]]
    names = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask", "offset")
    values = [edit.data(index) for index in op.inputs[1:4]]
    if any(op.options.get(name) for name in names) or len(x.shape) != 4 or x.is_dynamic:
        return None
    if any(each is None for each in values) or not same_quantization(x, y):
        return None
    if (x.shape[0], x.shape[_CHANNELS]) != (y.shape[0], y.shape[_CHANNELS]):
        return None
    begins, _, strides = (np.ravel(np.asarray(each)).tolist() for each in values)
    mask = int(op.options.get("begin_mask", 0))
    found = []
    for axis in (_HEIGHT, _WIDTH):
        begin = 0 if mask >> axis & 1 else int(begins[axis]) % x.shape[axis]
        if strides[axis] < 1:
            return None
        found.append((begin, int(strides[axis])))
    return found


def _is_plain(edit: Edit, conv: Operator) -> bool:
    """Whether ``conv`` is a convolution with constant weights, without dilation or groups."""
    if conv.opcode != "CONV_2D" or edit.data(conv.inputs[_FILTER]) is None:
        return False
    dilated = any(conv.options.get(f"dilation_{axis}_factor", 1) != 1 for axis in "wh")
    depths = [edit.tensors[index].shape[-1] for index in conv.inputs[:2]]
    return not dilated and depths[0] == depths[1]


def _padding(edit: Edit, conv: Operator) -> np.ndarray:
    """Return what ``conv`` pads before and after its input, in height and width."""
    x, kernel = (edit.tensors[index].shape for index in conv.inputs[:2])
    if conv.options.get("padding") != "SAME":
        return np.zeros((2, 2), np.int64)
    return np.array(
        [
            _same(x[axis], kernel[axis], int(conv.options[f"stride_{name}"]))
            for axis, name in ((_HEIGHT, "h"), (_WIDTH, "w"))
        ]
    )


def _same(size: int, length: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + length - size, 0)
    return total // 2, total - total // 2


def _replace(edit: Edit, conv: Operator, parts: Sequence[_Part], around: np.ndarray) -> None:
    """Put a convolution on the whole image in place of ``conv``; ``around`` is its padding."""
    step, source = parts[0].step, parts[0].source
    kernel = edit.tensors[conv.inputs[_FILTER]]
    weights = np.asarray(edit.data(conv.inputs[_FILTER]))
    image = edit.tensors[source]
    depth = image.shape[_CHANNELS]
    count, height, width, _ = weights.shape
    # A weight of zero: the zero point of uint8 weights is not 0.
    zero = int(kernel.zero_point or 0)
    spread = np.full((count, height * step[0], width * step[1], depth), zero, weights.dtype)
    for number, part in enumerate(parts):
        y, x = part.offset
        channels = slice(number * depth, (number + 1) * depth)
        spread[:, y :: step[0], x :: step[1]] = weights[..., channels]
    strides = [int(conv.options[f"stride_{name}"]) * by for name, by in zip("hw", step)]
    same = [
        _same(image.shape[axis], spread.shape[axis], strides[axis - 1])
        for axis in (_HEIGHT, _WIDTH)
    ]
    options = {**conv.options, "stride_h": strides[0], "stride_w": strides[1], "padding": "VALID"}
    place = edit.operators.index(conv)
    before: list[Operator] = []
    if around.any() and around.tolist() == [list(each) for each in same]:
        options["padding"] = "SAME"
    elif around.any():
        pads = np.array([[0, 0], *around.tolist(), [0, 0]])
        padding, source = pieces.pad(edit, source, pads, edit.tensors[conv.outputs[0]].name)
        before.append(padding)
    fresh = edit.constant(f"{kernel.name}/whole", spread, kernel.quantization)
    whole = replace(conv, inputs=(source, fresh, *conv.inputs[2:]), options=options)
    edit.operators[place : place + 1] = [*before, whole]


RULE = Rule(
    "focus",
    "a convolution on joined slices of every second pixel becomes one on the whole image",
    exact=True,
    apply=join_focus,
)
