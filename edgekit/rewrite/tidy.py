# SPDX-License-Identifier: Apache-2.0
"""Remove operators that do not affect the result: dead, duplicate and idle ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite.edit import Edit, has_effects, is_8bit, same_quantization
from edgekit.rewrite.rule import Rule


def remove_dead(model: Model) -> Model | None:
    """Return ``model`` without operators, tensors and constants that no output depends on."""
    smaller = Edit(model).build()
    same = len(smaller.main.operators) == len(model.main.operators)
    return None if same and not _saves_bytes(smaller, model) else smaller


def _saves_bytes(smaller: Model, model: Model) -> bool:
    before, after = (sum(b.size for b in each.buffers) for each in (model, smaller))
    return after < before


def remove_duplicates(model: Model) -> Model | None:
    """Return ``model`` with one operator in place of several that compute the same."""
    edit = Edit(model)
    seen: dict[Any, Operator] = {}
    dropped: list[Operator] = []
    for place in range(len(edit.operators)):
        op = edit.operators[place]  # rewire creates new operators
        key = _key(edit, op)
        if key is None:
            continue
        first = seen.setdefault(key, op)
        if first is op or any(index in edit.outputs for index in op.outputs):
            continue
        dropped.append(op)
        for old, new in zip(op.outputs, first.outputs):
            edit.rewire(old, new)
    if not dropped:
        return None
    return edit.build()


def _key(edit: Edit, op: Operator) -> Any:  # noqa: ANN401 - a hashable
    """Return a key that is equal for operators that compute the same; None if one must stay."""
    if has_effects(op) or op.custom_options or any(edit.tensors[i].is_variable for i in op.inputs):
        return None
    outputs = tuple(
        (edit.tensors[i].dtype, edit.tensors[i].shape, edit.tensors[i].quantization)
        for i in op.outputs
    )
    options = tuple(sorted((key, repr(value)) for key, value in op.options.items()))
    inputs = tuple(_identity(edit, i) for i in op.inputs)
    return op.opcode, op.version, inputs, outputs, options


def _identity(edit: Edit, index: int) -> Any:  # noqa: ANN401 - a hashable
    """Return the tensor index, or the content of a small constant."""
    if index < 0:
        return index
    tensor = edit.tensors[index]
    raw = edit.buffers[tensor.buffer]
    if not raw.size:
        return index
    return tensor.dtype, tensor.shape, tensor.quantization, raw.tobytes()


def remove_idle(model: Model) -> Model | None:
    """Return ``model`` without RESHAPE to the same shape and QUANTIZE to the same scale.

    A RESHAPE of a RESHAPE reads the input of the first one.
    """
    edit = Edit(model)
    found = False
    while _remove_one(edit):
        found = True
    return edit.build() if found else None


def _remove_one(edit: Edit) -> bool:
    producers = edit.producers()
    for place, op in enumerate(edit.operators):
        if _is_idle(edit, op):
            edit.operators.remove(op)
            edit.rewire(op.outputs[0], op.inputs[0])
            return True
        above = producers.get(op.inputs[0]) if op.opcode == "RESHAPE" else None
        if above is not None and above.opcode == "RESHAPE":
            edit.operators[place] = replace(op, inputs=(above.inputs[0], *op.inputs[1:]))
            return True
    return False


def _is_idle(edit: Edit, op: Operator) -> bool:
    if op.opcode not in ("RESHAPE", "QUANTIZE", "SQUEEZE", "EXPAND_DIMS"):
        return False
    if op.outputs[0] in edit.outputs:
        return False
    x, y = edit.tensors[op.inputs[0]], edit.tensors[op.outputs[0]]
    if x.shape != y.shape or x.is_dynamic or y.is_dynamic:
        return False
    if op.opcode == "QUANTIZE":
        return is_8bit(x) and same_quantization(x, y)
    return x.dtype == y.dtype


DEAD = Rule(
    "dead", "operators that no output depends on are removed", exact=True, apply=remove_dead
)
DUPLICATES = Rule(
    "duplicates",
    "operators that compute the same from the same inputs become one",
    exact=True,
    apply=remove_duplicates,
)
IDLE = Rule(
    "idle",
    "RESHAPE and QUANTIZE that change nothing are removed, RESHAPE in a row become one",
    exact=True,
    apply=remove_idle,
)
