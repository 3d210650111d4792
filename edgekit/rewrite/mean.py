# SPDX-License-Identifier: Apache-2.0
"""Compute a MEAN over a large image in bands."""

from __future__ import annotations

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule

# The compiler refused MEAN of 256x128x3, but mapped four of 64x128x3 in its place
# (google-coral/edgetpu issue 461, compiler 16).
_LARGEST_POSITIONS = 64 * 128
_HEIGHT, _WIDTH = 1, 2


def split_mean(model: Model) -> Model | None:
    """Return ``model`` with MEAN over more than 8,192 positions computed in bands, then over them.

    The bands are equal, so the result is that of one MEAN; in integers, each band's mean is rounded
    to the scale of the input first.
    """
    return rewrite_operators(model, _split)


def _split(edit: Edit, op: Operator) -> list[Operator]:
    cut = _cut(edit, op)
    return [] if cut is None else _bands(edit, op, *cut)


def _cut(edit: Edit, op: Operator) -> tuple[int, int] | None:
    """Return (axis, number of equal bands); None if the operator stays."""
    if op.opcode != "MEAN":
        return None
    x = edit.tensors[op.inputs[0]]
    axes = edit.data(op.inputs[1])
    y = edit.tensors[op.outputs[0]]
    if axes is None or len(x.shape) != 4 or x.is_dynamic:
        return None
    if not (is_8bit(x) and is_8bit(y)) and {x.dtype, y.dtype} != {"FLOAT32"}:
        return None
    height, width = x.shape[_HEIGHT], x.shape[_WIDTH]
    reduced = sorted(int(axis) % len(x.shape) for axis in axes.ravel())
    if reduced != [_HEIGHT, _WIDTH] or height * width <= _LARGEST_POSITIONS:
        return None
    for axis, size, other in ((_HEIGHT, height, width), (_WIDTH, width, height)):
        for bands in range(2, size + 1):
            if size % bands == 0 and size // bands * other <= _LARGEST_POSITIONS:
                return axis, bands
    return None


def _bands(edit: Edit, op: Operator, axis: int, bands: int) -> list[Operator]:
    x, name = edit.tensors[op.inputs[0]], edit.tensors[op.outputs[0]].name
    shape = list(x.shape)
    shape[axis] //= bands
    parts = [edit.activation(x, f"{name}/band", shape=tuple(shape)) for _ in range(bands)]
    split_axis = edit.constant(f"{name}/axis", np.array(axis, np.int32))
    operators = [
        edit.operator(
            "SPLIT", (split_axis, op.inputs[0]), parts, {"num_splits": bands}, "SplitOptions"
        )
    ]
    means = []
    for part in parts:
        mean = edit.activation(x, f"{name}/band_mean", shape=(x.shape[0], 1, 1, x.shape[3]))
        operators.append(_mean(edit, part, op.inputs[1], mean, keep_dims=True))
        means.append(mean)
    joined = edit.activation(x, f"{name}/band_means", shape=(x.shape[0], bands, 1, x.shape[3]))
    operators.append(pieces.concatenate(edit, means, _HEIGHT, joined))
    keep_dims = bool(op.options.get("keep_dims"))
    return [*operators, _mean(edit, joined, op.inputs[1], op.outputs[0], keep_dims=keep_dims)]


def _mean(edit: Edit, source: int, axes: int, out: int, *, keep_dims: bool) -> Operator:
    options = {"keep_dims": keep_dims}
    return edit.operator("MEAN", (source, axes), (out,), options, "ReducerOptions")


RULE = Rule(
    "mean-split",
    "MEAN over more than 8,192 positions is taken in bands, then over the bands",
    exact=False,
    apply=split_mean,
)
