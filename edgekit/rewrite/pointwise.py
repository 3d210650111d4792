# SPDX-License-Identifier: Apache-2.0
"""Activations that are spelled out in comparisons, exponentials and quotients, as one operator.

``where(x > 0, x, x / 5)`` is LEAKY_RELU and ``1 / (1 + exp(-x))`` is LOGISTIC. The same function
has many spellings, so it is found by its values: a part of the graph that computes each value of a
tensor from one value of another is computed on a range of numbers.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.float_activations import Pieces
from edgekit.rewrite.rule import Rule

_Values = NDArray[np.float64]
_LARGEST = 12.0
_GRID = np.linspace(-_LARGEST, _LARGEST, 2401)
_FAR = 64.0
_TOLERANCE = 2e-5
_MOST_OPERATORS = 16  # that one activation was seen spelled out in
_MOST_KINKS = 3


def _sigmoid(x: _Values) -> Any:  # noqa: ANN401
    return 1 / (1 + np.exp(-x))


_PLAIN: Mapping[str, Callable[..., Any]] = {
    "ABS": np.abs,
    "ADD": np.add,
    "DIV": np.divide,
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "EXP": np.exp,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "LOG": np.log,
    "LOGICAL_NOT": np.logical_not,
    "LOGISTIC": _sigmoid,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "NEG": np.negative,
    "POW": np.power,
    "RELU": lambda x: np.maximum(x, 0),
    "RELU6": lambda x: np.clip(x, 0, 6),
    "RELU_0_TO_1": lambda x: np.clip(x, 0, 1),
    "RELU_N1_TO_1": lambda x: np.clip(x, -1, 1),
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "SELECT": np.where,
    "SELECT_V2": np.where,
    "SIGN": np.sign,
    "SQRT": np.sqrt,
    "SQUARE": np.square,
    "SUB": np.subtract,
    "TANH": np.tanh,
}
# None of these maps, and no other rule replaces all of them.
_UNMAPPED = ("DIV", "EXP", "LOG", "SELECT", "SELECT_V2", "SIGN")


def name_activations(model: Model) -> Model | None:
    """Return the float ``model`` with an operator in place of each activation that is spelled out.

    Activations that compiler 16 does not have become those that it has, if that is exact, else the
    operator that stands for them in TensorFlow Lite.
    """
    edit = Edit(model)
    found = False
    for op in reversed(list(edit.operators)):
        place = next((i for i, each in enumerate(edit.operators) if each is op), None)
        instead = None if place is None else _named(edit, op)
        if instead is not None and place is not None:
            edit.operators[place : place + 1] = instead
            edit.operators = _live(edit)
            found = True
    return edit.build() if found else None


def _live(edit: Edit) -> list[Operator]:
    """Return the operators without those of the old spelling, which nothing reads any more."""
    kept = list(edit.operators)
    while True:
        read = {index for op in kept for index in op.inputs} | set(edit.outputs)
        left = [op for op in kept if op.opcode not in _PLAIN or read & set(op.outputs)]
        if len(left) == len(kept):
            return kept
        kept = left


def _named(edit: Edit, op: Operator) -> list[Operator] | None:
    """Return the operators that compute what ``op`` ends; None if its part stays as it is."""
    if not _is_plain(edit, op) or edit.tensors[op.outputs[0]].dtype != "FLOAT32":
        return None
    producers = edit.producers()
    for source, part in _parts(edit, op, producers):
        if edit.tensors[source].shape != edit.tensors[op.outputs[0]].shape:
            continue
        if not any(each.opcode in _UNMAPPED for each in part):
            continue
        make = Pieces(edit, op, source)
        for form in _FORMS:
            if form(_Function(edit, part, source, op.outputs[0]), make):
                return make.operators
    return None


def _parts(
    edit: Edit, end: Operator, producers: Mapping[int, Operator]
) -> Iterator[tuple[int, list[Operator]]]:
    """Yield (tensor, operators that compute the output of ``end`` from it alone), longest first."""
    part, open_ones = [end], _varying(edit, end)
    found = []
    order = {id(op): place for place, op in enumerate(edit.operators)}
    while open_ones and len(part) <= _MOST_OPERATORS:
        if len(open_ones) == 1:
            (source,) = open_ones
            found.append((source, sorted(part, key=lambda each: order[id(each)])))
        # The last one: what is before it cannot be read by the others.
        last = max(open_ones, key=lambda i: order[id(producers[i])] if i in producers else -1)
        front = producers.get(last)
        if front is None or not _is_plain(edit, front):
            break
        part.append(front)
        open_ones = (open_ones - {last}) | _varying(edit, front)
    return reversed(found)


def _varying(edit: Edit, op: Operator) -> set[int]:
    return {index for index in op.inputs if edit.data(index) is None}


def _is_plain(edit: Edit, op: Operator) -> bool:
    """Whether each output value of ``op`` depends on one input value, and on numbers."""
    constants = [edit.data(index) for index in op.inputs]
    return (
        op.opcode in _PLAIN
        and all(each is None or each.size == 1 for each in constants)
        and any(each is None for each in constants)
    )


class _Function:
    """What a part of a graph does to a number."""

    def __init__(self, edit: Edit, part: Sequence[Operator], source: int, output: int) -> None:
        self._edit, self._source, self._output = edit, source, output
        self.operators = part

    def __call__(self, numbers: _Values | Sequence[float]) -> _Values:
        numbers = np.asarray(numbers, np.float64)
        values: dict[int, _Values] = {self._source: numbers}
        with np.errstate(all="ignore"):  # the forms are compared by values, also infinite ones
            for op in self.operators:
                arrays = [values[i] if i in values else self._number(i) for i in op.inputs]
                result = _PLAIN[op.opcode](*arrays)
                fused = str(op.options.get("fused_activation_function", "NONE"))
                values[op.outputs[0]] = result if fused == "NONE" else _PLAIN[fused](result)
        return np.broadcast_to(np.asarray(values[self._output], np.float64), numbers.shape)

    def equals(self, other: Callable[[_Values], Any]) -> bool:
        """Whether this is ``other``, as far as both can be told apart in real numbers."""
        return _is_close(self(_GRID), np.asarray(other(_GRID), np.float64))

    def _number(self, index: int) -> Any:  # noqa: ANN401
        values = np.asarray(self._edit.data(index))
        return values.astype(np.float64 if values.dtype != np.bool_ else np.bool_).ravel()[0]


def _is_close(left: _Values, right: _Values) -> bool:
    with np.errstate(invalid="ignore"):
        near = np.abs(left - right) <= _TOLERANCE * (1 + np.abs(right))
    return bool(near.all())


# -- forms: each returns whether the function is one of its kind, and appends its operators


def _piecewise_linear(function: _Function, make: Pieces) -> bool:
    """Straight lines that meet: ReLUs of all kinds, hard sigmoid, shrinkage."""
    kinks = _kinks(function)
    if kinks is None:
        return False
    ends = [min([*kinks, 0]) - 1, *kinks, max([*kinks, 0]) + 1]
    values = function(ends)
    slopes = (np.diff(values) / np.diff(ends)).tolist()
    if len(kinks) == 1 and _is_zero(kinks[0], values[1]) and _is_zero(slopes[1] - 1):
        if _is_zero(slopes[0]):
            make.apply("RELU", make.x, last=True)
        else:
            make.apply("LEAKY_RELU", make.x, last=True, alpha=slopes[0])
        return True
    for opcode in ("RELU6", "RELU_0_TO_1", "RELU_N1_TO_1"):
        if function.equals(_PLAIN[opcode]):
            make.apply(opcode, make.x, last=True)
            return True
    _sum_of_ramps(make, kinks, slopes, values[1:-1].tolist())
    return True


def _is_zero(*numbers: float) -> bool:
    return all(abs(each) <= _TOLERANCE for each in numbers)


def _kinks(function: _Function) -> list[float] | None:
    """Return where straight lines meet; None if the function is not made of a few of them."""
    values = function(_GRID)
    if not np.isfinite(values).all():
        return None
    bends = np.abs(np.diff(values, 2)) > _TOLERANCE * (1 + np.abs(values[1:-1]))
    kinks: list[float] = []
    for place in np.flatnonzero(bends).tolist():  # the middle of three points
        left, right = _line(values, place - 1), _line(values, place + 2)
        if left is None or right is None or _is_zero(left[0] - right[0]):
            continue
        kink = (right[1] - left[1]) / (left[0] - right[0])
        if not kinks or kink - kinks[-1] > _GRID[1] - _GRID[0]:
            kinks.append(round(kink, 6))
    if not 0 < len(kinks) <= _MOST_KINKS:
        return None
    points = np.array([-_FAR, *kinks, _FAR])
    everywhere = np.concatenate([_GRID + 0.003, points])
    lines = np.interp(everywhere, points, function(points))
    return kinks if _is_close(function(everywhere), lines) else None


def _line(values: _Values, place: int) -> tuple[float, float] | None:
    """Return (slope, value at zero) of the line through two points of the grid."""
    if not 0 <= place < len(values) - 1:
        return None
    slope = (values[place + 1] - values[place]) / (_GRID[place + 1] - _GRID[place])
    return float(slope), float(values[place] - slope * _GRID[place])


def _sum_of_ramps(
    make: Pieces, kinks: list[float], slopes: list[float], values: list[float]
) -> None:
    """Add a ReLU for each kink to the flatter line at zero: few large numbers cancel out."""
    at_zero = [
        place
        for place in range(len(slopes))
        if (place == 0 or kinks[place - 1] <= 0) and (place == len(kinks) or kinks[place] >= 0)
    ]
    base = min(at_zero, key=lambda place: abs(slopes[place]))
    slope = slopes[base]
    near = min(base, len(kinks) - 1)
    offset = values[near] - slope * kinks[near]
    total = None if _is_zero(slope) else _scaled(make, make.x, slope)
    if total is None:
        offset = values[near]
    elif not _is_zero(offset):
        total, offset = make.apply("ADD", total, make.number(offset)), 0.0
    ramps = [(kink, slopes[i + 1] - slopes[i], i >= base) for i, kink in enumerate(kinks)]
    for kink, bend, is_right in ramps:
        ramp = _ramp(make, kink, is_right=is_right)
        if total is None:
            total = _scaled(make, ramp, bend)
        elif _is_zero(bend + 1):
            total = make.apply("SUB", total, ramp)
        else:
            total = make.apply("ADD", total, _scaled(make, ramp, bend))
    if total is not None and not _is_zero(offset):
        make.apply("ADD", total, make.number(offset))
    make.end()


def _ramp(make: Pieces, kink: float, *, is_right: bool) -> int:
    """``relu(x - kink)``, or ``relu(kink - x)``."""
    if is_right and _is_zero(kink):
        return make.apply("RELU", make.x)
    if is_right:
        return make.apply("ADD", make.x, make.number(-kink), fused="RELU")
    if _is_zero(kink):
        return make.apply("MUL", make.x, make.number(-1.0), fused="RELU")
    return make.apply("SUB", make.number(kink), make.x, fused="RELU")


def _scaled(make: Pieces, x: int, factor: float) -> int:
    return x if _is_zero(factor - 1) else make.apply("MUL", x, make.number(factor))


def _smooth(function: _Function, make: Pieces) -> bool:
    """Sigmoid, tanh and SiLU, which map."""
    for opcode in ("LOGISTIC", "TANH"):
        if function.equals(_PLAIN[opcode]):
            make.apply(opcode, make.x, last=True)
            return True
    if not function.equals(lambda x: x * _sigmoid(x)):
        return False
    make.apply("MUL", make.x, make.apply("LOGISTIC", make.x), last=True)
    return True


def _elu(function: _Function, make: Pieces) -> bool:
    """ELU with any slopes and limit (SELU, CELU): ``limit * elu(x * steepness)`` and a ReLU."""
    low, at_one = (-float(each) for each in function([-1e3, -1.0]))
    if not np.isfinite([low, at_one]).all() or low <= 0 or not 0 < at_one < low:
        return False
    steep, slope = -float(np.log1p(-at_one / low)), float(function([1.0])[0])

    def expected(x: _Values) -> _Values:
        return np.where(x > 0, slope * x, low * np.expm1(steep * np.minimum(x, 0)))

    part = [each for each in function.operators if each.opcode != "ELU"]
    if not part or not function.equals(expected):
        return False
    bent = _scaled(make, make.apply("ELU", _scaled(make, make.x, steep)), low)
    more = slope - low * steep
    if not _is_zero(more):
        make.apply("ADD", bent, _scaled(make, make.apply("RELU", make.x), more))
    make.end()
    return True


def _mish(function: _Function, make: Pieces) -> bool:
    """Mish in the spelling that `replace_activations` has a form for."""
    opcodes = {each.opcode for each in function.operators}
    if {"EXP", "LOG", "TANH"} <= opcodes or not function.equals(
        lambda x: x * np.tanh(np.logaddexp(x, 0))
    ):
        return False
    more = make.apply("ADD", make.apply("EXP", make.x), make.number(1.0))
    make.apply("MUL", make.x, make.apply("TANH", make.apply("LOG", more)), last=True)
    return True


_FORMS = (_piecewise_linear, _smooth, _elu, _mish)


RULE = Rule(
    "activations",
    "activations spelled out in comparisons, exponentials and quotients become one operator",
    exact=False,
    apply=name_activations,
)
