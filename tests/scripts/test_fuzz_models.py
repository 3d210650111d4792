# SPDX-License-Identifier: Apache-2.0
"""A sample of the generated models; scripts/fuzz_models.py runs 2,000."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.host
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the script forks")
def test_commands_on_generated_models_end_with_status_0_3_or_4(tmp_path: Path) -> None:
    words = ["--first", "1", "--number", "14", "--keep", str(tmp_path / "models")]
    done = subprocess.run(
        [sys.executable, str(_ROOT / "scripts" / "fuzz_models.py"), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "14 models: statuses" in done.stdout
    assert list((tmp_path / "models").iterdir()) == []
