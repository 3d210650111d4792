# SPDX-License-Identifier: Apache-2.0
"""Write FlatBuffer tables by field number, in the byte order of Google's C++ builder.

executable.fbs does not have generated Python classes, and the builder of the ``flatbuffers``
package shares vtables differently from version to version; here the bytes depend on the content
alone. The fields of a table are stored by falling size and falling number, as ``CreateX`` in C++
does.
"""

from __future__ import annotations

import struct
from typing import Mapping, Sequence, Tuple, Union

import numpy as np
from numpy.typing import NDArray

# The kinds of fields, as codes of `struct`. An offset is that of a part, as methods return it.
BOOL, BYTE, SHORT, INT, FLOAT, LONG, ULONG, OFFSET = "?", "B", "h", "i", "f", "q", "Q", "I"
_OFFSET_BYTES = 4
# Field number -> kind and value; a value that is the default is not stored.
Fields = Mapping[int, Tuple[str, Union[int, float, bool]]]


class TableBuilder:
    """Builds one FlatBuffer from its leaves to its root; methods return the offset of a part.

    Offsets count bytes from the end of the result, because parts are written from there.
    """

    def __init__(self, force_defaults: bool = False) -> None:
        """Begin without parts; ``force_defaults`` stores numbers that are the default, too."""
        self._pieces: list[bytes | memoryview] = []  # the last piece of the result first
        self._size = 0
        self._alignment = 1  # the largest so far
        self._vtables: dict[bytes, int] = {}
        self._force_defaults = force_defaults
        self._empty_string = 0

    def table(self, fields: Fields, defaults: Mapping[int, int] | None = None) -> int:
        """Write a table.

        Args:
            fields: The fields by their numbers in the schema.
            defaults: Defaults by field number, where the schema has another one than 0.
        """
        known, end = defaults or {}, self._size
        places: dict[int, int] = {}
        for number in sorted(fields, key=lambda each: (_num_bytes(fields[each][0]), each))[::-1]:
            kind, value = fields[number]
            if kind == OFFSET:
                places[number] = self._reference(int(value))
            elif self._force_defaults or value != known.get(number, 0):
                self._align(_num_bytes(kind))
                places[number] = self._push(struct.pack(f"<{kind}", value))
        return self._head(places, end)

    def string(self, text: str) -> int:
        """Write a string."""
        return self.binary_string(text.encode())

    def empty_string(self) -> int:
        """Return the empty string, which is written once and shared by all callers."""
        if not self._empty_string:
            self._empty_string = self.string("")
        return self._empty_string

    def binary_string(self, content: bytes, alignment: int = 4) -> int:
        """Write a string of any bytes whose first byte is aligned."""
        return self._vector(content + b"\0", len(content), alignment)

    def data(self, content: bytes | memoryview, alignment: int = 4) -> int:
        """Write a vector of bytes whose first byte is aligned; `finish` copies them."""
        return self._vector(content, len(content), alignment)

    def int32s(self, values: NDArray[np.int32]) -> int:
        """Write a vector of int32, or of structs if ``values`` has rows."""
        rows = np.ascontiguousarray(values, np.dtype("<i4"))
        return self._vector(rows.tobytes(), rows.shape[0], 4)

    def offsets(self, targets: Sequence[int]) -> int:
        """Write a vector of tables or strings."""
        self._align(_OFFSET_BYTES)
        for target in reversed(targets):
            self._reference(target)
        return self._push(struct.pack("<I", len(targets)))

    def finish(self, root: int, identifier: bytes = b"") -> bytes:
        """Return the FlatBuffer; its length is a multiple of the largest alignment in it."""
        self._align(self._alignment, ahead=_OFFSET_BYTES + len(identifier))
        self._push(identifier)
        self._reference(root)
        return b"".join(reversed(self._pieces))

    def _head(self, places: Mapping[int, int], end: int) -> int:
        """Write a table's reference to its vtable, and the vtable if there is no equal one."""
        self._align(_OFFSET_BYTES)
        here = self._size + _OFFSET_BYTES
        num_fields = max(places, default=-1) + 1
        slots = [here - places[i] if i in places else 0 for i in range(num_fields)]
        sizes = (4 + 2 * num_fields, here - end)
        vtable = struct.pack(f"<{2 + num_fields}H", *sizes, *slots)
        known = self._vtables.get(vtable)
        self._push(struct.pack("<i", len(vtable) if known is None else known - here))
        if known is None:
            self._vtables[vtable] = self._push(vtable)
        return here

    def _reference(self, target: int) -> int:
        self._align(_OFFSET_BYTES)
        return self._push(struct.pack("<I", self._size + _OFFSET_BYTES - target))

    def _vector(self, content: bytes | memoryview, count: int, alignment: int) -> int:
        self._align(_OFFSET_BYTES, ahead=len(content))
        self._align(alignment, ahead=len(content))
        self._push(content)
        return self._push(struct.pack("<I", count))

    def _align(self, alignment: int, ahead: int = 0) -> None:
        """Write zeros until the size plus ``ahead`` is a multiple of ``alignment``."""
        self._alignment = max(self._alignment, alignment)
        self._push(bytes(-(self._size + ahead) % alignment))

    def _push(self, content: bytes | memoryview) -> int:
        self._pieces.append(content)
        self._size += len(content)
        return self._size


def _num_bytes(kind: str) -> int:
    return struct.calcsize(f"<{kind}")
