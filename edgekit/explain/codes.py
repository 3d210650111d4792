# SPDX-License-Identifier: Apache-2.0
"""Every code that edgekit prints, each with the text of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Mapping

from edgekit.edgetpu.issues import ISSUE_CODES
from edgekit.explain.compiler_texts import COMPILER_TEXTS
from edgekit.explain.doctor_codes import DOCTOR_CODES
from edgekit.explain.error_codes import ERROR_CODES
from edgekit.explain.quality_codes import QUALITY_CODES
from edgekit.explain.runtime_texts import RUNTIME_TEXTS
from edgekit.explain.statuses import STATUSES

KNOWN_TEXTS = (*COMPILER_TEXTS, *STATUSES.values(), *RUNTIME_TEXTS)


@dataclass(frozen=True)
class CodePage:
    """The meaning of a code; ``example`` is a text of another program that has this code."""

    code: str
    title: str
    cause: str
    fix: str
    source: str = ""
    example: str = ""


def _pages() -> Iterator[CodePage]:
    for issue in (*ISSUE_CODES.values(), *ERROR_CODES, *DOCTOR_CODES, *QUALITY_CODES):
        yield CodePage(issue.code, issue.title, issue.cause, issue.fix, issue.source)
    for known in KNOWN_TEXTS:
        cause, fix = known.filled_from_example()
        yield CodePage(known.code, known.title, cause, fix, known.source, known.example)


CODES: Mapping[str, CodePage] = {page.code: page for page in sorted(_pages(), key=lambda p: p.code)}
