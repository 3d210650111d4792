# SPDX-License-Identifier: Apache-2.0
"""Write a `Package` to bytes, and the options of an edgetpu-custom-op around it.

The bytes are laid out as Google's compiler does: parameters and executables start at multiples of
4096 bytes, and every part has a length that is a multiple of 4096. The same package always gives
the same bytes. Field numbers are those of executable.fbs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.darwinn.package import (
    DmaDescriptorHint,
    DmaHint,
    Executable,
    ExecutableType,
    FieldOffset,
    InstructionBitstream,
    InstructionHint,
    InterruptHint,
    Layer,
    Meta,
    OutputLayout,
    Package,
)
from edgekit.formats.darwinn.table_builder import (
    BOOL,
    BYTE,
    FLOAT,
    INT,
    LONG,
    OFFSET,
    SHORT,
    ULONG,
    Fields,
    TableBuilder,
)

_IDENTIFIER = b"DWN1"
_PAGE_BYTES = 4096
_OUTPUT_LAYER, _INPUT_LAYER = 1, 2  # union AnyLayer
_DESCRIPTOR, _INSTRUCTION, _INTERRUPT, _FENCE = 1, 2, 3, 4  # union AnyHint
_EXECUTION_COUNT = 9  # of a layer; its default is 1
_MODEL_IDENTIFIER_SINCE = 11  # the runtime of version 10 does not have the field


def write_package(package: Package) -> bytes:
    """Serialize ``package``; ``read_package(write_package(p))`` equals ``p``."""
    executables = [_executable(each) for each in package.executables]
    inner = TableBuilder()
    parts = [inner.binary_string(each, _PAGE_BYTES) for each in executables]
    content = inner.finish(inner.table({0: (OFFSET, inner.offsets(parts))}))
    outer = TableBuilder(force_defaults=True)
    multi_executable = outer.data(content, _PAGE_BYTES)
    signature = outer.data(b"")
    compiler_version = outer.string(package.compiler_version)
    fields = {
        0: (INT, package.min_runtime_version),
        1: (OFFSET, multi_executable),
        2: (OFFSET, signature),
        3: (INT, package.keypair_version),
        4: (OFFSET, compiler_version),
        5: (INT, package.virtual_chip_id),
    }
    if package.model_identifier or package.min_runtime_version >= _MODEL_IDENTIFIER_SINCE:
        fields[7] = (OFFSET, outer.string(package.model_identifier))
    return outer.finish(outer.table(fields), _IDENTIFIER)


def _executable(executable: Executable) -> bytes:
    """Serialize an executable; its parts in the order in which Google's compiler creates them."""
    build = TableBuilder()
    chunks = [_bitstream(build, each) for each in executable.instruction_bitstreams]
    inputs = [_layer(build, each, _INPUT_LAYER) for each in executable.input_layers]
    outputs = [_layer(build, each, _OUTPUT_LAYER) for each in executable.output_layers]
    parameters = build.data(_raw(executable.parameters), _PAGE_BYTES)
    fields = {
        0: (INT, executable.version),
        1: (OFFSET, build.string(executable.name)),
        3: (INT, executable.batch_size),
        4: (INT, executable.scratch_size_bytes),
        6: (OFFSET, parameters),
        12: (INT, executable.used_narrow_memory_bytes_per_tile),
        13: (SHORT, int(executable.type)),
        14: (ULONG, executable.parameter_caching_token),
        15: (BOOL, executable.use_tpu_dram_for_parameters),
        16: (LONG, executable.estimated_cycles or 0),
    }
    computes = executable.type is not ExecutableType.PARAMETER_CACHING
    if computes:
        fields[2] = (OFFSET, build.data(b""))
    fields[5] = (OFFSET, build.offsets(chunks))
    fields[7] = (OFFSET, _dma_hints(build, executable))
    if computes:
        fields[8] = (OFFSET, build.offsets(inputs))
        fields[9] = (OFFSET, build.offsets(outputs))
    fields[10] = (OFFSET, build.string(executable.chip))
    return build.finish(build.table(fields))


