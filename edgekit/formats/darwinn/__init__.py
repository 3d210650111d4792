# SPDX-License-Identifier: Apache-2.0
"""The package inside a compiled model, as bytes and as dataclasses.

`read_packages` returns the packages of a model; `write_package` and `write_custom_options` make the
options of an edgetpu-custom-op.
"""

from __future__ import annotations

from edgekit.formats.darwinn.instructions import arithmetic_cycles
from edgekit.formats.darwinn.options import write_custom_options
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
from edgekit.formats.darwinn.writer import write_package

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
    "write_custom_options",
    "write_package",
]
