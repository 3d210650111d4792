# SPDX-License-Identifier: Apache-2.0
"""Write the proven forms, and docs/proven.md about them, from comparisons with sources.

    python -m scripts.make_proven CORPUS PROGRAMS [--check]

Both are folders with compiled models and a ``truth.json`` that names their sources. Each program of
a compiler of Google's is run on random inputs and compared, layer by layer, with its source. If it
is equal (or what differs has multipliers that are not in the program: another conversion), all its
forms are proven. Where there is no source, each softmax is compared by itself: the forms of its
instructions are proven if all values are equal. Takes about three minutes; with --check nothing is
written, and it fails if the packaged data or the page is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.comparison import Comparison, compare, random_inputs
from edgekit.chip.isa import EmulationError, decode_package
from edgekit.chip.vocabulary.aspects import aspects_of
from edgekit.chip.vocabulary.proven import PROVEN_FILE, PROVEN_SCHEMA
from edgekit.files import write_text
from scripts.compared_programs import CorpusProgram, programs_of_corpus, source_of
from scripts.softmax_proof import softmax_proofs

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "proven.md"


@dataclass(frozen=True)
class Judged:
    """A program, the aspects of its instructions, and what its comparison with a source showed."""

    name: str
    family: str  # programs of one network, whatever its size or compiler
    aspects: Counter[str]
    verdict: str  # of the comparison
    proven: frozenset[str]  # the aspects for which the comparison is a proof

    @property
    def is_whole(self) -> bool:
        """Whether the comparison proves every aspect of the program."""
        return self.proven.issuperset(self.aspects)


def main() -> None:
    """Compare, write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("programs", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    judged = list(judge(options.corpus, options.programs))
    for path, text in ((PROVEN_FILE, document(judged)), (_PAGE, page(judged))):
        if not options.check:
            write_text(path, text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path.name} is stale: run scripts/make_proven.py")


def judge(corpus: Path, programs: Path) -> Iterator[Judged]:
    """Yield each program of the folders with its comparison."""
    for each in programs_of_corpus(corpus, programs):
        aspects = Counter(
            aspect
            for instructions in decode_package(each.operator.package)
            for _, aspect in aspects_of(instructions)
        )
        verdict, proven = _compared(each, frozenset(aspects))
        yield Judged(each.label, _family(each.label), aspects, verdict, proven)


def _compared(program: CorpusProgram, aspects: frozenset[str]) -> tuple[str, frozenset[str]]:
    """Return the result of the comparison in words, and what it proves of ``aspects``."""
    try:
        chip = EdgeTpu(program.operator.package)
    except EmulationError as error:
        return f"stops: {error.what}", frozenset()
    part = source_of(program, chip)
    if part is not None:
        found = compare(chip, part, random_inputs(chip.executable))
        return _words(found), aspects if found.is_proof else frozenset()
    inference, *_ = decode_package(program.operator.package)
    proofs = list(softmax_proofs(chip))
    if not proofs:
        return "no source", frozenset()
    values = sum(each.num_values for each in proofs)
    proven = frozenset(aspect for each in proofs for aspect in each.aspects(inference))
    return f"no source; {values:,} of {values:,} values of its softmax are equal", proven


def _words(found: Comparison) -> str:
    words = f"{len(found.exact)}/{len(found.layers)} layers"
    if found.rescaled:
        return f"{words}, {len(found.rescaled)} of another conversion"
    return f"{words}, {found.num_different:,} of {found.num_values:,} values differ"


def _family(label: str) -> str:
    """Return the network's name: the label without repository, compiler, size and ending."""
    name = label.split(": ")[1].rsplit("__", maxsplit=1)[-1]
    return name.split("_")[0].split("-")[0].lower()


def document(judged: list[Judged]) -> str:
    """Return proven.json: one aspect on each line."""
    proven = [each for each in judged if each.proven]
    examples = sorted({each.name for each in proven})
    place = {name: number for number, name in enumerate(examples)}
    rows = []
    for aspect in sorted({aspect for each in proven for aspect in each.proven}):
        owners = [each.name for each in proven if aspect in each.proven]
        first = min(owners, key=lambda name: (len(name), name))
        rows.append(json.dumps([aspect, len(owners), place[first]], separators=(",", ":")))
    head = {"schema": PROVEN_SCHEMA, "programs": len(proven), "examples": examples}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    body = ",\n".join(rows)
    return "{\n" + ",\n".join(lines) + f',\n"aspects": [\n{body}\n]\n}}\n'


def page(judged: list[Judged]) -> str:
    """Return docs/proven.md."""
    proven = [each for each in judged if each.is_whole]
    known = {aspect for each in judged for aspect in each.proven}
    stops = [each for each in judged if not known.issuperset(each.aspects)]
    alone = [(each, _unseen(each, judged, same=False)) for each in judged]
    family = [(each, _unseen(each, judged, same=True)) for each in judged]
    rows = [
        f"| {each.name} | {each.verdict} | {_cell(unseen)} |" for each, unseen in alone if unseen
    ]
    return _PAGE_TEXT.format(
        programs=len(judged),
        proven=len(proven),
        aspects=len(known),
        stops=_stops(stops, known, len(judged)),
        softmaxes=_SOFTMAXES.format(
            sum(bool(each.proven) and not each.is_whole for each in judged)
        ),
        alone=sum(not unseen for _, unseen in alone),
        family=sum(not unseen for _, unseen in family),
        rows="\n".join(rows),
    )


def _stops(stops: list[Judged], known: set[str], total: int) -> str:
    if not stops:
        return f"None of the {total} programs at hand has any other."
    rows = (f"- {each.name}: {_cell(set(each.aspects) - known)}" for each in stops)
    return f"{len(stops)} of the {total} programs at hand have others:\n\n" + "\n".join(rows)


def _unseen(program: Judged, judged: list[Judged], *, same: bool) -> set[str]:
    """Return the aspects that no other proven program has; ``same``: none of another network."""
    others = (
        each
        for each in judged
        if each is not program and not (same and each.family == program.family)
    )
    return set(program.aspects).difference(*(each.proven for each in others))


def _cell(aspects: set[str]) -> str:
    first = sorted(aspects)[:3]
    more = f" and {len(aspects) - 3} more" if len(aspects) > 3 else ""
    return ", ".join(f"`{each}`" for each in first) + more


_SOFTMAXES = """\
{} programs without a source prove a part: their softmax over the channels of each pixel. A program
holds all that its softmax needs, so the values that go into it and those that come out were
compared with the documented arithmetic, and are equal."""
_PAGE_TEXT = """<!-- made by scripts/make_proven.py; change that, not this page -->
# What the emulator is proven on

The emulator computes what Google's programs do, as far as they show it. A program that does
something else could be computed wrongly without a word. So edgekit keeps a list of what is proven:
the forms of instructions in programs whose layers were compared with the model that was compiled,
value for value, and were equal. If a program has a form that is not on the list, `edgekit emulate`
and `--device emulator` stop ([model.unproven](codes/model.unproven.md)); with `--unproven` they run
it, and the result says so.

A form here is an *aspect*: the fields that the emulator reads together
(`edgekit/chip/vocabulary/aspects.py`), without numbers, in the words of the
[audited vocabulary](vocabulary.md). The classes of ops, rings of rows, partial last rounds, scaling
rows, the counters that transfers wait for, and which fence follows another are aspects.
{proven} of {programs} programs were equal to their source, and have {aspects} aspects. A program
that edgekit's own compiler verified needs no proof: it was compared with its source when it was
made.

{softmaxes}

{stops}

## How well the list generalizes

Each program was held out: {alone} of {programs} have no aspect that only they have, so they would
run without `--unproven` if they had never been seen. Without all programs of the same network, it
is {family}. The others would stop:

| program | compared with its source | aspects that no other proven program has |
|---|---|---|
{rows}
"""


if __name__ == "__main__":
    main()
