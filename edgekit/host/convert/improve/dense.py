# SPDX-License-Identifier: Apache-2.0
"""Dense layers as 1x1 convolutions: the Edge TPU gives each of their outputs a scale of its own.

A dense layer has one scale for all its weights. If the rows of weights are of unequal size, the
small ones use few codes.
"""

from __future__ import annotations

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.host.convert.improve.channels import constants_of, is_linear
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit

_DENSE = "FULLY_CONNECTED"
_LEAST_GAIN_DB = 1.0  # of the rounding of weights, at equal power of the rows


def convolve_dense(model: Model) -> tuple[Model, int] | None:
    """Return ``model`` with dense layers of unequal rows as convolutions, and their number.

    None if there is no such layer. Values stay the same; CONV_2D and FULLY_CONNECTED may add the
    products in another order.
    """
    edit = Edit(model)
    maps: dict[int, int] = {}  # tensor of a dense layer -> the same values as (1, 1, rows, n)
    operators: list[Operator] = []
    count = 0
    for op in edit.operators:
        rows = _rows(edit, op)
        if not rows:
            operators.append(op)
            continue
        operators += _convolution(edit, op, rows, maps)
        count += 1
    edit.operators = operators
    return (edit.build(), count) if count else None


def _rows(edit: Edit, op: Operator) -> int:
    """Return the number of rows of a dense layer that gains by a convolution; 0 for others."""
    if op.opcode != _DENSE or not is_linear(edit, op):
        return 0
    units, depth = edit.tensors[op.inputs[1]].shape
    x, y = edit.tensors[op.inputs[0]], edit.tensors[op.outputs[0]]
    rows = x.num_elements // depth
    is_whole = rows * units == y.num_elements
    return rows if is_whole and _gain_db(edit, op) >= _LEAST_GAIN_DB else 0


def _gain_db(edit: Edit, op: Operator) -> float:
    """Return how much less noise the rounding of weights makes with a scale for each row, in dB."""
    reach = np.abs(np.asarray(edit.data(op.inputs[1]), np.float64)).max(axis=1)
    power = float((reach**2).mean())
    return float(10 * np.log10(reach.max() ** 2 / power)) if power else 0.0


def _convolution(edit: Edit, op: Operator, rows: int, maps: dict[int, int]) -> list[Operator]:
    weights, bias = constants_of(op)
    units, depth = edit.tensors[weights].shape
    x, y = op.inputs[0], op.outputs[0]
    operators = []
    source = maps.get(x, x)
    if edit.tensors[source].shape != (1, 1, rows, depth):
        source = _map_of(edit, x, (1, 1, rows, depth))
        operators.append(pieces.reshape(edit, x, source))
        maps[x] = source
    result = _map_of(edit, y, (1, 1, rows, units))
    kernel = edit.reshaped_constant(weights, (units, 1, 1, depth))
    if bias < 0:
        bias = edit.constant(f"{edit.tensors[weights].name}/bias", np.zeros(units, np.float32))
    fused = str(op.options["fused_activation_function"])
    operators.append(pieces.convolve(edit, source, kernel, bias, result, fused))
    maps[y] = result
    return [*operators, pieces.reshape(edit, result, y)]


def _map_of(edit: Edit, index: int, shape: tuple[int, ...]) -> int:
    tensor = edit.tensors[index]
    return edit.activation(tensor, f"{tensor.name}/map", shape=shape)
