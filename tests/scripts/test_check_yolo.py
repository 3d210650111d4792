# SPDX-License-Identifier: Apache-2.0
"""The script that compares YOLO decoders with Ultralytics: without it, and with a difference."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_SCRIPT = Path(__file__).parents[2] / "scripts" / "check_yolo.py"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_an_environment_nothing_is_measured_and_the_reason_is_printed() -> None:
    done = _run()
    assert (done.returncode, done.stdout) == (0, "skipped: no --python is given\n")
    done = _run("--python", sys.executable)
    assert done.returncode == 0
    assert done.stdout.startswith("skipped: ModuleNotFoundError: No module named ")


@pytest.mark.parametrize(("shift", "status"), [(0.0, 0), (2.0, 1)])
def test_a_gap_of_more_than_a_pixel_is_a_failure(shift: float, status: int, tmp_path: Path) -> None:
    places = [
        ((x + 0.5) * stride, (y + 0.5) * stride)
        for stride in (8, 16, 32)
        for y in range(320 // stride)
        for x in range(320 // stride)
    ]
    table = np.full((len(places), 4 + 3), 0.001, np.float32)
    table[:, :2], table[:, 2:4] = places, 40
    table[700, 5] = 0.9
    x, y = places[700]
    np.savez(
        str(tmp_path / "net.npz"),
        output0=table.T[None],
        other0=table.T[None],
        metadata=json.dumps({"task": "detect", "names": "{0: 'a', 1: 'b', 2: 'c'}"}),
        boxes=np.array([[x - 20 + shift, y - 20, x + 20, y + 20]]),
        scores=np.array([0.9], np.float32),
        classes=np.array([1.0]),
    )
    done = _run("--tensors", str(tmp_path))
    assert done.returncode == status, done.stderr
    assert "| net | 1x7x2100 | YOLOv8 | 1 |" in done.stdout
