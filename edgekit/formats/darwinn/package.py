# SPDX-License-Identifier: Apache-2.0
"""A compiled Edge TPU package as frozen dataclasses, named as in libedgetpu's executable.fbs.

Byte vectors (parameters, bitstreams) are read-only uint8 views into the file that was read, without
copies, so a `Package` needs little more memory than the file.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass
from typing import Iterator, Union

import numpy as np
from numpy.typing import NDArray


class ExecutableType(enum.IntEnum):
    """The purpose of an executable."""

    STAND_ALONE = 0  # parameters are sent with every inference
    PARAMETER_CACHING = 1  # runs once: fills the on-chip memory
    EXECUTION_ONLY = 2  # runs for each inference, with the cached parameters


class Description(enum.IntEnum):
    """What an address or a transfer refers to."""

    BASE_ADDRESS_OUTPUT_ACTIVATION = 0
    BASE_ADDRESS_INPUT_ACTIVATION = 1
    BASE_ADDRESS_PARAMETER = 2
    BASE_ADDRESS_SCRATCH = 3


class Position(enum.IntEnum):
    """Which half of a 64-bit address an immediate contains."""

    LOWER_32BIT = 0
    UPPER_32BIT = 1


class Direction(enum.IntEnum):
    """The direction of a transfer, from the device's side."""

    INFEED = 0  # host to device
    OUTFEED = 1  # device to host


class DataType(enum.IntEnum):
    """How one element of a layer is stored."""

    FIXED_POINT8 = 0
    FIXED_POINT16 = 1
    SIGNED_FIXED_POINT32 = 2
    BFLOAT = 3
    HALF = 4
    SINGLE = 5
    SIGNED_FIXED_POINT8 = 8
    SIGNED_FIXED_POINT16 = 9

    @property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return _ITEM_BYTES[self]


_ITEM_BYTES = {
    DataType.FIXED_POINT8: 1,
    DataType.FIXED_POINT16: 2,
    DataType.SIGNED_FIXED_POINT32: 4,
    DataType.BFLOAT: 2,
    DataType.HALF: 2,
    DataType.SINGLE: 4,
    DataType.SIGNED_FIXED_POINT8: 1,
    DataType.SIGNED_FIXED_POINT16: 2,
}


@dataclass(frozen=True)
class Meta:
    """What a patched immediate or a transfer refers to; ``name`` is a layer's, or empty."""

    desc: Description
    batch: int
    name: str
    position: Position


@dataclass(frozen=True)
class FieldOffset:
    """A 32-bit immediate in a bitstream that the runtime overwrites with half an address."""

    meta: Meta
    offset_bit: int


@dataclass(frozen=True)
class InstructionBitstream:
    """One chunk of instructions, 16 bytes per word, and its relocations."""

    bitstream: NDArray[np.uint8]
    field_offsets: tuple[FieldOffset, ...]


@dataclass(frozen=True)
class DmaDescriptorHint:
    """A transfer of ``size_bytes`` at ``offset_in_bytes`` of the buffer that ``meta`` names."""

    meta: Meta
    offset_in_bytes: int
    size_in_bytes: int


@dataclass(frozen=True)
class InstructionHint:
    """A whole chunk of instructions is sent to the device."""

    instruction_chunk_index: int


@dataclass(frozen=True)
class InterruptHint:
    """The device raises an interrupt; 0 is scalar core 0, the end of a run."""

    type: int


@dataclass(frozen=True)
class FenceHint:
    """All earlier steps must be complete before a later one begins."""


AnyHint = Union[DmaDescriptorHint, InstructionHint, InterruptHint, FenceHint]


@dataclass(frozen=True)
class DmaHint:
    """One step of the transfer schedule."""

    any_hint: AnyHint
    direction: Direction


@dataclass(frozen=True)
class OutputLayout:
    """The device's place of element (y, x, z) of an output.

    Its byte is ``linearized_tile_byte_offset[y_coordinate_to_linear_tile_id_map[y] +
    x_coordinate_to_linear_tile_id_map[x]] + y_coordinate_to_local_y_offset[y] *
    x_coordinate_to_local_y_row_size[x] + x_coordinate_to_local_byte_offset[x] + z`` for
    one-byte elements. Arrays are int32.
    """

    y_coordinate_to_linear_tile_id_map: NDArray[np.int32]
    x_coordinate_to_linear_tile_id_map: NDArray[np.int32]
    linearized_tile_byte_offset: NDArray[np.int32]
    x_coordinate_to_local_byte_offset: NDArray[np.int32]
    y_coordinate_to_local_y_offset: NDArray[np.int32]
    x_coordinate_to_local_y_row_size: NDArray[np.int32]


