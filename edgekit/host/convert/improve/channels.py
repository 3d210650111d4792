# SPDX-License-Identifier: Apache-2.0
"""Which channels of a float network must be scaled together, and which cannot be scaled.

A channel is an index of the last axis of an activation. If channel c of a tensor is divided by s,
a convolution that reads it can multiply its weights of that input by s: the answers stay the same.
ReLU, PReLU, pooling, padding with zeros, resizing and additions pass such a factor on, so the
channels on both sides of them form one class, with one factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite.edit import Edit, is_editable

Ids = NDArray[np.int64]
FIXED = 0  # the class of the channels that cannot be scaled
LINEAR = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_X, _WEIGHTS = 0, 1
_TRANSPOSED_X = 2  # TRANSPOSE_CONV: shape, weights, x, bias
_BIAS_OF = {"TRANSPOSE_CONV": 3}
# f(s * x) = s * f(x) for s > 0.
_HOMOGENEOUS = ("NONE", "RELU")
_SAME = frozenset(
    [
        "RELU",
        "LEAKY_RELU",
        "MAX_POOL_2D",
        "AVERAGE_POOL_2D",
        "MIRROR_PAD",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
    ]
)
_MOVING = frozenset(["RESHAPE", "SQUEEZE", "EXPAND_DIMS", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"])
_REDUCING = frozenset(["MEAN", "SUM", "REDUCE_MAX"])


def linear_input(op: Operator) -> int:
    """Return the tensor that a convolution or dense layer reads."""
    return op.inputs[_TRANSPOSED_X if op.opcode == "TRANSPOSE_CONV" else _X]


def constants_of(op: Operator) -> tuple[int, ...]:
    """Return the weights and the bias of a convolution or dense layer; -1 for no bias."""
    bias = op.inputs[_BIAS_OF.get(op.opcode, 2) :][:1] or (-1,)
    return (op.inputs[_WEIGHTS], *bias)


def real_values(edit: Edit, index: int) -> NDArray[np.float64]:
    """Return the constant in a tensor."""
    return np.asarray(edit.data(index), np.float64)


def with_constants(
    edit: Edit, op: Operator, changed: Mapping[int, NDArray[np.float64]]
) -> Operator:
    """Return ``op`` with new constants in the place of tensors, as float32."""
    fresh = {
        index: edit.constant(edit.tensors[index].name, values.astype(np.float32))
        for index, values in changed.items()
    }
    return replace(op, inputs=tuple(fresh.get(index, index) for index in op.inputs))


@dataclass(frozen=True)
class Channels:
    """The class of each channel of each float activation, by tensor index."""

    classes: Mapping[int, Ids]
    count: int  # of classes; their numbers are 0, `FIXED`, to count - 1

    def free(self) -> list[int]:
        """Return the tensors with channels that can be scaled."""
        return [index for index, classes in self.classes.items() if (classes != FIXED).any()]


def find_channels(model: Model, *, with_inputs: bool = False) -> Channels:
    """Return the classes of the channels of a float network with static shapes.

    Those of a network with several subgraphs are all fixed, those of the model's outputs always,
    and those of its inputs unless ``with_inputs``.
    """
    if not is_editable(model):
        return Channels({}, FIXED + 1)
    edit = Edit(model)
    return _Finder(edit).found([*edit.outputs] if with_inputs else [*edit.inputs, *edit.outputs])


class _Finder:
    """Numbers all channels, gathers which are equal, and joins them."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit
        self._ids: dict[int, Ids] = {}
        self._pairs: list[tuple[Ids, Ids]] = []
        count = FIXED + 1
        made = {index for op in edit.operators for index in op.outputs}
        for index in sorted(made.union(edit.inputs)):
            tensor = edit.tensors[index]
            if tensor.dtype == "FLOAT32" and tensor.shape and edit.data(index) is None:
                self._ids[index] = np.arange(count, count + tensor.shape[-1])
                count += tensor.shape[-1]
        self._count = count

    def found(self, fixed: Iterable[int]) -> Channels:
        edit = self._edit
        for index in fixed:
            self._fix(index)
        for index, tensor in enumerate(edit.tensors):
            if tensor.is_variable:
                self._fix(index)
        for op in edit.operators:
            pairs = _equal(edit, op, self._ids)
            if pairs is None or any(len(left) != len(right) for left, right in pairs):
                for index in (*op.inputs, *op.outputs):
                    self._fix(index)
            else:
                self._pairs += pairs
        if not self._pairs:
            return Channels({}, FIXED + 1)
        left, right = (np.concatenate(each) for each in zip(*self._pairs, strict=True))
        names, numbered = np.unique(_joined(self._count, left, right), return_inverse=True)
        return Channels({i: numbered[ids] for i, ids in self._ids.items()}, len(names))

    def _fix(self, index: int) -> None:
        ids = self._ids.get(index)
        if ids is not None:
            self._pairs.append((ids, np.full_like(ids, FIXED)))


