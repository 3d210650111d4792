# SPDX-License-Identifier: Apache-2.0
"""Resizes by whole numbers as repeated pixels and averages."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Tensor
from edgekit.rewrite import apply_rule
from edgekit.rewrite.resizes import RULE
from tests.rewrite.conftest import Graph, opcodes, random_inputs, run

_BILINEAR, _NEAREST = "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"
_KINDS = {_BILINEAR: "ResizeBilinearOptions", _NEAREST: "ResizeNearestNeighborOptions"}


def _resize(
    opcode: str,
    before: tuple[int, int],
    after: tuple[int, int],
    centres: bool,
    corners: bool = False,
) -> Model:
    graph = Graph((1, *before, 3))
    graph.tensors[0] = Tensor("x", (1, *before, 3), "FLOAT32", 0)
    size = graph.constant(np.array(after, np.int32))
    out = graph.tensor((1, *after, 3), None, dtype="FLOAT32")
    options = {"align_corners": corners, "half_pixel_centers": centres}
    version = 3 if centres else 1
    graph.apply(opcode, [graph.x, size], out, options, _KINDS[opcode], version)
    return graph.model()


@pytest.mark.parametrize(
    ("opcode", "after", "centres", "made"),
    [
        (_BILINEAR, (12, 18), True, [_NEAREST, "AVERAGE_POOL_2D"]),
        (_BILINEAR, (20, 30), True, [_NEAREST, "AVERAGE_POOL_2D"]),
        (
            _BILINEAR,
            (16, 24),
            True,
            [_NEAREST, "AVERAGE_POOL_2D", *["SLICE", "CONCATENATION"] * 2, "AVERAGE_POOL_2D"],
        ),
        (
            _BILINEAR,
            (8, 18),
            True,
            [_NEAREST, "AVERAGE_POOL_2D", "SLICE", "CONCATENATION", "AVERAGE_POOL_2D"],
        ),
        (_BILINEAR, (4, 18), True, [_NEAREST, "AVERAGE_POOL_2D"]),
        (
            _BILINEAR,
            (16, 18),
            False,
            [_NEAREST, *["SLICE", "CONCATENATION"] * 2, "AVERAGE_POOL_2D"],
        ),
        (_BILINEAR, (2, 3), True, ["AVERAGE_POOL_2D"]),
        (_BILINEAR, (1, 2), True, ["SLICE", "AVERAGE_POOL_2D"]),
        (_BILINEAR, (4, 2), True, ["SLICE", "MAX_POOL_2D"]),
        (_BILINEAR, (2, 2), False, ["MAX_POOL_2D"]),
        (_NEAREST, (2, 3), True, ["SLICE", "MAX_POOL_2D"]),
        (_NEAREST, (1, 2), False, ["MAX_POOL_2D"]),
    ],
)
def test_a_resize_becomes_operators_that_map(
    opcode: str, after: tuple[int, int], centres: bool, made: list[str]
) -> None:
    model = _resize(opcode, (4, 6), after, centres)
    changed = apply_rule(RULE, model)
    assert changed is not None
    assert opcodes(changed) == made
    inputs = random_inputs(model)
    for (expected,), (actual,) in zip(run(model, inputs), run(changed, inputs)):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    assert apply_rule(RULE, changed) is None


@pytest.mark.parametrize(
    ("after", "corners"), [((8, 12), False), ((6, 9), False), ((12, 18), True), ((36, 54), False)]
)
def test_other_resizes_stay(after: tuple[int, int], corners: bool) -> None:
    """By two, by no whole number, from corner to corner, and by a number that costs too much."""
    assert apply_rule(RULE, _resize(_BILINEAR, (4, 6), after, not corners, corners)) is None
