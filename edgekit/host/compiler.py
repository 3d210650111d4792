# SPDX-License-Identifier: Apache-2.0
"""The user's own edgetpu_compiler: found, run, its output taken whole. It is never shipped."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from edgekit import files
from edgekit.errors import ExternalToolError
from edgekit.process import run_process

PROGRAM = "edgetpu_compiler"
_TIMEOUT_S = 600.0
_TAIL_LINES = 6


def find_compiler() -> str | None:
    """The compiler's path: EDGETPU_COMPILER, or the program on PATH; None if there is none."""
    return os.environ.get("EDGETPU_COMPILER") or shutil.which(PROGRAM)


def compile_model(model: files.PathLike, folder: files.PathLike) -> Path:
    """Compile an integer-only .tflite; writes ``NAME_edgetpu.tflite`` into ``folder``.

    Raises:
        ExternalToolError: There is no compiler, it failed, or it made no file.
        OutputError: ``folder`` cannot be written.
    """
    compiler = find_compiler()
    if compiler is None:
        raise ExternalToolError(
            f"no {PROGRAM} on PATH",
            why="Google's compiler is not part of edgekit and may not be downloaded by it",
            fix="install it on x86-64 Linux (coral.ai/docs/edgetpu/compiler), or set "
            "EDGETPU_COMPILER to its path",
        )
    name = f"{Path(model).stem}_edgetpu.tflite"
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        finished = run_process([compiler, "-s", "-o", scratch, str(model)], timeout_s=_TIMEOUT_S)
        made = Path(scratch, name)
        if finished.timed_out or finished.returncode or not made.is_file():
            tail = (finished.stdout + finished.stderr).strip().splitlines()[-_TAIL_LINES:]
            raise ExternalToolError(
                f"{PROGRAM} took longer than {_TIMEOUT_S:.0f} s"
                if finished.timed_out
                else f"{PROGRAM} made no {name} (exit status {finished.returncode})",
                where=str(model),
                why=" | ".join(line.strip() for line in tail),
            )
        files.write_bytes(Path(folder, name), made.read_bytes())
    return Path(folder, name)
