# SPDX-License-Identifier: Apache-2.0
"""Normalizations over channels, in many spellings, as L2_NORMALIZATION."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Tensor
from edgekit.rewrite.normalization import has_normalization, normalize
from tests.rewrite.conftest import Graph, opcodes, run

_CHANNELS = 16
_FUSED = {"fused_activation_function": "NONE"}


class _Float(Graph):
    """A graph of real numbers."""

    def tensor(
        self,
        shape: object,
        scale: float | None = None,  # noqa: ARG002 - real numbers have none
        zero: int = 0,  # noqa: ARG002
        dtype: str | None = None,  # noqa: ARG002
    ) -> int:
        self.tensors.append(Tensor(f"t{len(self.tensors)}", tuple(shape), "FLOAT32", 0))  # type: ignore[arg-type] # a shape
        return len(self.tensors) - 1

    def number(self, values: object) -> int:
        return self.constant(np.array(values, np.float32), None)

    def two(self, opcode: str, left: int, right: int, shape: tuple[int, ...]) -> int:
        kind = {"SQUARED_DIFFERENCE": "NONE", "POW": "PowOptions"}.get(
            opcode, f"{opcode.title()}Options"
        )
        options = _FUSED if kind not in ("NONE", "PowOptions") else {}
        return self.apply(opcode, [left, right], self.tensor(shape), options, kind, 1)

    def mean(self, x: int) -> int:
        axes = self.constant(np.array([-1], np.int32))
        shape = (*self.tensors[x].shape[:-1], 1)
        return self.apply(
            "MEAN", [x, axes], self.tensor(shape), {"keep_dims": True}, "ReducerOptions", 1
        )


def _layer_norm(kind: str, shape: tuple[int, ...], epsilon: float) -> Model:
    """A layer normalization in the spelling of Keras (rsqrt), of exporters (sqrt) or (pow)."""
    random = np.random.default_rng(3)
    graph = _Float(shape, "FLOAT32")
    x = graph.x
    row = (*shape[:-1], 1)
    z = graph.two("SUB", x, graph.mean(x), shape) if kind != "rms" else x
    squares = graph.two("MUL", z, z, shape)
    variance = graph.two("ADD", graph.mean(squares), graph.number(epsilon), row)
    if kind == "sqrt":
        root = graph.apply("SQRT", [variance], graph.tensor(row), version=1)
        unit = graph.two("DIV", z, root, shape)
    elif kind == "pow":
        root = graph.two("POW", variance, graph.number(-0.5), row)
        unit = graph.two("MUL", z, root, shape)
    else:
        root = graph.apply("RSQRT", [variance], graph.tensor(row), version=1)
        unit = graph.two("MUL", z, root, shape)
    scaled = graph.two("MUL", unit, graph.number(random.uniform(0.5, 2, shape[-1])), shape)
    graph.two("ADD", scaled, graph.number(random.normal(size=shape[-1])), shape)
    return graph.model()


def _images(shape: tuple[int, ...]) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(5)
    return [(random.normal(1, 3, shape) * scale).astype(np.float32) for scale in (1, 0.1, 10)]


@pytest.mark.parametrize("kind", ["rsqrt", "sqrt", "pow", "rms"])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-6])
def test_a_normalization_is_recognized_by_what_it_computes(kind: str, epsilon: float) -> None:
    shape = (1, 5, 4, _CHANNELS)
    model = _layer_norm(kind, shape, epsilon)
    changed, count = normalize(model)
    assert count == 1
    assert has_normalization(model)
    names = opcodes(changed)
    assert names.count("L2_NORMALIZATION") == 1
    assert not {"RSQRT", "SQRT", "POW", "DIV"} & set(names)
    images = _images(shape)
    for (expected,), (actual,) in zip(run(model, images), run(changed, images)):
        np.testing.assert_allclose(actual, expected, atol=2e-3)
    assert normalize(changed) == (changed, 0)


def test_an_activation_after_it_stays() -> None:
    """The converter fuses a ReLU after the layer into its last addition."""
    model = _layer_norm("rsqrt", (1, 5, 4, _CHANNELS), 1e-3)
    *before, last = model.main.operators
    fused = replace(last, options={**last.options, "fused_activation_function": "RELU"})
    graph = replace(model.main, operators=(*before, fused))
    model = replace(model, subgraphs=(graph,))
    changed, count = normalize(model)
    assert count == 1
    assert changed.main.operators[-1].options["fused_activation_function"] == "RELU"
    images = _images((1, 5, 4, _CHANNELS))
    for (expected,), (actual,) in zip(run(model, images), run(changed, images)):
        assert expected.min() == 0
        np.testing.assert_allclose(actual, expected, atol=2e-3)


def test_tokens_are_normalized_too() -> None:
    model = _layer_norm("rsqrt", (1, 7, _CHANNELS), 1e-3)
    changed, count = normalize(model)
    assert count == 1
    images = _images((1, 7, _CHANNELS))
    for (expected,), (actual,) in zip(run(model, images), run(changed, images)):
        np.testing.assert_allclose(actual, expected, atol=2e-3)


def test_a_root_that_is_no_normalization_stays() -> None:
    graph = _Float((1, 5, 4, _CHANNELS), "FLOAT32")
    graph.apply("SQRT", [graph.x], graph.tensor(graph.shape()), version=1)
    graph.two("ADD", graph.x, graph.number(1.0), graph.shape())
    model = graph.model()
    assert normalize(model) == (model, 0)
    assert not has_normalization(model)
