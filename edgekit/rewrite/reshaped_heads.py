# SPDX-License-Identifier: Apache-2.0
"""A large RESHAPE that splits the channels of an image into heads: one RESHAPE for each head.

Attention takes [1, H, W, heads * depth] as [1, H * W, heads, depth]. A RESHAPE of more values than
were seen mapped keeps all that follows on the CPU; those of the heads are smaller.
"""

from __future__ import annotations

from typing import Sequence

from edgekit.edgetpu.limits import RESHAPE_SEEN_MAPPED
from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, rewrite_operators, same_quantization
from edgekit.rewrite.rule import Rule

_RANK = 4
_HEADS_AXIS = 2


def split_heads(model: Model) -> Model | None:
    """Return ``model`` with such RESHAPEs in parts."""
    return rewrite_operators(model, _split)


def _split(edit: Edit, op: Operator) -> Sequence[Operator]:
    if op.opcode != "RESHAPE":
        return []
    x, y = (edit.tensors[index] for index in (op.inputs[0], op.outputs[0]))
    if x.is_dynamic or x.num_elements <= RESHAPE_SEEN_MAPPED or not same_quantization(x, y):
        return []
    if len(x.shape) != _RANK or len(y.shape) != _RANK:
        return []
    (one, height, width, channels), (batch, places, heads, depth) = x.shape, y.shape
    is_split = (one, height * width, channels) == (batch, places, heads * depth) and heads > 1
    if not is_split or one != 1 or x.num_elements // heads > RESHAPE_SEEN_MAPPED:
        return []
    operators: list[Operator] = []
    parts: list[int] = []
    for head in range(heads):
        chosen = edit.activation(x, f"{y.name}/head", shape=(1, height, width, depth))
        part = edit.activation(y, f"{y.name}/rows", shape=(1, places, 1, depth))
        operators.append(
            pieces.slice_from(edit, op.inputs[0], (0, 0, 0, head * depth), chosen),
        )
        operators.append(pieces.reshape(edit, chosen, part))
        parts.append(part)
    return [*operators, pieces.concatenate(edit, parts, _HEADS_AXIS, op.outputs[0])]


RULE = Rule(
    "reshaped-heads",
    "a RESHAPE of an image's channels into heads, larger than those seen mapped, works on each",
    exact=True,
    apply=split_heads,
)
