# SPDX-License-Identifier: Apache-2.0
"""Compile with edgekit's own compiler: `edgekit.chip.codegen`, the gate behind it, and files."""

from __future__ import annotations

from edgekit.opencompiler.compile import compile_open
from edgekit.opencompiler.errors import NotCompiledError, VerificationError
from edgekit.opencompiler.program import (
    CompiledProgram,
    compile_program,
    compile_programs,
    instructions_of,
)
from edgekit.opencompiler.result import CompiledModel, CompileResult, Verification

__all__ = [
    "CompileResult",
    "CompiledModel",
    "CompiledProgram",
    "NotCompiledError",
    "Verification",
    "VerificationError",
    "compile_open",
    "compile_program",
    "compile_programs",
    "instructions_of",
]
