# SPDX-License-Identifier: Apache-2.0
"""Seed random faults into compiled programs, and count how many are found.

    python -m scripts.seeded_faults CORPUS [--number 500]            # docs/emulator-faults.md
    python -m scripts.seeded_faults CORPUS --kind KIND --tallies FILE    # a part of it, see below
    python -m scripts.seeded_faults --own [--number 500]             # on stdout
    python -m scripts.seeded_faults --compiled FILE... [--number 500]

FILE is a compiled model, or one that edgekit's own compiler compiles; --own takes the programs that
it makes of the networks in `fault_subjects`. A fault is one change of one instruction (or
relocation) of a program that runs. It is found if strict mode or the emulator
stops, if an output differs from the unchanged program's for random inputs and random contents of
the memories, if it overwrites parameters of a program that shares the chip, or if the audited
vocabulary does not have it. Faults that are not found are printed; without CORPUS, the exit status
is 4 if fewer than --found are. With --tallies the counts of some kinds are kept in FILE, and the
page is written once FILE has all kinds: a whole run takes long.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.isa import SyncError, decode_package
from edgekit.chip.vocabulary import Vocabulary, audit, texts_of
from edgekit.errors import EdgeKitError
from edgekit.files import read_bytes, write_text
from edgekit.formats.darwinn import Executable, Package, read_packages
from edgekit.formats.tflite import read_model
from edgekit.opencompiler import VerificationError
from edgekit.opencompiler.verify import verify_together
from scripts.audit_programs import packages_of
from scripts.fault_kinds import VALUE_KINDS, Program, kinds, seed
from scripts.fault_subjects import own_programs

_TARGET = Path(__file__).resolve().parents[1] / "docs" / "emulator-faults.md"
_MAX_BYTES = 1 << 20  # larger models only take longer
_SEED = 7
_MAX_HARMLESS = 10_000
_INPUTS = 2  # random ones, each with other contents of narrow memory
_MORE = 4  # for a changed address without an effect
_GATE = 4  # exit status: too few are found
Tally = dict[str, list[int]]  # kind -> how many are found in which way


@dataclass(frozen=True)
class Subject:
    """A program that runs, and its outputs for random inputs."""

    name: str
    program: Program
    inputs: tuple[dict[str, Any], ...]
    output: bytes  # for all inputs
    vocabulary: Vocabulary  # the packaged one, with all that the unchanged program has
    neighbours: tuple[Package, ...] = ()  # compiled to share the chip with it


def main() -> None:
    """Add faults, run, write or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--compiled", type=Path, nargs="+", default=[])
    parser.add_argument("--own", action="store_true", help="the networks of fault_subjects")
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--kind", action="append", choices=kinds(), help="only these; default all")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--found", type=float, default=0.99, help="least share without CORPUS")
    parser.add_argument("--tallies", type=Path, help="keep counts here; only with a corpus")
    options = parser.parse_args()
    if bool(options.compiled) + options.own + bool(options.corpus) != 1:
        parser.error("give a corpus, --own or --compiled")

    def counted(subjects: list[Subject], number: int) -> Tally:
        if not subjects:
            sys.exit("no program runs in strict mode")
        tally: Tally = {}
        each, more = divmod(number, len(kinds()))
        for place, kind in enumerate(kinds()):
            if kind in (options.kind or kinds()):
                draw = random.Random(options.seed)  # noqa: S311 - not cryptography
                tally.update(count(subjects, [kind], each + (place < more), draw))
        return tally

    own = _own() if options.own or options.corpus else list(_given(options.compiled))
    mine = counted(own, options.number)
    if options.corpus:
        google, half = list(_subjects(options.corpus)), options.number // 2
        both = _kept(options.tallies, {"own": mine, "google": counted(google, half)})
        if all(set(tally) == set(kinds()) for tally in both.values()):
            write_text(_TARGET, _page(both, len(own), len(google), options.seed))
        return
    print(_table(mine))
    seeded, missed = _sums(mine)
    print(f"\n{seeded - missed} of {seeded} faults found in {len(own)} programs")
    sys.exit(_GATE if 1 - missed / seeded < options.found else 0)


def _kept(path: Path | None, found: dict[str, Tally]) -> dict[str, Tally]:
    """Add counts to a file if there is one; return all that it has, in the order of kinds."""
    if path is None:
        return found
    if path.exists():
        earlier = json.loads(path.read_text())
        found = {whose: {**earlier[whose], **tally} for whose, tally in found.items()}
    write_text(path, json.dumps(found))
    return {
        whose: {kind: tally[kind] for kind in kinds() if kind in tally}
        for whose, tally in found.items()
    }


