# SPDX-License-Identifier: Apache-2.0
"""The flexbuffer map in an edgetpu-custom-op: read the package's bytes from it, write it."""

from __future__ import annotations

import struct
from typing import Any

from flatbuffers import flexbuffers

from edgekit.errors import ModelFormatError

# Keys of the map (libedgetpu, package registry).
_VERSION_KEY = "1"
_EXECUTABLE_KEY = "4"
_EXECUTION_PREFERENCE_KEY = "5"  # of Android's NNAPI
_CHIPS_KEY = "6"  # one number for each package
_MORE_EXECUTABLES_KEY = "7"
_VERSION, _NO_PREFERENCE = 0, -1
_EDGE_TPU = 18  # the chip's number in the files of compilers 14.1 to 16.0
# The exceptions of the flexbuffers runtime for a wrong offset, type or width.
_DAMAGE = (
    struct.error,
    IndexError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    AttributeError,
    ZeroDivisionError,
    AssertionError,
    MemoryError,
)


def read_custom_options(options: bytes, where: str) -> memoryview:
    """Return the bytes of the package in the options of an edgetpu-custom-op.

    Raises:
        ModelFormatError: The options are not a flexbuffer map, do not contain a whole package, or
            contain packages for several chips, which the runtime also refuses.
    """
    try:
        entries: Any = flexbuffers.GetRoot(options).AsMap
        package: bytes = entries[_EXECUTABLE_KEY].AsStringBytes
        num_more = len(_optional(entries, _MORE_EXECUTABLES_KEY))
    except _DAMAGE as error:
        raise ModelFormatError(
            "the options of the edgetpu-custom-op do not contain an Edge TPU package",
            where=where,
            why=f"its {len(options)} bytes are not a flexbuffer map with {_EXECUTABLE_KEY!r}",
            fix="copy the file again, or compile the model again",
        ) from error
    if num_more:
        raise ModelFormatError(
            f"the edgetpu-custom-op contains {1 + num_more} packages, expected 1",
            where=where,
            why="Google's runtime refuses files for several kinds of chips",
            fix="compile the model for one chip",
        )
    return memoryview(package)


def write_custom_options(package: bytes) -> bytes:
    """Return the options of an edgetpu-custom-op that contains ``package``.

    They equal those that compilers 14.1 to 16.0 write around the same package.
    """
    builder: Any = flexbuffers.Builder()
    with builder.Map():
        builder.Int(_VERSION_KEY, _VERSION)
        builder.Key(_EXECUTABLE_KEY)
        # The runtime reads a string of any bytes; the public String takes only text.
        builder._WriteBlob(package, append_zero=True, type_=flexbuffers.Type.STRING)  # noqa: SLF001
        builder.Int(_EXECUTION_PREFERENCE_KEY, _NO_PREFERENCE)
        builder.VectorFromElements(_CHIPS_KEY, [_EDGE_TPU])
        builder.VectorFromElements(_MORE_EXECUTABLES_KEY, [])
    return bytes(builder.Finish())


def _optional(entries: Any, key: str) -> Any:  # noqa: ANN401 - flexbuffers has no types
    try:
        return entries[key].AsVector
    except KeyError:
        return ()
