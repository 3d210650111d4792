# SPDX-License-Identifier: Apache-2.0
"""What stops the emulator, always with instruction, program counter and field."""

from __future__ import annotations

from edgekit.errors import UnsupportedModelError


class EmulationError(UnsupportedModelError):
    """The program does something whose result is not proven, or cannot do what it says."""

    code = "model.emulation"


class SyncError(EmulationError):
    """Strict synchronization: the program would race, overflow a buffer or wait for ever."""

    code = "model.sync"
