# SPDX-License-Identifier: Apache-2.0
"""Replace activations of a float model before it is quantized, so that calibration covers them."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Mapping

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_editable
from edgekit.rewrite.rule import Rule

# kind -> the expression, of operators that map, that replaces it (text for users)
MAPPABLE_FORMS: Mapping[str, str] = {
    "elu": "relu(x) - u * (1.78 - 0.81 u) with u = tanh(relu(-x / 2)), off by 0.03 at most",
    "gelu": "x * sigmoid(1.702 x), off by 0.021 at most",
    "hard_swish": "x * relu6(x + 3) / 6",
    "leaky_relu": "relu(x) - relu(-alpha * x)",
    "mish": "x * sigmoid(1.26 x + 0.57), off by 0.032 at most",
    "normalization": "L2_NORMALIZATION, in steps of 1/128; over groups by means, MUL and ReLUs, "
    "whose inverse root is off by 0.8 % at most",
    "prelu": "relu(x) - alpha * relu(-x)",
    "swish": "x * sigmoid(x), which maps unchanged",
}
FORMS = ("mappable", "relu", "relu6")
_KIND_OF = {
    "ELU": "elu",
    "GELU": "gelu",
    "HARD_SWISH": "hard_swish",
    "LEAKY_RELU": "leaky_relu",
    "MUL": "swish",
    "PRELU": "prelu",
}
_SIGMOID_SLOPE = 1.702  # Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016)
# u (p - q u) with u = tanh(-x / 2) nearest to 1 - exp(x) below zero: it minimizes the largest
# difference relative to 0.3 + |1 - exp(x)|, so that small values count.
_ELU_LINEAR, _ELU_SQUARE = 1.78, 0.81
# The sigmoid(a x + b) that minimizes the largest difference of x sigmoid(a x + b) from mish.
_MISH_SLOPE, _MISH_SHIFT = 1.26, 0.57
_FUSING = frozenset(["ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])


def replace_activations(
    model: Model, forms: Mapping[str, str]
) -> tuple[Model, dict[tuple[str, str], int]]:
    """Return ``model`` with replaced activations, and the number replaced for each (kind, form).

    Args:
        model: Float, with one subgraph.
        forms: kind (a key of `MAPPABLE_FORMS`) -> one of `FORMS`; other kinds stay.
    """
    counts: dict[tuple[str, str], int] = {}
    if not is_editable(model):
        return model, counts
    edit = Edit(model)
    changed: list[Operator] = []
    for op in list(edit.operators):
        kind = _kind(edit, op)
        form = forms.get(kind or "")
        instead = None if kind is None or form is None else _replacement(edit, op, kind, form)
        if kind is not None and form is not None and instead is not None:
            counts[kind, form] = counts.get((kind, form), 0) + 1
        changed.extend(instead or [op])
    edit.operators = changed
    if not counts:
        return model, counts
    fuse(edit)
    return edit.build(), counts


def _kind(edit: Edit, op: Operator) -> str | None:
    if op.opcode not in _KIND_OF or edit.tensors[op.outputs[0]].dtype != "FLOAT32":
        return None
    if op.opcode == "MUL" and _swish_input(edit, op) is None:
        return None if _mish_input(edit, op) is None else "mish"
    return _KIND_OF[op.opcode]


def _swish_input(edit: Edit, op: Operator) -> int | None:
    """Return x if ``op`` computes ``x * LOGISTIC(x)``; else None."""
    made_by = edit.producers()
    for x, gate in (op.inputs, op.inputs[::-1]):
        producer = made_by.get(gate)
        if producer is not None and producer.opcode == "LOGISTIC" and producer.inputs[0] == x:
            return x
    return None


def _mish_input(edit: Edit, op: Operator) -> int | None:
    """Return x if ``op`` computes ``x * TANH(LOG(EXP(x) + 1))``; else None."""
    made_by = edit.producers()
    for x, gate in (op.inputs, op.inputs[::-1]):
        index: int | None = gate
        for opcode in ("TANH", "LOG", "ADD", "EXP"):
            index = _input_of(edit, made_by.get(-1 if index is None else index), opcode)
        if index == x:
            return x
    return None


def _input_of(edit: Edit, op: Operator | None, opcode: str) -> int | None:
    """Return what ``op`` computes from if it is such an operator; an ADD must add one."""
    if op is None or op.opcode != opcode or (opcode == "ADD" and not _is_one_more(edit, op)):
        return None
    return next((index for index in op.inputs if edit.data(index) is None), None)


def _is_one_more(edit: Edit, op: Operator) -> bool:
    """Whether an ADD adds one to another tensor."""
    values = [edit.data(index) for index in op.inputs]
    ones = [each for each in values if each is not None and bool((each == 1).all())]
    return len(ones) == 1 and sum(each is None for each in values) == 1


def _replacement(edit: Edit, op: Operator, kind: str, form: str) -> list[Operator] | None:
    """Return the operators that replace ``op``; None if it stays."""
    inside = {"mish": _mish_input, "swish": _swish_input}.get(kind)
    x = op.inputs[0] if inside is None else inside(edit, op)
    if x is None:
        return None
    if form in ("relu", "relu6"):
        return [edit.operator(form.upper(), (x,), op.outputs)]
    build = _MAPPABLE.get(kind)
    return None if build is None else build(Pieces(edit, op, x))


class Pieces:
    """Builds the float operators that replace one activation; named after its output."""

    def __init__(self, edit: Edit, op: Operator, x: int) -> None:
        self.edit, self.op, self.x, self.out = edit, op, x, op.outputs[0]
        self.operators: list[Operator] = []

    def number(self, value: float) -> int:
        """A constant."""
        return self.edit.constant(f"{self._name}/number", np.array(value, np.float32))

    def apply(
        self,
        opcode: str,
        *inputs: int,
        last: bool = False,
        fused: str = "NONE",
        alpha: float | None = None,
    ) -> int:
        """Add an operator; return its output (for the ``last`` one, the activation's output).

        ``alpha`` is the slope of a LEAKY_RELU.
        """
        like = self.edit.tensors[self.out]
        out = self.out if last else self.edit.activation(like, f"{self._name}/{opcode.lower()}")
        options, kind = _options(opcode, fused)
        if alpha is not None:
            options, kind = {"alpha": alpha}, "LeakyReluOptions"
        self.operators.append(self.edit.operator(opcode, inputs, (out,), options, kind))
        return out

    def end(self) -> None:
        """Make the last operator write the activation's output."""
        self.operators = pieces.ending_in(self.operators, self.out)

    @property
    def _name(self) -> str:
        return self.edit.tensors[self.out].name


def _options(opcode: str, fused: str) -> tuple[dict[str, object], str]:
    if opcode == "ADD":
        return {"fused_activation_function": fused, "pot_scale_int16": True}, "AddOptions"
    if opcode == "MUL":
        return {"fused_activation_function": fused}, "MulOptions"
    if opcode == "SUB":
        return {"fused_activation_function": fused, "pot_scale_int16": True}, "SubOptions"
    return {}, "NONE"


def _gelu(make: Pieces) -> list[Operator]:
    steeper = make.apply("MUL", make.x, make.number(_SIGMOID_SLOPE))
    make.apply("MUL", make.x, make.apply("LOGISTIC", steeper), last=True)
    return make.operators


def _mish(make: Pieces) -> list[Operator]:
    steeper = make.apply("MUL", make.x, make.number(_MISH_SLOPE))
    shifted = make.apply("ADD", steeper, make.number(_MISH_SHIFT))
    make.apply("MUL", make.x, make.apply("LOGISTIC", shifted), last=True)
    return make.operators


def _hard_swish(make: Pieces) -> list[Operator]:
    gate = make.apply("ADD", make.x, make.number(3.0), fused="RELU6")
    # If nothing else reads a factor, TensorFlow 2.21 calibrates it over the product's range too.
    # This costs the gate little (33 dB; 35 for the native operator), but x / 6 more (30 dB).
    make.apply("MUL", make.x, make.apply("MUL", gate, make.number(1 / 6)), last=True)
    return make.operators


# These do not use MAXIMUM and MINIMUM: the quantizer gives all their tensors one scale, so the
# input is clipped to the range of the output for every operator that reads it.


def _leaky_relu(make: Pieces) -> list[Operator]:
    alpha = float(make.op.options.get("alpha", 0.0))
    if alpha >= 0:
        below = _below(make, alpha)
    else:  # below zero the output is positive
        below = make.apply("MUL", _below(make, 1.0), make.number(alpha))
    make.apply("SUB", make.apply("RELU", make.x), below, last=True)
    return make.operators


def _prelu(make: Pieces) -> list[Operator] | None:
    alpha = make.op.inputs[1]
    if make.edit.data(alpha) is None:
        return None
    below = make.apply("MUL", _below(make, 1.0), alpha)
    make.apply("SUB", make.apply("RELU", make.x), below, last=True)
    return make.operators


def _elu(make: Pieces) -> list[Operator]:
    bent = make.apply("TANH", _below(make, 0.5))
    factor = make.apply("MUL", bent, make.number(-_ELU_SQUARE))
    factor = make.apply("ADD", factor, make.number(_ELU_LINEAR))
    below = make.apply("MUL", bent, factor)
    make.apply("SUB", make.apply("RELU", make.x), below, last=True)
    return make.operators


def _below(make: Pieces, scale: float) -> int:
    """Return ``scale * max(-x, 0)`` of the input x."""
    return make.apply("RELU", make.apply("MUL", make.x, make.number(-scale)))


_MAPPABLE: Mapping[str, Callable[[Pieces], list[Operator] | None]] = {
    "elu": _elu,
    "gelu": _gelu,
    "hard_swish": _hard_swish,
    "leaky_relu": _leaky_relu,
    "mish": _mish,
    "prelu": _prelu,
}


def fuse(edit: Edit) -> None:
    """Fuse RELU and RELU6 into the operator before them if nothing else reads its output."""
    made_by = edit.producers()
    for op in list(edit.operators):
        if op.opcode not in ("RELU", "RELU6"):
            continue
        front = made_by.get(op.inputs[0])
        if (
            front is None
            or front.opcode not in _FUSING
            or front.options.get("fused_activation_function", "NONE") != "NONE"
            or len(edit.consumers(op.inputs[0])) != 1
            or not edit.is_internal(op.inputs[0])
        ):
            continue
        options = {**front.options, "fused_activation_function": op.opcode}
        fused = replace(front, options=options, outputs=op.outputs)
        edit.operators = [
            fused if each is front else each for each in edit.operators if each is not op
        ]
        made_by = edit.producers()


def _exact_forms(model: Model) -> Model | None:
    """Return ``model`` with activations replaced whose mappable form computes the same values."""
    replaced, counts = replace_activations(model, {"hard_swish": "mappable"})
    return replaced if counts else None


RULE = Rule(
    "hard-swish",
    "HARD_SWISH becomes x * relu6(x + 3) / 6 of ADD and MUL: the same values",
    exact=False,
    apply=_exact_forms,
)
