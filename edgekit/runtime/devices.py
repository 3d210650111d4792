# SPDX-License-Identifier: Apache-2.0
"""The words for devices; those for an Edge TPU are pycoral's."""

from __future__ import annotations

import re

CPU, AUTO, EDGE_TPU, EMULATOR = "cpu", "auto", "edgetpu", "emulator"
EDGE_TPU_WORDS = ("usb", "usb:N", "pci", "pci:N", ":N")
# N counts from 0: the devices on USB, on PCIe, or all devices.
_EDGE_TPU = re.compile(r"(?:usb|pci)(?::\d+)?|:\d+")
_NUMBERED = re.compile(r"(usb|pci)?(?::([0-9]+))?")


def is_edge_tpu(device: str) -> bool:
    """Whether the word names one Edge TPU, or one on a bus; "auto" does not."""
    return _EDGE_TPU.fullmatch(device) is not None


def needs_compiled(device: str) -> bool:
    """Whether to load a bundle's model for the Edge TPU."""
    return device != CPU


def delegate_option(device: str) -> str:
    """The value of libedgetpu's option ``device``; "" takes the first that is free."""
    return device if is_edge_tpu(device) else ""


def device_of(device: str, number: int, *, is_compiled: bool) -> str:
    """Return the device of model ``number``: ``usb`` is ``usb:0``, ``usb:1`` and so on."""
    if device == AUTO:
        return f":{number}" if is_compiled else device
    found = _NUMBERED.fullmatch(device)
    if found is None or not is_compiled:
        return device
    return f"{found[1] or ''}:{int(found[2] or 0) + number}"
