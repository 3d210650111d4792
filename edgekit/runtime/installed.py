# SPDX-License-Identifier: Apache-2.0
"""Which runtime and libedgetpu are installed, with versions; needs no model and no device."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from edgekit.errors import ExternalToolError
from edgekit.formats.libedgetpu import runtime_version_in
from edgekit.process import python_child, python_environment, run_process
from edgekit.runtime.delegate import open_request, package_version
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.probe import CHILD, reports_in
from edgekit.versions import runtime_version_of

_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class InstalledRuntime:
    """The interpreter that would be used."""

    runtime: str  # litert | tflite-runtime | tensorflow; "" if none can be imported
    version: str


@dataclass(frozen=True)
class InstalledLibrary:
    """The libedgetpu that would be loaded."""

    path: str  # "" if none can be loaded
    runtime_version: int  # the newest that it runs; 0 if unknown
    why: str  # the loader's message, or how the child exited, if none can be loaded


def installed_runtime() -> InstalledRuntime:
    """Return which interpreter is installed; a broken one counts as none."""
    try:
        library = load_library()
    except (ExternalToolError, ImportError, AttributeError, RuntimeError):
        return InstalledRuntime("", "")
    return InstalledRuntime(library.runtime, next(iter(library.versions.values())))


def installed_library() -> InstalledLibrary:
    """Return which libedgetpu is installed; a child process loads it, because it may crash."""
    request = open_request("", None, "fast", 1)
    finished = run_process(
        python_child(CHILD, json.dumps(asdict(request))),
        timeout_s=_TIMEOUT_S,
        env=python_environment(),
    )
    reported = reports_in(finished.stdout)
    if "path" in reported:
        number = runtime_version_in(str(reported.get("version", "")))
        path = str(reported["path"])
        return InstalledLibrary(path, number or runtime_version_of(package_version(path)), "")
    ended = finished.signal_name or f"exit status {finished.returncode}"
    return InstalledLibrary(
        "", 0, str(reported.get("error", "")) or f"loading it ended with {ended}"
    )
