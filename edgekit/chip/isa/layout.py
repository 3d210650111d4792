# SPDX-License-Identifier: Apache-2.0
"""Convert tensors to the device's bytes and back: unsigned values, padding, tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.chip.isa.errors import EmulationError
from edgekit.formats.darwinn import DataType, Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The bits that make values unsigned, and the type of the values.
_FLIP: dict[DataType, tuple[int, Any, Any]] = {
    DataType.FIXED_POINT8: (0, np.uint8, np.uint8),
    DataType.SIGNED_FIXED_POINT8: (0x80, np.uint8, np.int8),
    DataType.SIGNED_FIXED_POINT16: (0x8000, np.uint16, np.int16),
}


def to_device(layer: Layer, values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return the bytes of an input tensor in the device's layout.

    Raises:
        EmulationError: The layer's type is not proven, or ``values`` has another type or size.
    """
    flip, dtype, given = _flip(layer)
    if values.dtype != np.dtype(given):
        raise EmulationError(
            f"{values.dtype} for an input of {np.dtype(given)}", where=f"input {layer.name!r}"
        )
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if raw.size == layer.host_bytes:
        raw = (raw.view(dtype) ^ dtype(flip)).view(np.uint8)
    if raw.size != layer.host_bytes:
        raise EmulationError(
            f"{raw.size} bytes for an input of {layer.host_bytes}", where=f"input {layer.name!r}"
        )
    padded = np.zeros(layer.size_bytes * layer.execution_count_per_inference, np.uint8)
    padded[: raw.size] = raw
    return padded


def from_device(layer: Layer, raw: NDArray[np.uint8]) -> NDArray[np.generic]:
    """Return the values of an output tensor: shape (y, x, z), uint8, int8 or int16.

    Raises:
        EmulationError: Its type is not proven, or its layout reads beyond the bytes of ``raw``.
    """
    flip, dtype, signed = _flip(layer)
    item = np.dtype(dtype).itemsize
    elements: NDArray[Any] = raw[: raw.size // item * item].view(dtype)
    if dtype is not np.uint8 and (layer.y_dim != 1 or layer.x_dim != 1):
        raise _unproven(layer)
    values: NDArray[Any] = elements[_positions(layer, elements.size)] ^ dtype(flip)
    return values.view(signed)


def _positions(layer: Layer, size: int) -> NDArray[np.int64]:
    shape = (layer.y_dim, layer.x_dim, layer.z_dim)
    layout = layer.layout
    if layout is None or (layer.y_dim == 1 and layer.x_dim == 1):
        positions = np.arange(int(np.prod(shape))).reshape(shape)
    else:
        rows = layout.y_coordinate_to_linear_tile_id_map[:, None]
        tile = rows + layout.x_coordinate_to_linear_tile_id_map[None, :]
        local = (
            layout.y_coordinate_to_local_y_offset[:, None].astype(np.int64)
            * layout.x_coordinate_to_local_y_row_size[None, :]
            + layout.x_coordinate_to_local_byte_offset[None, :]
        )
        start = layout.linearized_tile_byte_offset[tile] + local
        positions = start[..., None] + np.arange(layer.z_dim)
    if positions.size and (int(positions.min()) < 0 or int(positions.max()) >= size):
        raise EmulationError(
            f"the layout reads byte {int(positions.max())} of {size}",
            where=f"output {layer.name!r}",
            why="the package's output layout does not fit its transfers",
        )
    return positions


def _flip(layer: Layer) -> tuple[int, Any, Any]:
    if layer.data_type not in _FLIP:
        raise _unproven(layer)
    return _FLIP[layer.data_type]


def _unproven(layer: Layer) -> EmulationError:
    return EmulationError(
        f"a tensor of type {layer.data_type.name}, shape {layer.y_dim}x{layer.x_dim}x{layer.z_dim}",
        where=f"layer {layer.name!r}",
        why="only 8-bit tensors and 16-bit vectors are proven",
    )
