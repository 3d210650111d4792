# SPDX-License-Identifier: Apache-2.0
"""Batch normalization after an activation, folded into the convolution or dense layer after it.

TensorFlow folds it into the layer before, which an activation prevents. Its factors and shifts
would be constants that the Edge TPU gets again with every inference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import RESHAPES, Edit
from edgekit.rewrite.rule import Rule

_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_FILTER, _BIAS = 1, 2
_AVERAGES = ("AVERAGE_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
# A factor before zeros around an image is divided out of the shift there. If factors differ more,
# the shifted channels do, and they share one scale.
_MOST_UNEQUAL = 8.0
_Vector = NDArray[np.float64]


def fold(model: Model) -> Model | None:
    """Return the float ``model`` with factors and shifts in the weights of the layers after them.

    Pooling, means and changes of shape may be between them. A shift is folded only if zeros are not
    put around the image after it: they are not zeros around the image before.
    """
    edit = Edit(model)
    found = False
    for op in list(edit.operators):
        norm = _Norm.before(edit, op)
        if norm is not None:
            norm.fold()
            found = True
    return edit.build() if found else None


@dataclass
class _Norm:
    """Factors and shifts in front of a layer, one of each for each of its inputs."""

    edit: Edit
    layer: Operator
    source: int  # the tensor before them
    factor: _Vector
    shift: _Vector
    path: list[Operator] = field(default_factory=list)  # what is between them and the layer
    is_padded: bool = False  # with zeros, between them and the layer
    is_pooled: bool = False
    is_largest: bool = False  # of several values
    added: _Vector | None = None  # a shift that stays, before the path

    @classmethod
    def before(cls, edit: Edit, op: Operator) -> _Norm | None:
        """Return as much in front of ``op`` as can be folded; None if nothing can."""
        if op.opcode not in _LAYERS or not _is_float(edit, op):
            return None
        shape, weights = (edit.tensors[i].shape for i in (op.inputs[0], op.inputs[_FILTER]))
        is_flat = op.opcode == "FULLY_CONNECTED" and weights[-1] % shape[-1] == 0
        if weights[-1] != shape[-1] and not is_flat:  # groups, several outputs for a channel
            return None
        depth = weights[-1]
        norm = cls(edit, op, op.inputs[0], np.ones(depth), np.zeros(depth))
        norm.is_padded = _pads(op, weights)
        best = None
        producers = edit.producers()
        while True:
            front = producers.get(norm.source)
            alone = len(edit.consumers(norm.source)) == 1 and edit.is_internal(norm.source)
            if front is None or not alone:
                return best
            if norm._takes(front, producers):
                best = replace(norm, path=list(norm.path))
                if norm.added is not None:
                    return best
            elif not norm._passes(front):
                return best

    def _takes(self, op: Operator, producers: Mapping[int, Operator]) -> bool:
        """Fold an ADD or MUL; return whether that is possible."""
        operand = self._operand(op)
        if operand is None:
            return False
        source, values = operand
        if op.opcode == "MUL":
            if self.is_largest and values.min() <= 0:
                return False
            self.factor = self.factor * values
        elif self.is_padded:
            return self._takes_factor_only(values, producers.get(source), source)
        else:
            self.shift = self.shift + self.factor * values
        self.source = source
        return True

    def _takes_factor_only(self, shift: _Vector, op: Operator | None, middle: int) -> bool:
        """Fold the factors of a MUL before an ADD: ``f x + s`` is ``f (x + s / f)``."""
        operand = None if op is None or op.opcode != "MUL" else self._operand(op)
        alone = len(self.edit.consumers(middle)) == 1 and self.edit.is_internal(middle)
        if operand is None or not alone:
            return False
        source, values = operand
        sizes = np.abs(values)
        if sizes.min() * _MOST_UNEQUAL < sizes.max() or (self.is_largest and values.min() <= 0):
            return False
        self.source, self.factor, self.added = source, self.factor * values, shift / values
        return True

    def _operand(self, op: Operator) -> tuple[int, _Vector] | None:
        """Return the tensor that an ADD or MUL changes, and a number for each input of the layer.

        They are a number for each channel; or for each value, if the layer reads each value once.
        """
        if op.opcode not in ("ADD", "MUL") or _has_activation(op):
            return None
        edit, size = self.edit, len(self.factor)
        for x, other in (op.inputs, op.inputs[::-1]):
            tensor, values = edit.tensors[x], edit.data(other)
            same = tensor.shape == edit.tensors[op.outputs[0]].shape
            if values is None or edit.data(x) is not None or not same:
                continue
            depth = tensor.shape[-1]
            if values.size == 1 or values.shape[-1:] == (depth,) == (values.size,):
                numbers = np.broadcast_to(values.ravel().astype(np.float64), (depth,))
                return x, np.tile(numbers, size // depth)
            is_read_once = self.layer.opcode == "FULLY_CONNECTED" and not self.is_pooled
            if is_read_once and tensor.num_elements == size:
                return x, np.broadcast_to(values.astype(np.float64), tensor.shape).ravel()
        return None

    def _passes(self, op: Operator) -> bool:
        """Add ``op`` to the path; return whether factors and shifts before it can be after it."""
        edit = self.edit
        before = edit.tensors[op.inputs[0]]
        others = [edit.data(index) for index in op.inputs[1:] if index >= 0]
        if before.dtype != "FLOAT32" or before.is_dynamic or any(each is None for each in others):
            return False
        if edit.data(op.inputs[0]) is not None or _has_activation(op):
            return False
        if op.opcode in RESHAPES:  # the channels follow each other in memory, as before
            if len(self.factor) % before.shape[-1]:
                return False
        elif op.opcode == "MEAN":
            last = len(before.shape) - 1
            if any(int(axis) in (-1, last) for axis in np.ravel(np.asarray(others[0]))):
                return False
            self.is_pooled = True
        elif op.opcode == "PAD":
            if np.any(np.asarray(others[0])[-1]):
                return False
            self.is_padded = self.is_pooled = True
        elif op.opcode in (*_AVERAGES, "MAX_POOL_2D"):  # they ignore what is outside of the image
            self.is_pooled = True
            self.is_largest |= op.opcode == "MAX_POOL_2D"
        else:
            return False
        self.source = op.inputs[0]
        self.path.insert(0, op)
        return True

    def fold(self) -> None:
        """Change the layer's weights, and leave out what is in them now."""
        edit = self.edit
        x = self.source
        if self.added is not None:
            x = self._add_before(x)
        for op in self.path:
            tensor = edit.tensors[op.outputs[0]]
            out = edit.activation(tensor, f"{tensor.name}/unscaled")
            changed = replace(op, inputs=(x, *op.inputs[1:]), outputs=(out,))
            edit.operators[edit.operators.index(op)] = changed
            x = out
        place = edit.operators.index(self.layer)
        edit.operators[place] = _folded(edit, self.layer, x, self.factor, self.shift)

    def _add_before(self, x: int) -> int:
        edit, tensor = self.edit, self.edit.tensors[x]
        first = self.path[0] if self.path else self.layer
        name = f"{edit.tensors[first.inputs[0]].name}/shifted"
        out = edit.activation(tensor, name)
        shift = np.asarray(self.added)[: tensor.shape[-1]]
        op = pieces.add(edit, x, _constant(edit, f"{name}/shift", shift), out)
        edit.operators.insert(edit.operators.index(first), op)
        return out


