# SPDX-License-Identifier: Apache-2.0
"""Tensors of more than four axes between the host and the device."""

from __future__ import annotations

from edgekit.chip.codegen import partition
from tests.rewrite.conftest import Graph


def test_an_input_of_five_axes_leaves_its_reader_to_the_host() -> None:
    graph = Graph((1, 2, 3, 4, 5))
    graph.reshape((1, 6, 4, 5))
    graph.activation("RELU")
    found = partition(graph.model())
    assert found.mapped == (1,)
    assert found.reasons == {0: "a tensor of rank 5"}


def test_five_axes_inside_the_part_of_the_device_do_not_matter() -> None:
    graph = Graph((1, 6, 4, 5))
    graph.reshape((1, 2, 3, 4, 5))
    graph.reshape((1, 6, 20))
    graph.activation("RELU")
    assert partition(graph.model()).mapped == (0, 1, 2)
