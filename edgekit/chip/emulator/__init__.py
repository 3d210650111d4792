# SPDX-License-Identifier: Apache-2.0
"""The Edge TPU in software: runs compiled programs and returns the same bits."""

from __future__ import annotations

from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.chip.isa.errors import EmulationError, SyncError

__all__ = ["EdgeTpu", "EmulationError", "SyncError"]
