# SPDX-License-Identifier: Apache-2.0
"""Read an Edge TPU package to `Package`, and all packages of a model.

Container: .tflite, operator edgetpu-custom-op, flexbuffer map, Package, MultiExecutable, Executable
(libedgetpu, api/package_registry and executable.fbs). Field numbers are those of that schema.
"""

from __future__ import annotations

import enum
from typing import Callable, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import ModelFormatError
from edgekit.formats.darwinn.options import read_custom_options
from edgekit.formats.darwinn.package import (
    DataType,
    Description,
    Direction,
    DmaDescriptorHint,
    DmaHint,
    EdgeTpuOperator,
    Executable,
    ExecutableType,
    FenceHint,
    FieldOffset,
    InstructionBitstream,
    InstructionHint,
    InterruptHint,
    Layer,
    Meta,
    OutputLayout,
    Package,
    Position,
)
from edgekit.formats.darwinn.table import Table, root_table
from edgekit.formats.darwinn.transfers import check_transfers
from edgekit.formats.tflite import Model, is_edgetpu_operator

_IDENTIFIER = b"DWN1"
_WORD_BYTES = 16
_IMMEDIATE_BITS = 32
_OUTPUT_LAYER = 1  # AnyLayer
_Enum = TypeVar("_Enum", bound=enum.IntEnum)


def read_packages(model: Model, where: str = "") -> tuple[EdgeTpuOperator, ...]:
    """Return the packages of all edgetpu-custom-ops, in execution order; empty for a plain model.

    Args:
        model: The result of `read_model`; parameters become views into its bytes.
        where: The file, for error messages.

    Raises:
        ModelFormatError: A package is damaged, or its schema is older than the public compiler's.
    """
    found = []
    for subgraph_index, operator_index, operator in model.operators():
        if is_edgetpu_operator(operator):
            place = f"subgraph {subgraph_index}, operator {operator_index}"
            place = f"{where}, {place}" if where else place
            package = read_package(read_custom_options(operator.custom_options, place), place)
            found.append(EdgeTpuOperator(subgraph_index, operator_index, package))
    return tuple(found)


def read_package(content: bytes | memoryview, where: str = "") -> Package:
    """Read one package: a FlatBuffer that begins with an offset and ``DWN1``.

    Args:
        content: Its bytes; parameters and bitstreams become views into them.
        where: The place, for error messages.

    Raises:
        ModelFormatError: It is damaged, or not a package.
    """
    view = memoryview(content)
    if bytes(view[4:8]) != _IDENTIFIER:
        raise ModelFormatError(
            f"this is not an Edge TPU package: bytes 4 to 7 are {bytes(view[4:8])!r}, "
            f"expected {_IDENTIFIER!r}",
            where=where,
            why="the file is damaged, or was compiled in early 2019 by a compiler before 1.0",
            fix="compile the model again",
        )
    root = root_table(view, where)
    inner = root_table(root.view(1), f"{where}, executables" if where else "executables")
    executables = tuple(
        _executable(root_table(each, f"{inner.source.where}[{index}]"))
        for index, each in enumerate(_few(inner, inner.views(0)))
    )
    types = {each.type for each in executables}
    if len(types) != len(executables):
        raise inner.source.error(f"{len(executables)} executables, but {len(types)} types")
    return Package(
        min_runtime_version=root.scalar(0),
        executables=executables,
        compiler_version=root.text(4),
        keypair_version=root.scalar(3),
        virtual_chip_id=root.scalar(5),
        model_identifier=root.text(7),
    )


def _few(table: Table, executables: tuple[memoryview, ...]) -> tuple[memoryview, ...]:
    if not 1 <= len(executables) <= len(ExecutableType):
        raise table.source.error(f"it contains {len(executables)} executables, expected 1 to 3")
    return executables


def _executable(table: Table) -> Executable:
    bitstreams = tuple(_bitstream(each) for each in table.tables(5))
    if not bitstreams:
        raise table.source.error("an executable has no instructions")
    hints = table.table(7)
    cycles = table.scalar(16, "<q") or table.scalar(11)
    executable = Executable(
        type=_enum(table, 13, ExecutableType, "<h"),
        instruction_bitstreams=bitstreams,
        parameters=_bytes(table, 6),
        dma_hints=()
        if hints is None
        else tuple(_dma_hint(each, bitstreams) for each in hints.tables(0)),
        input_layers=tuple(_layer(each) for each in table.tables(8)),
        output_layers=tuple(_layer(each) for each in table.tables(9)),
        parameter_caching_token=table.scalar(14, "<Q"),
        used_narrow_memory_bytes_per_tile=_count(table, 12),
        scratch_size_bytes=_count(table, 4),
        estimated_cycles=cycles or None,
        version=table.scalar(0),
        name=table.text(1),
        batch_size=table.scalar(3, default=1),
        chip=table.text(10),
        fully_deterministic=hints is not None and bool(hints.scalar(1, "<B")),
        use_tpu_dram_for_parameters=bool(table.scalar(15, "<B")),
    )
    check_transfers(executable, table.source)
    return executable


