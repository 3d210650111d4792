# SPDX-License-Identifier: Apache-2.0
"""Read JSON from other programs, bounded by the memory of its values, not only by its size.

One byte of JSON can need 35 bytes as Python objects (``[[]],[[]],...``): 64 MiB need over 2 GiB.
"""

from __future__ import annotations

import codecs
import json
from typing import IO, Any, Iterator

MOST_MEMORY_BYTES = 1 << 30
_MOST_ENTRY_CHARS = 4 << 20  # limit of one value in a file that is read piece by piece
_CHUNK_BYTES = 1 << 20
# The largest size of a list, a dict and so on: measured on CPython 3.7 to 3.13, 64 bits.
_COSTS = {b"[": 96, b"{": 240, b",": 48, b":": 64, b'"': 32}
_SPACE = " \t\n\r"


def memory_needed(content: bytes) -> int:
    """Return an upper bound of the memory, in bytes, of the JSON ``content`` and its values.

    It is counted before parsing. Separators inside strings count too, so the bound is 1.5 to 3
    times the real need of usual documents.
    """
    text = len(content) * (1 if content.isascii() else 4)
    return len(content) + 2 * text + sum(content.count(each) * n for each, n in _COSTS.items())


def parse_json(content: bytes, **options: Any) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """Return the value of a JSON text in UTF-8.

    Args:
        content: The text.
        options: Options of `json.loads`.

    Raises:
        ValueError: It is not JSON in UTF-8, or needs more than 1 GiB of memory. All three errors
            are in `edgekit.formats.damage.JSON_DAMAGE`.
        RecursionError: It is nested too deeply.
        MemoryError: There is not enough memory.
    """
    needed = memory_needed(content)
    if needed > MOST_MEMORY_BYTES:
        raise ValueError(
            f"its values may need {needed >> 20} MiB of memory, the limit is "
            f"{MOST_MEMORY_BYTES >> 20}"
        )
    return json.loads(content.decode("utf-8"), **options)


class JsonStream:
    """A JSON document that is read piece by piece: the members of an object, the items of a list.

    Its methods raise ValueError if the text is not JSON, or if one value has more than four
    million characters, and RecursionError like `parse_json`.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """Read from the start of ``stream``: UTF-8, with or without a byte order mark."""
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._parse = json.JSONDecoder().raw_decode
        self._text, self._at, self._passed, self._ended = "", 0, 0, False

    def members(self) -> Iterator[str]:
        """Yield the keys of the next object; the caller reads or skips each value."""
        self._expect("{")
        if self.next_char() == "}":
            self._at += 1
            return
        while True:
            if self.next_char() != '"':
                raise self._error("a key is missing")
            key = str(self.value())
            self._expect(":")
            yield key
            if self._expect(",}") == "}":
                return

    def items(self) -> Iterator[Any]:
        """Yield the values of the next list."""
        self._expect("[")
        if self.next_char() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self._expect(",]") == "]":
                return

    def value(self) -> Any:  # noqa: ANN401 - whatever the JSON holds
        """Return the whole next value."""
        self.next_char()
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._more():
                    raise self._error(error.msg, error.pos - self._at) from error
                continue
            # A number may continue in the next piece.
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def skip(self) -> None:
        """Skip the next value."""
        if self.next_char() == "[":
            for _ in self.items():
                pass
        elif self.next_char() == "{":
            for _ in self.members():
                self.skip()
        else:
            self.value()

    def end(self) -> None:
        """Check that nothing follows."""
        if self.next_char():
            raise self._error("there is more text after the document")

    def next_char(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _expect(self, one_of: str) -> str:
        found = self.next_char()
        if not found or found not in one_of:
            raise self._error(f"expected {' or '.join(one_of)}")
        self._at += 1
        return found

    def _more(self) -> bool:
        """Read one more piece; return False at the end."""
        if self._ended:
            return False
        if len(self._text) - self._at > _MOST_ENTRY_CHARS:
            raise self._error(f"a value is longer than {_MOST_ENTRY_CHARS:,} characters")
        raw = self._stream.read(_CHUNK_BYTES)
        self._ended = not raw
        self._passed += self._at
        self._text = self._text[self._at :] + self._decoder.decode(raw, self._ended)
        self._at = 0
        return not self._ended

    def _error(self, what: str, ahead: int = 0) -> ValueError:
        return ValueError(f"{what}, at character {self._passed + self._at + ahead + 1}")
