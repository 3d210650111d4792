# SPDX-License-Identifier: Apache-2.0
"""How an operator works on tensors whose axes are in another order: same numbers, other layout.

An order is that of a TRANSPOSE: ``tensor = source.transpose(order)``. For an operator whose inputs
are such tensors, `in_order_of_sources` returns the operator on the sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Sequence, Tuple

import numpy as np

from edgekit.formats.tflite import Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import RESHAPES, Edit

Order = Tuple[int, ...]
Shape = Tuple[int, ...]


@dataclass(frozen=True)
class View:
    """A tensor as another tensor with its axes in another order."""

    source: int
    order: Order


@dataclass(frozen=True)
class Moved:
    """An operator on the sources: its inputs, and the order of its outputs."""

    inputs: tuple[int, ...]
    order: Order
    options: Mapping[str, Any] | None = None  # None: those of the operator
    before: tuple[Operator, ...] = field(default=())


def source_shape(shape: Sequence[int], order: Order) -> Shape:
    """Return the shape of the source of a tensor of this shape and order."""
    found = [0] * len(order)
    for axis, size in zip(order, shape):
        found[axis] = size
    return tuple(found)


def moves_memory(shape: Sequence[int], order: Order) -> bool:
    """Whether a tensor of this shape and order differs from its source in memory."""
    kept = [axis for axis, size in zip(order, shape) if size != 1]
    return kept != sorted(kept)


def composed(first: Order, second: Order) -> Order:
    """Return the order of a TRANSPOSE by ``first`` and then by ``second``."""
    return tuple(first[axis] for axis in second)


def in_order_of_sources(edit: Edit, op: Operator, views: Mapping[int, View]) -> Moved | None:
    """Return ``op`` on the sources of its inputs; None if this is not possible.

    Args:
        edit: Gets new constants.
        op: Its tensors have static shapes.
        views: Of all tensors that have one.
    """
    rule = _RULES.get(op.opcode)
    seen = [index for index in op.inputs if index in views]
    orders = {
        views[index].order
        for index in seen
        if moves_memory(edit.tensors[index].shape, views[index].order)
    }
    if rule is None or not seen or len(orders) > 1:
        return None
    order = orders.pop() if orders else views[seen[0]].order
    return rule(_Move(edit, op, views, order))


class _Move:
    """One operator, of which at least one input has a view, of the given order."""

    def __init__(self, edit: Edit, op: Operator, views: Mapping[int, View], order: Order) -> None:
        self.edit, self.op, self.views, self.order = edit, op, views, order
        self.before: list[Operator] = []

    def source(self, number: int) -> int | None:
        """Return the source of an input; None if it has no view of the order."""
        view = self.views.get(self.op.inputs[number])
        return view.source if view is not None and view.order == self.order else None

    def shape(self, number: int = 0) -> Shape:
        """Return the shape of an input, before the change."""
        return self.edit.tensors[self.op.inputs[number]].shape

    def integers(self, number: int) -> list[int] | None:
        """Return the constant integers in an input."""
        if number >= len(self.op.inputs):
            return None
        values = self.edit.data(self.op.inputs[number])
        return None if values is None else [int(each) for each in values.ravel()]

    def constant(self, number: int, values: Any) -> int:  # noqa: ANN401 - numbers
        """Add integers in place of those in an input."""
        name = self.edit.tensors[self.op.inputs[number]].name
        return self.edit.constant(f"{name}/moved", np.array(values, np.int32))

    def per_axis(self, number: int) -> int | None:
        """Return the integers of an input, one for each axis, in the order of the source."""
        values = self.integers(number)
        if values is None or len(values) != len(self.order):
            return None
        return self.constant(number, source_shape(values, self.order))

    def operand(self, number: int) -> int | None:
        """Return an operand of an elementwise operator on the source; None if there is none."""
        index = self.op.inputs[number]
        tensor = self.edit.tensors[index]
        quantization = tensor.quantization
        missing = len(self.order) - len(tensor.shape)
        if self.source(number) is not None:
            return self.source(number)
        if tensor.num_elements == 1 and index not in self.views:
            return index
        if missing < 0 or tensor.is_dynamic or (quantization and quantization.per_channel):
            return None
        back = tuple(int(axis) for axis in np.argsort(self.order))
        shape = (1,) * missing + tensor.shape
        values = self.edit.data(index)
        if values is not None:
            turned = np.ascontiguousarray(values.reshape(shape).transpose(back))
            return self.edit.constant(f"{tensor.name}/moved", turned, quantization)
        view = self.views.get(index, View(index, tuple(range(len(tensor.shape)))))
        order = (*range(missing), *(missing + axis for axis in view.order))
        turned_shape = source_shape(shape, self.order)
        if moves_memory(turned_shape, composed(order, back)):
            return None
        fresh = self.edit.activation(tensor, f"{tensor.name}/moved", shape=turned_shape)
        self.before.append(pieces.reshape(self.edit, view.source, fresh))
        return fresh

    def done(
        self,
        inputs: Sequence[int | None],
        order: Order | None = None,
        **options: Any,  # noqa: ANN401 - options of any operator
    ) -> Moved | None:
        """Return the result; None if an input is missing."""
        found = tuple(each for each in inputs if each is not None)
        if len(found) != len(inputs):
            return None
        changed = {**self.op.options, **options} if options else None
        return Moved(found, order or self.order, changed, tuple(self.before))

    def without(self, axes: Sequence[int]) -> Order:
        """Return the order of what is left if some axes of the tensor are dropped."""
        kept = [axis for number, axis in enumerate(self.order) if number not in axes]
        ranked = sorted(kept)
        return tuple(ranked.index(axis) for axis in kept)


_Rule = Callable[[_Move], "Moved | None"]


def _unary(move: _Move) -> Moved | None:
    return move.done([move.source(0)])


def _elementwise(move: _Move) -> Moved | None:
    rank = len(move.order)
    if any(len(move.edit.tensors[i].shape) != rank for i in move.op.outputs):
        return None
    return move.done([move.operand(number) for number in range(len(move.op.inputs))])


def _prelu(move: _Move) -> Moved | None:
    if move.source(0) is None or move.edit.data(move.op.inputs[1]) is None:
        return None
    return move.done([move.source(0), move.operand(1)])


def _concatenation(move: _Move) -> Moved | None:
    inputs = []
    for number, index in enumerate(move.op.inputs):
        if len(move.edit.tensors[index].shape) != len(move.order):
            return None
        inputs.append(move.operand(number))
    axis = int(move.op.options.get("axis", 0)) % len(move.order)
    return move.done(inputs, axis=move.order[axis])


def _split(move: _Move) -> Moved | None:
    """SPLIT has the axis first, SPLIT_V last."""
    place, x = (0, 1) if move.op.opcode == "SPLIT" else (2, 0)
    axis = move.integers(place)
    if axis is None:
        return None
    tensor = move.edit.tensors[move.op.inputs[place]]
    moved = np.array(move.order[axis[0] % len(move.order)], np.int32).reshape(tensor.shape)
    inputs: list[int | None] = list(move.op.inputs)
    inputs[place] = move.constant(place, moved)
    inputs[x] = move.source(x)
    return move.done(inputs)


def _slice(move: _Move) -> Moved | None:
    return move.done([move.source(0), move.per_axis(1), move.per_axis(2)])


def _strided_slice(move: _Move) -> Moved | None:
    options = move.op.options
    if any(options.get(name) for name in ("ellipsis_mask", "new_axis_mask", "offset")):
        return None
    masks = {
        name: sum(
            1 << axis
            for number, axis in enumerate(move.order)
            if int(options.get(name, 0)) >> number & 1
        )
        for name in ("begin_mask", "end_mask", "shrink_axis_mask")
    }
    shrunk = int(options.get("shrink_axis_mask", 0))
    dropped = [number for number in range(len(move.order)) if shrunk >> number & 1]
    bounds = [move.per_axis(number) for number in (1, 2, 3)]
    return move.done([move.source(0), *bounds], move.without(dropped), **masks)


def _pad(move: _Move) -> Moved | None:
    values = move.integers(1)
    if values is None or len(values) != 2 * len(move.order):
        return None
    pairs = [(0, 0)] * len(move.order)
    for number, axis in enumerate(move.order):
        pairs[axis] = values[2 * number], values[2 * number + 1]
    return move.done([move.source(0), move.constant(1, pairs), *move.op.inputs[2:]])


def _reduce(move: _Move) -> Moved | None:
    axes = move.integers(1)
    if axes is None or move.source(0) is None:
        return None
    reduced = [axis % len(move.order) for axis in axes]
    shape = move.edit.tensors[move.op.inputs[1]].shape
    moved = np.array(sorted(move.order[axis] for axis in reduced), np.int32).reshape(shape)
    order = move.order if move.op.options.get("keep_dims") else move.without(reduced)
    return move.done([move.source(0), move.constant(1, moved)], order)


def _along_last(move: _Move) -> Moved | None:
    """An operator that works along the last axis, which must be the last one of the source."""
    return move.done([move.source(0)]) if move.order[-1] == len(move.order) - 1 else None


def _tile(move: _Move) -> Moved | None:
    return move.done([move.source(0), move.per_axis(1)])


def _gather(move: _Move) -> Moved | None:
    """GATHER of one position or of a list of them along an axis."""
    axis = int(move.op.options.get("axis", 0)) % len(move.order)
    if len(move.shape(1)) > 1 or move.op.options.get("batch_dims", 0):
        return None
    order = move.order if move.shape(1) else move.without([axis])
    return move.done([move.source(0), move.op.inputs[1]], order, axis=move.order[axis])


def _unpack(move: _Move) -> Moved | None:
    axis = int(move.op.options.get("axis", 0)) % len(move.order)
    return move.done([move.source(0)], move.without([axis]), axis=move.order[axis])


def _reshape(move: _Move) -> Moved | None:
    """Reshape the source: each group of axes that are joined or split is in order there too."""
    old, new = move.shape(), move.edit.tensors[move.op.outputs[0]].shape
    source = move.source(0)
    groups = _groups(old, new)
    if source is None or groups is None:
        return None
    places: list[tuple[int, list[int]]] = []  # the first axis in the source, the new axes
    for before, after in groups:
        axes = [move.order[axis] for axis in before if old[axis] != 1]
        if axes:
            first, last = axes[0], axes[-1]
            between = [axis for axis in range(first, last) if axis not in axes]
            sizes = source_shape(old, move.order)
            if axes != sorted(axes) or any(sizes[axis] != 1 for axis in between):
                return None
        else:
            first = move.order[before[0]] if before else -1
        places.append((first, after))
    ranked = [axis for _, after in sorted(places, key=lambda each: each[0]) for axis in after]
    order = tuple(ranked.index(axis) for axis in range(len(new)))
    shape = source_shape(new, order)
    values = move.edit.constant(
        f"{move.edit.tensors[move.op.outputs[0]].name}/moved_shape", np.array(shape, np.int32)
    )
    return move.done([source, values], order, new_shape=shape)


def _groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Return the smallest groups of axes of two shapes that have equally many elements."""
    if 0 in old or int(np.prod(old)) != int(np.prod(new)):
        return None
    groups: list[tuple[list[int], list[int]]] = []
    left = right = 0
    while left < len(old) or right < len(new):
        before, after = [], []
        if left < len(old):
            before.append(left)
            left += 1
        if right < len(new):
            after.append(right)
            right += 1
        sizes = (np.prod([old[i] for i in before]), np.prod([new[i] for i in after]))
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                before.append(left)
                left += 1
            else:
                after.append(right)
                right += 1
            sizes = (np.prod([old[i] for i in before]), np.prod([new[i] for i in after]))
        groups.append((before, after))
    return groups


_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(
        (
            "ABS",
            "CAST",
            "DEQUANTIZE",
            "ELU",
            "EXP",
            "GELU",
            "HARD_SWISH",
            "LEAKY_RELU",
            "LOGISTIC",
            "NEG",
            "QUANTIZE",
            "RELU",
            "RELU6",
            "RELU_0_TO_1",
            "RELU_N1_TO_1",
            "RSQRT",
            "SQRT",
            "SQUARE",
            "TANH",
        ),
        _unary,
    ),
    **dict.fromkeys(
        ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"), _elementwise
    ),
    **dict.fromkeys(("MIRROR_PAD", "PAD", "PADV2"), _pad),
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"), _reduce),
    **dict.fromkeys(("L2_NORMALIZATION", "LOG_SOFTMAX", "SOFTMAX"), _along_last),
    **dict.fromkeys(("SPLIT", "SPLIT_V"), _split),
    **dict.fromkeys(RESHAPES, _reshape),
    "CONCATENATION": _concatenation,
    "GATHER": _gather,
    "PRELU": _prelu,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "UNPACK": _unpack,
}
