# SPDX-License-Identifier: Apache-2.0
"""Every code that edgekit prints, each with the text of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Mapping

from edgekit.edgetpu.issues import ISSUE_CODES
from edgekit.explain.debug_codes import DEBUG_CODES
from edgekit.explain.doctor_codes import DOCTOR_CODES
from edgekit.explain.error_codes import ERROR_CODES
from edgekit.explain.library import areas, read_area
from edgekit.explain.quality_codes import QUALITY_CODES
from edgekit.explain.statuses import STATUSES

RESULT_CODE = "compiler.result"
KNOWN_TEXTS = (*STATUSES.values(), *(each for area in areas() for each in read_area(area)))


@dataclass(frozen=True)
class CodePage:
    """The meaning of a code; ``example`` is a text of another program that has this code."""

    code: str
    title: str
    cause: str
    fix: str
    source: str = ""
    example: str = ""
    versions: str = ""


_OWN_CODES = (
    *ISSUE_CODES.values(),
    *ERROR_CODES,
    *DEBUG_CODES,
    *DOCTOR_CODES,
    *QUALITY_CODES,
)


def _pages() -> Iterator[CodePage]:
    yield CodePage(
        RESULT_CODE,
        "What a successful compilation gives",
        'edgetpu_compiler says "compiled successfully" even if nothing maps. edgekit sums up what '
        "maps, what stays on the CPU and why, and what the parameters that stream cost.",
        "The explanation of a log names the one change that would help most.",
        "the log",
    )
    for issue in _OWN_CODES:
        yield CodePage(issue.code, issue.title, issue.cause, issue.fix, issue.source)
    for known in KNOWN_TEXTS:
        cause, fix = known.filled_from_example()
        example = "\n".join(template.example for template in known.texts)
        yield CodePage(known.code, known.title, cause, fix, known.source, example, known.versions)


CODES: Mapping[str, CodePage] = {page.code: page for page in sorted(_pages(), key=lambda p: p.code)}
