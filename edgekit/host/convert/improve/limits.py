# SPDX-License-Identifier: Apache-2.0
"""Narrower ranges where a sigmoid follows: it is 0 or 1 for all values far from zero."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.host.convert.improve.ranges import Range, range_of, with_ranges
from edgekit.quant.same_scale import MIXING, SAME_SCALE
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit

LOGIT_LIMIT = 16.0  # a sigmoid of it differs from 1 by 1e-7
# An 8-bit LOGISTIC has steps of 1/256 and a TANH of 1/128: beyond these its last code comes.
_FLAT = {"LOGISTIC": 8.0, "TANH": 4.0}
# A limit of their inputs limits their output, and changes nothing within the limits.
_MOVING = frozenset(SAME_SCALE) - MIXING


def limit_ranges(model: Model, places: Collection[int]) -> Model:
    """Return a calibrated network with ranges of -16 to 16 for some outputs.

    Args:
        model: The network.
        places: Which outputs, counted from 0; the tensors that they are joined from are limited
            too.
    """
    outputs = {model.main.outputs[place] for place in places}
    limits = dict.fromkeys(_sources(model, outputs), LOGIT_LIMIT)
    return _limited(model, limits) or model


def limit_values(model: Model, places: Collection[int]) -> Model:
    """Return a float network with operators that limit some outputs to -16..16."""
    edit = Edit(model)
    high, low = (
        edit.constant("limit", np.array(value, np.float32)) for value in (LOGIT_LIMIT, -LOGIT_LIMIT)
    )
    for index in sorted({model.main.outputs[place] for place in places}):
        tensor = edit.tensors[index]
        below, out = (edit.activation(tensor, f"{tensor.name}/limited") for _ in range(2))
        edit.operators += [
            pieces.minimum(edit, index, high, below),
            pieces.maximum(edit, below, low, out),
        ]
        edit.rename_end(index, out, is_input=False)
    return edit.build()


def _sources(model: Model, outputs: Collection[int]) -> set[int]:
    """Return ``outputs`` and the tensors whose values reach them unchanged, and nothing else."""
    graph = model.main
    made_by = {index: op for op in graph.operators for index in op.outputs}
    readers = _readers(model)
    found, open_ones = set(outputs), list(outputs)
    while open_ones:
        op = made_by.get(open_ones.pop())
        if op is None or op.opcode not in _MOVING:
            continue
        for index in op.inputs:
            is_alone = all(each is op for each in readers.get(index, []))
            if index in made_by and index not in found and is_alone and index not in graph.outputs:
                found.add(index)
                open_ones.append(index)
    return found


def limit_flat(model: Model) -> tuple[Model, int] | None:
    """Return ``model`` with inputs of LOGISTIC and TANH limited to where these are not flat.

    Only inputs that nothing else reads; None if all ranges are narrow. In integers the answers
    change by half a step at most.
    """
    readers = _readers(model)
    limits = {}
    for index, ops in readers.items():
        kinds = {op.opcode for op in ops}
        if len(kinds) == 1 and kinds <= set(_FLAT) and index not in model.main.outputs:
            limits[index] = _FLAT[kinds.pop()]
    limited = _limited(model, limits)
    return None if limited is None else (limited, _num_limited(model, limited))


def _num_limited(before: Model, after: Model) -> int:
    """Return the number of tensors that got another range."""
    pairs = zip(before.main.tensors, after.main.tensors, strict=True)
    return sum(range_of(old) != range_of(new) for old, new in pairs)


def _limited(model: Model, limits: dict[int, float]) -> Model | None:
    ranges: dict[int, Range] = {}
    for index, limit in limits.items():
        found = range_of(model.main.tensors[index])
        if found is not None and max(found[1], -found[0]) > limit:
            ranges[index] = (max(found[0], -limit), min(found[1], limit))
    return with_ranges(model, ranges) if ranges else None


def _readers(model: Model) -> dict[int, list[Operator]]:
    readers: dict[int, list[Operator]] = {}
    for op in model.main.operators:
        for index in op.inputs:
            readers.setdefault(index, []).append(op)
    return readers
