# SPDX-License-Identifier: Apache-2.0
"""Find and run Google's edgetpu_compiler, read its output, compare it with `check`."""

from __future__ import annotations

from edgekit.host.compiler.options import CompilerOptions
from edgekit.host.compiler.result import CompileResult
from edgekit.host.compiler.run import compile, compile_commands  # noqa: A004 - the command's name

__all__ = ["CompileResult", "CompilerOptions", "compile", "compile_commands"]
