# SPDX-License-Identifier: Apache-2.0
"""A process with edgekit's modules loaded: it runs each command of `tests.command` in a fork.

A command is then a process of its own, with its own streams, folder, environment and exit status,
but does not load Python, numpy and edgekit again, which takes ten times as long as most commands.

    python command_server.py FOLDER FD

Each line on stdin is a JSON object: ``words``, ``folder`` and ``env``. The command writes the files
``stdout`` and ``stderr`` in FOLDER; then its exit status is written to FD as a line, negative for a
signal, as `subprocess` reports it. At the end of stdin, FOLDER is removed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

# As in conftest.py: the installed edgekit first, else this checkout's.
sys.path[:] = [*sys.path[1:], str(Path(__file__).resolve().parents[1])]

# The programs run when they are imported.
_NOT_LOADED = ("edgekit.__main__", "edgekit.host.worker")
# They are loaded late, by edgekit, typer and importlib.
_LIBRARIES = (
    "ai_edge_litert.interpreter",
    "tflite_runtime.interpreter",
    "typer._adapters",
    "email.message",
)


def _load() -> None:
    import edgekit  # noqa: PLC0415 - not before sys.path is that of a command

    walk = pkgutil.walk_packages(edgekit.__path__, "edgekit.", onerror=lambda _name: None)
    for name in [*(each.name for each in walk), *_LIBRARIES]:
        if not name.startswith(_NOT_LOADED):
            with contextlib.suppress(Exception):  # of an extra, or not for this Python
                importlib.import_module(name)


def _become(request: dict[str, Any], outputs: str) -> None:
    """Make this process the one that a shell starts: ``python -m edgekit WORDS``."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    for number, name in ((1, "stdout"), (2, "stderr")):
        path = os.path.join(outputs, name)  # noqa: PTH118 - Python 3.7
        written = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(written, number)
        os.close(written)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv[1:] = request["words"]


def _requests() -> Any:  # noqa: ANN401 - an iterator of what `json` reads
    """Yield the requests; sys.stdin stays unread, because it is that of the commands."""
    text = b""
    while True:
        line, found, rest = text.partition(b"\n")
        if found:
            yield json.loads(line)
            text = rest
        else:
            more = os.read(0, 1 << 16)
            if not more:
                return
            text += more


def _serve(outputs: str, answers: int) -> bool:
    """Serve until stdin ends; return True in a fork that must run a command."""
    for request in _requests():
        process = os.fork()
        if process == 0:
            os.close(answers)
            _become(request, outputs)
            return True
        _, ended = os.waitpid(process, 0)
        status = -os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)
        os.write(answers, b"%d\n" % status)
    return False


if __name__ == "__main__":
    _load()
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all of it
    if _serve(sys.argv[1], int(sys.argv[2])):
        runpy.run_module("edgekit", run_name="__main__", alter_sys=True)
    else:
        shutil.rmtree(sys.argv[1], ignore_errors=True)
