# SPDX-License-Identifier: Apache-2.0
"""How long functions report their progress."""

from __future__ import annotations

from typing import Callable, Optional

# Called with (steps done, steps in all); None if their number is unknown.
Progress = Callable[[int, Optional[int]], None]


def no_progress(_done: int, _total: int | None) -> None:
    """Report nothing: the default."""
