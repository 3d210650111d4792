# SPDX-License-Identifier: Apache-2.0
"""The ladder to silicon: run the compiler's programs on a chip, and keep what it confirms.

`confirm` runs the ladder on an Edge TPU and writes a report; `import_reports` turns reports into
evidence, which the compiler's default policy reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names

if TYPE_CHECKING:
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

# Loaded when used: the process that runs one program needs neither compiler nor emulator.
__getattr__ = lazy_names(
    __name__,
    {
        "ConfirmOptions": "edgekit.confirm.run",
        "ConfirmReport": "edgekit.confirm.report",
        "ImportResult": "edgekit.confirm.evidence",
        "Ladder": "edgekit.confirm.ladder",
        "confirm": "edgekit.confirm.run",
        "import_reports": "edgekit.confirm.evidence",
        "write_ladder": "edgekit.confirm.run",
    },
)
