# SPDX-License-Identifier: Apache-2.0
"""Write docs/emulator-faults.md: how many random faults in compiled programs are found.

    python scripts/seeded_faults.py CORPUS [--number 200]

A fault is one change of one instruction (or relocation) of a program that runs. It is found if
strict mode or the emulator stops, or if an output differs from the unchanged program's for one
random input.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.isa import EmulationError, Instruction, SyncError, decode, encode
from edgekit.errors import EdgeKitError
from edgekit.files import write_text
from edgekit.formats.darwinn import Executable, InstructionBitstream, Package, read_packages
from edgekit.formats.tflite import read_model

_TARGET = Path(__file__).resolve().parents[1] / "docs" / "emulator-faults.md"
_MAX_BYTES = 1 << 20  # larger models only take longer
_SEED = 7
_SUMS = 0x12  # cfg2 of the ops whose result goes to wide memory


@dataclass(frozen=True)
class Subject:
    """A program that runs, its outputs, and its instructions."""

    name: str
    package: Package
    inputs: dict[str, Any]
    output: bytes
    instructions: tuple[tuple[Instruction, ...], ...]
    caching: tuple[Instruction, ...]


def main() -> None:
    """Add faults, run, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--number", type=int, default=200)
    options = parser.parse_args()
    subjects = list(_subjects(options.corpus))
    draw = random.Random(_SEED)  # noqa: S311 - not cryptography
    kinds = list(KINDS)
    tally: dict[str, list[int]] = {kind: [0, 0, 0, 0] for kind in kinds}
    number = 0
    while number < options.number:
        kind = kinds[number % len(kinds)]
        subject = draw.choice(subjects)
        changed = KINDS[kind](subject, draw)
        if changed is None:
            continue
        package, text = changed
        how = verdict(subject, package)
        tally[kind][how] += 1
        if how == MISSED:
            print("missed", kind, subject.name, text, flush=True)
        number += 1
    write_text(_TARGET, _page(tally, len(subjects)))


STRICT, STOPPED, VALUES, MISSED = range(4)


def verdict(subject: Subject, package: Package) -> int:
    """Return how the fault is found: in strict mode, as another stop, in the values, or not."""
    try:
        EdgeTpu(package, strict_sync=True)
        strict = False
    except SyncError:
        return STRICT
    except EdgeKitError:
        strict = True
    try:
        chip = EdgeTpu(package)
        chip.invoke(subject.inputs)
    except EdgeKitError:
        return STOPPED
    if strict:
        return STOPPED
    return VALUES if chip.state.output.tobytes() != subject.output else MISSED


def _subjects(corpus: Path) -> Iterator[Subject]:
    generator = np.random.default_rng(0)
    for path in sorted(corpus.glob("compiled/**/*_edgetpu.tflite")):
        if path.stat().st_size > _MAX_BYTES:
            continue
        for each in read_packages(read_model(path.read_bytes())):
            try:
                chip = EdgeTpu(each.package, strict_sync=True)
            except EmulationError:
                continue
            inputs: dict[str, Any] = {}
            for layer in chip.executable.input_layers:
                shape = (layer.y_dim, layer.x_dim, layer.z_dim)
                if layer.data_type.item_bytes == 2:
                    inputs[layer.name] = np.zeros(shape, np.int16)
                    continue
                raw = generator.integers(0, 256, shape).astype(np.uint8)
                signed = layer.data_type.name.startswith("SIGNED")
                inputs[layer.name] = raw.view(np.int8) if signed else raw
            chip.invoke(inputs)
            output = chip.state.output.tobytes()
            caching = each.package.caching
            yield Subject(
                path.name,
                each.package,
                inputs,
                output,
                tuple(_decoded(chunk) for chunk in each.package.inference.instruction_bitstreams),
                _decoded(caching.instruction_bitstreams[0]) if caching else (),
            )


def _decoded(chunk: InstructionBitstream) -> tuple[Instruction, ...]:
    return decode(chunk.bitstream.tobytes())


_Change = tuple[Package, str] | None


