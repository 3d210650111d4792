# SPDX-License-Identifier: Apache-2.0
"""Evidence from chips: which texts of the vocabulary occur in programs that a chip ran rightly.

One JSON file in the user's data folder, or where ``EDGEKIT_EVIDENCE`` says, in addition to the one
that edgekit contains. Each text names the reports that support it. ``edgekit confirm`` makes
reports on a chip, ``edgekit confirm --import`` writes the file.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Iterable, Mapping, Tuple

from edgekit.chip.vocabulary.entries import document
from edgekit.errors import InputError
from edgekit.files import MOST_TEXT_BYTES, PathLike, read_bytes
from edgekit.result import Result

EVIDENCE_VARIABLE = "EDGEKIT_EVIDENCE"  # names another file
PACKAGED_FILE = Path(__file__).with_name("evidence.json")  # of the project; may be absent
Support = Mapping[str, Tuple[str, ...]]  # text -> SHA-256 of each report


@dataclass(frozen=True)
class EvidenceReport(Result):
    """A report that was imported."""

    sha256: str
    date: str  # when the chip was used, ISO 8601
    device: str
    signed_by: str  # fingerprint of the key that signed it; empty if it is not signed
    programs: tuple[str, ...]  # the programs that matched


@dataclass(frozen=True)
class UserEvidence(Result):
    """What chips have confirmed, by the reports that this machine has.

    ``suspects`` are texts of programs that a chip computed differently or did not finish. A text
    can be confirmed by one report and suspected by another: it then is not trusted.
    """

    schema: ClassVar[str] = "edgekit.evidence/1"
    rules: str  # the rules that the texts were made under
    reports: tuple[EvidenceReport, ...] = ()  # in the order of their import
    # The text of each form, level pattern and order that chips ran rightly: SHA-256 of the reports.
    confirmed: Support = field(default_factory=dict)
    suspects: Support = field(default_factory=dict)  # the same for those of failed programs

    @property
    def trusted(self) -> frozenset[str]:
        """The texts that reports confirm and no report suspects."""
        return frozenset(self.confirmed) - frozenset(self.suspects)

    def with_report(
        self, source: EvidenceReport, confirmed: Iterable[str], suspects: Iterable[str]
    ) -> UserEvidence:
        """Return the evidence with one more report; the same report counts once."""
        if any(each.sha256 == source.sha256 for each in self.reports):
            return self
        return replace(
            self,
            reports=(*self.reports, source),
            confirmed=_merge(self.confirmed, confirmed, source.sha256),
            suspects=_merge(self.suspects, suspects, source.sha256),
        )

    def with_evidence(self, other: UserEvidence) -> UserEvidence:
        """Return both, where a report that is in both counts once."""
        merged = self
        for report in other.reports:
            texts = (
                [text for text, names in support.items() if report.sha256 in names]
                for support in (other.confirmed, other.suspects)
            )
            merged = merged.with_report(report, *texts)
        return merged


def evidence_file() -> Path:
    """Return this user's file: ``EDGEKIT_EVIDENCE``, or ``XDG_DATA_HOME/edgekit/evidence.json``."""
    named = os.environ.get(EVIDENCE_VARIABLE)
    if named:
        return Path(named)
    place = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(place or Path("~", ".local", "share").expanduser()) / "edgekit" / "evidence.json"


def read_evidence(path: PathLike | None = None) -> UserEvidence:
    """Return the evidence in ``path``; empty if the file does not exist.

    None returns what edgekit contains together with this user's file, see `evidence_file`. Texts
    made under other rules cannot be compared, and are left out.

    Raises:
        InputError: The file is not edgekit's evidence.
    """
    if path is None:
        return read_evidence(PACKAGED_FILE).with_evidence(read_evidence(evidence_file()))
    empty = UserEvidence(str(document()["rules"]))  # quicker than to compute them again
    found = _load(Path(path))
    return found if found is not None and found.rules == empty.rules else empty


def rules_in(path: PathLike) -> str:
    """Return the rules that the evidence in ``path`` was made under; "" without the file.

    Raises:
        InputError: The file is not edgekit's evidence.
    """
    found = _load(Path(path))
    return found.rules if found is not None else ""


def _load(place: Path) -> UserEvidence | None:
    if not place.exists():
        return None
    content = read_bytes(place, "evidence", MOST_TEXT_BYTES)
    try:
        return _read(json.loads(content.decode("utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            "the file is not edgekit's evidence of chips",
            where=str(place),
            why=str(error),
            fix="remove it; without it there is no evidence",
        ) from error


def _read(document: Mapping[str, Any]) -> UserEvidence:
    if document["schema"] != UserEvidence.schema:
        raise ValueError(f"its schema is {document['schema']}")
    reports = tuple(
        EvidenceReport(
            str(each["sha256"]),
            str(each["date"]),
            str(each["device"]),
            str(each["signed_by"]),
            tuple(map(str, each["programs"])),
        )
        for each in document["reports"]
    )
    confirmed, suspects = (
        {str(text): tuple(map(str, names)) for text, names in document[member].items()}
        for member in ("confirmed", "suspects")
    )
    return UserEvidence(str(document["rules"]), reports, confirmed, suspects)


def _merge(support: Support, texts: Iterable[str], report: str) -> Support:
    merged = dict(support)
    for text in texts:
        merged[text] = (*merged.get(text, ()), report)
    return merged
