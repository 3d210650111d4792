# SPDX-License-Identifier: Apache-2.0
"""What edgekit knows about one text that another program prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping

Details = Mapping[str, str]


@dataclass(frozen=True)
class KnownText:
    """A text of the compiler, of libedgetpu or of an interpreter, with its cause and its way out.

    ``{name}`` in ``cause`` and ``fix`` stands for the group of that name in ``pattern``, or for
    what ``derive`` makes of the groups.
    """

    code: str
    title: str
    pattern: str  # a regular expression; ^ and $ are a line's ends
    example: str  # as it is printed; holds a match of the pattern
    cause: str
    fix: str
    source: str  # where the knowledge comes from
    consequence: bool = False  # printed after its cause: only worth showing without one
    random: bool = False  # the same file may compile on the next try
    derive: Callable[[Details], Details] | None = None

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Every place in ``text`` where this is printed."""
        return re.finditer(self.pattern, text, re.MULTILINE)

    def filled(self, details: Details) -> tuple[str, str]:
        """(cause, fix) with the groups of a match put in."""
        values = {**details, **(self.derive(details) if self.derive else {})}
        return self.cause.format_map(values), self.fix.format_map(values)

    def filled_from_example(self) -> tuple[str, str]:
        """(cause, fix) for the text of ``example``, as its page in the documentation has them."""
        return self.filled(next(self.matches(self.example)).groupdict(""))
