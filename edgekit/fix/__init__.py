# SPDX-License-Identifier: Apache-2.0
"""Apply and prove rewrites: `fix` makes more of a model map, `split` cuts it in two."""

from __future__ import annotations

from edgekit.fix.certificate import Certificate
from edgekit.fix.choose import RuleInfo, RuleList
from edgekit.fix.fix import fix
from edgekit.fix.result import FixResult
from edgekit.fix.split import split
from edgekit.fix.split_result import SplitPart, SplitResult, SplitTensor

__all__ = [
    "Certificate",
    "FixResult",
    "RuleInfo",
    "RuleList",
    "SplitPart",
    "SplitResult",
    "SplitTensor",
    "fix",
    "split",
]
