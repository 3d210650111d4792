# SPDX-License-Identifier: Apache-2.0
"""Which nodes can run in slices."""

from __future__ import annotations

import sys

import numpy as np
import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.codegen import Unsupported, partition
from edgekit.chip.codegen.slices import Segment, plan_segment
from edgekit.formats.tflite import Model, Subgraph
from scripts.random_operators import Graph


def _resized_twice() -> Model:
    graph = Graph(np.random.default_rng(0), "INT8")
    first = graph.activation((1, 8, 8, 8), 1.0)
    large = graph.like(first, (1, 16, 16, 8))
    options = {"align_corners": False, "half_pixel_centers": False}
    kind = "ResizeNearestNeighborOptions"
    opcode = "RESIZE_NEAREST_NEIGHBOR"
    graph.add(opcode, (first, graph.integers([16, 16])), large, kind, **options)
    output = graph.activation((1, 16, 16, 8), 0.7)
    graph.add("QUANTIZE", (large,), output)
    subgraph = Subgraph(tuple(graph.tensors), (first,), (output,), tuple(graph.operators), "main")
    return Model((subgraph,), tuple(graph.buffers), "a resize")


def test_a_slice_has_all_parts_of_what_it_reads() -> None:
    """A resize is four copies, and the requantization reads what all of them make."""
    network = partition(_resized_twice()).network
    assert len(network.nodes) == 5
    assert len(plan_segment(network, Segment(0, 5, 2)).slices) == 2
    with pytest.raises(Unsupported, match="other steps make a part"):
        plan_segment(network, Segment(3, 5, 2))
