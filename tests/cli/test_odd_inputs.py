# SPDX-License-Identifier: Apache-2.0
"""A FIFO without a writer, a socket or a device in the place of a file: an error, never a wait."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import pytest

from edgekit import files
from edgekit.cli.main import main

_DEADLINE_S = 60
_COMMANDS = (
    ("check", "ODD"),
    ("inspect", "ODD"),
    ("estimate", "ODD"),
    ("explain", "ODD"),
    ("verify", "ODD"),
    ("fix", "ODD", "-o", "out.tflite"),
    ("split", "ODD", "-o", "out"),
    ("compile", "ODD"),
    ("compile", "ODD", "--print-command"),
    ("emulate", "ODD"),
    ("disasm", "ODD"),
    ("compare", "ODD", "ODD"),
    ("bundle", "ODD", "-o", "out.edgekit"),
    ("bundle", "MODEL", "--labels", "ODD", "-o", "out.edgekit"),
    ("bundle", "MODEL", "--metrics", "ODD", "-o", "out.edgekit"),
    ("run", "ODD", "IMAGE"),
    ("run", "MODEL", "ODD"),
    ("run", "MODEL", "IMAGE", "--labels", "ODD"),
    ("benchmark", "ODD"),
    ("evaluate", "ODD", "--data", "random"),
    ("evaluate", "MODEL", "--data", "ODD"),
    ("evaluate", "MODEL", "--data", "random", "--journal", "ODD", "--resume"),
    ("report", "ODD"),
)
_OF_THE_HOST = ("compile", "report")
_ODD = ("fifo", "socket", "/dev/zero")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write zeros in the input shape of `int8_model`."""
    path = tmp_path / "image.npy"
    np.save(str(path), np.zeros((1, 8, 8, 1), np.uint8))
    return path


@pytest.fixture(autouse=True)
def _deadline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End a command that waits for a writer; its test then fails."""
    monkeypatch.setattr(files, "_WRITER_S", 0.05)

    def expired(*_: object) -> None:
        raise TimeoutError("the command waits for ever")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(_DEADLINE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("odd", _ODD)
@pytest.mark.parametrize("words", _COMMANDS, ids=" ".join)
def test_each_command_refuses_what_is_not_a_file(
    words: Sequence[str],
    odd: str,
    int8_path: Path,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if words[0] in _OF_THE_HOST and sys.version_info < (3, 10):
        pytest.skip(f"{words[0]} needs Python 3.10")
    import socket  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        places = {"ODD": odd, "MODEL": str(int8_path), "IMAGE": str(image)}
        with pytest.raises(SystemExit) as ended:
            main([places.get(word, word) for word in words])
    printed = capsys.readouterr()
    assert ended.value.code in {2, 3}, printed
    assert "rror" in printed.err
    assert not list(tmp_path.glob("out*"))
