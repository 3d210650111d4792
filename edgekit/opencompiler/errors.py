# SPDX-License-Identifier: Apache-2.0
"""The errors of edgekit's compiler. After each of them, no file is written.

UnsupportedModelError
    NotCompiledError    the model cannot be compiled, or the program cannot be verified
    VerificationError   the program is wrong
"""

from __future__ import annotations

from edgekit.errors import UnsupportedModelError


class NotCompiledError(UnsupportedModelError):
    """edgekit's compiler cannot compile the model; the error states the reason."""

    code = "compiler.refused"


class VerificationError(UnsupportedModelError):
    """The emulator found that the compiled program is wrong; it is not written."""

    code = "compiler.verification"