def _bitstream(table: Table) -> InstructionBitstream:
    bitstream = _bytes(table, 0)
    if not bitstream.size or bitstream.size % _WORD_BYTES:
        raise table.source.error(
            f"a chunk of instructions has {bitstream.size} bytes, expected a multiple of 16 above 0"
        )
    offsets = tuple(_field_offset(each, bitstream.size) for each in table.tables(1))
    return InstructionBitstream(bitstream, offsets)


def _field_offset(table: Table, num_bytes: int) -> FieldOffset:
    offset_bit = _count(table, 1)
    if offset_bit + _IMMEDIATE_BITS > 8 * num_bytes:
        raise table.source.error(f"a relocation at bit {offset_bit} is outside its instructions")
    return FieldOffset(_meta(table), offset_bit)


def _meta(table: Table) -> Meta:
    meta = _required(table, 0, "a description")
    return Meta(
        desc=_enum(meta, 0, Description, "<h"),
        batch=meta.scalar(1),
        name=meta.text(2),
        position=_enum(meta, 3, Position, "<h"),
    )


def _dma_hint(table: Table, bitstreams: tuple[InstructionBitstream, ...]) -> DmaHint:
    kind = table.scalar(0, "<B")
    direction = _enum(table, 2, Direction, "<h")
    if kind == 4:
        return DmaHint(FenceHint(), direction)
    hint = _required(table, 1, "the body of a DMA hint")
    if kind == 1:
        return DmaHint(DmaDescriptorHint(_meta(hint), _count(hint, 1), _count(hint, 2)), direction)
    if kind == 2:
        chunk = hint.scalar(0)
        if not 0 <= chunk < len(bitstreams):
            raise table.source.error(f"chunk {chunk} of {len(bitstreams)} does not exist")
        return DmaHint(InstructionHint(chunk), direction)
    if kind == 3:
        return DmaHint(InterruptHint(hint.scalar(0, "<h")), direction)
    raise table.source.error(f"DMA hints of kind {kind} do not exist")


def _layer(table: Table) -> Layer:
    numerics = table.table(5)
    body = table.table(8) if table.scalar(7, "<B") == _OUTPUT_LAYER else None
    layout = body.table(0) if body is not None else None
    shape = table.table(11)
    y_dim, x_dim, z_dim = (_count(table, field) for field in (2, 3, 4))
    return Layer(
        name=table.text(0),
        size_bytes=_count(table, 1),
        y_dim=y_dim,
        x_dim=x_dim,
        z_dim=z_dim,
        zero_point=numerics.scalar(0) if numerics is not None else 0,
        dequantization_factor=numerics.scalar(1, "<f") if numerics is not None else 0.0,
        data_type=_enum(table, 6, DataType, "<h"),
        execution_count_per_inference=_count(table, 9, default=1),
        cache_on_dram=bool(table.scalar(10, "<B")),
        shape=()
        if shape is None
        else tuple((int(start), int(end)) for start, end in shape.array(0, items=2)),
        layout=None if layout is None else _layout(layout, y_dim, x_dim),
    )


def _layout(table: Table, y_dim: int, x_dim: int) -> OutputLayout:
    y_tile, x_tile, tile_offset, x_byte, y_row, x_row_size = (table.array(i) for i in range(6))
    rows_fit = y_tile.size == y_row.size >= y_dim
    columns_fit = x_tile.size == x_byte.size == x_row_size.size >= x_dim
    if not (rows_fit and columns_fit and tile_offset.size):
        raise table.source.error(f"an output layout does not fit {y_dim} x {x_dim}")
    arrays = (y_tile, x_tile, tile_offset, x_byte, y_row, x_row_size)
    if any(int(each.min()) < 0 for each in arrays if each.size):
        raise table.source.error("an output layout has negative offsets")
    last_tile = _largest(y_tile) + _largest(x_tile)
    if last_tile >= tile_offset.size:
        raise table.source.error(f"output tile {last_tile} of {tile_offset.size} does not exist")
    return OutputLayout(*arrays)


def _largest(values: NDArray[np.int32]) -> int:
    return int(values.max()) if values.size else 0


def _bytes(table: Table, field: int) -> NDArray[np.uint8]:
    return np.frombuffer(table.view(field), np.uint8)


def _required(table: Table, field: int, what: str) -> Table:
    found = table.table(field)
    if found is None:
        raise table.source.error(f"{what} is missing")
    return found


def _count(table: Table, field: int, default: int = 0) -> int:
    value: int = table.scalar(field, default=default)
    if value < 0:
        raise table.source.error(f"a size is {value}")
    return value


def _enum(table: Table, field: int, kind: Callable[[int], _Enum], layout: str) -> _Enum:
    value = table.scalar(field, layout)
    try:
        return kind(value)
    except ValueError as error:
        raise table.source.error(str(error)) from error
