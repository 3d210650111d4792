# SPDX-License-Identifier: Apache-2.0
"""The package inside a compiled model: `read_packages` returns it as dataclasses."""

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
    read_package,
    read_packages,
)

__all__ = [
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
    "read_package",
    "read_packages",
]
