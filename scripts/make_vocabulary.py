# SPDX-License-Identifier: Apache-2.0
"""Write the audited vocabulary, and docs/vocabulary.md about it, from Google's compiled models.

    python scripts/make_vocabulary.py FOLDER... [--check]

Reads every ``*_edgetpu*.tflite`` below the folders whose packages name a compiler of Google's. A
program that occurs twice counts once. With --check nothing is written, and it fails if the packaged
vocabulary or the page is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.chip.isa import decode_executable
from edgekit.chip.vocabulary import Entry, count_texts
from edgekit.chip.vocabulary.entries import VOCABULARY_FILE, entries_to_document
from edgekit.chip.vocabulary.orders import later_of
from edgekit.chip.vocabulary.rules import rules_id
from edgekit.chip.vocabulary.signature import BETWEEN
from edgekit.files import read_bytes, write_text
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "vocabulary.md"
_GOOGLE = "cl/"  # what a compiler of Google's writes at the start of compiler_version
_SHARES = (0.5, 0.9, 0.99, 0.999, 1.0)


@dataclass(frozen=True)
class Model:
    """A compiled model: its repository and file, and the counts of its texts."""

    name: str
    repository: str
    num_programs: int
    texts: Counter[str]


def main() -> None:
    """Read the models, write or compare the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    models = list(read_models(options.folders))
    texts = {VOCABULARY_FILE: _packaged(models), _PAGE: page(models)}
    for path, text in texts.items():
        if not options.check:
            write_text(path, text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path.name} is stale: run scripts/make_vocabulary.py")


def read_models(folders: Sequence[Path]) -> Iterator[Model]:
    """Yield the models with a program that no model before has."""
    known: set[bytes] = set()
    paths = [
        (path.relative_to(folder).as_posix(), path)
        for folder in folders
        for path in folder.rglob("*_edgetpu*.tflite")
    ]
    for _, path in sorted(paths):
        texts: Counter[str] = Counter()
        num_programs = 0
        for each in read_packages(read_model(read_bytes(path))):
            if not each.package.compiler_version.startswith(_GOOGLE):
                continue
            for executable in each.package.executables:
                content = b"".join(
                    chunk.bitstream.tobytes() for chunk in executable.instruction_bitstreams
                )
                if content not in known:
                    known.add(content)
                    num_programs += 1
                    texts += count_texts(decode_executable(executable))
        if num_programs:
            yield Model(path.stem, path.parent.name, num_programs, texts)


