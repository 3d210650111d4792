# SPDX-License-Identifier: Apache-2.0
"""Write docs/quality.md: the rules by which an int8 model is bad, and how often they are right.

    python scripts/quality_table.py NETWORKS... [--keep docs/quality.md] [-o docs/quality.md]

NETWORKS are folders with one folder per network. It contains ``float.tflite``, ``int8.tflite`` of
`convert`, ``hold.npz`` with samples that were not used to calibrate, and ``truth.json`` with
``quality`` (good, fair or bad), ``task`` (a description) and ``known`` (how this is known);
``held_out`` is true if the network was tried after the limits were set. The networks and samples
are not part of this project. ``--keep`` copies the rows of a page whose networks are missing now.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgekit import evaluate, files
from edgekit.evaluate.decoded import CLASS_LIMITS, LIMITS, LOSS_LIMITS, OVERLAP_LIMITS
from edgekit.evaluate.outputs import Agreement
from edgekit.host.convert.training_data import LATER_RATIO_LIMITS, MOST_SHIFTED, RATIO_LIMITS
from edgekit.runtime.base import MOST_TARGETS
from edgekit.runtime.channels import LEAST_HITS
from edgekit.runtime.quality import (
    CHANNEL_F1_LIMITS,
    CLOSE_SNR_DB,
    COARSEST_LOGIT,
    CUT_OFF_LIMITS,
    DENSE_F1_LIMITS,
    DROP_LIMITS,
    ELEMENT_SNR_LIMITS_DB,
    EXACT_SNR_DB,
    GOOD,
    GROWTH_LIMITS,
    LEAST_GROWTH,
    LEAST_IRREGULARITY,
    NOT_SHOWN,
    OBJECT_F1_LIMITS,
    SNR_LIMITS_DB,
    TARGET_SNR_LIMITS_DB,
)

_OLD, _HELD_OUT = "°", "\\*"  # marks of rows, explained on the page
_HEAD = Path(__file__).with_suffix(".txt")  # the page above the rows


@dataclass(frozen=True)
class Row:
    """One network: its true quality, and the result of the rules."""

    name: str
    quality: str
    called: str
    cells: tuple[str, ...]

    @property
    def is_hit(self) -> bool | None:
        """Whether the rules are right; None for a fair network."""
        if self.quality == "fair":
            return None
        if self.quality == GOOD:
            return self.called in (GOOD, NOT_SHOWN)
        return self.called != GOOD

    @classmethod
    def parse(cls, line: str) -> Row:
        """Parse a row of an existing page."""
        name, *cells, called, _ = (each.strip() for each in line.strip()[1:-1].split("|"))
        quality = cells[1].split(":")[0]
        return cls(name, quality, called, tuple(cells))

    @property
    def line(self) -> str:
        """Return the row for the table."""
        mark = {True: "hit", False: "**miss**", None: ""}[self.is_hit]
        return f"| {self.name} | {' | '.join(self.cells)} | {self.called} | {mark} |"


def main() -> None:
    """Judge every network, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", type=Path, nargs="+")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/quality.md"))
    words = parser.parse_args()
    rows = []
    for folder in sorted(each for networks in words.networks for each in networks.iterdir()):
        if (folder / "truth.json").exists() and (folder / "int8.tflite").exists():
            rows.append(judge(folder))
            print(rows[-1].line)
    if words.keep is not None:
        known = {_bare(row.name) for row in rows}
        old = [row for row in kept(words.keep) if _bare(row.name) not in known]
        rows = sorted([*rows, *old], key=lambda row: row.name)
    page = (
        head() + "".join(row.line + "\n" for row in rows) + "\n" + "\n".join(summary(rows)) + "\n"
    )
    files.write_text(words.output, page)


def _bare(name: str) -> str:
    return name.rstrip(_OLD + _HELD_OUT)


def kept(page: Path) -> list[Row]:
    """Return the rows of an existing page."""
    lines = page.read_text(encoding="utf-8").rsplit("|---|\n", 1)[1].splitlines()
    return [Row.parse(line) for line in lines if line.startswith("|")]


def head() -> str:
    """Return the rules with their limits, and the head of the table."""
    return _HEAD.read_text(encoding="utf-8").format(
        snr=SNR_LIMITS_DB,
        element=ELEMENT_SNR_LIMITS_DB,
        target=TARGET_SNR_LIMITS_DB,
        exact=EXACT_SNR_DB,
        close=CLOSE_SNR_DB,
        irregularity=LEAST_IRREGULARITY,
        growth=GROWTH_LIMITS,
        drop=DROP_LIMITS,
        most_growth=10 ** (-CLOSE_SNR_DB / 20),
        least_growth=LEAST_GROWTH,
        most_targets=MOST_TARGETS,
        cut_off=CUT_OFF_LIMITS,
        objects=OBJECT_F1_LIMITS,
        dense=DENSE_F1_LIMITS,
        least_hits=LEAST_HITS,
        channel=CHANNEL_F1_LIMITS,
        loss=LOSS_LIMITS,
        overlap=OVERLAP_LIMITS,
        each_class=CLASS_LIMITS,
        coarsest_logit=COARSEST_LOGIT,
        shifted=MOST_SHIFTED,
        ratio=RATIO_LIMITS,
        later_ratio=LATER_RATIO_LIMITS,
        **LIMITS,
    )


def judge(folder: Path) -> Row:
    """Apply the rules to the network in ``folder``."""
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    result = evaluate(folder / "int8.tflite", folder / "hold.npz", against=folder / "float.tflite")
    if result.against is None or result.against.quality is None:
        raise ValueError(f"{folder}: nothing was compared")
    agreement = result.against.quality
    cells = (truth["task"], f"{truth['quality']}: {truth['known']}", *_cells(agreement))
    mark = _HELD_OUT if truth.get("held_out") else ""
    return Row(f"{folder.name}{mark}", truth["quality"], agreement.verdict, cells)


def summary(rows: list[Row]) -> Iterator[str]:
    """Yield hits and misses of bad and of good networks; those held out separately."""
    held_out = [row for row in rows if row.name.endswith(_HELD_OUT)]
    for title, group in (("", rows), ("held out: ", held_out)):
        for quality, wrong in (("bad", "called good"), ("good", "not called good")):
            chosen = [row for row in group if row.quality == quality]
            missed = [row.name for row in chosen if row.is_hit is False]
            names = f": {', '.join(missed)}" if missed else ""
            if chosen:
                yield f"- {title}of {len(chosen)} {quality} ones {len(missed)} are {wrong}{names}"


def _cells(agreement: Agreement) -> tuple[str, ...]:
    records = [each.record for each in agreement.outputs]
    hits = [
        f"{each.hits.found:,} of {each.hits.reference:,}, {each.hits.false:,} false"
        for each in records
        if each.hits is not None and each.hits.reference
    ]
    decoded = agreement.decoded
    return (
        " / ".join(_decibels(each.snr_db) for each in records),
        " / ".join(_decibels(each.centred_snr_db) for each in records),
        "; ".join(hits),
        "" if decoded is None else f"{decoded.task} {decoded.share:.3f}",
    )


def _decibels(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"


if __name__ == "__main__":
    main()
