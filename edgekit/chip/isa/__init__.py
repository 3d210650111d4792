# SPDX-License-Identifier: Apache-2.0
"""The instructions of the Edge TPU: their table, decoding, encoding and disassembly."""

from __future__ import annotations

from edgekit.chip.isa.decode import Instruction, decode, decode_executable, decode_package
from edgekit.chip.isa.disassemble import disassemble
from edgekit.chip.isa.encode import encode, encode_one
from edgekit.chip.isa.errors import EmulationError, SyncError, UnprovenError
from edgekit.chip.isa.listing import DisasmResult, disasm

__all__ = [
    "DisasmResult",
    "EmulationError",
    "Instruction",
    "SyncError",
    "UnprovenError",
    "decode",
    "decode_executable",
    "decode_package",
    "disasm",
    "disassemble",
    "encode",
    "encode_one",
]
