# SPDX-License-Identifier: Apache-2.0
"""What needs TensorFlow or Google's compiler, which run as processes: importing this is cheap."""

from __future__ import annotations

from edgekit.host.compiler import compile, compile_commands  # noqa: A004 - the command's name
from edgekit.host.compiler_options import CompilerOptions
from edgekit.host.compiler_result import CompileResult
from edgekit.host.conversion import convert
from edgekit.host.convert_result import ConvertResult
from edgekit.host.demo import DemoResult, demo
from edgekit.host.enforce import NotEdgeTpuModelError

__all__ = [
    "CompileResult",
    "CompilerOptions",
    "ConvertResult",
    "DemoResult",
    "NotEdgeTpuModelError",
    "compile",
    "compile_commands",
    "convert",
    "demo",
]
