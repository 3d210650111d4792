# SPDX-License-Identifier: Apache-2.0
"""The flexbuffer map in an edgetpu-custom-op, down to the package's bytes."""

from __future__ import annotations

import struct
from typing import Any

from flatbuffers import flexbuffers

from edgekit.errors import ModelFormatError

# Keys of the map (libedgetpu, package registry).
_EXECUTABLE_KEY = "4"
_MORE_EXECUTABLES_KEY = "7"
# What the flexbuffers runtime raises when an offset, type or width makes no sense.
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
    """The bytes of the package in the options of an edgetpu-custom-op.

    Raises:
        ModelFormatError: The options are no flexbuffer map, hold no whole package, or hold packages
            for several chips, which the runtime refuses too.
    """
    try:
        entries: Any = flexbuffers.GetRoot(options).AsMap
        package: bytes = entries[_EXECUTABLE_KEY].AsStringBytes
        num_more = len(_optional(entries, _MORE_EXECUTABLES_KEY))
    except _DAMAGE as error:
        raise ModelFormatError(
            "the options of the edgetpu-custom-op hold no Edge TPU package",
            where=where,
            why=f"{len(options)} bytes, no flexbuffer map with a string {_EXECUTABLE_KEY!r}",
            fix="copy the file again, or compile the model again",
        ) from error
    if num_more:
        raise ModelFormatError(
            f"the edgetpu-custom-op holds {1 + num_more} packages, expected 1",
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
