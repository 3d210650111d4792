# SPDX-License-Identifier: Apache-2.0
"""Dense layers of unequal rows as 1x1 convolutions."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.improve.dense import convolve_dense
from edgekit.host.convert.improve.ranges import range_of, with_ranges
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 4, 4, 3)
_UNEQUAL = np.geomspace(0.01, 1, 6)[:, None]


def _dense(g: FloatGraph, x: int, activation: str = "NONE") -> int:
    y = g.dense(x, 6, activation)
    g.scale(g.operators[-1].inputs[1], _UNEQUAL)
    return y


@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
def test_values_stay_the_same(activation: str) -> None:
    g = FloatGraph(SHAPE)
    first = _dense(g, g.reshape(g.input, (1, 48)), activation)
    model = g.model(_dense(g, first), first)
    changed = convolve_dense(model)
    assert changed is not None
    assert changed[1] == 2
    # The map between the two convolutions is not flattened; the first output is.
    assert changed[0].operator_counts() == {"RESHAPE": 4, "CONV_2D": 2}
    image = g.random.normal(size=SHAPE).astype(np.float32)
    with Runner(ModelFile.of(model)) as before, Runner(ModelFile.of(changed[0])) as after:
        for expected, actual in zip(before.predict(image), after.predict(image), strict=True):
            assert expected.shape == actual.shape
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_rows_of_equal_size_stay_dense() -> None:
    g = FloatGraph(SHAPE)
    y = g.dense(g.input, 6)
    g.set(g.operators[-1].inputs[1], np.tile(g.random.normal(size=48), 6))
    assert convolve_dense(g.model(y)) is None


def test_a_layer_without_bias_gets_one_of_zeros() -> None:
    g = FloatGraph((1, 6))
    weights = g.weights(6, 6)
    g.scale(weights, _UNEQUAL)
    options = {"fused_activation_function": "NONE", "weights_format": 0, "keep_num_dims": False}
    y = g.add("FULLY_CONNECTED", (g.input, weights, -1), (1, 6), options, "FullyConnectedOptions")
    model = g.model(y)
    changed = convolve_dense(model)
    assert changed is not None
    x = g.random.normal(size=(1, 6)).astype(np.float32)
    with Runner(ModelFile.of(model)) as before, Runner(ModelFile.of(changed[0])) as after:
        np.testing.assert_allclose(after.predict(x)[0], before.predict(x)[0], rtol=1e-5)


def test_ranges_of_calibration_are_kept() -> None:
    g = FloatGraph(SHAPE)
    y = _dense(g, g.input)
    changed = convolve_dense(with_ranges(g.model(y), {g.input: (-1.0, 2.0), y: (-3.0, 4.0)}))
    assert changed is not None
    graph = changed[0].main
    conv = next(op for op in graph.operators if op.opcode == "CONV_2D")
    assert range_of(graph.tensors[conv.inputs[0]]) == (-1.0, 2.0)
    assert range_of(graph.tensors[conv.outputs[0]]) == (-3.0, 4.0)