def _joined(count: int, left: Ids, right: Ids) -> Ids:
    """Return the least member of the component of each of ``count`` nodes joined by edges."""
    label = np.arange(count)
    while True:
        before = label
        label = label.copy()
        low = np.minimum(label[left], label[right])
        np.minimum.at(label, before[left], low)
        np.minimum.at(label, before[right], low)
        label = label[label]
        if np.array_equal(label, before):
            return label


_Pairs = list[tuple[Ids, Ids]]


def _equal(edit: Edit, op: Operator, ids: Mapping[int, Ids]) -> _Pairs | None:
    """Return which channels must have the same factor; None if none of them can be scaled."""
    if op.options.get("fused_activation_function", "NONE") not in _HOMOGENEOUS:
        return _only_output_fixed(edit, op, ids)
    if op.opcode in LINEAR:
        return [] if is_linear(edit, op) else None
    if any(index not in ids for index in op.outputs):
        return None
    is_constant_prelu = op.opcode == "PRELU" and edit.data(op.inputs[1]) is not None
    if op.opcode in _SAME or is_constant_prelu:
        return _same(ids, op.inputs[0], op.outputs[0])
    if op.opcode in _MOVING:
        return _tiled(ids, op.inputs[0], op.outputs[0])
    if op.opcode in ("PAD", "PADV2"):
        return _padded(edit, op, ids)
    if op.opcode in _REDUCING:
        return _reduced(edit, op, ids)
    if op.opcode in ("ADD", "SUB"):
        return _added(edit, op, ids)
    if op.opcode == "MUL":
        return _multiplied(edit, op, ids)
    if op.opcode == "CONCATENATION":
        return _concatenated(edit, op, ids)
    if op.opcode == "SPLIT":
        return _split(edit, op, ids)
    return None


def _only_output_fixed(edit: Edit, op: Operator, ids: Mapping[int, Ids]) -> _Pairs | None:
    """A layer with a saturating activation: the factors of its input are free."""
    if op.opcode not in LINEAR or not is_linear(edit, op):
        return None
    output = ids[op.outputs[0]]
    return [(output, np.full_like(output, FIXED))]


def is_linear(edit: Edit, op: Operator) -> bool:
    """Whether the weights are constants that can take up the factors of input and output."""
    x = linear_input(op)
    parts = [edit.data(index) for index in constants_of(op) if index >= 0]
    weights = edit.data(op.inputs[_WEIGHTS])
    if weights is None or any(each is None or each.dtype != np.float32 for each in parts):
        return False
    if edit.data(x) is not None or op.options.get("weights_format", "DEFAULT") not in (
        "DEFAULT",
        0,
    ):
        return False
    depth, channels = int(weights.shape[-1]), edit.tensors[x].shape[-1]
    if op.opcode == "DEPTHWISE_CONV_2D":
        return depth % channels == 0
    if op.opcode == "FULLY_CONNECTED":  # it may read a flattened image
        return depth % channels == 0 and edit.tensors[x].num_elements % depth == 0
    return depth == channels


