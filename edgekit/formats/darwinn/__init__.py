# SPDX-License-Identifier: Apache-2.0
"""The package inside a compiled model, as bytes and as dataclasses.

`read_packages` returns the packages of a model; `write_package` and `write_custom_options` make the
options of an edgetpu-custom-op.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names

if TYPE_CHECKING:
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

# Loaded when used: metadata need only the tables, and most models are not compiled.
__getattr__ = lazy_names(
    __name__,
    {
        "arithmetic_cycles": "edgekit.formats.darwinn.instructions",
        "DataType": "edgekit.formats.darwinn.package",
        "Description": "edgekit.formats.darwinn.package",
        "Direction": "edgekit.formats.darwinn.package",
        "DmaDescriptorHint": "edgekit.formats.darwinn.package",
        "DmaHint": "edgekit.formats.darwinn.package",
        "EdgeTpuOperator": "edgekit.formats.darwinn.package",
        "Executable": "edgekit.formats.darwinn.package",
        "ExecutableType": "edgekit.formats.darwinn.package",
        "FenceHint": "edgekit.formats.darwinn.package",
        "FieldOffset": "edgekit.formats.darwinn.package",
        "InstructionBitstream": "edgekit.formats.darwinn.package",
        "InstructionHint": "edgekit.formats.darwinn.package",
        "InterruptHint": "edgekit.formats.darwinn.package",
        "Layer": "edgekit.formats.darwinn.package",
        "Meta": "edgekit.formats.darwinn.package",
        "OutputLayout": "edgekit.formats.darwinn.package",
        "Package": "edgekit.formats.darwinn.package",
        "Position": "edgekit.formats.darwinn.package",
        "read_package": "edgekit.formats.darwinn.reader",
        "read_packages": "edgekit.formats.darwinn.reader",
        "write_custom_options": "edgekit.formats.darwinn.options",
        "write_package": "edgekit.formats.darwinn.writer",
    },
)
