# SPDX-License-Identifier: Apache-2.0
"""Compile with edgekit's own compiler: `edgekit.chip.codegen`, the gate behind it, and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names

if TYPE_CHECKING:
    from edgekit.opencompiler.compile import compile_open
    from edgekit.opencompiler.errors import NotCompiledError, VerificationError
    from edgekit.opencompiler.program import (
        CompiledProgram,
        compile_program,
        compile_programs,
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
]

# Loaded when used: an estimate needs neither the emulator nor the audit.
__getattr__ = lazy_names(
    __name__,
    {
        "CompileResult": "edgekit.opencompiler.result",
        "CompiledModel": "edgekit.opencompiler.result",
        "CompiledProgram": "edgekit.opencompiler.program",
        "NotCompiledError": "edgekit.opencompiler.errors",
        "Verification": "edgekit.opencompiler.result",
        "VerificationError": "edgekit.opencompiler.errors",
        "compile_open": "edgekit.opencompiler.compile",
        "compile_program": "edgekit.opencompiler.program",
        "compile_programs": "edgekit.opencompiler.program",
    },
)
