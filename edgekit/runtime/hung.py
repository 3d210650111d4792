# SPDX-License-Identifier: Apache-2.0
"""The error for an Edge TPU that does not respond: what was abandoned, and the device's state."""

from __future__ import annotations

from edgekit.errors import DeviceError
from edgekit.process import Conversation

HUNG = "device.hung"


def hung(doing: str, timeout_s: float, where: str, child: Conversation) -> DeviceError:
    """Return the error for a call that did not return.

    Args:
        doing: What the call did: "the inference".
        timeout_s: Its limit.
        where: The device or the library.
        child: The process that made the call; it was ended, if the system could end it.
    """
    cause = "the device has no power, is in use by another process, or hangs"
    fix = (
        "end other programs that use the device, unplug it and plug it in again (PCIe: restart "
        "the machine), then run edgekit doctor; a slow one needs a longer --timeout-sec"
    )
    if child.is_running:
        state = (
            f"process {child.pid}, which uses the device, waits in a driver and cannot be ended, "
            "so the device is not free before the machine restarts"
        )
        fix = "restart the machine, then run edgekit doctor"
    else:
        state = (
            "the process that used it was ended, so nothing of this command holds the device, but "
            "the device may not respond to other programs either until it is restarted"
        )
    return DeviceError(
        f"the Edge TPU did not respond within {timeout_s:g} s: {doing} was abandoned",
        where=where,
        why=f"{cause}; {state}",
        fix=fix,
        code=HUNG,
    )
