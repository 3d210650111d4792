# SPDX-License-Identifier: Apache-2.0
"""Choose the wheels that a board's Python can use, by the tags in their names (PEP 425)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.distribution import EARLIER, PART, WHOLE, wheel_command
from edgekit.errors import InputError
from edgekit.fleet.local_files import LocalFile, read_local

# {name}-{version}(-{build})?-{python}-{abi}-{platform}.whl
_WHEEL = re.compile(r"(?P<name>[^-]+)-[^-]+(-\d[^-]*)?-(?P<python>[^-]+)-[^-]+-(?P<platform>[^-]+)")
_RUNTIMES = {"tflite-runtime", "ai-edge-litert"}
_EDGEKIT = (PART, WHOLE)  # the boards' part if it exists, else all of edgekit


@dataclass(frozen=True)
class Wheels:
    """Every wheel of a folder."""

    folder: Path
    paths: tuple[Path, ...]

    def usable(self, python: tuple[int, ...], machine: str) -> tuple[LocalFile, ...]:
        """Return the hashed wheels for this Python and machine, for the folder ``wheels`` there.

        Raises:
            InputError: None of them is edgekit, or one cannot be read.
        """
        fitting = [path for path in self.paths if fits(path.stem, python, machine)]
        if not any(_name(path) in _EDGEKIT for path in fitting):
            version = ".".join(map(str, python[:2]))
            raise InputError(
                f"none of the {len(self.paths)} wheels is edgekit for Python {version} "
                f"on {machine}",
                where=str(self.folder),
                fix=wheel_command(self.folder),
            )
        return tuple(read_local(path, f"wheels/{path.name}") for path in fitting)


def read_wheels(folder: Path) -> Wheels:
    """Return the wheels of ``folder``.

    Raises:
        InputError: It is not a folder, or does not contain a wheel of edgekit.
    """
    paths = tuple(sorted(folder.glob("*.whl")))
    if not any(_name(path) in _EDGEKIT for path in paths):
        what = (
            f"has no wheel of edgekit among {len(paths)}" if folder.is_dir() else "is not a folder"
        )
        raise InputError(
            f"{folder.name} {what}",
            where=str(folder),
            fix=f"{wheel_command(folder)}; also put the wheels there that the board lacks",
        )
    return Wheels(folder, paths)


def fits(stem: str, python: tuple[int, ...], machine: str) -> bool:
    """Whether a wheel's name is for this Python and machine; pip makes the final decision."""
    match = _WHEEL.fullmatch(stem)
    if match is None:
        return False
    major, minor = python[:2]
    own = f"cp{major}{minor}"
    pythons = match["python"].split(".")
    # A wheel of the stable ABI names the oldest Python that it supports.
    stable = "-abi3-" in stem and any(
        re.fullmatch(rf"cp{major}\d+", tag) and int(tag[3:]) <= minor for tag in pythons
    )
    if not ({own, f"py{major}", f"py{major}{minor}"} & set(pythons) or stable):
        return False
    return any(
        platform == "any"
        or (platform.startswith(("linux", "many", "musl")) and platform.endswith(f"_{machine}"))
        for platform in match["platform"].split(".")
    )


def requirements(files: tuple[LocalFile, ...]) -> tuple[str, ...]:
    """Return what pip must install: first edgekit, then a runtime if its wheel is there."""
    names = {_name(file.source) for file in files}
    own = next(name for name in _EDGEKIT if name in names)
    return (own, *sorted(names & _RUNTIMES))


def displaced(requirement: str) -> tuple[str, ...]:
    """Return all other distributions with these modules, under current and earlier names."""
    return tuple(each for each in (*_EDGEKIT, *EARLIER) if each != requirement)


def _name(path: Path) -> str:
    """Return the distribution of a wheel as pip prints it: ``edgekit-coral``."""
    return path.name.partition("-")[0].lower().replace("_", "-")
