# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks that run in a child process, because they may crash or hang.

``python -m edgekit.doctor.child WORD ...`` prints one JSON object on its last line. It imports
only the standard library until a check needs more.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import platform
import struct
import sys
from pathlib import Path
from typing import Any, Callable

from edgekit.distribution import holders, install_command

_SYMBOLS = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")


def facts() -> dict[str, Any]:
    """Describe this Python and its system."""
    names = platform.uname()
    pycoral = _folder("pycoral")
    return {
        "platform": sys.platform,
        "system": f"{names.system} {names.release} {names.machine}",
        "kernel": names.release,
        "machine": names.machine,
        "bits": struct.calcsize("P") * 8,
        "page_size_bytes": os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096,
        "python": list(sys.version_info[:3]),
        "executable": sys.executable,
        "uid": os.getuid() if hasattr(os, "getuid") else -1,
        "gids": sorted({os.getgid(), *os.getgroups()}) if hasattr(os, "getgroups") else [],
        "user": os.environ.get("USER") or os.environ.get("USERNAME") or "",
        "packages": _packages(),
        "edgekit": list(holders()),
        "device_extra": install_command("device"),
        "pycoral": pycoral,
        "pycoral_is_google": bool(pycoral) and Path(pycoral, "utils", "edgetpu.py").is_file(),
        "edgetpu": _folder("edgetpu"),
    }


def library(path: str) -> dict[str, Any]:
    """Load a shared library; return the delegate functions that it lacks, and its version."""
    try:
        loaded = ctypes.CDLL(path)
    except OSError as error:
        return {"loaded": False, "error": str(error)}
    missing = [name for name in _SYMBOLS if not hasattr(loaded, name)]
    version = ""
    if hasattr(loaded, "edgetpu_version"):
        loaded.edgetpu_version.restype = ctypes.c_char_p
        version = (loaded.edgetpu_version() or b"").decode("utf-8", "replace")
    return {"loaded": True, "missing": missing, "version": version}


def delegate(path: str) -> dict[str, Any]:
    """Load a delegate with the interpreter's package, which opens an Edge TPU."""
    from edgekit.runtime.interpreters import load_library  # noqa: PLC0415 - needs numpy

    runtime = load_library()
    record = {"runtime": runtime.runtime, "versions": dict(runtime.versions)}
    try:
        runtime.module.load_delegate(path)
    except (OSError, ValueError, AttributeError) as error:
        return {**record, "opened": False, "error": " ".join(str(error).split())}
    return {**record, "opened": True, "error": ""}


def inference() -> dict[str, Any]:
    """Run a small integer network on the CPU and compare the result with the known answer."""
    from edgekit.doctor.inference import run_small_network  # noqa: PLC0415 - needs numpy

    return run_small_network()


def model(path: str, library_path: str) -> dict[str, Any]:
    """Run a model of the user, through a delegate if ``library_path`` names one."""
    from edgekit.doctor.inference import run_model  # noqa: PLC0415 - needs numpy

    return run_model(path, library_path)


_REPORTS: dict[str, Callable[..., dict[str, Any]]] = {
    each.__name__: each for each in (facts, library, delegate, inference, model)
}


def _folder(module: str) -> str:
    """Return the folder from which a package would be imported, without importing it."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    places = list(spec.submodule_search_locations or ()) if spec else []
    return places[0] if places else ""


def _packages() -> dict[str, str]:
    """Find installed distributions by folder names: Python 3.7 lacks importlib.metadata."""
    found: dict[str, str] = {}
    for place in sys.path:
        entries: list[Path] = []
        with contextlib.suppress(OSError):  # a zip archive, or a folder that only others may read
            entries = sorted(Path(place or ".").glob("*-*.*-info"))
        for entry in entries:
            name, _, version = entry.name.rpartition(".")[0].partition("-")
            # Debian's egg-info ends with the Python version: numpy-1.16.2-py3.7.egg-info.
            found.setdefault(name.lower().replace("_", "-"), version.split("-py")[0])
    return found


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(_REPORTS[sys.argv[1]](*sys.argv[2:])) + "\n")
