# SPDX-License-Identifier: Apache-2.0
"""Remove TRANSPOSE pairs that cancel, also around operators that work in any order of axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.rule import Rule

_INDIFFERENT = frozenset(
    [
        "ABS",
        "DEQUANTIZE",
        "ELU",
        "GELU",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "NEG",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "TANH",
    ]
)


def cancel_transposes(model: Model) -> Model | None:
    """Return ``model`` without TRANSPOSEs that another one undoes, or that move nothing.

    Two in a row become one. Elementwise operators between two that undo each other work in the
    order of axes before the first one.
    """
    edit = Edit(model)
    found = False
    while _cancel_one(edit):
        found = True
    return edit.build() if found else None


def _cancel_one(edit: Edit) -> bool:
    producers = edit.producers()
    for op in edit.operators:
        permutation = _permutation(edit, op)
        if permutation is None:
            continue
        if permutation == tuple(range(len(permutation))) and op.outputs[0] not in edit.outputs:
            edit.operators = [each for each in edit.operators if each is not op]
            edit.rewire(op.outputs[0], op.inputs[0])
            return True
        chain = _chain_above(edit, producers, op)
        if chain is not None and _join(edit, chain, op, permutation):
            return True
    return False


def _permutation(edit: Edit, op: Operator) -> tuple[int, ...] | None:
    if op.opcode != "TRANSPOSE":
        return None
    values = edit.data(op.inputs[1])
    tensor = edit.tensors[op.inputs[0]]
    if values is None or tensor.is_dynamic or tensor.num_elements == 0:
        return None
    rank = len(tensor.shape)
    return tuple(int(axis) % rank for axis in values.ravel())


def _chain_above(edit: Edit, producers: dict[int, Operator], op: Operator) -> list[Operator] | None:
    """Return the TRANSPOSE above ``op`` and the elementwise operators between, in order."""
    chain: list[Operator] = []
    index = op.inputs[0]
    while True:
        producer = producers.get(index)
        if producer is None:
            return None
        if _permutation(edit, producer) is not None:
            return [producer, *chain]
        alone = len(edit.consumers(index)) == 1 and edit.is_internal(index)
        if producer.opcode not in _INDIFFERENT or not alone:
            return None
        chain.insert(0, producer)
        index = producer.inputs[0]


def _join(edit: Edit, chain: list[Operator], last: Operator, permutation: tuple[int, ...]) -> bool:
    first, between = chain[0], chain[1:]
    above = _permutation(edit, first) or ()
    joined = tuple(above[axis] for axis in permutation)
    cancels = joined == tuple(range(len(joined)))
    if between and (not cancels or len(edit.consumers(first.outputs[0])) != 1):
        return False
    if last.outputs[0] in edit.outputs and cancels and not between:
        return False  # an output must keep its tensor, and the tensor its name
    if not between and not cancels:
        return _merge(edit, first, last, joined)
    if not between:
        edit.operators = [op for op in edit.operators if op is not last]
        edit.rewire(last.outputs[0], first.inputs[0])
        return True
    if first.outputs[0] in edit.outputs:
        return False
    _work_in_old_order(edit, first, between, last)
    return True


def _merge(edit: Edit, first: Operator, last: Operator, joined: tuple[int, ...]) -> bool:
    values = edit.constant(
        edit.tensors[last.inputs[1]].name + "/joined", np.array(joined, np.int32)
    )
    fresh = replace(last, inputs=(first.inputs[0], values))
    edit.operators = [fresh if op is last else op for op in edit.operators]
    return True


def _work_in_old_order(
    edit: Edit, first: Operator, between: list[Operator], last: Operator
) -> None:
    """Make ``between`` read the input of ``first`` and write the output of ``last``."""
    shape = edit.tensors[first.inputs[0]].shape
    source = first.inputs[0]
    changed: dict[int, Operator] = {}
    for op in between:
        is_last = op is between[-1]
        # The output of ``last`` has the scale of its input; its name is part of the model.
        out = op.outputs[0]
        target = last.outputs[0] if is_last else out
        if not is_last:
            edit.tensors[out] = replace(edit.tensors[out], shape=shape, shape_signature=())
        changed[id(op)] = replace(op, inputs=(source, *op.inputs[1:]), outputs=(target,))
        source = target
    edit.operators = [
        changed.get(id(op), op) for op in edit.operators if op is not last and op is not first
    ]


RULE = Rule(
    "transpose-pairs",
    "TRANSPOSE operators that cancel are removed, two in a row become one",
    exact=True,
    apply=cancel_transposes,
)
