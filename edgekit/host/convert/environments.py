# SPDX-License-Identifier: Apache-2.0
"""Environments with the converters of other frameworks, made on request: ``edgekit sources``."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgekit import files
from edgekit.errors import ExternalToolError, MissingExtraError, UsageError
from edgekit.process import run_process
from edgekit.result import Result

_READY = "edgekit.json"  # in an environment that is complete
_LIMIT_S, _VERSION_LIMIT_S = 3600.0, 60.0
OnLine = Callable[[str], None]
ACTIONS = ("list", "install", "remove")


@dataclass(frozen=True)
class Recipe:
    """What an environment needs."""

    python: tuple[int, int]  # the oldest version
    requirements: tuple[str, ...]
    modules: tuple[str, ...]  # what must be importable
    room: str


RECIPES = {
    "onnx": Recipe(
        (3, 12),
        ("onnx2tf==2.6.9", "onnx==1.20.1", "onnxruntime==1.26.0"),
        ("onnx2tf", "onnx", "onnxruntime"),
        "0.7 GB",
    ),
    "torch": Recipe(
        (3, 10),
        ("litert-torch==0.10.0", "torch==2.13.0"),
        ("litert_torch", "torch"),
        "2 GB, more with a torch for GPUs",
    ),
}


@dataclass(frozen=True)
class SourceEnvironment(Result):
    """One environment: for the sources ``name``, installed or not."""

    name: str
    place: str
    requirements: tuple[str, ...]
    room: str  # on the disk, about
    python: str | None  # its interpreter; None if it is not installed


@dataclass(frozen=True)
class SourcesResult(Result):
    """The environments for sources of other frameworks."""

    schema: ClassVar[str] = "edgekit.sources/1"
    environments: tuple[SourceEnvironment, ...]


def sources(
    action: str = "list",
    name: str | None = None,
    *,
    python: files.PathLike | None = None,
    on_line: OnLine = lambda _line: None,
) -> SourcesResult:
    """List, install or remove the environments that read networks of other frameworks.

    Args:
        action: ``list``, ``install`` or ``remove``.
        name: ``onnx`` or ``torch``; needed to install and to remove.
        python: The interpreter to make it with; None looks for a recent one on PATH.
        on_line: Called with each command that installs, and with each line that it prints.

    Raises:
        UsageError: The action or the name is unknown.
        MissingExtraError: No interpreter that is recent enough was found.
        ExternalToolError: A command failed; nothing is left of the environment.
    """
    if action not in ACTIONS:
        raise UsageError(f"sources cannot {action!r}", fix=f"give one of {', '.join(ACTIONS)}")
    if action == "list":
        return list_sources()
    if name is None:
        raise UsageError(f"{action} needs a name", fix=f"edgekit sources {action} onnx")
    if action == "remove":
        return remove_source(name)
    return install_source(name, python=python, on_line=on_line)


def list_sources() -> SourcesResult:
    """Return every environment that edgekit knows, installed or not."""
    return SourcesResult(tuple(_described(name) for name in RECIPES))


def install_source(
    name: str, *, python: files.PathLike | None = None, on_line: OnLine = lambda _line: None
) -> SourcesResult:
    """Make the environment ``name`` with pinned versions from the user's package index.

    Nothing is left if it fails or is interrupted. An environment that is complete stays.

    Args:
        name: ``onnx`` or ``torch``.
        python: The interpreter to make it with; None looks for a recent one on PATH.
        on_line: Called with each command, and with each line that it prints.

    Raises:
        UsageError: There is no environment of this name.
        MissingExtraError: No interpreter that is recent enough was found.
        ExternalToolError: A command failed.
        OutputError: The folder cannot be created.
    """
    recipe, place = _recipe(name), _place(name)
    if installed_python(name) is not None:
        on_line(f"{place} is complete already")
        return list_sources()
    interpreter = _interpreter(recipe, python)
    files.make_folder(place.parent)
    shutil.rmtree(place, ignore_errors=True)
    own = str(_python_in(place))
    try:
        _run([interpreter, "-m", "venv", str(place)], on_line)
        _run([own, "-m", "pip", "install", *recipe.requirements], on_line)
        _run([own, "-c", f"import {', '.join(recipe.modules)}"], on_line)
        ready = {"requirements": list(recipe.requirements)}
        files.write_text(place / _READY, json.dumps(ready) + "\n")
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return list_sources()


def remove_source(name: str) -> SourcesResult:
    """Remove an environment, if it is installed.

    Raises:
        UsageError: There is no environment of this name.
    """
    _recipe(name)
    shutil.rmtree(_place(name), ignore_errors=True)
    return list_sources()


def installed_python(name: str) -> str | None:
    """Return the interpreter of a complete environment with the pinned versions; None without."""
    recipe, place = RECIPES.get(name), _place(name)
    try:
        ready = json.loads((place / _READY).read_bytes())
    except (OSError, ValueError):
        return None
    is_current = (
        recipe is not None
        and isinstance(ready, dict)
        and ready.get("requirements") == list(recipe.requirements)
    )
    python = _python_in(place)
    return str(python) if is_current and python.exists() else None


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise UsageError(
            f"there is no environment for {name!r}", fix=f"give one of {', '.join(RECIPES)}"
        )
    return RECIPES[name]


def _described(name: str) -> SourceEnvironment:
    recipe = RECIPES[name]
    place = str(_place(name))
    return SourceEnvironment(name, place, recipe.requirements, recipe.room, installed_python(name))


def _place(name: str) -> Path:
    """Return the folder of an environment, among the user's caches."""
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = str(Path.home() / "Library" / "Caches")
    else:
        root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root, "edgekit", "sources", name)


