# SPDX-License-Identifier: Apache-2.0
"""The results of `inspect`: the documents ``edgekit.inspect/1`` and ``edgekit.inspect-set/1``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.formats.tflite_metadata import CompilerNote
from edgekit.result import Result


@dataclass(frozen=True)
class TensorInfo(Result):
    """An input or output tensor of an operator; per-channel tensors do not have a single scale."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None
    num_scales: int
    is_constant: bool


@dataclass(frozen=True)
class FeaturesInfo(Result):
    """An input that stores ``(value - mean) / std`` of each feature (the last axis)."""

    input: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class OperatorInfo(Result):
    """One operator of the graph in the file."""

    index: int
    opcode: str
    version: int
    place: str  # tpu | cpu; empty in a plain model, which does not decide it
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    macs: int
    parameter_bytes: int  # of its constants in the file
    activation_bytes: int  # alive while it runs


@dataclass(frozen=True)
class LayerInfo(Result):
    """An input or output of the Edge TPU's program."""

    name: str
    shape: tuple[int, int, int]  # H, W, C
    data_type: str
    host_bytes: int
    device_bytes: int  # with the device's padding


@dataclass(frozen=True)
class ExecutableInfo(Result):
    """One program of a package."""

    type: str
    parameter_bytes: int
    instruction_bytes: int
    estimated_cycles: int | None  # the compiler's; not every compiler writes it
    tile_cycles: int  # of the busiest tile, counted in the instructions
    used_narrow_memory_bytes_per_tile: int
    scratch_bytes: int
    bus_bytes: dict[str, int]  # of one run, by kind and direction: "INSTRUCTION:IN"


@dataclass(frozen=True)
class PackageInfo(Result):
    """One edgetpu-custom-op."""

    operator_index: int
    kind: str  # cached | stand-alone
    min_runtime_version: int
    parameter_caching_token: str  # 16 hexadecimal digits
    compiler_version: str  # an internal version, not the release
    executables: tuple[ExecutableInfo, ...]
    inputs: tuple[LayerInfo, ...]
    outputs: tuple[LayerInfo, ...]
    cached_bytes: int
    streamed_bytes: int
    bus_bytes_per_inference: int
    bus_bytes_at_load: int
    source_operators: tuple[int, ...] | None = None  # indices in the source; None: not given


@dataclass(frozen=True)
class CpuOperator(Result):
    """An operator outside the Edge TPU's part."""

    index: int
    opcode: str
    version: int


@dataclass(frozen=True)
class InspectResult(Result):
    """One file."""

    schema: ClassVar[str] = "edgekit.inspect/1"
    model: str
    sha256: str
    bytes: int
    kind: str  # plain | compiled
    description: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    opcodes: dict[str, int]  # the number of each
    macs: int
    parameter_bytes: int
    peak_activation_bytes: int
    peak_activation_operator: int | None  # the operator at the peak
    packages: tuple[PackageInfo, ...]
    cpu_operators: tuple[CpuOperator, ...]
    min_runtime_version: int | None
    compiler_release: str  # releases of Google's that write such a file; empty for edgekit's
    cached_bytes: int
    streamed_bytes: int
    bus_bytes_per_inference: int
    bus_bytes_at_load: int
    source: str = ""
    features: tuple[FeaturesInfo, ...] = ()  # of inputs that `convert --normalize-inputs` made
    source_operators: tuple[OperatorInfo, ...] = ()  # of the source, with their places
    compiler_note: CompilerNote | None = None  # of edgekit's own compiler; None: Google's


@dataclass(frozen=True)
class TokenGroup(Result):
    """Compiled files with one token: compiled together, so they share the parameter memory."""

    parameter_caching_token: str
    models: tuple[str, ...]
    relation: str  # co-compiled | segments | alone
    cached_bytes: int
    fits_together: bool
    room_bytes: int  # of the parameter memory


@dataclass(frozen=True)
class InspectSet(Result):
    """Several files, and how they share the chip."""

    schema: ClassVar[str] = "edgekit.inspect-set/1"
    files: tuple[InspectResult, ...]
    groups: tuple[TokenGroup, ...]
    verdict: str  # a sentence