def _same(ids: Mapping[int, Ids], source: int, output: int) -> _Pairs | None:
    if source not in ids or ids[source].shape != ids[output].shape:
        return None
    return [(ids[source], ids[output])]


def _tiled(ids: Mapping[int, Ids], source: int, output: int) -> _Pairs | None:
    """Operators that keep the order of channels: one last axis is a multiple of the other."""
    if source not in ids:
        return None
    small, large = sorted((ids[source], ids[output]), key=len)
    if len(large) % len(small):
        return None
    return [(np.tile(small, len(large) // len(small)), large)]


def _padded(edit: Edit, op: Operator, ids: Mapping[int, Ids]) -> _Pairs | None:
    amounts = edit.data(op.inputs[1])
    value = edit.data(op.inputs[2]) if len(op.inputs) > 2 else None
    is_zero = len(op.inputs) == 2 or (value is not None and not value.any())
    if amounts is None or not is_zero or op.inputs[0] not in ids:
        return None
    source, start = ids[op.inputs[0]], int(amounts[-1, 0])
    return [(source, ids[op.outputs[0]][start : start + len(source)])]


def _reduced(edit: Edit, op: Operator, ids: Mapping[int, Ids]) -> _Pairs | None:
    axes = edit.data(op.inputs[1])
    rank = len(edit.tensors[op.inputs[0]].shape)
    if axes is None or rank - 1 in np.ravel(axes) % rank:
        return None
    return _same(ids, op.inputs[0], op.outputs[0])


def _added(edit: Edit, op: Operator, ids: Mapping[int, Ids]) -> _Pairs | None:
    """A constant addend is divided by the factors too."""
    pairs: _Pairs = []
    for index in op.inputs:
        if edit.data(index) is not None:
            continue
        same = _same(ids, index, op.outputs[0])
        if same is None:
            return None
        pairs += same
    return pairs


def _multiplied(edit: Edit, op: Operator, ids: Mapping[int, Ids]) -> _Pairs | None:
    """A constant factor takes up everything; a gate between 0 and 1 passes the factor on."""
    left, right = op.inputs
    out = op.outputs[0]
    for x, other in ((left, right), (right, left)):
        if x not in ids or ids[x].shape != ids[out].shape:
            continue
        if edit.data(other) is not None:
            return []
        gate = edit.producers().get(other)
        if gate is not None and gate.opcode == "LOGISTIC":
            return [(ids[x], ids[out]), (ids[other], np.full_like(ids[other], FIXED))]
    return None


def _concatenated(edit: Edit, op: Operator, ids: Mapping[int, Ids]) -> _Pairs | None:
    if any(index not in ids for index in op.inputs):
        return None
    out = ids[op.outputs[0]]
    rank = len(edit.tensors[op.outputs[0]].shape)
    if int(op.options.get("axis", 0)) % rank != rank - 1:
        return [(ids[index], out) for index in op.inputs]
    return list(_pieces([ids[index] for index in op.inputs], out))


def _split(edit: Edit, op: Operator, ids: Mapping[int, Ids]) -> _Pairs | None:
    axis, source = edit.data(op.inputs[0]), op.inputs[1]
    if axis is None or source not in ids:
        return None
    rank = len(edit.tensors[source].shape)
    if int(np.ravel(axis)[0]) % rank != rank - 1:
        return [(ids[index], ids[source]) for index in op.outputs]
    return list(_pieces([ids[index] for index in op.outputs], ids[source]))


def _pieces(parts: list[Ids], whole: Ids) -> Iterator[tuple[Ids, Ids]]:
    start = 0
    for part in parts:
        yield part, whole[start : start + len(part)]
        start += len(part)
