# SPDX-License-Identifier: Apache-2.0
"""Columns that are joined lie as a row; layers that read rows pad them by their own shape."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest

from edgekit.chip.codegen import Partition
from edgekit.confirm.networks import NetworkBuilder

Compare = Callable[..., Partition]


@pytest.mark.parametrize("layer", ["convolution", "depthwise", "MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_a_window_over_joined_columns_pads_the_column(compare: Compare, layer: str) -> None:
    network = NetworkBuilder("columns", (5, 1, 4))
    network.keep("start")
    network.pool("MAX_POOL_2D", 1, 1)
    network.concatenation("start", axis=1)
    if layer == "convolution":
        network.convolution(4, (2, 1))
    elif layer == "depthwise":
        network.depthwise((3, 3))
    else:
        network.pool(layer, 2, 1, "SAME")
    model = network.model()
    generator = np.random.default_rng(1)
    values: Any = generator.integers(-128, 128, (1, 5, 1, 4)).astype(np.int8)
    compare(model, {model.main.tensors[model.main.inputs[0]].name: values})
