# SPDX-License-Identifier: Apache-2.0
"""Write FlatBuffer tables by field number, in the byte order of Google's C++ builder.

executable.fbs does not have generated Python classes. The fields of a table are stored by falling
size and falling number, as the C++ functions ``CreateX`` do.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence, Tuple, Union

import flatbuffers
import numpy as np
from numpy.typing import NDArray

# The kinds of fields, and their bytes.
BOOL, BYTE, SHORT, INT, FLOAT, OFFSET, LONG, ULONG = (
    "Bool",
    "Uint8",
    "Int16",
    "Int32",
    "Float32",
    "UOffsetTRelative",
    "Int64",
    "Uint64",
)
_BYTES = {BOOL: 1, BYTE: 1, SHORT: 2, INT: 4, FLOAT: 4, OFFSET: 4, LONG: 8, ULONG: 8}
# Field number -> kind and value; a value that is the default is not stored.
Fields = Mapping[int, Tuple[str, Union[int, float, bool]]]


class TableBuilder:
    """Builds one FlatBuffer from its leaves to its root; methods return the offset of a part."""

    def __init__(self, room_bytes: int = 1024, force_defaults: bool = False) -> None:
        """Begin without parts.

        Args:
            room_bytes: An estimate of the result; a builder that grows copies its data.
            force_defaults: Whether to store numbers that are the default.
        """
        self._builder: Any = flatbuffers.Builder(room_bytes)
        self._builder.ForceDefaults(force_defaults)
        self._empty_string = 0

    def table(self, fields: Fields, defaults: Mapping[int, int] | None = None) -> int:
        """Write a table.

        Args:
            fields: The fields by their numbers in the schema.
            defaults: Defaults by field number, where the schema has another one than 0.
        """
        known = defaults or {}
        self._builder.StartObject(max(fields, default=-1) + 1)
        for number in sorted(fields, key=lambda each: (_BYTES[fields[each][0]], each))[::-1]:
            kind, value = fields[number]
            getattr(self._builder, f"Prepend{kind}Slot")(number, value, known.get(number, 0))
        return int(self._builder.EndObject())

    def string(self, text: str) -> int:
        """Write a string."""
        return int(self._builder.CreateString(text))

    def empty_string(self) -> int:
        """Return the empty string, which is written once and shared by all callers."""
        if not self._empty_string:
            self._empty_string = self.string("")
        return self._empty_string

    def offsets(self, targets: Sequence[int]) -> int:
        """Write a vector of tables or strings."""
        self._builder.StartVector(4, len(targets), 4)
        for target in reversed(targets):
            self._builder.PrependUOffsetTRelative(target)
        return int(self._builder.EndVector())

    def int32s(self, values: NDArray[np.int32]) -> int:
        """Write a vector of int32, also as the structs that the rows of ``values`` are."""
        rows = np.ascontiguousarray(values, np.dtype("<i4"))
        return self._vector(rows.tobytes(), rows.shape[0], 4)

    def data(self, content: bytes | memoryview, alignment: int = 4) -> int:
        """Write a vector of bytes whose first byte is aligned."""
        return self._vector(content, len(content), alignment)

    def binary_string(self, content: bytes, alignment: int = 4) -> int:
        """Write a string of any bytes whose first byte is aligned."""
        return self._vector(content + b"\0", len(content), alignment)

    def finish(self, root: int, identifier: bytes | None = None) -> bytes:
        """Return the FlatBuffer; its length is a multiple of the largest alignment in it."""
        self._builder.Finish(root, identifier)
        return bytes(memoryview(self._builder.Bytes)[self._builder.Head() :])

    def _vector(self, content: bytes | memoryview, count: int, alignment: int) -> int:
        builder, size = self._builder, len(content)
        builder.StartVector(1, size, alignment)
        builder.head = builder.head - size
        builder.Bytes[builder.head : builder.head + size] = content
        builder.vectorNumElems = count
        return int(builder.EndVector())
