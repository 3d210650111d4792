# SPDX-License-Identifier: Apache-2.0
"""The log of the library: the logger "edgekit" and its children, silent until configured.

``logging.getLogger("edgekit").setLevel(logging.DEBUG)`` and a handler show it. Importing `logging`
takes milliseconds, so it is used only if the program has imported it: otherwise the log cannot be
configured.
"""

from __future__ import annotations

import sys


def log_is_used() -> bool:
    """Whether a message can reach a handler; if not, do not build it."""
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
        # Without a handler Python prints warnings on stderr.
        root.addHandler(logging.NullHandler())
    root.getChild(area).log(getattr(logging, level), "%s", message)
