# SPDX-License-Identifier: Apache-2.0
"""The ladder to silicon: run the compiler's programs on a chip, and keep what it confirms.

`confirm` runs the ladder on an Edge TPU and writes a report; `import_reports` turns reports into
evidence, which the compiler's default policy reads.
"""

from __future__ import annotations

from edgekit.confirm.evidence import ImportResult, import_reports
from edgekit.confirm.ladder import Ladder
from edgekit.confirm.report import ConfirmReport
from edgekit.confirm.run import ConfirmOptions, confirm, write_ladder

__all__ = [
    "ConfirmOptions",
    "ConfirmReport",
    "ImportResult",
    "Ladder",
    "confirm",
    "import_reports",
    "write_ladder",
]
