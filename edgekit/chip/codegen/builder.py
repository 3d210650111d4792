# SPDX-License-Identifier: Apache-2.0
"""The nodes of a network under construction, and what the rules for operators ask of tensors."""

from __future__ import annotations

from typing import Callable

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
from edgekit.chip.codegen.node_list import NodeList, shape_of
from edgekit.chip.codegen.nodes import COPY, Elementwise, OutputStage, Shape
from edgekit.chip.codegen.rearrange import reshaped
from edgekit.formats.tflite import Model, Tensor

DTYPES = ("INT8", "UINT8")


class NodeBuilder(NodeList):
    """A list of nodes, with what the rules for operators ask of tensors."""

    def __init__(self, model: Model) -> None:
        super().__init__(model.main.tensors)
        self.model = model
        self._reshaped: dict[tuple[int, Shape], int] = {}  # the same bytes in another shape

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
            self.shapes[root] = shape  # an input can come in any shape
            return root
        if (root, shape) not in self._reshaped:
            self._reshaped[root, shape] = reshaped(self, root, shape)
        return self._reshaped[root, shape]

    def vectors(self, tensor: int) -> int:
        """The tensor with the values of ``tensor``, for a node that reads each position alone.

        Its channels are the last axis; its rows and columns are what needs the fewest copies, with
        the values in the same order.
        """
        channels = self.tensors[tensor].shape[-1]
        height, width, joined = self.shape(self.root(tensor))
        if joined % channels:
            return self.image(tensor)
        return self.shaped(tensor, (height, width * (joined // channels), channels))

    def save(self) -> Callable[[], None]:
        """What puts everything back as it is now."""
        nodes, aliases = list(self.nodes), dict(self.aliases)
        shapes, moved = dict(self.shapes), dict(self._reshaped)

        def restore() -> None:
            self.nodes, self.aliases, self.shapes, self._reshaped = nodes, aliases, shapes, moved

        return restore

    def add_elementwise(self, source: int, output: int, stage: OutputStage) -> None:
        """A node for every value alone: its result lies as its source does."""
        root = self.root(source)
        self.shapes[output] = self.shape(root)
        self.nodes.append(Elementwise(root, output, stage))

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
