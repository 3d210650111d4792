# SPDX-License-Identifier: Apache-2.0
"""Write docs/compiler-results.md: every pair of source and compiled model, by both compilers.

    python -m scripts.compiler_table CORPUS [PROGRAMS]

CORPUS and PROGRAMS are folders with a truth.json that names the pairs. Every program is verified in
the emulator. Takes about fifteen minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import EdgeKitError
from edgekit.files import write_text
from edgekit.formats.darwinn import Executable, Package, arithmetic_cycles, read_packages
from edgekit.formats.tflite import read_model
from edgekit.opencompiler import CompiledProgram, NotCompiledError, compile_program

_TARGET = Path(__file__).resolve().parents[1] / "docs" / "compiler-results.md"
_TEXT = Path(__file__).with_suffix(".txt")


@dataclass(frozen=True)
class Pair:
    """A source, the file that Google's compiler made of it, and the operators that it mapped."""

    source: Path
    compiled: Path
    google_mapped: frozenset[int]


@dataclass(frozen=True)
class Row:
    """What became of one pair."""

    pair: Pair
    refused: str  # the reason; empty if it was compiled
    mapped: int = 0  # of the operators that Google's compiler maps
    time_s: float = 0.0
    seen_share: float = 0.0
    steps_ratio: float | None = None  # of the busiest tile, ours / Google's
    bytes_ratio: float | None = None  # of the instructions, ours / Google's
    equal: str = ""  # what equals Google's program byte for byte
    comparable: bool = False  # both compilers map the same operators


def pairs_of(folder: Path) -> list[Pair]:
    """The pairs that ``folder / truth.json`` names."""
    pairs = []
    for record in json.loads((folder / "truth.json").read_text(encoding="utf-8")):
        if record["source"]:
            operators: list[dict[str, Any]] = record["ops"]
            mapped = frozenset(i for i, each in enumerate(operators) if each["status"] == "MAPPED")
            inside = (folder / record["compiled"]).is_file()
            base = folder if inside else folder.parent
            pairs.append(Pair(base / record["source"], base / record["compiled"], mapped))
    return pairs


def compile_pair(pair: Pair) -> Row:
    """Compile and verify the source of a pair, and compare the programs."""
    model = read_model(pair.source.read_bytes())
    start = time.process_time()
    try:
        made = compile_program(model)
    except NotCompiledError as refusal:
        return Row(pair, f"{refusal.what}: {refusal.why}")
    time_s = time.process_time() - start
    mapped = frozenset(made.part.mapped)
    row = Row(
        pair,
        "",
        len(mapped & pair.google_mapped),
        time_s,
        made.audit.seen_share,
        comparable=mapped == pair.google_mapped,
    )
    return _compared(row, made, read_packages(read_model(pair.compiled.read_bytes()))[0].package)


def _compared(row: Row, made: CompiledProgram, google: Package) -> Row:
    if not row.comparable:
        return row
    mine, theirs = made.package.inference, google.inference
    steps = max(arithmetic_cycles(theirs))
    equal = [
        name
        for name, first, second in (
            ("inference", _code(mine), _code(theirs)),
            ("caching", _code(made.package.caching), _code(google.caching)),
            ("parameters", _parameters(made.package), _parameters(google)),
        )
        if first and first == second
    ]
    if _begins(_parameters(google), _parameters(made.package)):
        equal.append("layers")
    return Row(
        **{
            **row.__dict__,
            "steps_ratio": max(arithmetic_cycles(mine)) / steps if steps else None,
            "bytes_ratio": mine.instruction_bytes / theirs.instruction_bytes,
            "equal": ", ".join(equal),
        }
    )


def _code(executable: Executable | None) -> bytes:
    chunks = executable.instruction_bitstreams if executable else ()
    return b"".join(chunk.bitstream.tobytes() for chunk in chunks)


def _parameters(package: Package) -> bytes:
    return package.caching.parameters.tobytes() if package.caching else b""


def _begins(theirs: bytes, mine: bytes) -> bool:
    """Whether Google's program has the same parameters of layers, and behind them some of others.

    Compiler 14 and 15 add constants of its softmax, which edgekit's programs make on the tiles.
    """
    return bool(mine) and theirs != mine and theirs.startswith(mine)


def page(rows: list[Row]) -> str:
    """The page."""
    done = [row for row in rows if not row.refused]
    wanted = sum(len(row.pair.google_mapped) for row in rows)
    steps = sorted(row.steps_ratio for row in done if row.steps_ratio is not None)
    size = sorted(row.bytes_ratio for row in done if row.bytes_ratio is not None)
    return _TEXT.read_text(encoding="utf-8").format(
        pairs=len(rows),
        compiled=len(done),
        operators=wanted,
        mapped=sum(row.mapped for row in rows),
        share=f"{sum(row.mapped for row in rows) / wanted:.1%}",
        comparable=len(steps),
        steps=_spread(steps),
        size=_spread(size),
        identical=sum("inference" in row.equal and "parameters" in row.equal for row in done),
        parameters=sum("parameters" in row.equal for row in done),
        layers=sum("layers" in row.equal for row in done),
        table="\n".join(_line(row) for row in rows),
        refusals="\n".join(
            f"- {count} x {reason.splitlines()[0]}"
            for reason, count in Counter(row.refused for row in rows if row.refused).most_common()
        )
        or "none",
    )


def _spread(values: list[float]) -> str:
    if not values:
        return "not measured"
    tenth = values[min(len(values) - 1, int(0.9 * len(values)))]
    return f"{statistics.median(values):.2f} in the median, {tenth:.2f} at the worst tenth"


def _line(row: Row) -> str:
    name = row.pair.compiled.name.replace("_edgetpu.tflite", "")
    wanted = len(row.pair.google_mapped)
    if row.refused:
        return f"| {name} | 0 of {wanted} | refused | | | | |"

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    return (
        f"| {name} | {row.mapped} of {wanted} | {row.time_s:.1f} s | {row.seen_share:.1%} | "
        f"{number(row.steps_ratio)} | {number(row.bytes_ratio)} | {row.equal} |"
    )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    rows = []
    for folder in parser.parse_args().folders:
        for pair in pairs_of(folder):
            try:
                rows.append(compile_pair(pair))
            except EdgeKitError as error:
                rows.append(Row(pair, str(error)))
            print(_line(rows[-1]), rows[-1].refused, flush=True)
    write_text(_TARGET, page(rows))


if __name__ == "__main__":
    main()
