# SPDX-License-Identifier: Apache-2.0
"""A journal that cannot be written or read is an error that does not leave files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterator

import pytest

from edgekit.errors import DataError, InputError, OutputError
from edgekit.evaluate import journal
from edgekit.evaluate.journal import Journal

resource = pytest.importorskip("resource")
_KEY = {"model": "m"}


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Files can be created but not filled: not a full disk's error, but equally late."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_journal_without_a_first_line_is_removed(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(OutputError, match="cannot write the journal"):
        Journal(tmp_path / "j", _KEY, resume=False)
    assert not list(tmp_path.iterdir())


def test_a_fifo_is_not_read_as_a_journal(tmp_path: Path) -> None:
    os.mkfifo(str(tmp_path / "j"))
    with pytest.raises(InputError, match="it is a pipe"):
        Journal(tmp_path / "j", _KEY, resume=True)


def test_entries_that_need_too_much_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path / "j", _KEY, resume=False) as written:
        for _ in range(100):
            written.write({"boxes": [[1, 2, 3, 4]] * 100})
    with Journal(tmp_path / "j", _KEY, resume=True) as read:
        assert len(read.entries) == 100
    monkeypatch.setattr(journal, "_MOST_MEMORY_BYTES", 1_000_000)
    with pytest.raises(DataError, match="need too much memory"):
        Journal(tmp_path / "j", _KEY, resume=True)
