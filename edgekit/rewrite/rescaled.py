# SPDX-License-Identifier: Apache-2.0
"""A QUANTIZE between operators that only move values goes in front of them.

The quantizer puts it there if the scale changes within a channel shuffle or a pixel shuffle. In
front, what moves values is one chain, for which `resampling` knows operators that map.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.formats.tflite import Model
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import INT8, KEEP_ELEMENTS, Edit
from edgekit.rewrite.rule import Rule


def move_up(model: Model) -> Model | None:
    """Return ``model`` with such QUANTIZEs in front of what moves values."""
    edit, found = Edit(model), False
    while _move_one(edit):
        found = True
    return edit.build() if found else None


def _move_one(edit: Edit) -> bool:
    producers = edit.producers()
    for op in edit.operators:
        front = producers.get(op.inputs[0]) if op.opcode == "QUANTIZE" else None
        if front is None or front.opcode not in KEEP_ELEMENTS:
            continue
        (middle,), (end,) = front.outputs, op.outputs
        types = {edit.tensors[index].dtype for index in (*front.inputs[:1], middle, end)}
        readers = edit.consumers(end)
        is_split = any(each.opcode in KEEP_ELEMENTS for each in readers) and edit.is_internal(end)
        is_alone = edit.is_internal(middle) and len(edit.consumers(middle)) == 1
        if types != {INT8} or not is_split or not is_alone:
            continue
        source, scale = edit.tensors[front.inputs[0]], edit.tensors[end].quantization
        name = f"{source.name}/rescaled"
        rescaled = edit.activation(source, name, quantization=scale)
        place = edit.operators.index(front)
        edit.operators.remove(op)
        edit.operators[place : place + 1] = [
            pieces.quantize(edit, front.inputs[0], rescaled),
            replace(front, inputs=(rescaled, *front.inputs[1:]), outputs=op.outputs),
        ]
        return True
    return False


RULE = Rule(
    "rescale-first",
    "a QUANTIZE between operators that only move values goes in front of them",
    exact=True,
    apply=move_up,
)
