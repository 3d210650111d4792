# SPDX-License-Identifier: Apache-2.0
"""Explain logs, errors and codes: their meaning, cause and fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names

if TYPE_CHECKING:
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

# Loaded when used: the compilers need one status, and not all texts that can be explained.
__getattr__ = lazy_names(
    __name__,
    {
        "CODES": "edgekit.explain.codes",
        "CodePage": "edgekit.explain.codes",
        "ExplainResult": "edgekit.explain.explain",
        "Explanation": "edgekit.explain.explain",
        "KNOWN_TEXTS": "edgekit.explain.codes",
        "KnownText": "edgekit.explain.known",
        "MAPPED": "edgekit.explain.statuses",
        "STATUSES": "edgekit.explain.statuses",
        "compiler_cause": "edgekit.explain.explain",
        "explain": "edgekit.explain.explain",
        "explain_text": "edgekit.explain.explain",
        "is_failure_line": "edgekit.explain.explain",
        "may_be_random": "edgekit.explain.explain",
    },
)
