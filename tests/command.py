# SPDX-License-Identifier: Apache-2.0
"""Run ``edgekit`` in a process of its own, forked from one that has its modules loaded."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Mapping

_SERVER = Path(__file__).with_name("command_server.py")
_LIMIT_S = 300
# Python and its libraries read these variables when they are loaded.
_READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "OMP_", "OPENBLAS_")


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


class _Server:
    """`tests.command_server`, started once."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._folder = tempfile.mkdtemp(prefix="edgekit-commands-")
        self._answers, theirs = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, str(_SERVER), self._folder, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=dict(env),
            pass_fds=[theirs],
            cwd="/",
        )
        os.close(theirs)

    def run(
        self, words: list[str], folder: Path, env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        request = {"words": words, "folder": str(folder), "env": dict(env)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        if not select.select([self._answers], [], [], _LIMIT_S)[0]:
            raise subprocess.TimeoutExpired(words, _LIMIT_S)
        status = os.read(self._answers, 16)
        assert status, "the process that runs commands has ended"
        texts = [(Path(self._folder) / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(words, int(status), *texts)

    def close(self) -> None:
        """End the process, which removes its folder."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        os.close(self._answers)


_STARTED: list[_Server] = []
_ENV = dict(os.environ)


def edgekit(
    *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``edgekit`` with ``words`` in ``cwd``; ``env`` is added to this process's variables.

    It is a real ``python -m edgekit`` if a variable differs that Python reads at its start.
    """
    texts = [str(word) for word in words]
    variables = {**os.environ, "COLUMNS": "100", **(env or {})}
    if not hasattr(os, "fork") or _read_at_start(variables) != _read_at_start(_ENV):
        return subprocess.run(
            [sys.executable, "-m", "edgekit", *texts],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=None if cwd is None else str(cwd),
            env=variables,
            timeout=_LIMIT_S,
            check=False,
        )
    if not _STARTED:
        _STARTED.append(_Server(_ENV))
        atexit.register(_STARTED[0].close)
    return _STARTED[0].run(texts, cwd or Path.cwd(), variables)
