# SPDX-License-Identifier: Apache-2.0
"""Activations that are spelled out."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Tensor, write_model
from edgekit.rewrite import apply_rule
from edgekit.rewrite.pointwise import RULE
from edgekit.runtime import Runner
from tests.rewrite.conftest import Graph, opcodes, random_inputs

_SHAPE = (1, 4, 5, 3)


class _Float(Graph):
    """A graph of real numbers; every operator is named in lower case."""

    def __init__(self) -> None:
        super().__init__(_SHAPE)
        self.tensors[0] = Tensor("x", _SHAPE, "FLOAT32", 0)

    def do(self, opcode: str, *inputs: int | float, fused: str = "NONE") -> int:
        """Apply an operator to tensors (int) and numbers (float)."""
        dtype = "BOOL" if opcode in ("GREATER", "LESS") else "FLOAT32"
        indices = [
            self.constant(np.full((1,), each, np.float32)) if isinstance(each, float) else each
            for each in inputs
        ]
        options, kind = {}, "NONE"
        if opcode in ("ADD", "DIV", "MUL", "SUB"):
            options, kind = {"fused_activation_function": fused}, f"{opcode.title()}Options"
        out = self.tensor(_SHAPE, None, dtype=dtype)
        version = {"LOG": 1, "SELECT": 1}.get(opcode, 1)
        return self.apply(opcode, indices, out, options, kind, version)

    def full(self, value: float) -> int:
        """A constant of the whole shape, which only old forms of SELECT need."""
        return self.do("ADD", self.do("MUL", self.input, 0.0), value)


def _leaky(g: _Float) -> None:
    g.do("SELECT", g.do("GREATER", g.input, 0.0), g.input, g.do("MUL", g.input, 0.2))


def _selu(g: _Float) -> None:
    below = g.do("MUL", g.do("SUB", g.do("EXP", g.input), 1.0), 1.6733)
    chosen = g.do("SELECT", g.do("GREATER", g.input, 0.0), g.input, below)
    g.do("MUL", chosen, 1.0507)


def _celu(g: _Float) -> None:
    below = g.do("SUB", g.do("EXP", g.do("DIV", g.input, 2.0)), 1.0)
    g.do("ADD", g.do("MINIMUM", g.do("MUL", below, 2.0), 0.0), g.do("RELU", g.input))


def _sigmoid(g: _Float) -> None:
    g.do("DIV", 1.0, g.do("ADD", g.do("EXP", g.do("MUL", g.input, -1.0)), 1.0))


def _silu(g: _Float) -> None:
    g.do("DIV", g.input, g.do("ADD", g.do("EXP", g.do("MUL", g.input, -1.0)), 1.0))


def _tanh(g: _Float) -> None:
    up, down = g.do("EXP", g.input), g.do("EXP", g.do("MUL", g.input, -1.0))
    g.do("DIV", g.do("SUB", up, down), g.do("ADD", up, down))


def _soft_shrink(g: _Float) -> None:
    inner = g.do("SELECT", g.do("LESS", g.input, -0.5), g.do("ADD", g.input, 0.5), g.full(0.0))
    g.do("SELECT", g.do("GREATER", g.input, 0.5), g.do("SUB", g.input, 0.5), inner)


def _clipped_leaky(g: _Float) -> None:
    bent = g.do("SELECT", g.do("GREATER", g.input, 0.0), g.input, g.do("MUL", g.input, 0.1))
    g.do("MINIMUM", bent, 3.0)


def _relu(g: _Float) -> None:
    g.do("SELECT", g.do("LESS", 0.0, g.input), g.input, g.full(0.0))


def _relu6(g: _Float) -> None:
    top = g.do("SELECT", g.do("GREATER", g.input, 6.0), g.full(6.0), g.input)
    g.do("MAXIMUM", top, 0.0)


def _mish(g: _Float) -> None:
    """Compute x * (1 - 2 / (1 + (1 + exp(x)) ** 2))."""
    more = g.do("ADD", g.do("EXP", g.input), 1.0)
    share = g.do("DIV", 2.0, g.do("ADD", g.do("MUL", more, more), 1.0))
    g.do("MUL", g.input, g.do("SUB", 1.0, share))


def _run(model: Model, inputs: Sequence[NDArray[Any]]) -> list[tuple[NDArray[Any], ...]]:
    """Run with the usual kernels: the reference kernels of some runtimes lack ELU."""
    with Runner(write_model(model)) as runner:
        return [runner.invoke(each) for each in inputs]


def _spelled(build: Callable[[_Float], None]) -> Model:
    graph = _Float()
    build(graph)
    return graph.model()


@pytest.mark.parametrize(
    ("build", "made"),
    [
        (_leaky, ["LEAKY_RELU"]),
        (_relu, ["RELU"]),
        (_relu6, ["RELU6"]),
        (_sigmoid, ["LOGISTIC"]),
        (_silu, ["LOGISTIC", "MUL"]),
        (_tanh, ["TANH"]),
        (_celu, ["MUL", "ELU", "MUL"]),
        (_selu, ["ELU", "MUL", "RELU", "MUL", "ADD"]),
        (_mish, ["EXP", "ADD", "LOG", "TANH", "MUL"]),
        (_soft_shrink, ["SUB", "MUL", "ADD", "ADD"]),
        (_clipped_leaky, ["MUL", "RELU", "MUL", "ADD", "ADD", "SUB"]),
    ],
)
def test_an_activation_gets_its_name(build: Callable[[_Float], None], made: list[str]) -> None:
    model = _spelled(build)
    named = apply_rule(RULE, model)
    assert named is not None
    inputs = random_inputs(model)
    for (expected,), (actual,) in zip(_run(model, inputs), _run(named, inputs)):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert opcodes(named) == made
    assert apply_rule(RULE, named) is None


def _step(g: _Float) -> None:
    g.do("SELECT", g.do("GREATER", g.input, 0.5), g.input, g.full(0.0))


def _exponential(g: _Float) -> None:
    g.do("EXP", g.input)


def _softplus(g: _Float) -> None:
    g.do("LOG", g.do("ADD", g.do("EXP", g.input), 1.0))


def _two_sources(g: _Float) -> None:
    other = g.apply("REVERSE_V2", [g.input, g.constant(np.array([1], np.int32))],
                    g.tensor(_SHAPE, None, dtype="FLOAT32"), {}, "ReverseV2Options", 1)  # fmt: skip
    g.do("SELECT", g.do("GREATER", g.input, 0.0), g.input, g.do("MUL", other, 0.2))


@pytest.mark.parametrize("build", [_step, _exponential, _softplus, _two_sources])
def test_what_is_none_of_these_stays(build: Callable[[_Float], None]) -> None:
    assert apply_rule(RULE, _spelled(build)) is None


def test_other_readers_of_a_part_keep_it() -> None:
    graph = _Float()
    _leaky(graph)
    first = graph.x
    below = graph.operators[1].outputs[0]
    model = graph.model(first, below)
    named = apply_rule(RULE, model)
    assert named is not None
    assert opcodes(named) == ["MUL", "LEAKY_RELU"]
    inputs = random_inputs(model)
    for expected, actual in zip(_run(model, inputs), _run(named, inputs)):
        for left, right in zip(expected, actual):
            np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5)
