# SPDX-License-Identifier: Apache-2.0
"""Seed random faults into compiled programs, and count how many are found.

    python scripts/seeded_faults.py CORPUS [--number 200]            # docs/emulator-faults.md
    python scripts/seeded_faults.py --compiled FILE... [--number 200]    # on stdout

FILE is a compiled model, or one that edgekit's own compiler compiles. A fault is one change of one
instruction (or relocation) of a program that runs. It is found if strict mode or the emulator
stops, if an output differs from the unchanged program's for a random input and random contents of
the memories, or if the audited vocabulary does not have it. Faults that are not found are printed;
with --compiled, the exit status is 4 if fewer than --found are.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.chip.codegen.vocabulary import Vocabulary, audit, texts_of
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.isa import SyncError
from edgekit.errors import EdgeKitError
from edgekit.files import read_bytes, write_text
from edgekit.formats.darwinn import Executable, Package, read_packages
from edgekit.formats.tflite import read_model
from scripts.audit_programs import packages_of, programs_of
from scripts.fault_kinds import Program, kinds, seed

_TARGET = Path(__file__).resolve().parents[1] / "docs" / "emulator-faults.md"
_MAX_BYTES = 1 << 20  # larger models only take longer
_SEED = 7
_MAX_HARMLESS = 10_000
_GATE = 4  # exit status: too few are found


@dataclass(frozen=True)
class Subject:
    """A program that runs, and its output for random inputs."""

    name: str
    program: Program
    inputs: dict[str, Any]
    output: bytes
    vocabulary: Vocabulary  # the packaged one, with all that the unchanged program has


def main() -> None:
    """Add faults, run, write or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--compiled", type=Path, nargs="+", default=[])
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--kind", action="append", choices=kinds(), help="only these; default all")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--found", type=float, default=0.99, help="least share with --compiled")
    options = parser.parse_args()
    if bool(options.compiled) == bool(options.corpus):
        parser.error("give a corpus or --compiled")
    subjects = list(_given(options.compiled) if options.compiled else _subjects(options.corpus))
    if not subjects:
        sys.exit("no program runs in strict mode")
    draw = random.Random(options.seed)  # noqa: S311 - not cryptography
    tally = count(subjects, options.kind or kinds(), options.number, draw)
    if options.corpus:
        write_text(_TARGET, _page(tally, len(subjects), options.seed))
        return
    print(_table(tally))
    sums = [sum(column) for column in zip(*tally.values(), strict=True)]
    share = 1 - sums[MISSED] / sum(sums)
    print(f"\n{sum(sums) - sums[MISSED]} of {sum(sums)} faults found in {len(subjects)} programs")
    sys.exit(_GATE if share < options.found else 0)


STRICT, STOPPED, VALUES, UNSEEN, MISSED = range(5)


def count(
    subjects: Sequence[Subject], names: Sequence[str], number: int, draw: random.Random
) -> dict[str, list[int]]:
    """Seed ``number`` faults, kind after kind; return for each kind how they are found.

    A kind that no program has a place for counts 0. A change that turns out to be no fault, because
    it only makes a transfer wait longer, is replaced by another.
    """
    tally = {kind: [0] * 5 for kind in names}
    possible = {kind: list(subjects) for kind in names}
    done = harmless = 0
    while done < number and any(possible.values()):
        kind = names[done % len(names)] if possible[names[done % len(names)]] else ""
        kind = kind or draw.choice([each for each in names if possible[each]])
        subject = draw.choice(possible[kind])
        fault = seed(subject.program, kind, draw)
        if fault is None:
            possible[kind].remove(subject)
            continue
        how = verdict(subject, fault.package)
        if how == MISSED and fault.waits_longer and harmless < _MAX_HARMLESS:
            harmless += 1
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
    except SyncError:
        return STRICT
    except EdgeKitError:
        return STOPPED
    if output != subject.output:
        return VALUES
    found = audit(subject.vocabulary, *programs_of(package))
    return MISSED if found.is_seen else UNSEEN


def _output(chip: EdgeTpu, inputs: dict[str, Any]) -> bytes:
    """Run on a chip whose narrow memory holds what another program has left."""
    generator = np.random.default_rng(1)
    content = generator.integers(0, 256, chip.state.narrow_words.nbytes).astype(np.uint8)
    chip.state.narrow_words[...] = content.view(np.uint32).reshape(chip.state.narrow_words.shape)
    chip.invoke(inputs)
    return chip.state.output.tobytes()


def _given(paths: Sequence[Path]) -> Iterator[Subject]:
    for path in paths:
        for package in packages_of(path):
            subject = subject_of(path.name, package)
            if isinstance(subject, EdgeKitError):
                print(f"left out: {path.name}: {subject.what}", flush=True)
            else:
                yield subject


def _subjects(corpus: Path) -> Iterator[Subject]:
    for path in sorted(corpus.glob("compiled/**/*_edgetpu.tflite")):
        if path.stat().st_size > _MAX_BYTES:
            continue
        for each in read_packages(read_model(read_bytes(path))):
            subject = subject_of(path.name, each.package)
            if isinstance(subject, Subject):
                yield subject


def subject_of(name: str, package: Package) -> Subject | EdgeKitError:
    """Return the program with its output for random inputs, or why it does not run."""
    try:
        chip = EdgeTpu(package, strict_sync=True)
    except EdgeKitError as error:
        return error
    inputs = _random_inputs(chip.executable)
    known = Vocabulary.load(texts_of(*programs_of(package)))
    return Subject(name, Program.of(package), inputs, _output(chip, inputs), known)


def _random_inputs(executable: Executable) -> dict[str, Any]:
    generator = np.random.default_rng(0)
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


def _table(tally: dict[str, list[int]]) -> str:
    rows = [
        "| fault | seeded | strict mode | another stop | wrong values | vocabulary | missed "
        "| found |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(kind, counts) for kind, counts in tally.items()),
        _row("all", [sum(column) for column in zip(*tally.values(), strict=True)]),
    ]
    return "\n".join(rows)


def _page(tally: dict[str, list[int]], num_subjects: int, number: int) -> str:
    seeded = sum(map(sum, tally.values()))
    return f"""<!-- made by scripts/seeded_faults.py; change that, not this page -->
# Faults seeded into compiled programs

`--strict-sync` checks what the emulator otherwise assumes: that every transfer waits for
the words that it reads, and for enough of them; that producers on the ring name the packets before
them; that the counts that ops, wideToNarrow and ring consumers wait for follow from the program;
that the scalar core waits for all packets, and for no token that no fence gives. Strict mode passes
every program of the corpus that runs. {seeded} random faults (seed {number}) in {num_subjects}
programs of Google's compiler:

{_table(tally)}

"Another stop" is the emulator's own: a region off its alignment, a row that was never written, a
program that waits forever. "Wrong values" are outputs for a random input and random contents of
narrow memory. "Vocabulary" faults are found by nothing else: the [audit](vocabulary.md) of forms,
level patterns and orders has something that neither the unchanged program nor another program of
Google's has. A missed fault did not change the output. A raised count of a mesh transfer that the
program still reaches is not a fault, and not counted.

`python -m scripts.seeded_faults --compiled FILE...` seeds faults into any compiled model, and into
what edgekit's own compiler makes of a plain one.
"""


def _row(name: str, counts: list[int]) -> str:
    total = sum(counts)
    found = total - counts[MISSED]
    share = f"{found / total:.1%}" if total else "-"
    return f"| {name} | {total} | {' | '.join(map(str, counts))} | {share} |"


if __name__ == "__main__":
    main()
