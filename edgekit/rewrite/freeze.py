# SPDX-License-Identifier: Apache-2.0
"""Set a dynamic batch to 1, and fold everything computed from shapes into constants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import NUMPY_DTYPES, Model, Operator
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.rule import Rule
from edgekit.rewrite.shapes import Shape, infer_shapes, strided_slices

_BATCH = 1  # the value of an unknown first dimension
_INTEGERS = ("BOOL", "INT32", "INT64")


def freeze(model: Model) -> Model | None:
    """Return ``model`` with static shapes; SHAPE and arithmetic on it become constants.

    Only the first dimension of an input may be unknown. None if a shape cannot be computed, or
    if there is nothing to freeze or fold.
    """
    edit = Edit(model)
    if not (any(t.is_dynamic for t in edit.tensors) or _foldable(edit)):
        return None
    for index in edit.inputs:
        tensor = edit.tensors[index]
        shape = _frozen(tensor.shape, tensor.shape_signature)
        if shape is None:
            return None
        edit.tensors[index] = replace(tensor, shape=shape, shape_signature=())
    kept = []
    for op in edit.operators:
        if not _settle(edit, op):
            return None
        if not _fold(edit, op):
            kept.append(_explicit(edit, op))
    edit.operators = kept
    return edit.build()


def _foldable(edit: Edit) -> bool:
    return any(
        op.opcode == "SHAPE" or (_all_constant(edit, op) and _evaluate(edit, op) is not None)
        for op in edit.operators
    )


def _frozen(shape: Shape, signature: Shape) -> Shape | None:
    """Return ``shape`` with a batch of 1; None if another dimension is unknown."""
    unknown = [axis for axis, size in enumerate(signature or shape) if size < 0]
    if any(unknown):  # an axis other than 0
        return None
    return (_BATCH, *shape[1:]) if unknown else shape


def _settle(edit: Edit, op: Operator) -> bool:
    """Set the shapes of the outputs of ``op``; return False if they cannot be computed."""
    shapes = [edit.tensors[i].shape if i >= 0 else () for i in op.inputs]
    values = [edit.data(i) for i in op.inputs]
    inferred = infer_shapes(op, shapes, values)
    for place, index in enumerate(op.outputs):
        tensor = edit.tensors[index]
        declared = tensor.shape_signature or tensor.shape
        shape = inferred[place] if inferred is not None else _frozen(tensor.shape, declared)
        if shape is None or not _fits(shape, declared):
            return False
        edit.tensors[index] = replace(tensor, shape=tuple(shape), shape_signature=())
    return True


def _fits(shape: Shape, declared: Shape) -> bool:
    return len(shape) == len(declared) and all(
        known in (-1, size) for size, known in zip(shape, declared)
    )


def _all_constant(edit: Edit, op: Operator) -> bool:
    return bool(op.inputs) and all(i < 0 or edit.data(i) is not None for i in op.inputs)


def _fold(edit: Edit, op: Operator) -> bool:
    """Replace the output of ``op`` by a constant, if its value is known."""
    if len(op.outputs) != 1 or op.outputs[0] in edit.outputs:
        return False
    index = op.outputs[0]
    tensor = edit.tensors[index]
    if tensor.dtype not in _INTEGERS or tensor.quantization is not None:
        return False
    value = _evaluate(edit, op)
    if value is None or value.shape != tensor.shape:
        return False
    typed = np.ascontiguousarray(value.astype(NUMPY_DTYPES[tensor.dtype]))
    edit.buffers.append(np.frombuffer(typed.tobytes(), np.uint8))
    edit.tensors[index] = replace(tensor, buffer=len(edit.buffers) - 1)
    return True


def _evaluate(edit: Edit, op: Operator) -> NDArray[Any] | None:
    if op.opcode == "SHAPE":
        tensor = edit.tensors[op.inputs[0]]
        return None if tensor.is_dynamic else np.array(tensor.shape, np.int64)
    if op.opcode == "RANK":
        return np.array(len(edit.tensors[op.inputs[0]].shape), np.int64)
    rule = _EVALUATIONS.get(op.opcode)
    if rule is None or not _all_constant(edit, op):
        return None
    if edit.tensors[op.outputs[0]].dtype not in _INTEGERS:
        return None
    values = [edit.data(i) for i in op.inputs]
    if any(value is None or value.dtype.kind not in "ib" for value in values):
        return None
    result = rule(op, values)
    return None if result is None else np.asarray(result)


def _explicit(edit: Edit, op: Operator) -> Operator:
    """Return ``op``; a RESHAPE with one open size (-1) gets its full shape."""
    if op.opcode != "RESHAPE":
        return op
    shape = edit.tensors[op.outputs[0]].shape
    wanted = edit.data(op.inputs[1]) if len(op.inputs) > 1 else None
    options = op.options
    if "new_shape" in options and options["new_shape"] is not None:
        options = {**options, "new_shape": shape}
    if wanted is not None and tuple(int(size) for size in wanted) != shape:
        constant = edit.constant(edit.tensors[op.inputs[1]].name, np.array(shape, np.int32))
        return replace(op, inputs=(op.inputs[0], constant), options=options)
    return replace(op, options=options)


def _strided(op: Operator, values: Sequence[Any]) -> Any:  # noqa: ANN401
    slices = strided_slices(op, values[0].shape, values)
    return None if slices is None else values[0][slices]


def _reduced(function: Callable[..., Any]) -> Callable[[Operator, Sequence[Any]], Any]:
    return lambda op, values: function(
        values[0],
        axis=tuple(int(axis) for axis in np.ravel(values[1])),
        keepdims=bool(op.options.get("keep_dims")),
    )


def _elementwise(function: Callable[..., Any]) -> Callable[[Operator, Sequence[Any]], Any]:
    return lambda _op, values: function(*values)


def _axis(op: Operator) -> int:
    return int(op.options.get("axis", 0))


def _sliced(_op: Operator, values: Sequence[Any]) -> Any:  # noqa: ANN401
    begins, sizes = np.ravel(values[1]), np.ravel(values[2])
    return values[0][
        tuple(
            slice(int(begin), None if size == -1 else int(begin + size))
            for begin, size in zip(begins, sizes)
        )
    ]


def _squeezed(op: Operator, values: Sequence[Any]) -> Any:  # noqa: ANN401
    dims = op.options.get("squeeze_dims")
    return np.squeeze(values[0], tuple(dims) if dims is not None and len(dims) else None)


def _gathered(op: Operator, values: Sequence[Any]) -> Any:  # noqa: ANN401
    return None if op.options.get("batch_dims") else np.take(values[0], values[1], _axis(op))


_EVALUATIONS: dict[str, Callable[[Operator, Sequence[Any]], Any]] = {
    "ADD": _elementwise(np.add),
    "CAST": lambda _op, values: values[0],
    "CONCATENATION": lambda op, values: np.concatenate(values, _axis(op)),
    "EXPAND_DIMS": lambda _op, values: np.expand_dims(values[0], int(np.ravel(values[1])[0])),
    "FILL": lambda _op, values: np.full([int(v) for v in np.ravel(values[0])], values[1]),
    "GATHER": _gathered,
    "MAXIMUM": _elementwise(np.maximum),
    "MINIMUM": _elementwise(np.minimum),
    "MUL": _elementwise(np.multiply),
    "PACK": lambda op, values: np.stack(values, _axis(op)),
    "REDUCE_MAX": _reduced(np.max),
    "REDUCE_MIN": _reduced(np.min),
    "REDUCE_PROD": _reduced(np.prod),
    "RESHAPE": lambda _op, values: np.reshape(values[0], [int(v) for v in np.ravel(values[1])]),
    "SLICE": _sliced,
    "SQUEEZE": _squeezed,
    "STRIDED_SLICE": _strided,
    "SUB": _elementwise(np.subtract),
    "SUM": _reduced(np.sum),
}

RULE = Rule(
    "freeze",
    "a dynamic batch becomes 1; SHAPE, STRIDED_SLICE, PACK and the like become constants",
    exact=True,
    apply=freeze,
)
