# SPDX-License-Identifier: Apache-2.0
"""Whether the results of a build, as JSON documents, meet its gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgekit.building.plan import BuildGates
from edgekit.building.words import quality_of
from edgekit.evaluate.metrics import NO_SHARES

_Document = Mapping[str, Any]


def failures_of(gates: BuildGates, documents: Mapping[str, _Document]) -> Iterator[str]:
    """Yield for each gate that is not met what was measured.

    Args:
        gates: The gates.
        documents: Step -> its result as JSON.
    """
    if gates.min_mapped is not None:
        yield from _mapped(gates.min_mapped, documents["check"])
    if gates.max_drop is not None:
        yield from _drops(gates.max_drop, documents.get("evaluate", {}).get("against") or {})
    quality = quality_of(documents)
    if gates.min_agreement is not None:
        share = quality.get("share")
        if share is None or share < gates.min_agreement:
            shown = "not measured" if share is None else f"{share:.4f}"
            yield f"agreement {shown}, --min-agreement is {gates.min_agreement:g}"
    if gates.min_snr_db is not None:
        yield from _noise(gates.min_snr_db, quality)


def _mapped(least: float, report: _Document) -> Iterator[str]:
    mapped, count = report["num_mapped"], report["num_operators"]
    if mapped < least * count:
        yield f"{mapped} of {count} operators map, --min-mapped is {least:g}"


def _drops(most: float, comparison: _Document) -> Iterator[str]:
    shares = {
        name: value
        for name, value in comparison.get("difference", {}).items()
        if name not in NO_SHARES and value is not None
    }
    if not shares:
        yield f"no accuracy was measured, --max-drop is {most:g}: it needs labelled data (--eval)"
    for name, value in shares.items():
        if -value > most:
            yield f"{name} is {-value * 100:.2f} points lower, --max-drop is {most * 100:g}"


def _noise(least: float, quality: _Document) -> Iterator[str]:
    outputs = [each["record"] for each in quality.get("outputs", ())]
    if not outputs:
        yield f"no output was compared, --min-snr-db is {least:g}"
    for record in outputs:
        ratio = record["centred_snr_db"]
        if not record["identical"] and (ratio is None or ratio < least):
            shown = "no signal" if ratio is None else f"{ratio:.2f} dB"
            yield f"{record['name']}: {shown}, --min-snr-db is {least:g}"
