# SPDX-License-Identifier: Apache-2.0
"""Plans for networks whose activations do not fit into the tiles at once."""

from __future__ import annotations

import numpy as np

from edgekit.chip.codegen.geometry import Axis
from edgekit.chip.codegen.narrow import allocate
from edgekit.chip.codegen.nodes import COPY, Convolution, Network, Shape, Window
from edgekit.chip.codegen.slices import Segment, sliced_layout
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.isa.memories import NARROW_BYTES


def _layer(number: int, before: Shape, after: Shape) -> Convolution:
    """A 1 x 1 convolution if the channels differ, else a depthwise one of 3 x 3."""
    depthwise = before[2] == after[2]
    axis = Axis(3, 2 if before[0] > after[0] else 1, 1) if depthwise else Axis()
    taps = axis.size, axis.size, 1 if depthwise else before[2]
    return Convolution(
        source=number,
        output=number + 1,
        window=Window(axis, axis),
        stage=COPY,
        weights=np.zeros((after[2], *taps), np.uint8),
        weight_zero_points=np.zeros(after[2], np.int64),
        bias=np.zeros(after[2], np.int64),
        multipliers=np.ones(1, np.float32),
        depthwise=depthwise,
    )


def test_a_segment_that_grew_leaves_only_its_result_behind() -> None:
    """As in a PoseNet of 721 x 1281 pixels: behind the segment a layer needs its memory."""
    shapes = [
        (91, 161, 96),
        (91, 161, 192),
        (91, 161, 192),
        (91, 161, 196),
        (46, 81, 196),
        (46, 81, 320),
    ]
    nodes = tuple(_layer(k, *pair) for k, pair in enumerate(zip(shapes, shapes[1:])))
    network = Network(nodes, (0,), (len(nodes),), dict(enumerate(shapes)), {})
    layout = sliced_layout(network, [Segment(0, 4, 24, grows=True)])
    assert len(layout.overlays) == 1
    assert allocate(layout, [InputStage(layout.block(0))]).used_bytes <= NARROW_BYTES
