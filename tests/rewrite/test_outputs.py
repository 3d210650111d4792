# SPDX-License-Identifier: Apache-2.0
"""Joined outputs of very different ranges are taken apart, also in front of a RESHAPE."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import pytest

from edgekit.formats.tflite import Model
from edgekit.rewrite.outputs import joined_again, separate_outputs
from tests.rewrite.conftest import Graph, opcodes, random_inputs, run

_COARSE = 0.5


def _joined(axis: int, shape: Sequence[int] | None, tail: str = "") -> Model:
    """Boxes with steps of 0.5 and scores with steps of 1/256, joined in steps of 0.5."""
    graph = Graph((1, 2, 3, 4))
    boxes = graph.apply("QUANTIZE", [graph.x], graph.tensor((1, 2, 3, 4), _COARSE, 5))
    graph.x = graph.input
    scores = graph.logistic()
    rescaled = graph.apply("QUANTIZE", [scores], graph.tensor((1, 2, 3, 4), _COARSE, 5))
    graph.x = graph.concatenate([boxes, rescaled], axis)
    if shape is not None:
        graph.x = graph.reshape(shape)
    if tail == "DEQUANTIZE":
        graph.x = graph.dequantize()
    return graph.model()


def _real(model: Model, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    tensors = [model.main.tensors[index] for index in model.main.outputs]
    return [
        (values.astype(np.float64) - int(each.zero_point or 0)) * float(each.scale or 1)
        for values, each in zip(outputs, tensors)
    ]


@pytest.mark.parametrize(
    ("axis", "shape"),
    [
        (-1, None),
        (-1, (1, 6, 8)),
        (3, (6, 8)),
        (3, (1, 1, 2, 3, 8)),
        (2, (2, 6, 4)),
        (1, (4, 3, 4)),
    ],
)
@pytest.mark.parametrize("tail", ["", "DEQUANTIZE"])
def test_the_parts_contain_the_joined_values(
    axis: int, shape: Sequence[int] | None, tail: str
) -> None:
    before = _joined(axis, shape, tail)
    after = separate_outputs(before)
    assert after is not None
    assert "CONCATENATION" not in opcodes(after)
    inputs = random_inputs(before, 5)
    for old, new in zip(run(before, inputs), run(after, inputs)):
        (whole,) = _real(before, old)
        parts = _real(after, new)
        (again,) = joined_again(before, after, parts)
        assert again.shape == whole.shape
        np.testing.assert_allclose(again, whole, rtol=0, atol=_COARSE / 2 + 1e-9)
        # The scores have their own steps now.
        assert len(np.unique(parts[1])) > len(np.unique(np.rint(parts[1] / _COARSE)))


@pytest.mark.parametrize(
    ("axis", "shape"), [(3, (1, 48)), (1, (1, 48)), (3, (1, 2, 6, 4)), (2, (1, 2, 3, 8))]
)
def test_a_reshape_that_interleaves_the_parts_is_not_changed(
    axis: int, shape: Sequence[int]
) -> None:
    assert separate_outputs(_joined(axis, shape)) is None
