# SPDX-License-Identifier: Apache-2.0
"""Set a dynamic batch to 1, and fold everything computed from shapes into constants."""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import CUSTOM, Model, Operator, Tensor
from edgekit.rewrite.edit import Edit, has_effects
from edgekit.rewrite.rule import Rule
from edgekit.rewrite.static_shapes import (
    SHAPE_OPERATORS,
    Propagated,
    Shape,
    constant_only,
    has_open_shapes,
    propagate,
    with_constants,
)
from edgekit.rewrite.without_custom import without_custom

_BATCH = 1  # the value of an unknown first dimension
_INTEGERS = ("BOOL", "INT32", "INT64")


def freeze(model: Model) -> Model | None:
    """Return ``model`` with static shapes; SHAPE and arithmetic on it become constants.

    Only the first dimension of an input may be unknown. None if the model does not run, if a shape
    depends on the input's values, or if there is nothing to freeze or fold.
    """
    graph = model.main
    folded = constant_only(model, SHAPE_OPERATORS, lambda op: _is_foldable(model, op))
    if not folded and not any(tensor.is_dynamic for tensor in graph.tensors):
        return None
    shapes = [_frozen(graph.tensors[index]) for index in graph.inputs]
    inputs = [shape for shape in shapes if shape is not None]
    found = _propagated(model, inputs, folded) if len(inputs) == len(shapes) else None
    tensors = None if found is None else _static_tensors(model, inputs, found)
    if found is None or tensors is None:
        return None
    frozen = with_constants(model, tensors, found.values)
    if _is_open(frozen):
        return None
    edit = Edit(frozen)
    edit.operators = [_explicit(edit, op) for op in edit.operators]
    return edit.build()


def _is_foldable(model: Model, op: Operator) -> bool:
    """Whether the outputs of ``op`` are integers that no user of the model sees."""
    made = [model.main.tensors[index] for index in op.outputs if index >= 0]
    is_seen = set(op.outputs) & set(model.main.outputs)
    are_integers = all(each.dtype in _INTEGERS and each.quantization is None for each in made)
    return are_integers and not is_seen and not has_effects(op)


def _frozen(tensor: Tensor) -> Shape | None:
    """Return the tensor's shape with a batch of 1; None if another dimension is unknown."""
    unknown = [axis for axis, size in enumerate(tensor.shape_signature or tensor.shape) if size < 0]
    if any(unknown):  # an axis other than 0
        return None
    return (_BATCH, *tensor.shape[1:]) if unknown else tensor.shape


def _propagated(model: Model, shapes: Sequence[Shape], wanted: set[int]) -> Propagated | None:
    try:
        return propagate(_run_as(model), shapes, wanted)
    except UnsupportedModelError:
        return None


def _is_open(model: Model) -> bool:
    try:
        return has_open_shapes(_run_as(model))
    except UnsupportedModelError:
        return True


def _run_as(model: Model) -> Model:
    """Return what the interpreter can run: all but custom operators."""
    has_custom = any(op.opcode == CUSTOM for op in model.main.operators)
    return without_custom(model) if has_custom else model


def _static_tensors(
    model: Model, inputs: Sequence[Shape], found: Propagated
) -> list[Tensor] | None:
    """Return the tensors with their true shapes; None if one has another shape than declared."""
    tensors = list(model.main.tensors)
    for index, given in zip(model.main.inputs, inputs):
        tensors[index] = replace(tensors[index], shape=given, shape_signature=())
    ran = _made(_run_as(model))
    for index in sorted(_made(model)):
        tensor = tensors[index]
        shape = found.shapes[index] if index in ran else _frozen(tensor)
        if shape is None or not _fits(shape, tensor.shape_signature or tensor.shape):
            return None
        tensors[index] = replace(tensor, shape=shape, shape_signature=())
    return tensors


def _made(model: Model) -> set[int]:
    return {index for op in model.main.operators for index in op.outputs if index >= 0}


def _fits(shape: Shape, declared: Shape) -> bool:
    return len(shape) == len(declared) and all(
        known in (-1, size) for size, known in zip(shape, declared)
    )


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


RULE = Rule(
    "freeze",
    "a dynamic batch becomes 1; SHAPE, STRIDED_SLICE, PACK and the like become constants",
    exact=True,
    apply=freeze,
)