def _python_in(place: Path) -> Path:
    parts = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    return place.joinpath(*parts)


def _interpreter(recipe: Recipe, given: files.PathLike | None) -> str:
    """Return an interpreter that is recent enough.

    Raises:
        MissingExtraError: There is none, or the given one is too old.
    """
    least = ".".join(map(str, recipe.python))
    newer = [f"python3.{minor}" for minor in range(recipe.python[1], recipe.python[1] + 3)]
    candidates = [str(given)] if given is not None else [sys.executable, *newer, "python3"]
    for each in itertools.chain(candidates, [] if given is not None else _managed(newer)):
        found = shutil.which(each)
        if found is not None and _version_of(found) >= recipe.python:
            return found
    raise MissingExtraError(
        f"no Python {least} or newer was found",
        where=str(given) if given is not None else "PATH, and the Pythons of pyenv and uv",
        fix=f"install Python {least}, and name it: --python PATH",
    )


def _managed(names: Sequence[str]) -> Iterator[str]:
    """Yield interpreters that pyenv and uv have installed, which need not be on PATH."""
    pyenv = os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    uv = os.environ.get("UV_PYTHON_INSTALL_DIR") or Path(data, "uv", "python")
    folders = [Path(pyenv, "versions"), Path(uv)]
    for name, folder in itertools.product(names, folders):
        yield from sorted(map(str, folder.glob(f"*/bin/{name}")))


def _version_of(python: str) -> tuple[int, ...]:
    """Return the version of an interpreter; () if it does not run."""
    words = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        done = run_process(words, timeout_s=_VERSION_LIMIT_S)
        return tuple(int(word) for word in done.stdout.split())
    except (ExternalToolError, ValueError):
        return ()


def _run(command: Sequence[str], on_line: OnLine) -> None:
    on_line("$ " + " ".join(command))
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        on_line(line)

    finished = run_process(list(command), timeout_s=_LIMIT_S, on_stdout=take, on_stderr=take)
    if finished.returncode:
        raise ExternalToolError(
            "the environment could not be made",
            where=" ".join(command),
            why=next((line for line in reversed(lines) if line.strip()), "no output"),
            fix="see its output above; pip uses the package index that you have configured",
        )
