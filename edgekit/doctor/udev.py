# SPDX-License-Identifier: Apache-2.0
"""Check that udev rules let a user open the Edge TPUs of this machine."""

from __future__ import annotations

from edgekit.doctor.machine import FAILED, NOT_APPLICABLE, OK, WARNING, Machine
from edgekit.doctor.pcie import find_pcie
from edgekit.doctor.result import CheckResult
from edgekit.doctor.rules import INSTALL_RULES
from edgekit.doctor.system import container
from edgekit.doctor.usb import find_usb

_FOLDERS = (
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
)
# What a rule for each state of a device names; older files name only the vendor.
_NEEDED = {
    "USB before firmware": "1a6e",
    "USB after firmware": "18d1",
    "PCIe": 'SUBSYSTEM=="apex"',
}


def check_udev(machine: Machine) -> CheckResult:
    """Check that there are rules for the Edge TPUs here; for all kinds if none is here yet."""
    code = "udev"
    if not machine.is_linux:
        return CheckResult(code, NOT_APPLICABLE, "only Linux has udev")
    if container(machine):
        return CheckResult(code, NOT_APPLICABLE, "in a container the rules of its host count")
    if not any(machine.has(folder) for folder in _FOLDERS):
        return CheckResult(code, NOT_APPLICABLE, "no udev on this system")
    has_usb, has_pcie = bool(find_usb(machine)), bool(find_pcie(machine))
    rules = _rules(machine)
    wanted = [
        state
        for state in _NEEDED
        if (has_pcie if state == "PCIe" else has_usb) or not (has_usb or has_pcie)
    ]
    missing = [state for state in wanted if _NEEDED[state].replace(" ", "") not in rules]
    if not missing:
        return CheckResult(code, OK, f"rules for: {', '.join(wanted)}")
    status = FAILED if has_usb or has_pcie else WARNING
    return CheckResult(
        code,
        status,
        f"no rule for: {', '.join(missing)}",
        "without a rule, only root may open the device",
        INSTALL_RULES,
    )


def _rules(machine: Machine) -> str:
    """Return all rules without comments and white space."""
    lines = []
    for folder in _FOLDERS:
        for file in machine.children(folder, "*.rules"):
            lines += machine.text(f"{folder}/{file.name}").splitlines()
    return "\n".join("".join(line.split()) for line in lines if not line.strip().startswith("#"))
