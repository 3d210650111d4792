# SPDX-License-Identifier: Apache-2.0
"""The entry of a vocabulary that is most similar to a text that it does not contain."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from edgekit.chip.vocabulary.entries import Entry, Vocabulary
from edgekit.chip.vocabulary.orders import later_of
from edgekit.chip.vocabulary.rules import rule_of
from edgekit.chip.vocabulary.signature import BETWEEN, parts_of
from edgekit.result import Result

_UNUSED = "0"


@dataclass(frozen=True)
class AuditDifference(Result):
    """A part in which an instruction differs from the most similar one."""

    part: str  # a field, or a walk
    here: str  # its value; "0" if it is not used
    seen: str  # its value in the vocabulary
    meaning: str  # what the field decides; empty if that is not known

    def __str__(self) -> str:
        meaning = f" ({self.meaning})" if self.meaning else ""
        return f"{self.part}{meaning}: {self.here}, seen {self.seen}"


class Nearest:
    """Searches a vocabulary; entries are sorted once, by what can be compared."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Sort the entries of ``vocabulary``."""
        self._groups: dict[str, list[Entry]] = defaultdict(list)
        for entry in vocabulary.entries.values():
            self._groups[_group(entry.text)].append(entry)

    def to(self, text: str) -> Entry | None:
        """Return the entry with the fewest differences; of several, the most frequent.

        A form is compared with forms of the same instruction, a level pattern with those of the
        same form, an order with those of the same relation and later kind.
        """
        group = self._groups.get(_group(text), [])
        here = _parts(text)
        return min(
            group,
            key=lambda entry: (len(_changed(here, _parts(entry.text))), -entry.times),
            default=None,
        )

    def differences(self, text: str, entry: Entry) -> tuple[AuditDifference, ...]:
        """Return the parts in which ``text`` differs from ``entry``."""
        here, seen = _parts(text), _parts(entry.text)
        instruction = text.split(" ", 1)[0]
        return tuple(
            AuditDifference(
                part,
                here.get(part, _UNUSED),
                seen.get(part, _UNUSED),
                rule_of(instruction, part).meaning,
            )
            for part in _changed(here, seen)
        )


def _group(text: str) -> str:
    """Return what a text has in common with those that it is compared with."""
    later = later_of(text)
    if later:
        return later
    form, between, _ = text.partition(BETWEEN)
    return f"{form}{between}" if between else text.split(" ", 1)[0]


def _parts(text: str) -> dict[str, str]:
    if later_of(text):
        return {}
    form, between, pattern = text.partition(BETWEEN)
    return parts_of(pattern if between else form.partition(" ")[2])


def _changed(here: dict[str, str], seen: dict[str, str]) -> list[str]:
    return [part for part in {**here, **seen} if here.get(part) != seen.get(part)]
