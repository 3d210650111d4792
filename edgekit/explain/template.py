# SPDX-License-Identifier: Apache-2.0
"""Patterns for printed texts, written as the text itself with fields for what changes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Iterator

# {name:kind=example}: all parts are optional. {} is any text of one line, {#} a number.
_FIELD = re.compile(r"\{(?P<name>\w*)(?P<kind>:[dxw]|#)?(?:=(?P<example>[^{}]*))?\}")
# For each kind: its pattern, its pattern if words may be broken over lines, an example.
_KINDS = {
    ":d": (r"-?\d+", r"-?\d[\d\n]*", "1"),
    "#": (r"-?\d[\d.]*", r"-?\d[\d.\n]*", "1"),
    ":x": (r"(?:0x)?[0-9a-fA-F]+", r"(?:0\n?x)?[0-9a-fA-F\n]+", "0x1"),
    ":w": (r"[\w.:/+*-]*\w", r"[\w.:/+*\n-]*\w", "x"),
    "": (r"[^\n]{0,300}?", r"[^\n]{0,300}?(?:\n[^\n]{0,300}?){0,4}?", "..."),
}
_LAST = r"[^\s'\",;)]+"  # a field of any text at the end of the text: one word
_QUOTES = "['\u2018\u2019\u201c\u201d`\"]"
_SPACE = re.compile(r"\s+")


def squeezed(text: str) -> str:
    """Return ``text`` without blanks and line breaks, where a broken line does not matter."""
    for blank in " \n\t":
        text = text.replace(blank, "")
    return text


@dataclass(frozen=True)
class Template:
    """One printed text with its fields.

    ``^`` at the start and ``$`` at the end are those of a line. Blanks match any number of blanks
    and line breaks, and a quotation mark matches every kind of quotation mark.
    """

    text: str

    @property
    def specificity(self) -> int:
        """The number of characters that must be there."""
        return sum(len(squeezed(part)) for part in _literals(self.text))

    @property
    def anchor(self) -> str:
        """The longest part that is in every match, squeezed."""
        return _anchor(self.text)

    @property
    def words(self) -> frozenset[str]:
        """Words of four letters and more that are whole in every match."""
        return _words(self.text)

    @property
    def example(self) -> str:
        """The text with an example in each field."""
        return _FIELD.sub(_example_of, self.text.strip("^$"))

    def pattern(self, *, broken: bool = False) -> re.Pattern[str]:
        """Return the regular expression; with ``broken``, words may contain line breaks."""
        body, start = [], 0
        text = self.text
        has_start, has_end = text.startswith("^"), text.endswith("$")
        text = text.strip("^$")
        for field in _FIELD.finditer(text):
            body.append(_literal(text[start : field.start()], broken))
            last = field.end() == len(text) and not has_end
            body.append(_field(field, last=last, broken=broken))
            start = field.end()
        body.append(_literal(text[start:], broken))
        whole = ("^[ \t]*" if has_start else "") + "".join(body) + (r"[ \t]*$" if has_end else "")
        return re.compile(whole, re.MULTILINE)

    def finditer(self, text: str, *, broken: bool) -> Iterator[re.Match[str]]:
        """Return the matches in ``text``; if there are none and ``broken``, those in words."""
        found = list(self.pattern().finditer(text))
        if not found and broken:
            found = list(self.pattern(broken=True).finditer(text))
        return iter(found)


def _literals(text: str) -> list[str]:
    return _FIELD.sub("\0", text.strip("^$")).split("\0")


@lru_cache(maxsize=None)
def _anchor(text: str) -> str:
    parts = (squeezed(part) for each in _literals(text) for part in re.split("['\"`]", each))
    return max(parts, key=len)


@lru_cache(maxsize=None)
def _words(text: str) -> frozenset[str]:
    whole = re.compile(r"(?<=[^A-Za-z_0-9])[A-Za-z]{4,}(?=[^A-Za-z_0-9])")
    return frozenset(word for part in _literals(text) for word in whole.findall(part))


def _literal(text: str, broken: bool) -> str:
    characters = []
    for character in _SPACE.sub(" ", text):
        if character == " ":
            characters.append(r"\s+")
        elif character in "'\"`":
            characters.append(_QUOTES + (r"\n?" if broken else ""))
        else:
            characters.append(re.escape(character) + (r"\n?" if broken else ""))
    return "".join(characters)


def _field(field: re.Match[str], *, last: bool, broken: bool) -> str:
    kind = field["kind"] or ""
    pattern = _LAST if last and not kind else _KINDS[kind][1 if broken else 0]
    return f"(?P<{field['name']}>{pattern})" if field["name"] else f"(?:{pattern})"


def _example_of(field: re.Match[str]) -> str:
    return field["example"] or _KINDS[field["kind"] or ""][2]
