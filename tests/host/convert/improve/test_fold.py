# SPDX-License-Identifier: Apache-2.0
"""Constant factors and addends behind layers become part of them."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.improve.fold import fold_constants_into_layers
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 6, 6, 3)


@pytest.mark.parametrize("layer", ["conv", "depthwise", "dense"])
def test_a_batch_normalization_is_folded(layer: str) -> None:
    g = FloatGraph(SHAPE)
    x = {"conv": lambda: g.conv(g.input, 4, 3), "depthwise": lambda: g.depthwise(g.input, 2)}.get(
        layer, lambda: g.dense(g.input, 5)
    )()
    channels = g.shape(x)[-1]
    y = g.arithmetic("MUL", x, g.weights(channels))
    y = g.arithmetic("ADD", g.arithmetic("SUB", y, g.weights(1)), g.weights(1, channels))
    model = g.model(y)
    folded = fold_constants_into_layers(model)
    assert folded is not None
    assert folded[1] == 3
    assert len(folded[0].main.operators) == 1
    image = g.random.normal(size=SHAPE).astype(np.float32)
    with Runner(ModelFile.of(model)) as before, Runner(ModelFile.of(folded[0])) as after:
        np.testing.assert_allclose(
            after.predict(image)[0], before.predict(image)[0], rtol=1e-4, atol=1e-6
        )


def test_a_constant_minus_a_layer_is_folded() -> None:
    g = FloatGraph(SHAPE)
    x = g.conv(g.input, 4)
    y = g.add(
        "SUB", (g.weights(4), x), g.shape(x), {"fused_activation_function": "RELU"}, "SubOptions"
    )
    model = g.model(y)
    folded = fold_constants_into_layers(model)
    assert folded is not None
    image = g.random.normal(size=SHAPE).astype(np.float32)
    with Runner(ModelFile.of(model)) as before, Runner(ModelFile.of(folded[0])) as after:
        np.testing.assert_allclose(
            after.predict(image)[0], before.predict(image)[0], rtol=1e-4, atol=1e-6
        )


def test_what_cannot_be_folded_stays() -> None:
    g = FloatGraph(SHAPE)
    rectified = g.arithmetic("MUL", g.conv(g.input, 4, 1, "RELU"), g.weights(4))
    shared = g.conv(g.input, 4)
    image = g.arithmetic("ADD", g.conv(g.input, 4), g.weights(1, 6, 6, 4))
    model = g.model(rectified, g.arithmetic("MUL", shared, g.weights(4)), shared, image)
    assert fold_constants_into_layers(model) is None
