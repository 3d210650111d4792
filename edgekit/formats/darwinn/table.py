# SPDX-License-Identifier: Apache-2.0
"""Read FlatBuffer tables by field number; check every offset and bound the work.

executable.fbs does not have generated Python classes. Generated classes do not check their input:
they iterate over a vector that declares a billion entries. Here a file of n bytes costs at most n
steps.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import ModelFormatError

_UOFFSET_BYTES = 4


class Source:
    """The bytes of one FlatBuffer, and how many more elements may be read."""

    def __init__(self, content: memoryview, where: str) -> None:
        self.content = content.toreadonly() if hasattr(content, "toreadonly") else content
        self.where = where
        # In a valid file almost every element has its own bytes; few are shared.
        self._budget = max(len(content), 1024)

    def spend(self, steps: int) -> None:
        """Count ``steps`` more elements; raise if the total exceeds the bytes of the file."""
        self._budget -= steps
        if self._budget < 0:
            raise self.error("its tables refer to each other in a cycle")

    def unpack(self, layout: str, position: int) -> Any:  # noqa: ANN401 - what the layout says
        """One little-endian number at ``position``."""
        if position < 0 or position + struct.calcsize(layout) > len(self.content):
            raise self.error(f"an offset points to byte {position} of {len(self.content)}")
        return struct.unpack_from(layout, self.content, position)[0]

    def slice(self, start: int, size: int) -> memoryview:
        """Return ``size`` bytes from ``start``, as a view."""
        if start < 0 or start + size > len(self.content):
            raise self.error(f"{size} bytes at byte {start} end after byte {len(self.content)}")
        return self.content[start : start + size]

    def error(self, what: str) -> ModelFormatError:
        """Return an error for these bytes."""
        return ModelFormatError(
            f"the Edge TPU package is damaged: {what}",
            where=self.where,
            fix="copy the file again, or compile the model again",
        )


class Table:
    """One table; ``field`` is always the number in executable.fbs, starting at 0."""

    def __init__(self, source: Source, position: int) -> None:
        source.spend(1)
        self.source = source
        self._position = position
        self._vtable = position - source.unpack("<i", position)
        self._vtable_bytes = source.unpack("<H", self._vtable)
        source.slice(self._vtable, self._vtable_bytes)

    def scalar(self, field: int, layout: str = "<i", default: Any = 0) -> Any:  # noqa: ANN401
        """Return a number, or ``default`` if the table leaves it out."""
        place = self._place(field)
        return default if place is None else self.source.unpack(layout, place)

    def table(self, field: int) -> Table | None:
        """Return a table; None if absent."""
        target = self._target(field)
        return None if target is None else Table(self.source, target)

    def tables(self, field: int) -> tuple[Table, ...]:
        """Return the tables of a vector; empty if absent."""
        return tuple(Table(self.source, target) for target in self._targets(field))

    def view(self, field: int) -> memoryview:
        """Return the bytes of a vector or string, without a copy; empty if absent."""
        target = self._target(field)
        return self._string(target) if target is not None else self.source.slice(0, 0)

    def views(self, field: int) -> tuple[memoryview, ...]:
        """Return the bytes of each string of a vector."""
        return tuple(self._string(target) for target in self._targets(field))

    def text(self, field: int) -> str:
        """Return a string; bytes that are not UTF-8 are replaced."""
        return bytes(self.view(field)).decode("utf-8", "replace")

    def array(self, field: int, items: int = 1) -> NDArray[np.int32]:
        """Return a vector of int32, or of structs of ``items`` int32; empty if absent."""
        start, count = self._vector(field, 4 * items)
        raw = np.frombuffer(self.source.slice(start, 4 * items * count), np.dtype("<i4"))
        return raw if items == 1 else raw.reshape(count, items)

    def _place(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_bytes:
            return None
        offset = self.source.unpack("<H", self._vtable + slot)
        return self._position + offset if offset else None

    def _target(self, field: int) -> int | None:
        place = self._place(field)
        return None if place is None else self._follow(place)

    def _follow(self, place: int) -> int:
        target: int = place + self.source.unpack("<I", place)
        return target

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        target = self._target(field)
        if target is None:
            return 0, 0
        count: int = self.source.unpack("<I", target)
        if count * item_bytes > len(self.source.content):
            raise self.source.error(f"a list declares {count} entries")
        self.source.spend(count)
        return target + 4, count

    def _targets(self, field: int) -> list[int]:
        start, count = self._vector(field, _UOFFSET_BYTES)
        return [self._follow(start + _UOFFSET_BYTES * i) for i in range(count)]

    def _string(self, target: int) -> memoryview:
        return self.source.slice(target + 4, self.source.unpack("<I", target))


def root_table(content: memoryview, where: str) -> Table:
    """Return the root table of a FlatBuffer.

    Raises:
        ModelFormatError: There are not enough bytes for one.
    """
    source = Source(content, where)
    return Table(source, source.unpack("<I", 0))
