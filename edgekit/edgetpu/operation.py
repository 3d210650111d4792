# SPDX-License-Identifier: Apache-2.0
"""One operator with its tensors: the input of the mapping rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator, Tensor

MAPPABLE_RANK = 3


@dataclass(frozen=True)
class Operation:
    """Operator ``index`` of the main subgraph of ``model``."""

    model: Model
    index: int

    @property
    def operator(self) -> Operator:
        """The operator itself."""
        return self.model.main.operators[self.index]

    @property
    def inputs(self) -> tuple[Tensor | None, ...]:
        """All inputs in their order; None for an optional one that is left out."""
        tensors = self.model.main.tensors
        return tuple(tensors[index] if index >= 0 else None for index in self.operator.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs in their order."""
        return tuple(self.model.main.tensors[index] for index in self.operator.outputs)

    @property
    def activations(self) -> tuple[Tensor, ...]:
        """The inputs that are computed or are inputs of the model, not stored in the file."""
        return tuple(
            tensor for tensor in self.inputs if tensor is not None and not self.is_constant(tensor)
        )

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the file stores the values of ``tensor``."""
        return bool(self.model.buffers[tensor.buffer].size)

    def input(self, number: int) -> Tensor | None:
        """Input ``number``; None if it is left out."""
        return self.inputs[number] if number < len(self.operator.inputs) else None

    def constant(self, number: int) -> NDArray[Any] | None:
        """The values of input ``number``; None if it is left out or computed."""
        tensor = self.input(number)
        if tensor is None or not self.is_constant(tensor):
            return None
        return self.model.data(tensor)

    def integers(self, number: int) -> tuple[int, ...] | None:
        """The values of a small constant input: axes, sizes, paddings."""
        values = self.constant(number)
        return None if values is None else tuple(int(value) for value in np.ravel(values))

    def option(self, name: str, default: Any = 0) -> Any:  # noqa: ANN401 - whatever the table holds
        """A field of the builtin options."""
        return self.operator.options.get(name, default)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """The shape of the first activation."""
        activations = self.activations
        return activations[0].shape if activations else ()

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        outputs = self.outputs
        return outputs[0].shape if outputs else ()


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``shape`` without its dimensions of size 1."""
    return tuple(size for size in shape if size != 1)


def count(shape: tuple[int, ...]) -> int:
    """The number of elements in ``shape``."""
    product = 1
    for size in shape:
        product *= size
    return product


def nhwc(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels; missing leading dimensions count as 1."""
    padded = (1, 1, 1, *shape)[-MAPPABLE_RANK:]
    return padded[0], padded[1], padded[2]
