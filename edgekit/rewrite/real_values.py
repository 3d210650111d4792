# SPDX-License-Identifier: Apache-2.0
"""Compute operators on real numbers in numpy: what a part of a float graph does to its input."""

from __future__ import annotations

from typing import Any, Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Operator
from edgekit.rewrite.edit import Edit

_Values = NDArray[np.float64]


def computed(edit: Edit, op: Operator, values: Mapping[int, _Values]) -> _Values | None:
    """Return the output of ``op``; None if it is not known how to compute it.

    Args:
        edit: The graph.
        op: An operator of it.
        values: The arrays of its inputs that are not constants, by tensor.
    """
    rule = _RULES.get(op.opcode)
    if rule is None or op.options.get("fused_activation_function", "NONE") != "NONE":
        return None
    arrays = [values[i] if i in values else edit.data(i) for i in op.inputs]
    if any(each is None for each in arrays):
        return None
    with np.errstate(all="ignore"):  # the caller looks for what is not finite
        return rule(edit, op, arrays)


_Rule = Callable[[Edit, Operator, Any], _Values]


def _reduced(function: Callable[..., Any]) -> _Rule:
    def rule(_: Edit, op: Operator, arrays: Any) -> _Values:  # noqa: ANN401
        axes = tuple(int(axis) for axis in np.ravel(arrays[1]))
        return np.asarray(function(arrays[0], axis=axes, keepdims=op.options.get("keep_dims")))

    return rule


def _plain(function: Callable[..., Any]) -> _Rule:
    return lambda _edit, _op, arrays: np.asarray(function(*arrays), np.float64)


def _reshaped(edit: Edit, op: Operator, arrays: Any) -> _Values:  # noqa: ANN401
    return np.asarray(arrays[0], np.float64).reshape(edit.tensors[op.outputs[0]].shape)


_RULES: Mapping[str, _Rule] = {
    "ADD": _plain(np.add),
    "DIV": _plain(np.divide),
    "MAXIMUM": _plain(np.maximum),
    "MEAN": _reduced(np.mean),
    "MINIMUM": _plain(np.minimum),
    "MUL": _plain(np.multiply),
    "NEG": _plain(np.negative),
    "POW": _plain(np.power),
    "RESHAPE": _reshaped,
    "RSQRT": _plain(lambda x: 1 / np.sqrt(x)),
    "SQRT": _plain(np.sqrt),
    "SQUARE": _plain(np.square),
    "SQUARED_DIFFERENCE": _plain(lambda x, y: np.square(x - y)),
    "SUB": _plain(np.subtract),
    "SUM": _reduced(np.sum),
}
COMPUTED = frozenset(_RULES)
