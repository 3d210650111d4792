# SPDX-License-Identifier: Apache-2.0
"""Read JSON that may be from other programs, truncated or edited: missing values are None."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LARGEST = 1e18


class Node:
    """A place in a JSON document; reading a missing value, or one of another type, never fails."""

    def __init__(self, value: Any = None) -> None:  # noqa: ANN401 - any JSON value
        self.value = value

    def __bool__(self) -> bool:
        return bool(self.value)

    def at(self, *keys: str | int) -> Node:
        """Return the node under ``keys``, one after the other."""
        value = self.value
        for key in keys:
            is_field = isinstance(value, Mapping) and key in value
            is_entry = isinstance(value, list) and isinstance(key, int) and key < len(value)
            if not (is_field or is_entry):
                return Node()
            value = value[key]
        return Node(value)

    def text(self, *keys: str | int) -> str:
        """Return the printable text there; empty if there is none."""
        value = self.at(*keys).value
        return printable(value) if isinstance(value, str) else ""

    def number(self, *keys: str | int) -> float | None:
        """Return the number there; None if there is none, or it is infinite or beyond 1e18."""
        value = self.at(*keys).value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        return float(value) if abs(value) < _LARGEST else None

    def count(self, *keys: str | int) -> int | None:
        """Return the integer there."""
        number = self.number(*keys)
        return int(number) if number is not None and number == int(number) else None

    def flag(self, *keys: str | int) -> bool:
        """Whether the value there is ``true``."""
        return self.at(*keys).value is True

    def numbers(self, *keys: str | int) -> list[float]:
        """Return the numbers of the list there; other entries are left out."""
        found = (entry.number() for entry in self.entries(*keys))
        return [number for number in found if number is not None]

    def interval(self, *keys: str | int) -> tuple[float, float] | None:
        """Return the list of two numbers there."""
        numbers = self.numbers(*keys)
        return (numbers[0], numbers[1]) if len(numbers) == 2 else None

    def entries(self, *keys: str | int) -> list[Node]:
        """Return the entries of the list there."""
        value = self.at(*keys).value
        return [Node(entry) for entry in value] if isinstance(value, list) else []

    def fields(self, *keys: str | int) -> Iterator[tuple[str, Node]]:
        """Yield the fields of the object there, in its order."""
        value = self.at(*keys).value
        if isinstance(value, Mapping):
            for name, entry in value.items():
                yield printable(str(name)), Node(entry)


def printable(text: str) -> str:
    """Return ``text`` without control characters and single surrogates, which XML forbids."""
    return "".join(c if c in "\n\t" or c.isprintable() or c == "\u00a0" else "\ufffd" for c in text)
