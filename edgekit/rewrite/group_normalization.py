# SPDX-License-Identifier: Apache-2.0
"""GroupNormalization and instance normalization with operators that map.

Like `edgekit.rewrite.normalization`, they are recognized by what they compute: with mean and
variance over the pixels and the channels of a group,

    y = factor * (x - mean) / sqrt(variance + epsilon) + shift.

Means over groups are 1x1 convolutions with equal weights behind a MEAN over the pixels. The
inverse root is a sum of ReLUs, a polygon whose corners lie on the curve at equal ratios: RSQRT is
not known to map. It is a falling convex curve, so all its parts add up without cancelling, and
none of them is larger than the curve: 8 bits are enough for each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.float_activations import fuse
from edgekit.rewrite.normalization import (
    ROOTS,
    SCALES,
    after,
    close_activations,
    computed_from,
    epsilons,
    is_close,
    open_activations,
    random_images,
    sources,
    straight_line,
)

_Values = NDArray[np.float64]
_LEAST_PIXELS = 16  # to fit two numbers for each channel, and to contradict them
_MOST_CHANNELS = 1024
_MOST_VALUES = 1 << 20
_RANKS = (3, 4)
_ACTIVATIONS = ("RELU", "RELU6")
_NO_SHIFT = 1e-4  # of the factors: rounding of the fit
# Corners of the polygon for 1 / sqrt(x): 0.8 % of the value is its largest error.
_RATIO = 1.5
_LARGEST = 1e4
_SMALLEST = 1e-4


@dataclass(frozen=True)
class _Found:
    """A normalization from tensor ``x`` to tensor ``y``; numbers are for each channel."""

    x: int
    y: int
    groups: int
    epsilon: float
    factor: _Values
    shift: _Values


def normalize_groups(model: Model) -> tuple[Model, int]:
    """Return the float ``model`` with group normalizations replaced, and their number.

    Args:
        model: In NHWC, with one image; an instance normalization has one group for each channel.
    """
    edit = Edit(model)
    opened = open_activations(edit)
    count = 0
    for root in list(edit.operators):
        if root.opcode not in ROOTS or root not in edit.operators:
            continue
        found = _around(edit, root)
        if found is None:
            continue
        place = next(n for n, op in enumerate(edit.operators) if found.y in op.outputs)
        edit.operators[place : place + 1] = _built(edit, _with_reshape(edit, found))
        count += 1
    if not count:
        return model, 0
    close_activations(edit, opened)
    fuse(edit)
    return edit.build(), count


def has_groups(model: Model) -> bool:
    """Whether `normalize_groups` would change the float ``model``."""
    edit = Edit(model)
    open_activations(edit)
    return any(_around(edit, op) is not None for op in edit.operators if op.opcode in ROOTS)


def _around(edit: Edit, root: Operator) -> _Found | None:
    after_root = after(edit, root)
    for x in sources(edit, root):
        tensor = edit.tensors[x]
        if tensor.is_dynamic or not _is_image(tensor.shape, tensor.dtype):
            continue
        base = random_images(tensor.shape)[0]
        runs = [computed_from(edit, x, scale * base) for scale in SCALES]
        for y in reversed([each for each in runs[0] if each in after_root]):
            if edit.tensors[y].num_elements != tensor.num_elements:
                continue
            fit = _fit(base, [run[y] for run in runs], epsilons(edit, x))
            if fit is not None:
                return _Found(x, y, *fit)
    return None


def _with_reshape(edit: Edit, found: _Found) -> _Found:
    """Return it with the RESHAPE that ends the groups, which moves before an activation."""
    readers = edit.consumers(found.y)
    activation = readers[0] if len(readers) == 1 and readers[0].opcode in _ACTIVATIONS else None
    end = found.y if activation is None else activation.outputs[0]
    behind = edit.consumers(end)
    shape = edit.tensors[found.x].shape
    if len(behind) != 1 or behind[0].opcode != "RESHAPE":
        return found
    out = behind[0].outputs[0]
    if edit.tensors[found.y].shape == shape or edit.tensors[out].shape != shape:
        return found
    if not (edit.is_internal(found.y) and edit.is_internal(end)):
        return found
    y = edit.activation(edit.tensors[out], f"{edit.tensors[out].name}/linear")
    place = next(n for n, op in enumerate(edit.operators) if found.y in op.outputs)
    edit.operators[place] = replace(edit.operators[place], outputs=(y,))
    instead = (
        pieces.reshape(edit, y, out)
        if activation is None
        else replace(activation, inputs=(y,), outputs=(out,))
    )
    edit.operators = [instead if op is behind[0] else op for op in edit.operators]
    edit.operators = [op for op in edit.operators if op is not activation]
    return replace(found, y=y)


def _is_image(shape: tuple[int, ...], dtype: str) -> bool:
    return (
        dtype == "FLOAT32"
        and len(shape) in _RANKS
        and shape[0] == 1
        and int(np.prod(shape[:-1])) >= _LEAST_PIXELS
        and 1 < shape[-1] <= _MOST_CHANNELS
        and int(np.prod(shape)) <= _MOST_VALUES
    )


def _fit(
    image: _Values, ys: list[_Values], choices: list[float]
) -> tuple[int, float, _Values, _Values] | None:
    """Return groups, epsilon, factors and shifts; None if it is something else."""
    if not all(np.isfinite(each).all() for each in ys):
        return None
    depth = image.shape[-1]
    x = image.reshape(-1, depth)
    rows = [each.reshape(-1, depth) for each in ys]
    for groups in (each for each in range(1, depth + 1) if depth % each == 0):
        z, variance = _statistics(x, groups)
        for epsilon in choices:
            units = [scale * z / np.sqrt(scale**2 * variance + epsilon) for scale in SCALES]
            factor, shift = straight_line(units[0], rows[0])
            if all(is_close(factor * u + shift, y) for u, y in zip(units, rows)):
                return groups, epsilon, factor, shift
    return None


def _statistics(x: _Values, groups: int) -> tuple[_Values, _Values]:
    """Return the deviations from the mean of the group, and its variance for each channel."""
    pixels, depth = x.shape
    parts = x.reshape(pixels, groups, depth // groups)
    z = parts - parts.mean(axis=(0, 2), keepdims=True)
    variance = (z * z).mean(axis=(0, 2))
    return z.reshape(pixels, depth), np.repeat(variance, depth // groups)


def _built(edit: Edit, found: _Found) -> list[Operator]:
    x, y = edit.tensors[found.x], edit.tensors[found.y]
    depth, name, groups = x.shape[-1], y.name, found.groups
    image = x.shape if len(x.shape) == 4 else (1, 1, *x.shape[1:])
    one, few, column = (1, 1, 1, depth), (1, 1, 1, groups), (1, 1, groups, 1)

    def new(what: str, shape: tuple[int, ...]) -> int:
        return edit.activation(x, f"{name}/{what}", shape=shape)

    mean, shared, z, squares, spread = (
        new(what, shape)
        for what, shape in (
            ("mean", one),
            ("group_mean", one),
            ("z", image),
            ("squares", image),
            ("variances", one),
        )
    )
    variance, root, factors = (
        new(what, shape)
        for what, shape in (("group_variance", few), ("inverse_root", few), ("factors", one))
    )
    of_group = np.repeat(np.eye(groups), depth // groups, axis=1) * groups / depth
    to_channels = np.repeat(np.eye(groups), depth // groups, axis=0)
    operators: list[Operator] = []
    source = found.x
    if image != x.shape:
        source = new("rows", image)
        operators.append(pieces.reshape(edit, found.x, source))
    values, inverse = (new(what, column) for what in ("variance", "inverse"))
    out = found.y if image == y.shape else edit.activation(y, f"{name}/image", shape=image)
    has_shift = bool(np.abs(found.shift).max() > _NO_SHIFT * np.abs(found.factor).max())
    scaled = new("scaled", image) if has_shift else out
    operators += [
        _mean(edit, source, mean),
        _dense(edit, mean, to_channels @ of_group, np.zeros(depth), shared),
        pieces.subtract(edit, source, shared, z),
        pieces.mul(edit, z, z, squares),
        _mean(edit, squares, spread),
        _dense(edit, spread, of_group, np.full(groups, found.epsilon), variance),
        pieces.reshape(edit, variance, values),
        *_inverse_root(edit, values, inverse),
        pieces.reshape(edit, inverse, root),
        _dense(edit, root, to_channels * found.factor[:, None], np.zeros(depth), factors),
        pieces.mul(edit, z, factors, scaled),
        *([_shifted(edit, scaled, found.shift, out)] if has_shift else []),
    ]
    if out != found.y:
        operators.append(pieces.reshape(edit, out, found.y))
    return operators


def _mean(edit: Edit, source: int, out: int) -> Operator:
    axes = edit.constant(f"{edit.tensors[out].name}/axes", np.array([1, 2], np.int32))
    return edit.operator("MEAN", (source, axes), (out,), {"keep_dims": True}, "ReducerOptions")


def _dense(edit: Edit, source: int, weights: _Values, bias: _Values, out: int) -> Operator:
    name = edit.tensors[out].name
    kernel = weights.astype(np.float32)[:, None, None, :]
    return pieces.convolve(
        edit,
        source,
        edit.constant(f"{name}/weights", kernel),
        edit.constant(f"{name}/bias", bias.astype(np.float32)),
        out,
    )


def _inverse_root(edit: Edit, source: int, out: int) -> list[Operator]:
    """Two 1x1 convolutions with a ReLU between them, from one channel to one channel."""
    corners, slopes, last = polygon()
    name = edit.tensors[out].name
    shape = (*edit.tensors[source].shape[:-1], len(corners))
    parts = edit.activation(edit.tensors[source], f"{name}/parts", shape=shape)
    kernel = edit.constant(f"{name}/slopes", (-slopes).astype(np.float32).reshape(-1, 1, 1, 1))
    bias = edit.constant(f"{name}/corners", (slopes * corners).astype(np.float32))
    ones = edit.constant(f"{name}/ones", np.ones((1, 1, 1, len(corners)), np.float32))
    least = edit.constant(f"{name}/least", np.array([last], np.float32))
    return [
        pieces.convolve(edit, source, kernel, bias, parts, "RELU"),
        pieces.convolve(edit, parts, ones, least, out),
    ]


def polygon() -> tuple[_Values, _Values, float]:
    """Return corners t, slopes a and c of ``c + sum(a * relu(t - x))``, about 1 / sqrt(x)."""
    count = int(np.ceil(np.log(_LARGEST / _SMALLEST) / np.log(_RATIO)))
    corners = _SMALLEST * _RATIO ** np.arange(count + 1)
    # A chord lies above the curve: the corners are lowered by half of the largest distance.
    middle = np.sqrt(_RATIO)
    chord = 1 + (middle - 1) * (1 / np.sqrt(_RATIO) - 1) / (_RATIO - 1)
    heights = corners**-0.5 * 2 / (1 + chord * np.sqrt(middle))
    steepness = np.append(np.diff(heights) / np.diff(corners), 0)
    bends: _Values = np.diff(steepness).astype(np.float64)
    ends: _Values = corners[1:].astype(np.float64)
    return ends, bends, float(heights[-1])


def _shifted(edit: Edit, source: int, shift: _Values, out: int) -> Operator:
    """Add a number to each channel, as a depthwise 1x1 convolution."""
    name, depth = edit.tensors[out].name, len(shift)
    kernel = edit.constant(f"{name}/ones", np.ones((1, 1, 1, depth), np.float32))
    bias = edit.constant(f"{name}/shifts", shift.astype(np.float32))
    return pieces.convolve_depthwise(edit, source, kernel, bias, out)
