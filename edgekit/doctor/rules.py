# SPDX-License-Identifier: Apache-2.0
"""The udev rules that let a user open an Edge TPU, and the command that installs them."""

from __future__ import annotations

RULES_FILE = "/etc/udev/rules.d/99-edgetpu.rules"
# The content of udev/99-edgetpu.rules; a test keeps the two equal.
UDEV_RULES = """\
# Coral Edge TPU: members of plugdev (USB) and apex (PCIe) may use it.
# Install as /etc/udev/rules.d/99-edgetpu.rules, then:
# udevadm control --reload-rules && udevadm trigger

# USB Accelerator before its firmware is loaded: Global Unichip Corp.
SUBSYSTEM=="usb", ATTR{idVendor}=="1a6e", ATTR{idProduct}=="089a", MODE="0664", GROUP="plugdev"
# The same device afterwards: Google Inc. It disconnects and comes back with this number.
SUBSYSTEM=="usb", ATTR{idVendor}=="18d1", ATTR{idProduct}=="9302", MODE="0664", GROUP="plugdev"
# M.2 and Mini PCIe cards and the Dev Board: /dev/apex_0, /dev/apex_1, ... of the apex driver.
SUBSYSTEM=="apex", MODE="0660", GROUP="apex"
"""
INSTALL_RULES = (
    f"edgekit doctor --print-udev | sudo tee {RULES_FILE} && sudo udevadm control --reload-rules "
    "&& sudo udevadm trigger"
)
