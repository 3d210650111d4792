# SPDX-License-Identifier: Apache-2.0
"""Outputs are whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.errors import InputError, OutputError
from edgekit.files import read_bytes, replacing, write_bytes, write_text


def _write_half_and_stop(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    write_bytes(target, b"old")
    with pytest.raises(KeyboardInterrupt):
        _write_half_and_stop(target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write out"):
        write_text(tmp_path / "no" / "out.txt", "x")


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        write_text(tmp_path, "x")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk: both end in OSError in mid-write."""
    program = (
        "import resource, signal, sys\n"
        "from edgekit.files import write_bytes\n"
        "from edgekit.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_bytes(sys.argv[1], bytes(100_000))\n"
        "except OutputError as error:\n    print(error.what)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "big")],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert b"cannot write big: File too large" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_bytes(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_reading_a_folder_says_what_it_was_to_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the model: Is a directory"):
        read_bytes(tmp_path, "model")
