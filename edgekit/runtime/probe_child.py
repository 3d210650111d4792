# SPDX-License-Identifier: Apache-2.0
"""Opens an Edge TPU in a separate process, because libedgetpu may crash or hang.

``python -m edgekit.runtime.probe_child REQUEST WANTED`` takes the model in base64 on standard input
(WANTED is the runtime version that it needs; without WANTED only the library is loaded) and prints
each step to standard output, one JSON object per line. If it crashes, the last line is the last
step that it reached.
"""

from __future__ import annotations

import base64
import ctypes
import json
import sys
from pathlib import Path
from typing import Any

from edgekit.formats.libedgetpu import runtime_version_in

STARTED, LOADED, OPENING, PREPARED, RAN = "started", "loaded", "opening", "prepared", "ran"
_CREATE = "tflite_plugin_create_delegate"


def main(request_json: str, wanted: str = "") -> None:
    """Load the library, compare versions, open the device, run the model once on zeros."""
    request: dict[str, Any] = json.loads(request_json)
    content = sys.stdin.read() if wanted else ""  # first: the parent waits until it is read
    _report(stage=STARTED)
    try:
        library = ctypes.CDLL(request["library"])
    except OSError as error:
        _report(error=str(error))
        return
    if not hasattr(library, _CREATE):
        _report(error=f"{request['library']}: undefined symbol: {_CREATE}")
        return
    version = version_of(library)
    _report(stage=LOADED, version=version, path=library_path(request["library"]))
    if not wanted:
        return
    have = runtime_version_in(version)
    if have and have < int(wanted):
        _report(too_old=have)
        return
    _open(request, base64.b64decode(content))


def _open(fields: dict[str, Any], content: bytes) -> None:
    from edgekit.runtime.delegate import (  # noqa: PLC0415 - needs numpy
        REFUSALS,
        OpenRequest,
        open_interpreter,
    )
    from edgekit.runtime.interpreters import load_library  # noqa: PLC0415 - needs numpy

    request = OpenRequest(**fields)
    runtime = load_library(request.runtime or None)
    _report(stage=OPENING)
    try:
        interpreter = open_interpreter(content, runtime, request)
        _report(stage=PREPARED)
        interpreter.invoke()
    except REFUSALS as error:
        _report(error=" ".join(str(error).split()))
        return
    _report(stage=RAN)


def version_of(library: Any) -> str:  # noqa: ANN401 - what ctypes loads
    """Return the version text of a loaded libedgetpu; "" if it has none."""
    if not hasattr(library, "edgetpu_version"):
        return ""
    library.edgetpu_version.restype = ctypes.c_char_p
    return (library.edgetpu_version() or b"").decode("utf-8", "replace")


def library_path(name: str) -> str:
    """Return where the loader found the library, if the system shows it; else ``name``."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    except OSError:
        return name
    stem = Path(name).name.split(".")[0]
    mapped = (line.split(None, 5)[5] for line in lines if line.count("/") and stem in line)
    return next((path for path in mapped if Path(path).name.startswith(stem)), name)


def _report(**facts: Any) -> None:  # noqa: ANN401 - any JSON value
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
