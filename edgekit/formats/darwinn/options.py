# SPDX-License-Identifier: Apache-2.0
"""Read the package's bytes from the flexbuffer map in an edgetpu-custom-op."""

from __future__ import annotations

import struct
from typing import Any

from flatbuffers import flexbuffers

from edgekit.errors import ModelFormatError

# Keys of the map (libedgetpu, package registry).
_EXECUTABLE_KEY = "4"
_MORE_EXECUTABLES_KEY = "7"
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


def _optional(entries: Any, key: str) -> Any:  # noqa: ANN401 - flexbuffers has no types
    try:
        return entries[key].AsVector
    except KeyError:
        return ()
