# SPDX-License-Identifier: Apache-2.0
"""Find and run Google's edgetpu_compiler, read its output, compare it with `check`."""

from __future__ import annotations

from edgekit.host.compiler.options import CompilerOptions
from edgekit.host.compiler.result import CompileCommands
from edgekit.host.compiler.run import compile, compile_commands  # noqa: A004 - the command's name
from edgekit.opencompiler.result import CompileResult

__all__ = ["CompileCommands", "CompileResult", "CompilerOptions", "compile", "compile_commands"]
