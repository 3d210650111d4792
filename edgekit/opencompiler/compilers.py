# SPDX-License-Identifier: Apache-2.0
"""Which compiler compiles: Google's program, or edgekit's own."""

from __future__ import annotations

import os
import shutil
from typing import Sequence

GOOGLE, EDGEKIT, AUTO = "google", "edgekit", "auto"
PROGRAM = "edgetpu_compiler"  # Google's
DEADLINE_S = 3600.0  # of one attempt of Google's
RETRIES = 3  # google-coral/edgetpu issue 211: the third run of the same file succeeded


def find_compiler() -> str | None:
    """Return EDGETPU_COMPILER, or the path of Google's program on PATH; None if there is none."""
    return os.environ.get("EDGETPU_COMPILER") or shutil.which(PROGRAM)


def chosen_compiler(compiler: str | None, for_google: Sequence[str] = ()) -> str:
    """Return ``google`` or ``edgekit``.

    Args:
        compiler: What the user asks for: one of the two, ``auto`` or None, or the path of Google's
            program. ``auto`` is Google's if it is installed, or if its options are used.
        for_google: The options in use that only Google's compiler has.
    """
    if compiler == EDGEKIT:
        return EDGEKIT
    if compiler not in {None, AUTO} or for_google or find_compiler():
        return GOOGLE
    return EDGEKIT


def google_path(compiler: str | None) -> str | None:
    """The path of Google's program, if ``compiler`` is one."""
    return None if compiler in {None, AUTO, GOOGLE, EDGEKIT} else compiler
