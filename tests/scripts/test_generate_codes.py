# SPDX-License-Identifier: Apache-2.0
"""The generated pages of docs/ are up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="the scripts need Python 3.10")
def test_the_pages_of_the_codes_are_up_to_date() -> None:
    script = _REPOSITORY / "scripts" / "generate_codes.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        check=False,
        capture_output=True,
        text=True,
        cwd=str(_REPOSITORY),
    )
    assert done.returncode == 0, done.stdout + done.stderr
