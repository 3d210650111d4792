# SPDX-License-Identifier: Apache-2.0
"""The package inside a compiled model: `read_packages` from a `Model` to dataclasses."""

from __future__ import annotations

from edgekit.formats.darwinn.instructions import arithmetic_cycles
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
from edgekit.formats.darwinn.reader import (
    EDGETPU_CUSTOM_OP,
    is_compiled,
    is_edgetpu_operator,
    read_package,
    read_packages,
)

__all__ = [
    "EDGETPU_CUSTOM_OP",
    "DataType",
    "Description",
    "Direction",
    "DmaDescriptorHint",
    "DmaHint",
    "EdgeTpuOperator",
    "Executable",
    "ExecutableType",
    "FenceHint",
    "FieldOffset",
    "InstructionBitstream",
    "InstructionHint",
    "InterruptHint",
    "Layer",
    "Meta",
    "OutputLayout",
    "Package",
    "Position",
    "arithmetic_cycles",
    "is_compiled",
    "is_edgetpu_operator",
    "read_package",
    "read_packages",
]
