# SPDX-License-Identifier: Apache-2.0
"""Write docs/cycles.md: cycles counted in compiled programs beside those of Google's compiler.

    python -m scripts.cycles_table CORPUS [PROGRAMS]

PROGRAMS is a folder with more compiled models, described by its ``truth.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.files import write_text
from edgekit.formats.darwinn import arithmetic_cycles
from scripts.compared_programs import CorpusProgram, programs_of_corpus

_TARGET = Path(__file__).resolve().parents[1] / "docs" / "cycles.md"
_ODD = 100  # times: not the cycles of the same work


@dataclass(frozen=True)
class _Row:
    name: str
    counted: int  # of the busiest tile
    mean: float
    written: int

    @property
    def ratio(self) -> float:
        return self.counted / self.written


def main() -> None:
    """Count the loops of every program, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("programs", type=Path, nargs="?")
    options = parser.parse_args()
    programs = list(programs_of_corpus(options.corpus, options.programs))
    rows = [row for row in map(_row, programs) if row is not None]
    write_text(_TARGET, _page(rows, len(programs)))


def _row(program: CorpusProgram) -> _Row | None:
    executable = program.operator.package.inference
    if not executable.estimated_cycles:
        return None
    cycles = arithmetic_cycles(executable)
    return _Row(program.label, max(cycles), sum(cycles) / len(cycles), executable.estimated_cycles)


def _page(rows: Sequence[_Row], total: int) -> str:
    like = [row.ratio for row in rows if row.ratio < _ODD]
    near = sum(abs(ratio - 1) <= 0.2 for ratio in like)
    odd = [row for row in rows if row.ratio >= _ODD]
    lines = [
        f"| {row.name} | {row.counted:,} | {row.mean:,.0f} | {row.written:,} | {row.ratio:.2f} |"
        for row in sorted(rows, key=lambda row: row.ratio)
    ]
    exceptions = "".join(
        f"\nThe {row.written:,} cycles that {row.name} announces cannot be those of its "
        f"{row.counted:,} loop steps; it is left out of the sentence with the ratios.\n"
        for row in odd
    )
    return f"""<!-- made by scripts/cycles_table.py; change that, not this page -->
# Cycles: counted in the program, and written by Google's compiler

`edgekit estimate` counts the cycles of a compiled program in its own instructions: an arithmetic
instruction takes one cycle for each step of its loops, and the busiest tile decides. Older
compilers of Google write a number of their own into the file, `estimated_cycles`
(`edgekit inspect` shows both). {len(rows)} of the {total} programs at hand have it.

The ratio of count to number is between {min(like):.2f} and {max(like):.2f}, the median is
{np.median(like):.2f}, and {near} of {len(like)} programs are within 20 %.
How Google's number is computed is not known, and `estimate` does not use it: its factors are fitted
to measured latencies ([estimate and published latencies](estimate-accuracy.md)).
{exceptions}
| program | cycles of the busiest tile | mean of the 16 tiles | `estimated_cycles` | ratio |
|---|---|---|---|---|
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    main()
