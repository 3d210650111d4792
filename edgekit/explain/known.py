# SPDX-License-Identifier: Apache-2.0
"""The explanation of texts that another program prints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Iterator, Mapping

from edgekit.explain.template import Template, squeezed

Details = Mapping[str, str]
# Above this size, words with line breaks inside are not searched for.
_MOST_BROKEN_CHARS = 1 << 22
_OPTIONAL = re.compile(r"\[([^\[\]]*\{\w+\}[^\[\]]*)\]")


@dataclass(frozen=True)
class KnownText:
    """Texts of another program that have one cause and one fix.

    ``{name}`` in ``cause`` and ``fix`` is replaced by the field of that name in the text, or by
    the value that ``derive`` computes from the fields; ``{search}`` by an advice that depends on
    the compiler's version. A part in brackets, ``[ ({name})]``, is left out if the text does not
    have that field.
    """

    code: str
    title: str
    texts: tuple[Template, ...]
    cause: str
    fix: str
    source: str  # where this is known from
    versions: str = ""  # which versions of the program print it, if known
    consequence: bool = False  # printed after its cause: shown only if no cause is found
    random: bool = False  # the same file may compile on the next try
    note: bool = False  # not a failure, or a harmless one: shown last
    derive: Callable[[Details], Details] | None = None

    @property
    def example(self) -> str:
        """The first text, with examples in its fields."""
        return self.texts[0].example

    def matches(self, text: Searched) -> Iterator[Match]:
        """Yield every match in ``text``."""
        for template in self.texts:
            if text.may_contain(template):
                for found in template.finditer(text.text, broken=not text.is_large):
                    yield Match(self, template, found)

    def filled(self, details: Details, version: str = "") -> tuple[str, str]:
        """Return (cause, fix) filled with the fields of a match.

        Args:
            details: The fields of the match.
            version: The compiler's version that the log shows; empty if it shows none.
        """
        values = {name: value.replace("\n", "") for name, value in details.items()}
        values.update(self.derive(details) if self.derive else {})
        values["search"] = search_advice(version)
        return _filled(self.cause, values), _filled(self.fix, values)

    def filled_from_example(self) -> tuple[str, str]:
        """Return (cause, fix) for ``example``, as on its page in the documentation."""
        found = self.texts[0].pattern().search(self.example)
        return self.filled(found.groupdict("") if found else {})


class Searched:
    """A text and what makes it fast to search in."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_large = len(text) > _MOST_BROKEN_CHARS
        self._squeezed = squeezed(text)
        self._words = _words_of(text) if self.is_large else frozenset()

    def may_contain(self, template: Template) -> bool:
        """Whether ``template`` may be in the text; in a large one, its words must be whole."""
        if self.is_large and not template.words <= self._words:
            return False
        return template.anchor in self._squeezed


def _words_of(text: str) -> frozenset[str]:
    found: set[str] = set()
    for start in range(0, len(text), _MOST_BROKEN_CHARS):
        # A word at the border of two parts is whole in one of them.
        part = text[start : start + _MOST_BROKEN_CHARS + 64]
        found.update(re.findall("[A-Za-z]{4,}", part))
    return frozenset(found)


@dataclass(frozen=True)
class Match:
    """One place where a known text is."""

    known: KnownText
    template: Template
    found: re.Match[str]

    @property
    def start(self) -> int:
        """The position of its first character."""
        return self.found.start()

    @property
    def end(self) -> int:
        """The position after its last character."""
        return self.found.end()

    def overlaps(self, other: Match) -> bool:
        """Whether both contain a character of the text."""
        return self.start < other.end and other.start < self.end


def _filled(text: str, values: Details) -> str:
    """Fill the fields of ``text``; a part in brackets is left out if one of its fields is."""

    def part(found: re.Match[str]) -> str:
        names = re.findall(r"\{(\w+)\}", found[1])
        return found[1] if all(values.get(name) for name in names) else ""

    filled = _OPTIONAL.sub(part, text).format_map(values)
    return filled[:1].upper() + filled[1:] if text.startswith("{search}") else filled


def search_advice(version: str) -> str:
    """Return the advice to map what can be mapped, for a version of edgetpu_compiler.

    Source: --search-delegate exists since compiler 16.0; --intermediate-tensors since 2.1.
    """
    number = version.partition(".")[0]
    cut = "leave out the last operators with --intermediate-tensors"
    if not number.isdigit():
        return f"with compiler 16, try --search-delegate; with an older one, {cut}"
    if int(number) >= 16:
        return "try --search-delegate, which leaves more operators at the end on the CPU"
    return f"compiler {version} does not have --search-delegate: use compiler 16.0, or {cut}"
