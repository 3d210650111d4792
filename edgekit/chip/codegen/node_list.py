# SPDX-License-Identifier: Apache-2.0
"""The nodes of a network under construction, and how their tensors lie in narrow memory."""

from __future__ import annotations

from typing import Sequence

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.nodes import Node, Shape
from edgekit.formats.tflite import Tensor


def shape_of(shape: Sequence[int]) -> Shape:
    """The shape of one batch element on the device: vectors are one position."""
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    if len(shape) == 3:
        return 1, shape[1], shape[2]
    if len(shape) == 2:
        return 1, 1, shape[1]
    if len(shape) == 1:
        return 1, 1, shape[0]
    raise Unsupported(f"a tensor of rank {len(shape)}")


def words_of(shape: Shape) -> str:
    """The sizes as a text, such as 4x4x3."""
    return "x".join(str(size) for size in shape)


class NodeList:
    """Nodes and aliases, and the shapes of tensors as they lie in narrow memory."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.tensors = list(tensors)
        self.nodes: list[Node] = []
        self.aliases: dict[int, int] = {}
        self.shapes: dict[int, Shape] = {}  # of tensors that lie in another shape than their own

    def root(self, tensor: int) -> int:
        """The tensor whose block contains the values of ``tensor``."""
        while tensor in self.aliases:
            tensor = self.aliases[tensor]
        return tensor

    def shape(self, tensor: int) -> Shape:
        """The shape of one batch element as it lies in narrow memory."""
        known = self.shapes.get(tensor)
        return known if known else shape_of(self.tensors[tensor].shape)

    def set_shape(self, tensor: int, shape: Shape) -> None:
        """Say that a tensor lies in narrow memory with another shape than its own."""
        self.shapes[tensor] = shape

    def add_temporary(self, like: Tensor, shape: Shape) -> int:
        """A tensor that only the device has, of the type and scale of another one."""
        self.tensors.append(like)
        self.shapes[len(self.tensors) - 1] = shape
        return len(self.tensors) - 1
