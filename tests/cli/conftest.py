# SPDX-License-Identifier: Apache-2.0
"""The command line as a user starts it: in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def edgekit(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``edgekit`` with ``words``."""
    return subprocess.run(
        [sys.executable, "-m", "edgekit", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=None if cwd is None else str(cwd),
        env={**os.environ, "COLUMNS": "100"},
        timeout=300,
        check=False,
    )
