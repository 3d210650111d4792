# SPDX-License-Identifier: Apache-2.0
"""A sample of the damaged inputs; `docs/threat-model.md` has the numbers of all of them."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.version_info < (3, 10), reason="the scripts are for the host")
_REPOSITORY = Path(__file__).resolve().parents[2]


_BOARDS = "npz,npy,image,result,benchmark,coco,labels,csv,bundle,journal,attached,log"


def _run(script: str, number: int, *words: str) -> str:
    command = [sys.executable, "-m", f"scripts.{script}", "--number", str(number), "--seed", "7"]
    command += words
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_damaged_inputs_give_results_or_errors() -> None:
    said = _run("fuzz_inputs", 110, "--kinds", _BOARDS)
    assert "120 files, 0 failures" in said
    taken = {status: int(n) for status, n in re.findall(r"^npy .* (0|3): (\d+)", said, re.M)}
    assert taken  # not every file is refused at its first bytes


@pytest.mark.host
def test_damaged_recipes_trials_and_build_files_give_results_or_errors() -> None:
    said = _run("fuzz_inputs", 18, "--kinds", "recipe,trials,toml")
    assert "18 files, 0 failures" in said


@pytest.mark.host
def test_damaged_sources_are_converted_or_refused() -> None:
    assert re.search(r"\b\d\d files, 0 failures", _run("fuzz_sources", 21))


def test_a_failure_is_counted_and_its_file_kept(tmp_path: Path) -> None:
    """The fuzzer itself: a reader that crashes, one that raises, one that exits with 1."""
    from scripts.fuzz_inputs import Kind, damage_bytes, fuzz  # noqa: PLC0415

    def use(path: Path, _folder: Path) -> None:
        number = int(path.stem)
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 2:
            raise RuntimeError("not expected")
        if number == 3:
            sys.exit(1)

    kind = Kind(".bin", lambda _folder: [b"sound content"], use, damage_bytes)
    tally = fuzz("trial", kind, range(6), 1, tmp_path, tmp_path)
    assert tally.statuses == {"0": 3, "1": 2, "died": 1}
    assert [failure.split()[1] for failure in tally.failures] == ["1", "2", "3"]
    assert sorted(path.name for path in tmp_path.glob("trial-*")) == [
        f"trial-{number}.bin" for number in (1, 2, 3)
    ]


def test_damage_is_the_same_for_a_seed() -> None:
    from scripts.fuzz_inputs import damage_bytes, damage_json  # noqa: PLC0415

    for damage, content in ((damage_bytes, b"some content"), (damage_json, b'{"a": [1, {}]}')):
        first, second = (
            [damage(content, random.Random(f"1/{n}")) for n in range(50)] for _ in range(2)
        )
        assert first == second
        assert len(set(first)) > 20
