# SPDX-License-Identifier: Apache-2.0
"""The explanation of one text that another program prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping

Details = Mapping[str, str]


@dataclass(frozen=True)
class KnownText:
    """A text of the compiler, of libedgetpu or of an interpreter, with its cause and fix.

    ``{name}`` in ``cause`` and ``fix`` is replaced by the group of that name in ``pattern``, or by
    the value that ``derive`` computes from the groups.
    """

    code: str
    title: str
    pattern: str  # a regular expression; ^ and $ are a line's ends
    example: str  # as printed; contains a match of the pattern
    cause: str
    fix: str
    source: str  # where this is known from
    consequence: bool = False  # printed after its cause: shown only if no cause is found
    random: bool = False  # the same file may compile on the next try
    derive: Callable[[Details], Details] | None = None
    # One of these is in every match: searching for them first is much faster in a large log.
    words: tuple[str, ...] = ()

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Return an iterator over every match in ``text``."""
        if self.words and not any(word in text for word in self.words):
            return iter(())
        return re.finditer(self.pattern, text, re.MULTILINE)

    def filled(self, details: Details) -> tuple[str, str]:
        """Return (cause, fix) filled with the groups of a match."""
        values = {**details, **(self.derive(details) if self.derive else {})}
        return self.cause.format_map(values), self.fix.format_map(values)

    def filled_from_example(self) -> tuple[str, str]:
        """Return (cause, fix) for ``example``, as on its page in the documentation."""
        return self.filled(next(self.matches(self.example)).groupdict(""))
