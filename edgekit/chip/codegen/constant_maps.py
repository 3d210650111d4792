# SPDX-License-Identifier: Apache-2.0
"""Constants as tensors of narrow memory: the results of layers without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.arithmetic.scales import HIGHEST, zero_point_of
from edgekit.chip.codegen.builder import DTYPES, NodeBuilder
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.node_list import words_of
from edgekit.chip.codegen.nodes import Convolution, OutputStage, Shape, Window
from edgekit.chip.codegen.rearrange import select_channels
from edgekit.formats.tflite import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_VALUES = 1 << 16  # of a constant that depends on the position


def raw_values(builder: NodeBuilder, tensor: int) -> NDArray[np.uint8]:
    """A constant's values as on the device, in its own shape.

    Raises:
        Unsupported: It is not quantized to 8 bits.
    """
    kind = builder.tensors[tensor]
    if kind.dtype not in DTYPES or kind.scale is None:
        raise Unsupported(f"a constant of type {kind.dtype}")
    return (builder.values(tensor) + (128 if kind.dtype == "INT8" else 0)).astype(np.uint8)


def constant_stage(kind: Tensor) -> OutputStage:
    """The output stage of a layer whose biases, minus the zero point, are the values."""
    zero = zero_point_of(kind)
    return OutputStage(0, zero, 1.0, float(-zero), float(HIGHEST - zero))


def constant_image(builder: NodeBuilder, tensor: int, like: int) -> int:
    """A constant whose values depend on the position, in its own shape.

    They are the biases of a dense layer of nothing: four zeros in the place of the first position
    of the tensor ``like``. Its result is a vector, which becomes a map in two steps, rows first.

    Raises:
        Unsupported: It has too many values, or is not quantized to 8 bits.
    """
    values, kind = raw_values(builder, tensor).astype(np.int64), builder.tensors[tensor]
    shape: Shape = (1, 1, 1, *values.shape)[-3:]  # axes count from the last one
    if not 0 < values.size <= _MOST_VALUES:
        raise Unsupported(
            f"a constant of {words_of(shape)} values that are not one for each channel; at most "
            f"{_MOST_VALUES:,} are placed"
        )
    nothing = builder.add_temporary(kind, (1, 1, WORD))
    select_channels(builder, like, [None] * WORD, nothing)
    vector = builder.add_temporary(kind, (1, 1, values.size))
    builder.nodes.append(
        Convolution(
            nothing,
            vector,
            Window(),
            constant_stage(kind),
            np.zeros((values.size, 1, 1, WORD), np.uint8),
            np.zeros(values.size, np.int64),
            values.reshape(-1) - zero_point_of(kind),
            np.ones(1, np.float32),
        )
    )
    height, width, channels = shape
    rows = builder.shaped(vector, (height, 1, width * channels))
    return builder.shaped(rows, shape)
