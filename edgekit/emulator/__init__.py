# SPDX-License-Identifier: Apache-2.0
"""The Edge TPU in software: decode, encode, disassemble and execute its programs."""

from __future__ import annotations

from edgekit.emulator.decode import Instruction, decode
from edgekit.emulator.disassemble import disassemble
from edgekit.emulator.encode import encode, encode_one
from edgekit.emulator.errors import EmulationError, SyncError
from edgekit.emulator.listing import DisasmResult, disasm
from edgekit.emulator.machine import EdgeTpu

__all__ = [
    "DisasmResult",
    "EdgeTpu",
    "EmulationError",
    "Instruction",
    "SyncError",
    "decode",
    "disasm",
    "disassemble",
    "encode",
    "encode_one",
]