def _pick(
    subject: Subject, draw: random.Random, fits: Callable[[Instruction], list[dict[str, int]]]
) -> _Change:
    """Choose one of the changes from ``fits`` for the instructions of the inference program."""
    places = [
        (chunk, position, change)
        for chunk, instructions in enumerate(subject.instructions)
        for position, instruction in enumerate(instructions)
        for change in fits(instruction)
    ]
    if not places:
        return None
    chunk, position, change = draw.choice(places)
    instruction = subject.instructions[chunk][position]
    executable = _changed(subject.package.inference, subject.instructions, chunk, position, change)
    return _with(subject.package, executable), f"{instruction.where} {change}"


def _changed(
    executable: Executable,
    programs: tuple[tuple[Instruction, ...], ...],
    chunk: int,
    position: int,
    change: dict[str, int],
) -> Executable:
    instructions = list(programs[chunk])
    old = instructions[position]
    instructions[position] = replace(old, fields={**old.fields, **change})
    content = np.frombuffer(encode(instructions), np.uint8)
    chunks = list(executable.instruction_bitstreams)
    chunks[chunk] = replace(chunks[chunk], bitstream=content)
    return replace(executable, instruction_bitstreams=tuple(chunks))


def _with(package: Package, executable: Executable) -> Package:
    """Return the package with the executable of the same type replaced."""
    return replace(
        package,
        executables=tuple(
            executable if each.type is executable.type else each for each in package.executables
        ),
    )


def _waits(instruction: Instruction) -> list[dict[str, int]]:
    """Return each removal of a wait of an instruction."""
    name, fields = instruction.layout.name, instruction.fields
    if name.startswith("mesh"):
        return [
            {f"s{k}_en_a": 0, f"s{k}_en_b": 0, f"s{k}_id": 0, f"s{k}_val": 0}
            for k in range(5)
            # Waits for space at the other end (OUT counters, negative values) are credits.
            if fields[f"s{k}_en_a"]
            and fields[f"s{k}_val"] >= 4
            and fields[f"s{k}_id"] >> 1 < 7
            and not fields[f"s{k}_id"] & 1
        ]
    if name == "ring.send":
        return [
            {f"r{k}_en_a": 0, f"r{k}_en_b": 0, f"r{k}_id": 0, f"r{k}_val": 0}
            for k in range(3)
            if fields[f"r{k}_en_a"]
        ]
    if name == "w2n" and fields["s0_id"]:
        return [{"s0_id": 0}]
    if name == "scalar.sync" and fields["wait"]:
        return [{"wait": 0}]
    return []


def _counts(instruction: Instruction) -> list[dict[str, int]]:
    """Return each change that reduces an awaited count by one."""
    name, fields = instruction.layout.name, instruction.fields
    if name.startswith("mesh"):
        return [
            {f"s{k}_val": fields[f"s{k}_val"] - 4}
            for k in range(5)
            if fields[f"s{k}_en_a"]
            and fields[f"s{k}_val"] >= 4
            and fields[f"s{k}_id"] >> 1 < 7
            and not fields[f"s{k}_id"] & 1
        ]
    if name == "ring.send":
        return [
            {f"r{k}_val": fields[f"r{k}_val"] - 1}
            for k in range(3)
            if fields[f"r{k}_en_a"] and fields[f"r{k}_val"] >= 1
        ]
    if name == "scalar.sync" and fields["wait"]:
        return [
            {f"threshold{bit}": fields[f"threshold{bit}"] - 1}
            for bit in (5, 6)
            if fields["wait"] >> bit & 1 and fields[f"threshold{bit}"]
        ]
    return []


def _removed_wait(subject: Subject, draw: random.Random) -> _Change:
    return _pick(subject, draw, _waits)


def _lowered_count(subject: Subject, draw: random.Random) -> _Change:
    return _pick(subject, draw, _counts)


