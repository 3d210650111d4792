# SPDX-License-Identifier: Apache-2.0
"""Compare programs with a vocabulary: which instructions it contains, how the others differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Iterator, Sequence, Tuple

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.disassemble import text
from edgekit.chip.vocabulary.entries import Entry, Evidence, Vocabulary
from edgekit.chip.vocabulary.nearest import AuditDifference, Nearest
from edgekit.chip.vocabulary.orders import Order, order_text, orders_of
from edgekit.chip.vocabulary.signature import (
    Form,
    Pattern,
    form_of,
    form_text,
    full_text,
    pattern_of,
)
from edgekit.result import Result


class Kind(str, Enum):
    """What is not in the vocabulary."""

    FORM = "unseen form"
    PATTERN = "unseen level pattern"
    ORDER = "unseen order"


@dataclass(frozen=True)
class AuditFinding(Result):
    """Something that is not in the vocabulary, at its first place."""

    kind: Kind  # unseen form, unseen level pattern or unseen order
    program: int  # index of the program
    index: int  # index of the instruction in its program
    pc: int  # of the same instruction
    times: int  # in how many places
    disassembled: str  # the instruction; for an order, the later one
    signature: str  # the unseen form, level pattern or order
    nearest: str  # the most similar one that is seen; empty if there is none
    example: str  # a program of Google's that contains it
    differences: tuple[AuditDifference, ...]  # from the nearest; none for an order

    def __str__(self) -> str:
        rows = [f"{self.kind.value} at pc {self.pc}, {self.times} times: {self.disassembled}"]
        if self.kind is Kind.ORDER:
            rows.append(f"  {self.signature}")
        rows += [f"  {each}" for each in self.differences]
        if self.example:
            rows.append(f"  the nearest one, {self.nearest}, is in {self.example}")
        return "\n".join(rows)


@dataclass(frozen=True)
class Audit(Result):
    """Which instructions of programs are in the vocabulary, and how the others differ."""

    schema: ClassVar[str] = "edgekit.audit/1"
    num_instructions: int  # of all programs
    num_seen: int  # with form, level pattern and orders in programs of Google's
    num_confirmed: int  # with all of them in programs that a chip computed as the emulator does
    num_unseen: int  # with one of them in neither
    findings: tuple[AuditFinding, ...]  # most frequent first

    @property
    def is_seen(self) -> bool:
        """Whether every form, level pattern and order is seen, or confirmed on a chip."""
        return not self.findings

    @property
    def seen_share(self) -> float:
        """The share of instructions that are seen or confirmed; 1 for an empty program."""
        return 1 - self.num_unseen / self.num_instructions if self.num_instructions else 1.0

    def json_fields(self) -> dict[str, Any]:
        """The fields, and ``is_seen`` and ``seen_share``."""
        return {**super().json_fields(), "is_seen": self.is_seen, "seen_share": self.seen_share}


def audit(vocabulary: Vocabulary, *programs: Sequence[Instruction]) -> Audit:
    """Compare programs as `decode` returns them.

    A program that is cut into several bitstreams is one program.
    """
    run = _Run(vocabulary)
    for number, instructions in enumerate(programs):
        run.add(number, instructions)
    return run.result()


def texts_of(*programs: Sequence[Instruction]) -> frozenset[str]:
    """Return the text of every form, level pattern and order of programs."""
    return frozenset(count_texts(*programs))


def count_texts(*programs: Sequence[Instruction]) -> Counter[str]:
    """Return how often each form, level pattern and order occurs."""
    forms: Counter[Form] = Counter()
    patterns: Counter[tuple[Form, Pattern]] = Counter()
    orders: Counter[Order] = Counter()
    for instructions in programs:
        for each in instructions:
            form = form_of(each)
            forms[form] += 1
            patterns[form, pattern_of(each)] += 1
        orders.update(order for _, order in orders_of(instructions))
    counts: Counter[str] = Counter()
    counts.update({form_text(form): number for form, number in forms.items()})
    counts.update({full_text(*both): number for both, number in patterns.items()})
    counts.update({order_text(order): number for order, number in orders.items()})
    return counts


_Place = Tuple[int, int]  # program, index of the instruction
_RANK = {Evidence.UNSEEN: 0, Evidence.SEEN: 1, Evidence.CONFIRMED: 2}


class _Run:
    """One audit: the evidence of each instruction, and the first place of each unseen text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._forms: dict[Form, tuple[str, int]] = {}
        self._patterns: dict[tuple[Form, Pattern], tuple[str, int]] = {}
        self._orders: dict[Order, tuple[str, int]] = {}
        self._places: dict[str, tuple[Kind, int, Instruction, _Place]] = {}
        self._times: Counter[str] = Counter()
        self._ranks: Counter[int] = Counter()

    def add(self, number: int, instructions: Sequence[Instruction]) -> None:
        ranks = [0] * len(instructions)
        for index, instruction in enumerate(instructions):
            form = form_of(instruction)
            ranked = self._forms.get(form)
            if ranked is None:
                ranked = self._forms[form] = self._rank(form_text(form))
            key, rank = ranked
            if not rank:
                self._put(Kind.FORM, key, instruction, (number, index))
                continue
            both = form, pattern_of(instruction)
            ranked = self._patterns.get(both)
            if ranked is None:
                ranked = self._patterns[both] = self._rank(full_text(*both))
            key, pattern_rank = ranked
            if not pattern_rank:
                self._put(Kind.PATTERN, key, instruction, (number, index))
            ranks[index] = min(rank, pattern_rank)
        for index, order in orders_of(instructions):
            ranked = self._orders.get(order)
            if ranked is None:
                ranked = self._orders[order] = self._rank(order_text(order))
            key, rank = ranked
            if not rank:
                self._put(Kind.ORDER, key, instructions[index], (number, index))
            ranks[index] = min(rank, ranks[index])
        self._ranks.update(ranks)

    def result(self) -> Audit:
        return Audit(
            num_instructions=sum(self._ranks.values()),
            num_seen=self._ranks[_RANK[Evidence.SEEN]],
            num_confirmed=self._ranks[_RANK[Evidence.CONFIRMED]],
            num_unseen=self._ranks[_RANK[Evidence.UNSEEN]],
            findings=tuple(self._findings()),
        )

    def _rank(self, key: str) -> tuple[str, int]:
        return key, _RANK[self._vocabulary.evidence(key)]

    def _put(self, kind: Kind, key: str, instruction: Instruction, place: _Place) -> None:
        self._times[key] += 1
        self._places.setdefault(key, (kind, instruction.pc, instruction, place))

    def _findings(self) -> Iterator[AuditFinding]:
        nearest = Nearest(self._vocabulary)
        for key, times in self._times.most_common():
            kind, pc, instruction, (program, index) = self._places[key]
            found: Entry | None = nearest.to(key)
            yield AuditFinding(
                kind=kind,
                program=program,
                index=index,
                pc=pc,
                times=times,
                disassembled=text(instruction),
                signature=key,
                nearest=found.text if found else "",
                example=found.example if found else "",
                differences=nearest.differences(key, found) if found else (),
            )