def _packaged(models: Sequence[Model]) -> str:
    """Return vocabulary.json: one form, with its level patterns, on each line."""
    times: Counter[str] = Counter()
    places: dict[str, list[str]] = defaultdict(list)
    for model in models:
        times += model.texts
        for text in model.texts:
            places[text].append(model.name)
    entries = [
        Entry(text, times[text], len(found), min(found, key=lambda name: (len(name), name)))
        for text, found in places.items()
    ]
    document = entries_to_document(
        entries,
        schema="edgekit.vocabulary/1",
        rules=rules_id(),
        models=len(models),
        programs=sum(model.num_programs for model in models),
        instructions=_total(times),
    )
    rows = []
    for key, value in document.items():
        if isinstance(value, list):
            lines = ",\n".join(_line(each) for each in value)
            rows.append(f'"{key}": [\n{lines}\n]')
        else:
            rows.append(f'"{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _total(times: Counter[str]) -> int:
    return sum(number for text, number in times.items() if kind_of(text) == "form")


def kind_of(text: str) -> str:
    """Return whether a text is a form, a level pattern or an order."""
    if later_of(text):
        return "order"
    return "pattern" if BETWEEN in text else "form"


def page(models: Sequence[Model]) -> str:
    """Return docs/vocabulary.md."""
    times: Counter[str] = Counter()
    for model in models:
        times += model.texts
    num_programs = sum(model.num_programs for model in models)
    by_model, by_repository = _unseen(models, by_repository=False), _unseen(models, True)
    return _PAGE_TEXT.format(
        programs=num_programs,
        models=len(models),
        instructions=_total(times),
        forms=_number(times, "form"),
        patterns=_number(times, "pattern"),
        orders=_number(times, "order"),
        cover=_cover_table(times),
        instructions_table=_instruction_table(times),
        left_out=_left_out_table(len(models), by_model, by_repository),
        frequent=_frequent(times),
    )


def _number(times: Counter[str], kind: str) -> int:
    return sum(kind_of(text) == kind for text in times)


def _cover_table(times: Counter[str]) -> str:
    head = " | ".join(f"{share:.1%}".replace(".0%", "%") for share in _SHARES)
    rows = [f"| share of the occurrences | {head} |", f"|---|{'---|' * len(_SHARES)}"]
    for kind, name in (("form", "forms"), ("pattern", "level patterns"), ("order", "orders")):
        counts = sorted((n for text, n in times.items() if kind_of(text) == kind), reverse=True)
        cells = " | ".join(str(_needed(counts, share)) for share in _SHARES)
        rows.append(f"| {name} needed | {cells} |")
    return "\n".join(rows)


def _needed(counts: Sequence[int], share: float) -> int:
    """Return how many of the largest counts add up to ``share`` of all."""
    total, so_far = sum(counts), 0
    for number, count in enumerate(counts, 1):
        so_far += count
        if so_far >= share * total:
            return number
    return len(counts)


def _instruction_table(times: Counter[str]) -> str:
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for text, number in times.items():
        kind = kind_of(text)
        if kind == "order":
            continue
        row = rows[text.split(" ", 1)[0]]
        row[0] += number if kind == "form" else 0
        row[1 if kind == "form" else 2] += 1
    lines = ["| instruction | occurrences | forms | level patterns |", "|---|---|---|---|"]
    for name, row in sorted(rows.items(), key=lambda item: -item[1][0]):
        lines.append(f"| `{name}` | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class LeftOut:
    """What the models have that no other model, or no other repository, has."""

    form_share: float
    pattern_share: float
    order_share: float
    num_inside: int


def _unseen(models: Sequence[Model], by_repository: bool) -> LeftOut:
    owners: dict[str, set[str]] = defaultdict(set)
    for model in models:
        owner = model.repository if by_repository else f"{model.repository}/{model.name}"
        for text in model.texts:
            owners[text].add(owner)
    unseen: Counter[str] = Counter()
    total: Counter[str] = Counter()
    num_inside = 0
    for model in models:
        alone = {text for text in model.texts if len(owners[text]) == 1}
        num_inside += not alone
        for text, number in model.texts.items():
            total[kind_of(text)] += number
            unseen[kind_of(text)] += number if text in alone else 0
    form, pattern, order = (unseen[kind] / total[kind] for kind in ("form", "pattern", "order"))
    return LeftOut(form, pattern, order, num_inside)


def _left_out_table(num_models: int, *results: LeftOut) -> str:
    rows = [
        "| left out of the vocabulary | unseen forms | unseen level patterns | unseen orders "
        "| models wholly inside |",
        "|---|---|---|---|---|",
    ]
    for name, each in zip(("the model itself", "its whole repository"), results, strict=True):
        shares = (each.form_share, each.pattern_share, each.order_share)
        cells = " | ".join(f"{share:.2%}" for share in shares)
        rows.append(f"| {name} | {cells} | {each.num_inside} of {num_models} |")
    return "\n".join(rows)


def _frequent(times: Counter[str]) -> str:
    rows = []
    for kind in ("form", "pattern", "order"):
        of_kind = Counter({text: n for text, n in times.items() if kind_of(text) == kind})
        rows += [f"{number:6}  {text.rstrip()}" for text, number in of_kind.most_common(5)]
        rows.append("")
    return "\n".join(rows).rstrip()


_PAGE_TEXT = """<!-- made by scripts/make_vocabulary.py; change that, not this page -->
# The audited vocabulary

A program for the Edge TPU can be right in the emulator and still do something that no chip was ever
seen to do. So edgekit keeps the vocabulary of Google's compiler: what the instructions of its
programs look like without their numbers. It has three sets.

- **Forms**: the name of an instruction, and every field that selects what a unit does. Left out are
  numbers: addresses, increments, counts, multipliers, zero points, and totals that a program has
  reached. Of a field that is not always used, the form says whether it is.
- **Level patterns**: a form with the masks that say which levels of a loop nest take part in
  something, and the shape of each walk: which levels advance and which repeat.
- **Orders**: which instruction is issued after which, and which follows which in the queue of one
  unit since the last drain.

`edgekit/chip/vocabulary/rules.py` lists for every field which bits belong to which set; a
field that it does not list belongs to the form with all its bits. The vocabulary contains texts and
counts, and no bytes of a program. It was made from {programs} different programs in {models} models
of Google's compilers 1.0 to 16.0: {instructions:,} instructions with {forms} forms,
{patterns:,} level patterns and {orders} orders.

## How few there are

{cover}

{instructions_table}

## What "unseen" means

Google's own programs show how strict the vocabulary is. If a model is left out, the others do not
have all of its forms:

{left_out}

So an unseen form is not wrong. It means that none of these {models} models has an instruction that
differs from it in numbers only, and that its first run on a chip is a test. `edgekit confirm` is
that test ([guide](guides/confirm.md)): what a chip runs as the emulator does becomes "confirmed"
instead of "unseen", in a file of evidence in the user's data folder (`edgekit.evidence/1`).

## Examples

The five most frequent forms, level patterns and orders. `name=value` are bits of a field, and a
bare name is a field that is not 0. A walk has a letter for each level, innermost first: `+` for
one that moves, `=` for one that repeats the address, `.` for one that is not in use.

```
{frequent}
```
"""


if __name__ == "__main__":
    main()
