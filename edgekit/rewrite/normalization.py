# SPDX-License-Identifier: Apache-2.0
"""LayerNormalization, RMS and unit normalization over channels as L2_NORMALIZATION, which maps.

Exporters write them in many ways (RSQRT, SQRT and DIV, POW), so they are recognized by what they
compute: the part of the graph around a root is computed on random rows and compared with

    y = factor * z / sqrt(mean(z * z) + epsilon) + shift,  z = x - mean(x) or z = x.

That is sqrt(channels) * factor * l2(z) + shift. Channels of a constant after those of z add epsilon
to the sum of squares. The mean is a 1x1 convolution with equal weights, which are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.float_activations import fuse
from edgekit.rewrite.real_values import COMPUTED, computed

ROOTS = ("POW", "RSQRT", "SQRT")
_FUSED = "fused_activation_function"
_SEPARABLE = ("RELU", "RELU6")
# The output's step is 1/128, and its values are 1/sqrt(channels) on average: 29 dB with so many.
_MOST_CHANNELS = 1024
_LEAST_CHANNELS = 4
_MOST_VALUES = 1 << 20
_LEAST_EPSILON = 1e-4  # smaller ones only count where a pixel hardly varies
_CONSTANTS = 4  # channels are stored in words of four
_TOLERANCE = 1e-4
_LEAST_ROWS = 16  # to fit two numbers for each channel, and to contradict them
SCALES = (1.0, 0.05, 20.0)
_Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Found:
    """A normalization from tensor ``x`` to tensor ``y``; numbers are for each channel."""

    x: int
    y: int
    is_centred: bool
    epsilon: float
    factor: _Values
    shift: _Values


def normalize(model: Model) -> tuple[Model, int]:
    """Return the float ``model`` with L2_NORMALIZATION for normalizations, and their number.

    Args:
        model: In NHWC; only normalizations over the last axis are replaced.
    """
    edit = Edit(model)
    opened = open_activations(edit)
    done: set[int] = set()
    count = 0
    for root in list(edit.operators):
        if root.opcode in ROOTS and root.outputs[0] not in done:
            found = _around(edit, root)
            if found is not None:
                done.update(_descendants(edit, found))
                place = next(n for n, op in enumerate(edit.operators) if found.y in op.outputs)
                edit.operators[place : place + 1] = _built(edit, found)
                count += 1
    if not count:
        return model, 0
    close_activations(edit, opened)
    fuse(edit)
    return edit.build(), count


def has_normalization(model: Model) -> bool:
    """Whether `normalize` would change the float ``model``."""
    edit = Edit(model)
    open_activations(edit)
    return any(_around(edit, op) is not None for op in edit.operators if op.opcode in ROOTS)


@dataclass(frozen=True)
class _Opened:
    """An operator whose activation became an operator of its own."""

    whole: Operator
    plain: Operator
    activation: Operator


def open_activations(edit: Edit) -> list[_Opened]:
    """Separate the activations fused into elementwise operators: a normalization ends before."""
    opened, operators = [], []
    for op in edit.operators:
        fused = str(op.options.get(_FUSED, "NONE"))
        if op.opcode not in COMPUTED or fused not in _SEPARABLE:
            operators.append(op)
            continue
        out = edit.tensors[op.outputs[0]]
        before = edit.activation(out, f"{out.name}/linear")
        plain = replace(op, options={**op.options, _FUSED: "NONE"}, outputs=(before,))
        each = _Opened(op, plain, edit.operator(fused, (before,), op.outputs))
        opened.append(each)
        operators += [each.plain, each.activation]
    edit.operators = operators
    return opened


def close_activations(edit: Edit, opened: list[_Opened]) -> None:
    """Undo `open_activations` for the operators that are still there."""
    for each in opened:
        place = next((n for n, op in enumerate(edit.operators) if op is each.plain), None)
        if place is not None:
            edit.operators[place] = each.whole
            edit.operators = [op for op in edit.operators if op is not each.activation]


def _around(edit: Edit, root: Operator) -> _Found | None:
    """Return the normalization that contains ``root``, with as much after it as fits."""
    after_root = after(edit, root)
    for x in sources(edit, root):
        tensor = edit.tensors[x]
        if tensor.is_dynamic or not _is_image(tensor.shape, tensor.dtype):
            continue
        bases = random_images(tensor.shape)
        runs = [[computed_from(edit, x, scale * each) for each in bases] for scale in SCALES]
        rows = _rows(bases)
        for y in reversed([each for each in runs[0][0] if each in after_root]):
            if edit.tensors[y].shape == tensor.shape:
                ys = [_rows([each[y] for each in run]) for run in runs]
                fit = _fit(rows, ys, epsilons(edit, x))
                if fit is not None:
                    return _Found(x, y, *fit)
    return None


def random_images(shape: tuple[int, ...]) -> list[_Values]:
    """Return images of this shape whose rows and channels differ; more than one of few rows."""
    rng = np.random.default_rng(0)
    count = 1 if np.prod(shape[:-1]) >= _LEAST_ROWS else _LEAST_ROWS
    offsets = rng.normal(size=shape[-1])
    images = []
    for _ in range(count):
        spread = rng.uniform(0.5, 2, (*shape[:-1], 1))
        images.append(rng.normal(size=shape) * spread + offsets)
    return images


def _rows(images: list[_Values]) -> _Values:
    return np.concatenate([each.reshape(-1, each.shape[-1]) for each in images])


def _is_image(shape: tuple[int, ...], dtype: str) -> bool:
    return (
        dtype == "FLOAT32"
        and len(shape) > 1
        and _LEAST_CHANNELS <= shape[-1] <= _MOST_CHANNELS
        and shape[-1] % _CONSTANTS == 0
        and int(np.prod(shape)) <= _MOST_VALUES
    )


def sources(edit: Edit, root: Operator) -> list[int]:
    """Return the tensors that ``root`` depends on through known operators, the nearest first."""
    producers = edit.producers()
    found, new = [], [root.inputs[0]]
    while new:
        found.extend(new)
        makers = [producers[i] for i in new if i in producers]
        above = [i for op in makers if op.opcode in COMPUTED for i in op.inputs]
        new = [i for i in dict.fromkeys(above) if edit.data(i) is None and i not in found]
    return found


def after(edit: Edit, root: Operator) -> set[int]:
    """Return the tensors that depend on ``root``."""
    reached = set(root.outputs)
    for op in edit.operators[edit.operators.index(root) :]:
        if reached.intersection(op.inputs):
            reached.update(op.outputs)
    return reached


def computed_from(edit: Edit, x: int, values: _Values) -> dict[int, _Values]:
    """Return what follows from tensor ``x`` alone, in the order of the operators."""
    known = {x: values}
    for op in edit.operators:
        if op.opcode in COMPUTED and known.keys() & set(op.inputs):
            made = computed(edit, op, known)
            if made is not None:
                known[op.outputs[0]] = made
    return known


def _descendants(edit: Edit, found: _Found) -> set[int]:
    return {found.y, *computed_from(edit, found.x, np.zeros(edit.tensors[found.x].shape))}


def _fit(
    rows: _Values, ys: list[_Values], epsilons: list[float]
) -> tuple[bool, float, _Values, _Values] | None:
    """Return whether it is centred, epsilon, factors and shifts; None if it is something else."""
    if not all(np.isfinite(each).all() for each in ys):
        return None
    for is_centred in (True, False):
        z = rows - rows.mean(axis=1, keepdims=True) if is_centred else rows
        squares = (z * z).mean(axis=1, keepdims=True)
        for epsilon in epsilons:
            units = [scale * z / np.sqrt(scale**2 * squares + epsilon) for scale in SCALES]
            line = straight_line(units[0], ys[0])
            if all(is_close(line[0] * u + line[1], y) for u, y in zip(units, ys)):
                return (is_centred, epsilon, *line)
    return None


def straight_line(x: _Values, y: _Values) -> tuple[_Values, _Values]:
    """Return factors and shifts of each column: least squares."""
    centred = x - x.mean(axis=0)
    spread = np.maximum((centred * centred).sum(axis=0), 1e-30)
    factor = (centred * (y - y.mean(axis=0))).sum(axis=0) / spread
    return factor, y.mean(axis=0) - factor * x.mean(axis=0)


def epsilons(edit: Edit, x: int) -> list[float]:
    """Return what epsilon may be: zero, or a constant that is added to the mean or the sum."""
    depth = edit.tensors[x].shape[-1]
    known = computed_from(edit, x, np.zeros(edit.tensors[x].shape))
    found = [0.0]
    for op in edit.operators:
        if op.outputs[0] in known and op.opcode == "ADD":
            data = [edit.data(i) for i in op.inputs]
            single = [
                float(each.ravel()[0]) for each in data if each is not None and each.size == 1
            ]
            found += [each for number in single for each in (number, number / depth) if each > 0]
    return found


def is_close(expected: _Values, values: _Values) -> bool:
    """Whether values differ by no more than rounding explains."""
    error = np.abs(expected - values).max()
    return bool(error <= _TOLERANCE * max(float(values.std()), 1e-6))


def _built(edit: Edit, found: _Found) -> list[Operator]:
    x, y = edit.tensors[found.x], edit.tensors[found.y]
    depth, name = x.shape[-1], y.name
    rows = (1, 1, x.num_elements // depth, depth)
    image = x.shape if len(x.shape) == 4 and x.shape[0] == 1 else rows
    operators: list[Operator] = []
    source = found.x
    if image != x.shape:
        source = edit.activation(x, f"{name}/rows", shape=image)
        operators.append(pieces.reshape(edit, found.x, source))
    extra = _CONSTANTS if found.epsilon >= _LEAST_EPSILON else 0
    wide = (*image[:-1], depth + extra)
    padded = source
    if extra:
        ends = np.array([[0, 0], [0, 0], [0, 0], [0, extra]])
        padding, padded = pieces.pad(edit, source, ends, name)
        operators.append(padding)
    z = padded
    if found.is_centred or extra:
        mean, z = (edit.activation(x, f"{name}/{what}", shape=wide) for what in ("mean", "z"))
        weights = np.zeros((depth + extra, 1, 1, depth), np.float32)
        weights[:depth] = 1 / depth if found.is_centred else 0
        bias = np.zeros(depth + extra, np.float32)
        bias[depth:] = -np.sqrt(depth * found.epsilon / max(extra, 1))
        kernel = edit.constant(f"{name}/mean_weights", weights)
        shift = edit.constant(f"{name}/mean_bias", bias)
        operators += [
            pieces.convolve(edit, source, kernel, shift, mean),
            pieces.subtract(edit, padded, mean, z),
        ]
    unit = edit.activation(x, f"{name}/unit", shape=wide)
    operators.append(pieces.l2_normalize(edit, z, unit))
    if extra:
        kept = edit.activation(x, f"{name}/kept", shape=image)
        operators.append(pieces.slice_from(edit, unit, (0, 0, 0, 0), kept))
        unit = kept
    scaled = edit.activation(y, f"{name}/scaled", shape=image) if image != y.shape else found.y
    operators.append(_scaled(edit, found, unit, scaled))
    if scaled != found.y:
        operators.append(pieces.reshape(edit, scaled, found.y))
    return operators


def _scaled(edit: Edit, found: _Found, unit: int, out: int) -> Operator:
    """Multiply by factors and add shifts, as a depthwise 1x1 convolution."""
    name, depth = edit.tensors[found.y].name, len(found.factor)
    factors = (found.factor * np.sqrt(depth)).astype(np.float32).reshape(1, 1, 1, depth)
    kernel = edit.constant(f"{name}/factors", factors)
    bias = edit.constant(f"{name}/shifts", found.shift.astype(np.float32))
    return pieces.convolve_depthwise(edit, unit, kernel, bias, out)
