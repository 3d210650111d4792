# SPDX-License-Identifier: Apache-2.0
"""Group and instance normalizations, in many spellings, with operators that map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Tensor
from edgekit.rewrite.group_normalization import has_groups, normalize_groups, polygon
from edgekit.rewrite.normalization import has_normalization
from tests.rewrite.conftest import Graph, opcodes, run

_CHANNELS = 16
_FUSED = {"fused_activation_function": "NONE"}


class _Norm:
    """A group normalization as Keras (rsqrt) or an exporter (sqrt) writes it."""

    def __init__(self, shape: tuple[int, ...], groups: int) -> None:
        self.graph = Graph(shape, "FLOAT32")
        self.graph.tensors[self.graph.x] = Tensor("x", shape, "FLOAT32", 0)
        self.shape, self.groups = shape, groups
        random = np.random.default_rng(3)
        self.scale = random.uniform(0.5, 2, shape[-1]).astype(np.float32)
        self.shift = random.normal(size=shape[-1]).astype(np.float32)

    def expected(self, images: NDArray[Any], epsilon: float) -> NDArray[Any]:
        """Return the normalized images in numpy: old runtimes end at five dimensions."""
        return _normalized(images, self.groups, epsilon) * self.scale + self.shift

    def build(self, kind: str, epsilon: float) -> Model:
        graph, depth = self.graph, self.shape[-1]
        parts = (*self.shape[:-1], self.groups, depth // self.groups)
        axes = (*range(1, len(parts) - 2), len(parts) - 1)
        few = tuple(1 if axis in axes else size for axis, size in enumerate(parts))
        x = self.reshape(graph.x, parts)
        z = self.two("SUB", x, self.mean(x, axes, few), parts)
        squares = self.two("MUL", z, z, parts)
        variance = self.two("ADD", self.mean(squares, axes, few), self.number(epsilon), few)
        if kind == "sqrt":
            root = graph.apply("SQRT", [variance], self.tensor(few), version=1)
            unit = self.two("DIV", z, root, parts)
        else:
            root = graph.apply("RSQRT", [variance], self.tensor(few), version=1)
            unit = self.two("MUL", z, root, parts)
        flat = self.reshape(unit, self.shape)
        scaled = self.two("MUL", flat, self.number(self.scale), self.shape)
        self.two("ADD", scaled, self.number(self.shift), self.shape)
        return graph.model()

    def tensor(self, shape: tuple[int, ...]) -> int:
        self.graph.tensors.append(Tensor(f"t{len(self.graph.tensors)}", shape, "FLOAT32", 0))
        return len(self.graph.tensors) - 1

    def number(self, values: object) -> int:
        return self.graph.constant(np.array(values, np.float32))

    def two(self, opcode: str, left: int, right: int, shape: tuple[int, ...]) -> int:
        kind = f"{opcode.title()}Options"
        return self.graph.apply(opcode, [left, right], self.tensor(shape), _FUSED, kind, 1)

    def mean(self, x: int, axes: tuple[int, ...], shape: tuple[int, ...]) -> int:
        values = self.graph.constant(np.array(axes, np.int32))
        options = {"keep_dims": True}
        return self.graph.apply(
            "MEAN", [x, values], self.tensor(shape), options, "ReducerOptions", 1
        )

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        values = self.graph.constant(np.array(shape, np.int32))
        options = {"new_shape": shape}
        return self.graph.apply(
            "RESHAPE", [x, values], self.tensor(shape), options, "ReshapeOptions", 1
        )


def _normalized(images: NDArray[Any], groups: int, epsilon: float) -> NDArray[Any]:
    parts = images.reshape(len(images), -1, groups, images.shape[-1] // groups)
    spread = parts.var(axis=(1, 3), keepdims=True) + epsilon
    whole: NDArray[Any] = (parts - parts.mean(axis=(1, 3), keepdims=True)) / np.sqrt(spread)
    return whole.reshape(images.shape)


@pytest.mark.parametrize("kind", ["rsqrt", "sqrt"])
@pytest.mark.parametrize("groups", [1, 4, _CHANNELS])
@pytest.mark.parametrize("shape", [(1, 6, 5, _CHANNELS), (1, 30, _CHANNELS)])
def test_a_normalization_of_groups_is_recognized_and_maps(
    kind: str, groups: int, shape: tuple[int, ...]
) -> None:
    norm = _Norm(shape, groups)
    model = norm.build(kind, 1e-3)
    changed, count = normalize_groups(model)
    assert count == 1
    assert has_groups(model)
    assert not has_normalization(model)
    assert not {"RSQRT", "SQRT", "DIV"} & set(opcodes(changed))
    assert all(len(each.shape) < 5 for each in changed.main.tensors)
    random = np.random.default_rng(5)
    images = [(random.normal(1, 3, shape) * scale).astype(np.float32) for scale in (1, 0.1, 10)]
    for image, (actual,) in zip(images, run(changed, images)):
        expected = norm.expected(image, 1e-3)
        assert np.abs(actual - expected).max() < 0.02 * np.abs(expected).max()
    assert normalize_groups(changed) == (changed, 0)


def test_an_activation_between_the_groups_and_their_end_stays() -> None:
    """Keras scales the groups, and the converter fuses the ReLU behind into that."""
    shape, parts = (1, 6, 5, _CHANNELS), (1, 6, 5, 4, 4)
    norm = _Norm(shape, 4)
    few, axes = (1, 1, 1, 4, 1), (1, 2, 4)
    graph = norm.graph
    x = norm.reshape(graph.x, parts)
    z = norm.two("SUB", x, norm.mean(x, axes, few), parts)
    variance = norm.mean(norm.two("MUL", z, z, parts), axes, few)
    raised = norm.two("ADD", variance, norm.number(1e-3), few)
    root = graph.apply("RSQRT", [raised], norm.tensor(few), version=1)
    unit = norm.two("MUL", z, root, parts)
    shift = np.random.default_rng(1).normal(size=_CHANNELS).astype(np.float32)
    options = {"fused_activation_function": "RELU"}
    last = graph.apply(
        "ADD",
        [unit, norm.number(shift.reshape(1, 1, 1, 4, 4))],
        norm.tensor(parts),
        options,
        "AddOptions",
        1,
    )
    norm.reshape(last, shape)
    model = graph.model()
    changed, count = normalize_groups(model)
    assert count == 1
    assert all(len(each.shape) < 5 for each in changed.main.tensors)
    image = np.random.default_rng(5).normal(1, 3, shape).astype(np.float32)
    expected = np.maximum(_normalized(image, 4, 1e-3) + shift, 0)
    for (actual,) in run(changed, [image]):
        assert actual.min() == 0
        assert np.abs(actual - expected).max() < 0.02 * expected.max()


def test_a_layer_normalization_is_none_of_groups() -> None:
    """Statistics of each pixel are left to the other rule."""
    norm = _Norm((1, 6, 5, _CHANNELS), 1)
    graph = norm.graph
    start = graph.x
    row = (1, 6, 5, 1)
    z = norm.two("SUB", start, norm.mean(start, (3,), row), norm.shape)
    squares = norm.two("MUL", z, z, norm.shape)
    variance = norm.mean(squares, (3,), row)
    small = norm.two("ADD", variance, norm.number(1e-3), row)
    root = graph.apply("RSQRT", [small], norm.tensor(row), version=1)
    norm.two("MUL", z, root, norm.shape)
    assert not has_groups(graph.model())


def test_the_polygon_is_close_to_the_inverse_root() -> None:
    corners, slopes, last = polygon()
    x = np.geomspace(1e-4, 1e4, 5000)
    values = last + (slopes * np.maximum(corners - x[:, None], 0)).sum(axis=1)
    assert (slopes > 0).all()
    assert np.abs(values * np.sqrt(x) - 1).max() < 0.008
