# SPDX-License-Identifier: Apache-2.0
"""The scripts in examples/ run as their first lines say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from PIL import Image

_EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(_EXAMPLES / script), *arguments],
        cwd=str(folder),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.host
@pytest.mark.slow
def test_the_digits_example_makes_an_int8_model_as_accurate_as_the_float_one(
    tmp_path: Path,
) -> None:
    done = _run("digits.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "maps to the Edge TPU: 5 of 5 operators" in done.stdout
    float_share, int8_share = (float(each) for each in re.findall(r": ([\d.]+)% of", done.stdout))
    assert float_share > 90
    assert abs(int8_share - float_share) < 2
    assert (tmp_path / "digits-out" / "digits.tflite").is_file()


@pytest.mark.host
@pytest.mark.slow
def test_a_network_learns_the_classes_of_a_folder_of_photographs(
    run_pages: Callable[[str], Path],
) -> None:
    """As the tutorial's page runs the script: with ``--make-sample --weights none``."""
    work = run_pages("photographs")
    ((_, _, page), *_) = json.loads((work / "fresh.json").read_text())
    assert "$ python examples/photographs.py photos --make-sample --weights none" in page
    assert "classes: flower, temple" in page
    (share,) = re.findall(r"not used for training: ([\d.]+)%", page)
    assert float(share) > 70  # half of them by chance
    assert (work / "docs" / "tutorials" / "photographs.md" / "mine.keras").is_file()


@pytest.mark.host
def test_weights_that_cannot_be_loaded_are_an_error_with_fixes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (96, 96)).save(tmp_path / "photos" / name / f"{number}.png")
    done = _run("photographs.py", "photos", "--weights", "absent.h5", folder=tmp_path)
    assert done.returncode == 1
    assert "error: MobileNetV2's weights cannot be loaded" in done.stderr
    assert "--weights FILE" in done.stderr
    assert "--weights none" in done.stderr


@pytest.mark.host
def test_missing_photographs_are_an_error_with_a_fix(tmp_path: Path) -> None:
    done = _run("photographs.py", "absent", folder=tmp_path)
    assert done.returncode == 1
    assert "there is no folder absent" in done.stderr
    assert "--make-sample" in done.stderr


def test_the_board_classifies_images(tmp_path: Path, int8_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    done = _run("board.py", str(int8_path), "image.png", "--divide", "255", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^runs on: (cpu|edgetpu)", done.stdout, re.MULTILINE)
    assert re.search(
        r"^image.png: class [0-4], score \d+\.\d\d, [\d.]+ ms$", done.stdout, re.MULTILINE
    )


def test_the_board_program_prints_the_error_for_a_file_that_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "no.tflite").write_bytes(b"not a model")
    Image.new("L", (8, 8)).save(tmp_path / "image.png")
    done = _run("board.py", "no.tflite", "image.png", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "no.tflite" in done.stderr
    assert "Traceback" not in done.stderr
