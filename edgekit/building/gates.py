# SPDX-License-Identifier: Apache-2.0
"""Whether the results of a build, as JSON documents, meet its gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgekit.building.plan import BuildGates
from edgekit.building.words import quality_of
from edgekit.evaluate.metrics import drop_points, drop_text, is_above

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
    records = [each["record"] for each in quality.get("outputs", ())]
    yield from gates.failures_of(
        quality.get("share"),
        [(each["name"], each["centred_snr_db"], each["identical"]) for each in records],
    )


def _mapped(least: float, report: _Document) -> Iterator[str]:
    mapped, count = report["num_mapped"], report["num_operators"]
    if mapped < least * count:
        yield f"{mapped} of {count} operators map, --min-mapped is {least:g}"


def _drops(most: float, comparison: _Document) -> Iterator[str]:
    drops = {
        name: drop_points(name, value, comparison["metrics"][name])
        for name, value in comparison.get("difference", {}).items()
        if value is not None
    }
    if not drops:
        yield f"no accuracy was measured, --max-drop is {most:g}: it needs labelled data (--eval)"
    for name, drop in drops.items():
        if is_above(drop, most):
            yield f"{name} {drop_text(name, drop)} against float, --max-drop is {most:g}"