STRICT, STOPPED, VALUES, UNSEEN, MISSED, HARMLESS = range(6)


def count(
    subjects: Sequence[Subject], names: Sequence[str], number: int, draw: random.Random
) -> Tally:
    """Seed ``number`` faults, kind after kind; return for each kind how they are found.

    A kind that no program has a place for counts 0. A change without an effect is replaced by
    another: it only makes a transfer wait longer, moves a fence that nothing needs, or has to do
    with words that no output depends on, see `_has_no_effect`.
    """
    tally = {kind: [0] * 6 for kind in names}
    possible = {kind: list(subjects) for kind in names}
    done = 0
    while done < number and any(possible.values()):
        kind = names[done % len(names)] if possible[names[done % len(names)]] else ""
        kind = kind or draw.choice([each for each in names if possible[each]])
        subject = draw.choice(possible[kind])
        fault = seed(subject.program, kind, draw)
        if fault is None:
            possible[kind] = [each for each in possible[kind] if each is not subject]
            continue
        how = verdict(subject, fault.package)
        if how in {UNSEEN, MISSED} and tally[kind][HARMLESS] < _MAX_HARMLESS:
            in_values = kind in VALUE_KINDS and _has_no_effect(subject, fault.package)
            if fault.is_harmless or in_values:
                tally[kind][HARMLESS] += 1
                continue
        tally[kind][how] += 1
        if how == MISSED:
            print("missed:", kind, "in", subject.name, fault.text, flush=True)
        done += 1
    return tally


def verdict(subject: Subject, package: Package) -> int:
    """Return how the fault is found.

    In strict mode, as another stop, in the values, by the vocabulary, or not.
    """
    try:
        output = _output(EdgeTpu(package, strict_sync=True), subject.inputs)
        if subject.neighbours:
            verify_together([package, *subject.neighbours])
    except (SyncError, VerificationError):
        return STRICT
    except EdgeKitError:
        return STOPPED
    if output != subject.output:
        return VALUES
    found = audit(subject.vocabulary, *decode_package(package))
    return MISSED if found.is_seen else UNSEEN


def _has_no_effect(subject: Subject, package: Package) -> bool:
    """Whether a changed address changes no output: for more inputs, and other words in memory."""
    changed, unchanged = (
        EdgeTpu(each, strict_sync=True) for each in (package, subject.program.package)
    )
    inputs = [_random_inputs(changed.executable, _INPUTS + number) for number in range(_MORE)]
    for value in (0, 255):
        shapes = {name: np.zeros_like(array) for name, array in inputs[0].items()}
        for array in shapes.values():
            array.view(np.uint8)[...] = value
        inputs.append(shapes)
    return _output(changed, inputs) == _output(unchanged, inputs)


def _output(chip: EdgeTpu, all_inputs: Sequence[dict[str, Any]]) -> bytes:
    """Run on a chip whose narrow memory holds what another program has left."""
    found = b""
    for number, inputs in enumerate(all_inputs):
        generator = np.random.default_rng([number, len(all_inputs)])
        content = generator.integers(0, 256, chip.state.narrow_words.nbytes).astype(np.uint8)
        words = content.view(np.uint32).reshape(chip.state.narrow_words.shape)
        chip.state.narrow_words[...] = words
        chip.invoke(inputs)
        found += chip.state.output.tobytes()
    return found


def _given(paths: Sequence[Path]) -> Iterator[Subject]:
    for path in paths:
        for package in packages_of(path):
            subject = subject_of(path.name, package)
            if isinstance(subject, EdgeKitError):
                print(f"left out: {path.name}: {subject.what}", flush=True)
            else:
                yield subject


def _own() -> list[Subject]:
    subjects = []
    for name, package, neighbours in own_programs():
        subject = subject_of(name, package, neighbours)
        if isinstance(subject, EdgeKitError):
            sys.exit(f"{name}: {subject}")
        subjects.append(subject)
    return subjects


def _subjects(corpus: Path) -> Iterator[Subject]:
    for path in sorted(corpus.glob("compiled/**/*_edgetpu.tflite")):
        if path.stat().st_size > _MAX_BYTES:
            continue
        for each in read_packages(read_model(read_bytes(path))):
            subject = subject_of(path.name, each.package)
            if isinstance(subject, Subject):
                yield subject


