# SPDX-License-Identifier: Apache-2.0
"""Which libedgetpu works with which TensorFlow Lite runtime and which compiled models.

The delegate and the interpreter exchange C structures that changed with TensorFlow 2.12: a pair
built from very different releases causes a segmentation fault, not an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Tuple

from edgekit.result import Result

Version = Tuple[int, ...]

# libedgetpu, api/runtime_version.h: the versions that a model may need. 14 is the last one; builds
# of 2025 still report it.
CURRENT_RUNTIME_VERSION = 14
# The runtime version of Google's libedgetpu packages (16.0 is the last).
RUNTIME_VERSION_OF_PACKAGE = {"14.0": 13, "14.1": 13, "15.0": 13, "16.0": 14}
# libedgetpu's workspace.bzl: 16.0 was built from TensorFlow 2.5.0; google-coral/edgetpu issue 812:
# 2.11.1 is the last TensorFlow Lite that works with it, 2.12 to 2.15 crash.
_GOOGLE_BUILT_FROM: dict[Version, str] = {(16, 0): "2.5.0", (15, 0): "2.4.0"}
_GOOGLE_OLDEST: Version = (2, 5)
_GOOGLE_END: Version = (2, 12)
# The requirement for pip that works with Google's library.
TFLITE_RUNTIME = f"tflite-runtime<{'.'.join(map(str, _GOOGLE_END))}"
# feranick/libedgetpu: builds since TensorFlow 2.13 work with tflite-runtime 2.11.1 up to their own.
_REBUILT_OLDEST: Version = (2, 11, 1)
_LAST_REBUILT = "2.17.1"
_REBUILT = re.compile(r"tf(\d+(?:\.\d+)+)")
_REBUILDS = (
    f"install libedgetpu1-std 16.0tf{_LAST_REBUILT} (github.com/feranick/libedgetpu/releases) and "
    f"tflite-runtime {_LAST_REBUILT} (github.com/feranick/TFlite-builds/releases)"
)


@dataclass(frozen=True)
class PairVerdict(Result):
    """Whether a delegate library and an interpreter work together; None if this is unknown."""

    works: bool | None
    why: str
    fix: str = ""


def parse_version(text: str) -> Version:
    """Return the numbers at the start of ``text``: "2.5.0.post1" is (2, 5, 0); () if none."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def built_from(library_version: str) -> str:
    """Return the TensorFlow release a libedgetpu package was built from; "" if it is unknown.

    ``library_version`` is the Debian package's: "16.0", or "16.0tf2.17.1-1" of a rebuilt one.
    """
    rebuilt = _REBUILT.search(library_version)
    if rebuilt:
        return rebuilt.group(1)
    return _GOOGLE_BUILT_FROM.get(parse_version(library_version)[:2], "")


def runtime_version_of(library_version: str) -> int:
    """Return the runtime version of a libedgetpu package by its version; 0 if it is unknown."""
    numbers = parse_version(library_version)[:2]
    return RUNTIME_VERSION_OF_PACKAGE.get(".".join(map(str, numbers)), 0)


def pair_verdict(
    library_version: str, runtime: str, runtime_version: str, python: Version = ()
) -> PairVerdict:
    """Return whether libedgetpu and a TensorFlow Lite runtime work together.

    Args:
        library_version: The Debian package's version; "" if the library has another source.
        runtime: ``litert``, ``tflite-runtime`` or ``tensorflow``.
        runtime_version: The version of that Python package.
        python: The version of the Python that loads both; the possible fixes depend on it.

    Source:
        libedgetpu's workspace.bzl and its issue 53; google-coral/edgetpu issues 259 and 812.
    """
    source, version = built_from(library_version), parse_version(runtime_version)
    if runtime == "litert" or not version:
        return PairVerdict(None, f"it is unknown whether {runtime} {runtime_version} works with it")
    if not source:
        return PairVerdict(
            None,
            "it is unknown which TensorFlow the library was built from; Google's 16.0 works with "
            "2.5.0 to 2.11.1, a rebuilt one up to its own release",
        )
    pair = f"libedgetpu {library_version} (TensorFlow {source}) and {runtime} {runtime_version}"
    if _REBUILT.search(library_version):
        return _rebuilt(pair, source, version)
    if version < _GOOGLE_OLDEST:
        return PairVerdict(
            False,
            f"{pair}: an older runtime passes the delegate tensors that it does not support "
            "(Unsupported data type in custom op handler)",
            working_pair(python),
        )
    if version >= _GOOGLE_END:
        return PairVerdict(
            False,
            f"{pair}: Google's library works up to 2.11.1 and crashes the process from 2.12 on",
            working_pair(python),
        )
    return PairVerdict(True, pair)


def _rebuilt(pair: str, source: str, version: Version) -> PairVerdict:
    if version > parse_version(source):
        return PairVerdict(
            None,
            f"{pair}: the library is declared to work with 2.11.1 to {source}",
            f"python3 -m pip install 'tflite-runtime<={source}'",
        )
    if version < _REBUILT_OLDEST:
        return PairVerdict(
            False, f"{pair}: the library is declared to work with 2.11.1 to {source}", _REBUILDS
        )
    return PairVerdict(True, pair)


def working_pair(python: Version = ()) -> str:
    """Return how to install a pair that works; ``python`` is the interpreter's version."""
    # The package index has tflite-runtime 2.11.0 for Python 3.7 to 3.9; from 3.10 on, 2.14.0 is
    # the oldest.
    if not python or python[:2] <= (3, 9):
        return "python3 -m pip install 'tflite-runtime==2.11.0' 'numpy<2'"
    return _REBUILDS
