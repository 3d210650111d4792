# SPDX-License-Identifier: Apache-2.0
"""Explain logs, errors and codes: their meaning, cause and fix."""

from __future__ import annotations

from edgekit.explain.codes import CODES, KNOWN_TEXTS, CodePage
from edgekit.explain.explain import (
    ExplainResult,
    Explanation,
    compiler_cause,
    explain,
    explain_text,
    is_failure_line,
    may_be_random,
)
from edgekit.explain.known import KnownText
from edgekit.explain.statuses import MAPPED, STATUSES

__all__ = [
    "CODES",
    "KNOWN_TEXTS",
    "MAPPED",
    "STATUSES",
    "CodePage",
    "ExplainResult",
    "Explanation",
    "KnownText",
    "compiler_cause",
    "explain",
    "explain_text",
    "is_failure_line",
    "may_be_random",
]
