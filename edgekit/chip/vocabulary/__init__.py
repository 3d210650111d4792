# SPDX-License-Identifier: Apache-2.0
"""The audited vocabulary: which instruction forms, level patterns and orders Google's programs use.

The instructions of a program inside it are like those of Google's programs; only the numbers in
them differ. Other programs may be right too, but no chip is known to have run such instructions.
"""

from __future__ import annotations

from edgekit.chip.vocabulary.audit import (
    Audit,
    AuditFinding,
    Kind,
    audit,
    count_texts,
    texts_of,
)
from edgekit.chip.vocabulary.entries import Entry, Evidence, Vocabulary
from edgekit.chip.vocabulary.evidence import (
    EVIDENCE_VARIABLE,
    EvidenceReport,
    UserEvidence,
    evidence_file,
    read_evidence,
    rules_in,
)
from edgekit.chip.vocabulary.nearest import AuditDifference

__all__ = [
    "EVIDENCE_VARIABLE",
    "Audit",
    "AuditDifference",
    "AuditFinding",
    "Entry",
    "Evidence",
    "EvidenceReport",
    "Kind",
    "UserEvidence",
    "Vocabulary",
    "audit",
    "count_texts",
    "evidence_file",
    "read_evidence",
    "rules_in",
    "texts_of",
]