def _has_activation(op: Operator) -> bool:
    return str(op.options.get("fused_activation_function", "NONE")) != "NONE"


def _is_float(edit: Edit, op: Operator) -> bool:
    indices = [index for index in (*op.inputs, *op.outputs) if index >= 0]
    constants = [index for index in op.inputs[1:] if index >= 0]
    return all(edit.tensors[index].dtype == "FLOAT32" for index in indices) and all(
        edit.data(index) is not None for index in constants
    )


def _pads(op: Operator, weights: tuple[int, ...]) -> bool:
    is_pixel = op.opcode == "FULLY_CONNECTED" or weights[1:3] == (1, 1)
    return not is_pixel and op.options.get("padding") != "VALID"


def _folded(edit: Edit, op: Operator, source: int, factor: _Vector, shift: _Vector) -> Operator:
    weights = np.asarray(edit.data(op.inputs[_FILTER]), np.float64)
    axes = tuple(range(1, weights.ndim))
    if op.opcode == "DEPTHWISE_CONV_2D":
        axes = (0, 1, 2)
    bias = op.inputs[_BIAS] if len(op.inputs) > _BIAS else -1
    added = (weights * shift).sum(axis=axes)
    biases = added if bias < 0 else np.asarray(edit.data(bias), np.float64) + added
    name = edit.tensors[op.inputs[_FILTER]].name
    inputs = (
        source,
        _constant(edit, f"{name}/folded", weights * factor),
        _constant(edit, f"{name}/folded_bias", biases),
    )
    return replace(op, inputs=inputs)


def _constant(edit: Edit, name: str, values: NDArray[Any]) -> int:
    return edit.constant(name, values.astype(np.float32))


RULE = Rule(
    "batch-norm",
    "factors and shifts for each channel are folded into the weights of the layer after them",
    exact=False,
    apply=fold,
)