def _overlapping(subject: Subject, draw: random.Random) -> _Change:
    """Move the output of an op onto the output of another one."""
    bases = sorted(
        {
            instruction["out_base"]
            for instructions in subject.instructions
            for instruction in instructions
            if instruction.layout.name == "op"
        }
    )
    if len(bases) < 2:
        return None
    target = draw.choice(bases)

    def moved(instruction: Instruction) -> list[dict[str, int]]:
        writes = instruction.layout.name == "op" and instruction["cfg2"] != _SUMS
        fits = writes and instruction["out_base"] != target
        return [{"out_base": target}] if fits else []

    return _pick(subject, draw, moved)


def _unaligned(subject: Subject, draw: random.Random) -> _Change:
    """Move a parameter region by one to three units of 64 bytes."""
    step = draw.choice((1, 2, 3))
    inside = draw.random() < 0.5
    if not inside and subject.package.caching is not None:
        positions = [
            position
            for position, instruction in enumerate(subject.caching)
            if instruction.layout.name == "ring.recv0"
        ]
        position = draw.choice(positions)
        address = subject.caching[position]["addr"] + step
        executable = _changed(
            subject.package.caching, (subject.caching,), 0, position, {"addr": address}
        )
        return _with(subject.package, executable), f"{subject.caching[position].where} +{step}"

    def moved(instruction: Instruction) -> list[dict[str, int]]:
        fits = instruction.layout.name == "ring.send" and not instruction["slots"]
        return [{"addr": instruction["addr"] + step}] if fits else []

    return _pick(subject, draw, moved)


def _relocation(subject: Subject, draw: random.Random) -> _Change:
    """Move a relocation outside: past the end, or away from the immediate that it patches."""
    executable = subject.package.inference
    chunk = draw.randrange(len(executable.instruction_bitstreams))
    stream = executable.instruction_bitstreams[chunk]
    if not stream.field_offsets:
        return None
    position = draw.randrange(len(stream.field_offsets))
    offsets = list(stream.field_offsets)
    past = 8 * stream.bitstream.size + draw.randrange(1 << 12)
    near = offsets[position].offset_bit + draw.choice((-32, -1, 1, 32))
    moved = draw.choice((past, near))
    offsets[position] = replace(offsets[position], offset_bit=moved)
    chunks = list(executable.instruction_bitstreams)
    chunks[chunk] = replace(stream, field_offsets=tuple(offsets))
    changed = replace(executable, instruction_bitstreams=tuple(chunks))
    return _with(subject.package, changed), f"relocation {position} to bit {moved}"


KINDS: dict[str, Callable[[Subject, random.Random], _Change]] = {
    "a removed wait": _removed_wait,
    "a lowered count": _lowered_count,
    "two overlapping buffers": _overlapping,
    "a parameter region not aligned to 256 bytes": _unaligned,
    "a misplaced relocation": _relocation,
}


def _page(tally: dict[str, list[int]], num_subjects: int) -> str:
    rows = ["| fault | seeded | strict mode | another stop | wrong values | missed | found |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    sums = [0, 0, 0, 0]
    for kind, counts in tally.items():
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        rows.append(_row(kind, counts))
    rows.append(_row("all", sums))
    table = "\n".join(rows)
    return f"""<!-- made by scripts/seeded_faults.py; change that, not this page -->
# Faults seeded into compiled programs

`--strict-sync` checks what the emulator otherwise assumes: every transfer waits for
all the words that it reads; producers on the ring name the number of packets before
theirs; the scalar core waits for all packets. Strict mode passes every program of the corpus
that runs. {sum(sums)} random faults (seed {_SEED}) in {num_subjects} programs of Google's compiler:

{table}

"Another stop" is an error without strict mode: an unaligned region, a row that was never written, a
program that waits forever. A missed fault did not change the output for the random input either.
Counts whose unit is not known (fences with a count, the values in the sync records of the two tile
transfers, an op's own sync fields) are not checked and not seeded.
"""


def _row(name: str, counts: list[int]) -> str:
    total = sum(counts)
    found = total - counts[MISSED]
    share = f"{found / total:.1%}" if total else "-"
    return f"| {name} | {total} | {' | '.join(map(str, counts))} | {share} |"


if __name__ == "__main__":
    main()
