# SPDX-License-Identifier: Apache-2.0
"""shellcheck does not find problems in the shell scripts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "scripts").glob("*.sh"))
_SHELLCHECK = shutil.which("shellcheck")


@pytest.mark.skipif(_SHELLCHECK is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    command = [str(_SHELLCHECK), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
