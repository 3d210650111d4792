# SPDX-License-Identifier: Apache-2.0
"""A compiled model in an interpreter with libedgetpu: by pycoral, or by the runtime's own words.

The child that tries it first and the process that uses it go the same way.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from edgekit.formats.libedgetpu import (
    LIBRARY_NAMES,
    LIBRARY_PACKAGES,
    LIBRARY_VARIABLE,
    debian_packages,
)
from edgekit.result import Result
from edgekit.runtime.cpu import RESOLVERS
from edgekit.runtime.interpreters import InterpreterLibrary
from edgekit.runtime.session import prepare

_PYCORAL_RUNTIME = "tflite-runtime"  # what pycoral makes its interpreters of
_DPKG_STATUS = Path("/var/lib/dpkg/status")


@dataclass(frozen=True)
class OpenRequest(Result):
    """How a compiled model is to be opened."""

    library: str  # a name for the loader, or a path
    option: str  # libedgetpu's option "device"; "" takes the first that is free
    runtime: str
    kernels: str
    num_threads: int
    pycoral: bool


def open_request(option: str, runtime: str | None, kernels: str, num_threads: int) -> OpenRequest:
    """The request for this machine: which library, and whether pycoral opens it.

    pycoral is used where it is Google's, and where nothing is asked for that it cannot do.
    """
    named = os.environ.get(LIBRARY_VARIABLE, "")
    library = named or LIBRARY_NAMES.get(sys.platform, LIBRARY_NAMES["linux"])
    pycoral = (
        not named
        and runtime in {None, _PYCORAL_RUNTIME}
        and (kernels, num_threads) == ("fast", 1)
        and google_pycoral()
    )
    return OpenRequest(
        library,
        option,
        (_PYCORAL_RUNTIME if pycoral else runtime) or "",
        kernels,
        num_threads,
        pycoral,
    )


def google_pycoral() -> bool:
    """Whether Google's pycoral can be imported; the package index's is another project."""
    try:
        spec = importlib.util.find_spec("pycoral")
    except (ImportError, ValueError):
        return False
    places = list(spec.submodule_search_locations or ()) if spec else []
    return any(Path(place, "utils", "edgetpu.py").is_file() for place in places)


def open_interpreter(content: bytes, library: InterpreterLibrary, request: OpenRequest) -> Any:  # noqa: ANN401
    """An interpreter with its tensors allocated, the Edge TPU open.

    Raises:
        OSError: The library cannot be loaded.
        ValueError: It finds no device that it may open.
        RuntimeError: The model cannot be prepared on it.
        AttributeError: It is no delegate.
    """
    if request.pycoral:
        pycoral = importlib.import_module("pycoral.utils.edgetpu")
        interpreter = pycoral.make_interpreter(content, device=request.option or None)
        interpreter.allocate_tensors()
        return interpreter
    options = {"device": request.option} if request.option else {}
    delegate = library.module.load_delegate(request.library, options)
    return prepare(content, library, RESOLVERS[request.kernels], request.num_threads, [delegate])


def package_version(path: str) -> str:
    """The version of the Debian package that brought the library at ``path``; "" if none did."""
    if "/" in path and not path.startswith(("/lib/", "/usr/lib/")):
        return ""
    try:
        packages = dict(debian_packages(_DPKG_STATUS.read_text(errors="replace")))
    except OSError:
        return ""
    return next((packages[name] for name in LIBRARY_PACKAGES if name in packages), "")


def pycoral_version() -> Mapping[str, str]:
    """The version of pycoral, for the record."""
    return {"pycoral": str(getattr(importlib.import_module("pycoral"), "__version__", "unknown"))}
