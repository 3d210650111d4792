# SPDX-License-Identifier: Apache-2.0
"""The nodes of a network under construction, and what the rules for operators ask of tensors."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.chip.arithmetic.scales import (
    ACTIVATIONS,
    clamps,
    constant,
    scale_of,
    zero_point_of,
)
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.nodes import COPY, Elementwise, Node, OutputStage, Shape
from edgekit.chip.codegen.rearrange import reshaped
from edgekit.formats.tflite import Model, Tensor

DTYPES = ("INT8", "UINT8")


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


class NodeBuilder:
    """Nodes and aliases, and the shapes of tensors as they lie in narrow memory."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensors = list(model.main.tensors)
        self.nodes: list[Node] = []
        self.aliases: dict[int, int] = {}
        self._shapes: dict[int, Shape] = {}  # of tensors that only the device has
        self._reshaped: dict[tuple[int, Shape], int] = {}  # the same bytes in another shape

    def root(self, tensor: int) -> int:
        """The tensor whose block contains the values of ``tensor``."""
        while tensor in self.aliases:
            tensor = self.aliases[tensor]
        return tensor

    def shape(self, tensor: int) -> Shape:
        """The shape of one batch element as it lies in narrow memory."""
        known = self._shapes.get(tensor)
        return known if known else shape_of(self.tensors[tensor].shape)

    def image(self, tensor: int) -> int:
        """The tensor with the values of ``tensor``, for a node that reads rows and columns.

        Raises:
            Unsupported: A reshape moved its values, in more copies than are made.
        """
        return self.shaped(tensor, shape_of(self.tensors[tensor].shape))

    def shaped(self, tensor: int, shape: Shape) -> int:
        """The tensor with the values of ``tensor`` that lies in narrow memory as ``shape``."""
        root = self.root(tensor)
        if self.shape(root) == shape:
            return root
        if not any(root in (*node.sources, node.output) for node in self.nodes):
            self._shapes[root] = shape  # an input can come in any shape
            return root
        if (root, shape) not in self._reshaped:
            self._reshaped[root, shape] = reshaped(self, root, shape)
        return self._reshaped[root, shape]

    def save(self) -> Callable[[], None]:
        """What puts everything back as it is now."""
        nodes, aliases = list(self.nodes), dict(self.aliases)
        shapes, moved = dict(self._shapes), dict(self._reshaped)

        def restore() -> None:
            self.nodes, self.aliases, self._shapes, self._reshaped = nodes, aliases, shapes, moved

        return restore

    def add_elementwise(self, source: int, output: int, stage: OutputStage) -> None:
        """A node for every value alone: its result lies as its source does."""
        root = self.root(source)
        self._shapes[output] = self.shape(root)
        self.nodes.append(Elementwise(root, output, stage))

    def set_shape(self, tensor: int, shape: Shape) -> None:
        """Say that a tensor lies in narrow memory with another shape than its own."""
        self._shapes[tensor] = shape

    def add_temporary(self, like: Tensor, shape: Shape) -> int:
        """A tensor that only the device has, of the type and scale of another one."""
        self.tensors.append(like)
        self._shapes[len(self.tensors) - 1] = shape
        return len(self.tensors) - 1

    def real_constant(self, index: int) -> float | None:
        """The number that a constant is; None if it has several values, or is computed."""
        if not self.is_constant(index):
            return None
        values, tensor = self.values(index).reshape(-1), self.tensors[index]
        if not values.size or (values != values[0]).any() or tensor.dtype not in DTYPES:
            return None
        zero = tensor.quantization.zero_point[0] if tensor.quantization else 0
        return (int(values[0]) - zero) * float(scale_of(tensor))

    def is_constant(self, tensor: int) -> bool:
        """Whether the model contains the tensor's values."""
        return self.model.data(self.tensors[tensor]) is not None

    def values(self, tensor: int) -> NDArray[np.int64]:
        """A constant as int64."""
        if not self.is_constant(tensor):
            raise Unsupported(f"{self.tensors[tensor].name!r} is not constant")
        result: NDArray[np.int64] = constant(self.model, self.tensors[tensor]).astype(np.int64)
        return result

    def stage(
        self, source: Tensor, output: Tensor, multiplier: float, activation: str = "NONE"
    ) -> OutputStage:
        """The output stage from a source to an output tensor."""
        if activation not in ACTIVATIONS:
            raise Unsupported(f"the fused activation {activation}")
        low, high = clamps(output, activation)
        zero_points = zero_point_of(source), zero_point_of(output)
        return OutputStage(*zero_points, multiplier, float(low), float(high))

    def requantization(
        self, source: Tensor, output: Tensor, activation: str = "NONE"
    ) -> OutputStage:
        """The output stage that only changes the scale."""
        same = scale_of(source) == scale_of(output) and zero_point_of(source) == zero_point_of(
            output
        )
        if same and activation == "NONE":
            return COPY
        multiplier = float(np.float32(scale_of(source) * (np.float32(1) / scale_of(output))))
        return self.stage(source, output, multiplier, activation)


def words_of(shape: Shape) -> str:
    """The sizes as a text, such as 4x4x3."""
    return "x".join(str(size) for size in shape)
