# SPDX-License-Identifier: Apache-2.0
"""The vocabulary: forms, level patterns and orders, each with what supports it.

``scripts/make_vocabulary.py`` writes vocabulary.json from compiled models of Google's. It contains
texts and counts, nothing of a program.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Iterable, Mapping

from edgekit.chip.vocabulary.orders import later_of
from edgekit.chip.vocabulary.signature import BETWEEN

VOCABULARY_FILE = Path(__file__).with_name("vocabulary.json")


class Evidence(str, Enum):
    """What supports a form, level pattern or order."""

    SEEN = "seen"  # it is in a program of Google's compiler
    CONFIRMED = "confirmed"  # it is in a program that a chip computed as the emulator does
    UNSEEN = "unseen"


@dataclass(frozen=True)
class Entry:
    """The text of a form, level pattern or order, and where it occurs in Google's programs."""

    text: str
    times: int  # number of occurrences
    programs: int  # number of models that contain it
    example: str  # one of them


class Vocabulary:
    """The forms, level patterns and orders of Google's programs, and those confirmed on a chip."""

    def __init__(self, entries: Iterable[Entry], confirmed: Iterable[str] = ()) -> None:
        """Make a vocabulary of entries of Google's and of texts that a chip confirmed."""
        self.entries: Mapping[str, Entry] = {entry.text: entry for entry in entries}
        self.confirmed = frozenset(confirmed)

    @classmethod
    def load(cls, confirmed: Iterable[str] = ()) -> Vocabulary:
        """Return the vocabulary that edgekit contains, with confirmed texts of this machine."""
        return cls(_packaged(), confirmed)

    def evidence(self, text: str) -> Evidence:
        """Return what supports the text of a form, level pattern or order."""
        if text in self.confirmed:
            return Evidence.CONFIRMED
        return Evidence.SEEN if text in self.entries else Evidence.UNSEEN


def entries_to_document(entries: Iterable[Entry], **head: str | int) -> dict[str, Any]:
    """Return the entries as the JSON document: each form with its level patterns below it."""
    by_text = {entry.text: entry for entry in entries}
    examples = sorted({entry.example for entry in by_text.values()})
    place = {example: number for number, example in enumerate(examples)}

    def row(entry: Entry, text: str) -> list[Any]:
        return [text, entry.times, entry.programs, place[entry.example]]

    forms: dict[str, list[Any]] = {}
    orders = []
    for text in sorted(by_text):
        form, between, pattern = text.partition(BETWEEN)
        if between:
            forms[form][-1].append(row(by_text[text], pattern))
        elif later_of(text):
            orders.append(row(by_text[text], text))
        else:
            forms[text] = [*row(by_text[text], text), []]
    return {**head, "examples": examples, "forms": list(forms.values()), "orders": orders}


def entries_of_document(document: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Return the entries of a document of `entries_to_document`."""
    examples, entries = document["examples"], []
    for text, times, programs, example, patterns in document["forms"]:
        entries.append(Entry(text, times, programs, examples[example]))
        entries += [
            Entry(f"{text}{BETWEEN}{pattern}", number, files, examples[one])
            for pattern, number, files, one in patterns
        ]
    entries += [
        Entry(text, times, programs, examples[example])
        for text, times, programs, example in document["orders"]
    ]
    return tuple(entries)


@functools.lru_cache(maxsize=None)
def document() -> Mapping[str, Any]:
    """Return the packaged document; its first members say what it was made from."""
    content: Mapping[str, Any] = json.loads(VOCABULARY_FILE.read_text("utf-8"))
    return content


@functools.lru_cache(maxsize=None)
def _packaged() -> tuple[Entry, ...]:
    return entries_of_document(document())
