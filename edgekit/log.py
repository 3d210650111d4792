# SPDX-License-Identifier: Apache-2.0
"""The log of the library: the logger "edgekit" and its children, silent until it is configured.

``logging.getLogger("edgekit").setLevel(logging.DEBUG)`` and a handler show it. The module
`logging` takes milliseconds to import, so that it is only used where somebody has imported it:
nobody else can have configured it.
"""

from __future__ import annotations

import sys


def log_is_used() -> bool:
    """Whether a message could reach anybody; spares the work to make it."""
    return "logging" in sys.modules


def debug(area: str, message: str) -> None:
    """Log ``message`` to the logger "edgekit.AREA" at level DEBUG."""
    _log(area, "DEBUG", message)


def warning(area: str, message: str) -> None:
    """Log ``message`` to the logger "edgekit.AREA" at level WARNING."""
    _log(area, "WARNING", message)


def _log(area: str, level: str, message: str) -> None:
    logging = sys.modules.get("logging")
    if logging is None:
        return
    root = logging.getLogger("edgekit")
    if not root.handlers:
        # Or Python prints warnings where the program has configured no log.
        root.addHandler(logging.NullHandler())
    root.getChild(area).log(getattr(logging, level), "%s", message)