def _bitstream(build: TableBuilder, chunk: InstructionBitstream) -> int:
    words = build.data(_raw(chunk.bitstream))
    offsets = build.offsets([_field_offset(build, each) for each in chunk.field_offsets])
    return build.table({0: (OFFSET, words), 1: (OFFSET, offsets)})


def _field_offset(build: TableBuilder, offset: FieldOffset) -> int:
    return build.table({0: (OFFSET, _meta(build, offset.meta)), 1: (INT, offset.offset_bit)})


def _meta(build: TableBuilder, meta: Meta) -> int:
    name = build.string(meta.name) if meta.name else build.empty_string()
    return build.table(
        {
            0: (SHORT, int(meta.desc)),
            1: (INT, meta.batch),
            2: (OFFSET, name),
            3: (SHORT, int(meta.position)),
        }
    )


def _dma_hints(build: TableBuilder, executable: Executable) -> int:
    hints = build.offsets([_dma_hint(build, each) for each in executable.dma_hints])
    return build.table({0: (OFFSET, hints), 1: (BOOL, executable.fully_deterministic)})


def _dma_hint(build: TableBuilder, hint: DmaHint) -> int:
    kind, fields = _any_hint(build, hint)
    body = build.table(fields)
    return build.table({0: (BYTE, kind), 1: (OFFSET, body), 2: (SHORT, int(hint.direction))})


def _any_hint(build: TableBuilder, hint: DmaHint) -> tuple[int, Fields]:
    step = hint.any_hint
    if isinstance(step, DmaDescriptorHint):
        meta = _meta(build, step.meta)
        sizes = {1: (INT, step.offset_in_bytes), 2: (INT, step.size_in_bytes)}
        return _DESCRIPTOR, {0: (OFFSET, meta), **sizes}
    if isinstance(step, InstructionHint):
        return _INSTRUCTION, {0: (INT, step.instruction_chunk_index)}
    if isinstance(step, InterruptHint):
        return _INTERRUPT, {0: (SHORT, step.type)}
    return _FENCE, {}


def _layer(build: TableBuilder, layer: Layer, kind: int) -> int:
    name = build.string(layer.name)
    numerics = build.table({0: (INT, layer.zero_point), 1: (FLOAT, layer.dequantization_factor)})
    fields = {
        0: (OFFSET, name),
        1: (INT, layer.size_bytes),
        2: (INT, layer.y_dim),
        3: (INT, layer.x_dim),
        4: (INT, layer.z_dim),
        5: (OFFSET, numerics),
        6: (SHORT, int(layer.data_type)),
        7: (BYTE, kind),
        8: (OFFSET, _layout(build, layer.layout)),
        _EXECUTION_COUNT: (INT, layer.execution_count_per_inference),
        10: (BOOL, layer.cache_on_dram),
    }
    if layer.shape:
        ranges = build.int32s(np.array(layer.shape, np.int32))
        fields[11] = (OFFSET, build.table({0: (OFFSET, ranges)}))
    return build.table(fields, defaults={_EXECUTION_COUNT: 1})


def _layout(build: TableBuilder, layout: OutputLayout | None) -> int:
    """Write an OutputLayer, or the empty table of a layer without a layout."""
    if layout is None:
        return build.table({})
    arrays = (
        layout.y_coordinate_to_linear_tile_id_map,
        layout.x_coordinate_to_linear_tile_id_map,
        layout.linearized_tile_byte_offset,
        layout.x_coordinate_to_local_byte_offset,
        layout.y_coordinate_to_local_y_offset,
        layout.x_coordinate_to_local_y_row_size,
    )
    places = {number: (OFFSET, build.int32s(array)) for number, array in enumerate(arrays)}
    return build.table({0: (OFFSET, build.table(places))})


def _raw(values: NDArray[np.uint8]) -> memoryview:
    return np.ascontiguousarray(values, np.uint8).data