def subject_of(
    name: str, package: Package, neighbours: tuple[Package, ...] = ()
) -> Subject | EdgeKitError:
    """Return the program with its output for random inputs, or why it does not run."""
    try:
        chip = EdgeTpu(package, strict_sync=True)
    except EdgeKitError as error:
        return error
    inputs = tuple(_random_inputs(chip.executable, seed) for seed in range(_INPUTS))
    known = Vocabulary.load(texts_of(*decode_package(package)))
    output = _output(chip, inputs)
    return Subject(name, Program.of(package), inputs, output, known, neighbours)


def _random_inputs(executable: Executable, seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    inputs: dict[str, Any] = {}
    for layer in executable.input_layers:
        shape = (layer.y_dim, layer.x_dim, layer.z_dim)
        if layer.data_type.item_bytes == 2:
            inputs[layer.name] = np.zeros(shape, np.int16)
            continue
        raw = generator.integers(0, 256, shape).astype(np.uint8)
        signed = layer.data_type.name.startswith("SIGNED")
        inputs[layer.name] = raw.view(np.int8) if signed else raw
    return inputs


def _sums(tally: Tally) -> tuple[int, int]:
    """How many faults were seeded, and how many of them missed."""
    return (
        sum(sum(counts[:HARMLESS]) for counts in tally.values()),
        sum(counts[MISSED] for counts in tally.values()),
    )


def _table(tally: Tally) -> str:
    rows = [
        "| fault | seeded | strict mode | another stop | wrong values | vocabulary | missed "
        "| found | without effect |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(kind, counts) for kind, counts in tally.items()),
        _row("all", [sum(column) for column in zip(*tally.values(), strict=True)]),
    ]
    return "\n".join(rows)


def _page(both: dict[str, Tally], num_mine: int, num_google: int, seed_number: int) -> str:
    mine, google = both["own"], both["google"]
    seeded, missed = _sums(mine)
    ran = seeded - missed - sum(counts[UNSEEN] for counts in mine.values())
    return f"""<!-- made by scripts/seeded_faults.py; change that, not this page -->
# Faults seeded into compiled programs

`--strict-sync` checks what the emulator otherwise assumes: that every transfer waits for
the words that it reads, and for enough of them; that no word is read before an earlier instruction
has written it, and that none is written while another unit may still read it; that producers on
the ring name the packets before them; that the counts that ops, wideToNarrow and ring consumers
wait for follow from the program;
that the scalar core waits for all packets, and for no token that no fence gives. Strict mode passes
every program of the corpus that runs.

## In programs of edgekit's own compiler

{seeded} random faults (each kind with seed {seed_number}) in {num_mine} programs,
{seeded - missed} found ({1 - missed / seeded:.1%}), {ran} of them ({ran / seeded:.1%} of all)
without the vocabulary. The programs have every kind of step: those of the ladder of
`edgekit confirm`, dense layers over all tiles, transpositions, vectors, a softmax over 5,000
classes, segments in slices, and two models in one cache.

{_table(mine)}

## In programs of Google's compiler

Half as many in {num_google} programs of the corpus. These have more waits than are needed: what a
wait is for is not always known, so more changes are missed.

{_table(google)}

## What the columns say

"Another stop" is the emulator's own: a region off its alignment, a row that was never written, a
program that waits forever. "Wrong values" are outputs for {_INPUTS} random inputs and random
contents of narrow memory. "Vocabulary" faults are found by nothing else: the
[audit](vocabulary.md) of forms,
level patterns and orders has something that neither the unchanged program nor another program of
Google's has.

Changes "without effect" do not change what the program computes. Each was replaced by a fault:

- a raised count of a mesh transfer that the program still reaches;
- a fence that was dropped or changed places with its neighbour, although until the next fences
  nothing touches memory that the awaited work touches (but for an op that counts the words which
  it reads), or waits for a counter that it resets;
- two ops in the other order, between two fences, that wait for nothing and touch other memory;
- an address of words that no output depends on: with {_MORE + 2} more inputs and contents
  of narrow memory all outputs are equal.

`python -m scripts.seeded_faults --compiled FILE...` seeds faults into any compiled model, and into
what edgekit's own compiler makes of a plain one; `--own` into the programs of the first table.
"""


def _row(name: str, counts: list[int]) -> str:
    total = sum(counts[:HARMLESS])
    found = total - counts[MISSED]
    share = f"{found / total:.1%}" if total else "-"
    *columns, harmless = counts
    return f"| {name} | {total} | {' | '.join(map(str, columns))} | {share} | {harmless} |"


if __name__ == "__main__":
    main()
