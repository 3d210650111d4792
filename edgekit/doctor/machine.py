# SPDX-License-Identifier: Apache-2.0
"""The machine that is checked: a root folder, an environment and a way to run commands.

The checks do not read anything else. So for tests, a folder with the right files and a function
that returns the results of commands are a complete machine.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, Callable, Mapping, Sequence

from edgekit.errors import EdgeKitError
from edgekit.formats.libedgetpu import debian_packages
from edgekit.process import Finished, python_child, python_environment, run_process

# (program and arguments, timeout in seconds) -> the finished process.
CommandRunner = Callable[[Sequence[str], float], Finished]

OK, WARNING, FAILED, NOT_APPLICABLE = "ok", "warning", "failed", "not_applicable"
LINUX, MACOS, WINDOWS = "linux", "darwin", "win32"
CHILD = "edgekit.doctor.child"
_NOT_FOUND = 127  # the shell's status for a program that does not exist


@dataclass(frozen=True)
class Reply:
    """The reply of a child of the doctor: its JSON document, empty if it crashed first."""

    document: Mapping[str, Any]
    finished: Finished

    @property
    def failure(self) -> str:
        """A description of how it ended without a reply; "" if it replied."""
        if self.document:
            return ""
        if self.finished.timed_out:
            return f"it did not respond within {self.finished.time_s:.0f} s and was stopped"
        cause = self.finished.signal_name or f"exit status {self.finished.returncode}"
        tail = self.finished.stderr.strip().splitlines()[-1:]
        return ": ".join([f"it ended with {cause}", *tail])


@dataclass(frozen=True)
class Facts:
    """What the Python that runs models reports about itself; empty if it did not respond."""

    platform: str = ""  # sys.platform: "linux", "darwin", "win32"
    system: str = ""  # for messages: "Linux 6.1.0 aarch64"
    kernel: str = ""  # uname -r
    machine: str = ""  # of the kernel: "aarch64"
    bits: int = 64  # of the Python: 32 on a 32-bit system, also with a 64-bit kernel
    page_size_bytes: int = 4096
    python: tuple[int, ...] = ()
    executable: str = ""
    uid: int = -1  # -1 on Windows
    gids: tuple[int, ...] = ()
    user: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)  # distribution -> version
    edgekit: tuple[str, ...] = ()  # the distributions that contain it: "edgekit-coral 0.1.0"
    device_extra: str = ""  # the command that installs the extra "device" there
    pycoral: str = ""  # the folder it would be imported from; "" if there is none
    pycoral_is_google: bool = False  # whether it has pycoral.utils.edgetpu
    edgetpu: str = ""  # the folder of the retired python3-edgetpu

    @property
    def architecture(self) -> str:
        """The processor of this Python's libraries: "x86_64", "aarch64", "arm", "x86"."""
        name = {"amd64": "x86_64", "arm64": "aarch64"}.get(self.machine.lower(), self.machine)
        if self.bits == 32:
            return {"x86_64": "x86", "aarch64": "arm"}.get(name, "arm" if "arm" in name else "x86")
        return name


class Machine:
    """A machine to check; replies of child processes are cached.

    ``root`` is the folder that stands for ``/``, ``env`` the environment, ``run`` the function that
    runs a command; the defaults are this machine.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        env: Mapping[str, str] | None = None,
        run: CommandRunner | None = None,
        python: str = "",
    ) -> None:
        self.root, self.env = Path(root), dict(os.environ if env is None else env)
        self._run = run or self._run_here
        self._python = python or sys.executable
        self._answers: dict[tuple[str, ...], Reply] = {}
        self.facts = _facts(self.query("facts").document)
        self.debian_packages = dict(debian_packages(self.text("/var/lib/dpkg/status")))

    def path(self, absolute: str) -> Path:
        """Return the local path of a path of the machine: below the root."""
        if self.facts.platform == WINDOWS:
            return self.root.joinpath(*PureWindowsPath(absolute).parts[1:])
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str:
        """Return a file's text without white space at its ends; "" if it cannot be read.

        sysfs returns an error for some attributes; for a check that is the same as no file.
        """
        try:
            return self.path(absolute).read_text(errors="replace").strip("\0 \n")
        except OSError:
            return ""

    def has(self, absolute: str) -> bool:
        """Whether there is such a file or folder; false if this user may not look there."""
        try:
            return self.path(absolute).exists()
        except OSError:
            return False

    def children(self, absolute: str, pattern: str = "*") -> list[Path]:
        """Return the content of a folder of the machine, sorted; empty if it cannot be read."""
        try:
            return sorted(self.path(absolute).glob(pattern))
        except OSError:
            return []

    def run(self, *args: str, timeout_s: float = 20.0) -> Finished:
        """Run a command on the machine; if it does not exist, the exit status is 127."""
        try:
            return self._run(args, timeout_s)
        except EdgeKitError as error:
            return Finished(args, _NOT_FOUND, "", str(error), 0.0, False)

    def query(self, *words: str, timeout_s: float = 60.0) -> Reply:
        """Run ``edgekit.doctor.child`` with ``words`` in the machine's Python, once."""
        if words not in self._answers:
            finished = self.run(self._python, "-m", CHILD, *words, timeout_s=timeout_s)
            self._answers[words] = Reply(_last_document(finished), finished)
        return self._answers[words]

    @property
    def is_linux(self) -> bool:
        """Whether sysfs, udev and groups exist here."""
        return self.facts.platform == LINUX

    @property
    def has_apt(self) -> bool:
        """Whether the system uses .deb packages."""
        return bool(self.debian_packages)

    @property
    def board(self) -> str:
        """The board's name from its device tree; "" on a PC."""
        return self.text("/proc/device-tree/model") or self.text(
            "/sys/firmware/devicetree/base/model"
        )

    def _run_here(self, args: Sequence[str], timeout_s: float) -> Finished:
        if args[1:2] == ("-m",):  # not from the current folder
            args = python_child(*args[2:], python=args[0])
        return run_process(args, timeout_s=timeout_s, env=python_environment(self.env))


def _last_document(finished: Finished) -> Mapping[str, Any]:
    """Return the JSON object on the last line; the output of libraries comes before it."""
    if finished.timed_out or finished.returncode:
        return {}
    for line in reversed(finished.stdout.splitlines()):
        if line.startswith("{"):
            try:
                document = json.loads(line)
            except ValueError:
                return {}
            return document if isinstance(document, dict) else {}
    return {}


def _facts(document: Mapping[str, Any]) -> Facts:
    known = {name: document[name] for name in Facts.__dataclass_fields__ if name in document}
    for name in ("python", "gids", "edgekit"):
        known[name] = tuple(known.get(name, ()))
    return Facts(**known)
