# SPDX-License-Identifier: Apache-2.0
"""Resizes by whole numbers as repeated pixels and averages, which map.

A bilinear resize by k repeats each pixel k times, and averages k neighbours; if k is even and
pixels are counted from their centres, pairs of these averages are averaged. A resize to one k-th
takes every k-th pixel, or the average of the two nearest ones. Only a resize by two is known to
map.
"""

from __future__ import annotations

from typing import Sequence

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.rule import Rule

_LARGEST_FACTOR = 8
_MOST_SUMMANDS = 1 << 25  # of one average
_KNOWN = ((1, 1), (2, 2))


def resize(model: Model) -> Model | None:
    """Return the float ``model`` without resizes by whole numbers but two."""
    return rewrite_operators(model, _resized)


def _resized(edit: Edit, op: Operator) -> list[Operator]:
    if op.opcode not in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        return []
    x, y = edit.tensors[op.inputs[0]], edit.tensors[op.outputs[0]]
    is_static = not x.is_dynamic and not y.is_dynamic and len(x.shape) == len(y.shape) == 4
    if not is_static or x.dtype != "FLOAT32" or op.options.get("align_corners"):
        return []
    before, after = x.shape[1:3], y.shape[1:3]
    if 0 in (*x.shape, *y.shape) or edit.data(op.inputs[0]) is not None:
        return []
    make = _Builder(edit, op)
    is_bilinear = op.opcode == "RESIZE_BILINEAR"
    if is_bilinear and all(new % old == 0 for old, new in zip(before, after)):
        factors = (after[0] // before[0], after[1] // before[1])
        if factors in _KNOWN or max(factors) > _LARGEST_FACTOR:
            return []
        if y.num_elements * factors[0] * factors[1] > _MOST_SUMMANDS:
            return []
        return make.larger(factors, from_centres=bool(op.options.get("half_pixel_centers")))
    if all(old % new == 0 for old, new in zip(before, after)) and before != after:
        return make.smaller((before[0] // after[0], before[1] // after[1]), is_bilinear)
    return []


class _Builder:
    """Operators that replace one resize, each on the result of the one before."""

    def __init__(self, edit: Edit, op: Operator) -> None:
        self._edit, self._op = edit, op
        self._x, self._out = op.inputs[0], op.outputs[0]
        self._name = edit.tensors[self._out].name
        self._operators: list[Operator] = []

    def larger(self, factors: tuple[int, int], *, from_centres: bool) -> list[Operator]:
        """Return a bilinear resize by ``factors``."""
        self._repeat(factors)
        if not from_centres:
            self._extend([factor - 1 for factor in factors], at_end=True)
            self._average(factors, (1, 1), "VALID")
            return self._done()
        # The average leaves out what is outside of the image, where all pixels are equal.
        self._average(factors, (1, 1), "SAME")
        is_even = [int(factor % 2 == 0) for factor in factors]
        if any(is_even):
            self._extend(is_even, at_end=False)
            self._average((1 + is_even[0], 1 + is_even[1]), (1, 1), "VALID")
        return self._done()

    def smaller(self, steps: tuple[int, int], is_bilinear: bool) -> list[Operator]:
        """Return a resize to one part of ``steps``."""
        from_centres = bool(self._op.options.get("half_pixel_centers"))
        sizes, first = [], []
        for step in steps:
            is_pair = is_bilinear and from_centres and step % 2 == 0
            sizes.append(2 if is_pair else 1)
            first.append((step // 2 - (1 if is_pair else 0)) if from_centres else 0)
        shape = self._shape
        if any(first):
            self._slice((0, *first, 0), (1, shape[1] - first[0], shape[2] - first[1], shape[3]))
        if sizes == [1, 1]:
            out = self._like(self._pooled((1, 1), steps, "VALID"))
            self._add(pieces.max_pool(self._edit, self._x, (1, 1), steps, out))
        else:
            self._average((sizes[0], sizes[1]), steps, "VALID")
        return self._done()

    @property
    def _shape(self) -> tuple[int, ...]:
        return self._edit.tensors[self._x].shape

    def _done(self) -> list[Operator]:
        return pieces.ending_in(self._operators, self._out)

    def _repeat(self, factors: tuple[int, int]) -> None:
        n, height, width, depth = self._shape
        size = (height * factors[0], width * factors[1])
        out = self._like((n, *size, depth))
        self._add(pieces.repeat_pixels(self._edit, self._x, size, out, f"{self._name}/size"))

    def _extend(self, counts: Sequence[int], *, at_end: bool) -> None:
        """Repeat the first or last rows and columns, which are equal to each other."""
        for axis, count in zip((1, 2), counts):
            if not count:
                continue
            whole, shape = self._x, list(self._shape)
            begin = [0, 0, 0, 0]
            begin[axis] = shape[axis] - count if at_end else 0
            edge = [*shape]
            edge[axis] = count
            self._slice(begin, edge)
            parts = (whole, self._x) if at_end else (self._x, whole)
            shape[axis] += count
            out = self._like(shape)
            self._add(pieces.concatenate(self._edit, parts, axis, out))

    def _slice(self, begin: Sequence[int], shape: Sequence[int]) -> None:
        out = self._like(shape)
        self._add(pieces.slice_from(self._edit, self._x, begin, out))

    def _average(self, size: tuple[int, int], strides: tuple[int, int], padding: str) -> None:
        out = self._like(self._pooled(size, strides, padding))
        self._add(pieces.average_pool(self._edit, self._x, size, strides, out, padding))

    def _pooled(
        self, size: tuple[int, int], strides: tuple[int, int], padding: str
    ) -> tuple[int, ...]:
        n, height, width, depth = self._shape
        lost = size if padding == "VALID" else (1, 1)
        sides = [
            -(-(side - less + 1) // step)
            for side, less, step in zip((height, width), lost, strides)
        ]
        return (n, *sides, depth)

    def _like(self, shape: Sequence[int]) -> int:
        tensor = self._edit.tensors[self._out]
        return self._edit.activation(tensor, f"{self._name}/resized", shape=tuple(shape))

    def _add(self, op: Operator) -> None:
        self._operators.append(op)
        (self._x,) = op.outputs


RULE = Rule(
    "resize",
    "bilinear resizes by 3 and more, and resizes to a part, become repeated pixels and averages",
    exact=False,
    apply=resize,
)