@dataclass(frozen=True)
class Layer:
    """An input or output of an executable: one batch element, y, x, z = H, W, C."""

    name: str  # of the TFLite tensor
    size_bytes: int  # in the device's padded layout
    y_dim: int
    x_dim: int
    z_dim: int
    zero_point: int  # of the unsigned value on the device: TFLite's + 128 for INT8
    dequantization_factor: float  # TFLite's scale
    data_type: DataType
    execution_count_per_inference: int = 1
    cache_on_dram: bool = False
    shape: tuple[tuple[int, int], ...] = ()  # inclusive ranges of indices, newer files only
    layout: OutputLayout | None = None  # outputs only

    @property
    def host_bytes(self) -> int:
        """Bytes without the device's padding."""
        return (
            self.y_dim
            * self.x_dim
            * self.z_dim
            * self.data_type.item_bytes
            * self.execution_count_per_inference
        )


@dataclass(frozen=True)
class Executable:
    """One program for the Edge TPU, with its parameters and its transfer schedule."""

    type: ExecutableType
    instruction_bitstreams: tuple[InstructionBitstream, ...]
    parameters: NDArray[np.uint8]
    dma_hints: tuple[DmaHint, ...]
    input_layers: tuple[Layer, ...]
    output_layers: tuple[Layer, ...]
    parameter_caching_token: int  # programs with equal tokens share the cache; 0: not shared
    used_narrow_memory_bytes_per_tile: int
    scratch_size_bytes: int = 0  # host memory for activations that do not fit
    estimated_cycles: int | None = None  # of one run; compiler 16 does not write it
    version: int = 0
    name: str = ""
    batch_size: int = 1
    chip: str = ""
    fully_deterministic: bool = False  # the hints are the whole schedule
    use_tpu_dram_for_parameters: bool = False

    @property
    def parameter_bytes(self) -> int:
        """The bytes of parameters: sent once if caching, else with each inference."""
        return int(self.parameters.size)

    @property
    def instruction_bytes(self) -> int:
        """Bytes of all instruction chunks."""
        return sum(int(chunk.bitstream.size) for chunk in self.instruction_bitstreams)

    def transfers(self) -> Iterator[tuple[str, Direction, int]]:
        """Yield each transfer: kind ("INSTRUCTION", "INPUT_ACTIVATION", ...), direction, bytes."""
        for hint in self.dma_hints:
            step = hint.any_hint
            if isinstance(step, InstructionHint):
                chunk = self.instruction_bitstreams[step.instruction_chunk_index]
                yield "INSTRUCTION", hint.direction, int(chunk.bitstream.size)
            elif isinstance(step, DmaDescriptorHint):
                kind = step.meta.desc.name[len("BASE_ADDRESS_") :]
                yield kind, hint.direction, step.size_in_bytes

    def transfer_bytes(self) -> dict[tuple[str, Direction], int]:
        """Return the bytes over the bus in one run, by kind and direction."""
        total: dict[tuple[str, Direction], int] = {}
        for kind, direction, size_bytes in self.transfers():
            total[kind, direction] = total.get((kind, direction), 0) + size_bytes
        return total


@dataclass(frozen=True)
class Package:
    """The content of one edgetpu-custom-op: executables that belong together."""

    min_runtime_version: int
    executables: tuple[Executable, ...]
    compiler_version: str = ""  # an internal version; the public release number is not stored
    keypair_version: int = 0
    virtual_chip_id: int = 0
    model_identifier: str = ""

    def executable(self, kind: ExecutableType) -> Executable | None:
        """Return the executable of that type, or None."""
        return next((each for each in self.executables if each.type is kind), None)

    @property
    def sha256(self) -> str:
        """A hash of what the chip executes: the bitstreams, the relocations, the parameters."""
        digest = hashlib.sha256()
        for executable in self.executables:
            for chunk in executable.instruction_bitstreams:
                digest.update(chunk.bitstream.tobytes())
                digest.update(repr(chunk.field_offsets).encode())
            digest.update(np.asarray(executable.parameters).tobytes())
        return digest.hexdigest()

    @property
    def inference(self) -> Executable:
        """The executable that runs for each inference: STAND_ALONE if present, else EXECUTION_ONLY.

        A single executable is used as stand-alone for every type, as in the runtime.
        """
        for kind in (ExecutableType.STAND_ALONE, ExecutableType.EXECUTION_ONLY):
            found = self.executable(kind)
            if found is not None:
                return found
        return self.executables[0]

    @property
    def caching(self) -> Executable | None:
        """The executable that fills the parameter cache before the first inference, or None."""
        if self.inference.type is ExecutableType.STAND_ALONE or len(self.executables) == 1:
            return None
        return self.executable(ExecutableType.PARAMETER_CACHING)

    @property
    def cached_bytes(self) -> int:
        """Parameters sent once and kept on the chip ("on-chip memory used")."""
        return self.caching.parameter_bytes if self.caching else 0

    @property
    def streamed_bytes(self) -> int:
        """Parameters sent with every inference ("off-chip memory used")."""
        return self.inference.parameter_bytes

    @property
    def parameter_caching_token(self) -> int:
        """The token of the whole package; 0 if it cannot share the cache."""
        return self.inference.parameter_caching_token


@dataclass(frozen=True)
class EdgeTpuOperator:
    """An edgetpu-custom-op of a model and the package in it."""

    subgraph_index: int
    operator_index: int
    package: Package
