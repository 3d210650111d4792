# SPDX-License-Identifier: Apache-2.0
"""Open a compiled model in an interpreter with libedgetpu: with pycoral, or with the runtime alone.

The child that tries the model first and the process that uses it both call this code.
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

_PYCORAL_RUNTIME = "tflite-runtime"  # the package that pycoral creates its interpreters with
# What libraries and interpreters raise in a process of their own; another exception is a bug there.
REFUSALS = (OSError, ValueError, RuntimeError, AttributeError, ImportError)
_DPKG_STATUS = Path("/var/lib/dpkg/status")


@dataclass(frozen=True)
class OpenRequest(Result):
    """How a compiled model is to be opened."""

    library: str  # a library name, or a path
    option: str  # libedgetpu's option "device"; "" uses the first free device
    runtime: str
    kernels: str
    num_threads: int
    pycoral: bool


def open_request(option: str, runtime: str | None, kernels: str, num_threads: int) -> OpenRequest:
    """Return the request for this machine: which library, and whether pycoral opens it.

    pycoral is used if it is Google's, and if it supports the options.
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
    """Whether Google's pycoral can be imported; the one on PyPI is another project."""
    try:
        spec = importlib.util.find_spec("pycoral")
    except (ImportError, ValueError):
        return False
    places = list(spec.submodule_search_locations or ()) if spec else []
    return any(Path(place, "utils", "edgetpu.py").is_file() for place in places)


def open_interpreter(content: bytes, library: InterpreterLibrary, request: OpenRequest) -> Any:  # noqa: ANN401
    """Return an interpreter with its tensors allocated and the Edge TPU open.

    Raises:
        OSError: The library cannot be loaded.
        ValueError: The library finds no device that it can open.
        RuntimeError: The model cannot be prepared on the device.
        AttributeError: The library is not a delegate.
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
    """The version of the Debian package that contains the library at ``path``; "" if none does."""
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
