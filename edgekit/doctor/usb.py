# SPDX-License-Identifier: Apache-2.0
"""Check Edge TPUs on USB: present, their speed, and open to this user."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.doctor.access import access_fix, describe_access, may_write
from edgekit.doctor.machine import (
    FAILED,
    MACOS,
    NOT_APPLICABLE,
    OK,
    WARNING,
    WINDOWS,
    Machine,
)
from edgekit.doctor.pcie import find_pcie
from edgekit.doctor.result import CheckResult
from edgekit.doctor.system import container, is_raspberry_pi_5, pass_through

# Vendor and product, before and after the runtime has loaded the firmware.
_STATES = {
    ("1a6e", "089a"): "as Global Unichip (its firmware is loaded at the first use)",
    ("18d1", "9302"): "as Google (its firmware is loaded)",
}
_SUPER_SPEED_MBIT = 5000.0
_IOREG_SPEEDS_MBIT = {0: 1.5, 1: 12.0, 2: 480.0, 3: 5000.0, 4: 10000.0}
_IOREG_FIELD = re.compile(r'"(idVendor|idProduct|Device Speed|USBSpeed)" = (\d+)')
_PNP_USB = re.compile(r"USB\\VID_([0-9A-F]{4})&PID_([0-9A-F]{4})", re.IGNORECASE)


@dataclass(frozen=True)
class UsbDevice:
    """An Edge TPU on USB."""

    vendor: str  # four hexadecimal digits
    product: str
    place: str  # "2-1": bus and port, as sysfs names it
    speed_mbit: float | None  # None if the system does not report it
    node: str  # /dev/bus/usb/002/003; "" if there are no nodes

    def __str__(self) -> str:
        state = _STATES[self.vendor, self.product]
        return f"{self.vendor}:{self.product} at {self.place}, {state}"


def find_usb(machine: Machine) -> tuple[UsbDevice, ...]:
    """Return the Edge TPUs on USB, on any operating system."""
    if machine.facts.platform == MACOS:
        return _from_ioreg(machine.run("ioreg", "-p", "IOUSB", "-l", "-w", "0").stdout)
    if machine.facts.platform == WINDOWS:
        listing = machine.run("pnputil", "/enum-devices", "/connected").stdout
        pairs = {(v.lower(), p.lower()) for v, p in _PNP_USB.findall(listing)}
        return tuple(UsbDevice(*pair, "USB", None, "") for pair in sorted(pairs & set(_STATES)))
    return _from_sysfs(machine)


def check_usb_device(machine: Machine) -> CheckResult:
    """Check that an Edge TPU is on USB or PCIe."""
    code, devices = "usb.device", find_usb(machine)
    if devices:
        return CheckResult(code, OK, "; ".join(map(str, devices)))
    if find_pcie(machine):
        return CheckResult(code, NOT_APPLICABLE, "none on USB; there is one on PCIe")
    inside = container(machine)
    if inside:
        why = f"{inside} gives a container only the devices that are passed to it"
        return CheckResult(
            code, FAILED, "no Edge TPU on USB or PCIe", why, pass_through(machine, "usb")
        )
    fix = "plug the USB Accelerator into a USB 3 port, or seat the card with the power off"
    if is_raspberry_pi_5(machine):
        fix += "; a card shows up only with dtparam=pciex1 in /boot/firmware/config.txt"
    return CheckResult(
        code,
        FAILED,
        "no Edge TPU on USB (1a6e:089a or 18d1:9302) or PCIe (1ac1:089a)",
        "it does not have power, its cable or hub is defective, or it is not connected",
        fix,
    )


def check_usb_speed(machine: Machine) -> CheckResult:
    """Check that the device runs at USB 3 speed, if the board has it."""
    code = "usb.speed"
    speeds = [(each.place, each.speed_mbit) for each in find_usb(machine) if each.speed_mbit]
    if not speeds:
        return CheckResult(code, NOT_APPLICABLE, "no device whose speed is known")
    seen = "; ".join(f"{place}: {_speed(speed)}" for place, speed in speeds)
    if all(speed >= _SUPER_SPEED_MBIT for _, speed in speeds):
        return CheckResult(code, OK, seen)
    if machine.facts.kernel.endswith("-mtk"):
        return CheckResult(code, OK, f"{seen}, as on every Dev Board Mini")
    return CheckResult(
        code,
        WARNING,
        seen,
        "inputs, outputs and parameters outside the on-chip memory move about ten times slower",
        "plug it into a USB 3 port (blue, or marked SS) with a USB 3 cable and no USB 2 hub",
    )


def check_usb_access(machine: Machine) -> CheckResult:
    """Check that this user may open the device."""
    code = "usb.access"
    nodes = [each.node for each in find_usb(machine) if each.node]
    if not nodes:
        return CheckResult(code, NOT_APPLICABLE, "no device node on USB")
    for node in nodes:
        if not machine.has(node):
            return CheckResult(
                code,
                FAILED,
                f"the device is on the bus, but there is no {node}",
                "/dev/bus/usb was not passed to the container",
                pass_through(machine, "usb"),
            )
        if not may_write(machine, node):
            seen = describe_access(machine, node)
            fix = access_fix(machine, node, "plugdev")
            return CheckResult(code, FAILED, seen, "opening it is refused (USB error -3)", fix)
    return CheckResult(code, OK, "; ".join(describe_access(machine, node) for node in nodes))


def _from_sysfs(machine: Machine) -> tuple[UsbDevice, ...]:
    found = []
    folder = "/sys/bus/usb/devices"
    for entry in machine.children(folder):
        place = f"{folder}/{entry.name}"
        pair = machine.text(f"{place}/idVendor"), machine.text(f"{place}/idProduct")
        if pair in _STATES:
            bus, number = (machine.text(f"{place}/{name}") for name in ("busnum", "devnum"))
            node = f"/dev/bus/usb/{bus:0>3}/{number:0>3}" if bus and number else ""
            speed = machine.text(f"{place}/speed")
            is_number = speed.replace(".", "", 1).isdecimal()
            found.append(UsbDevice(*pair, entry.name, float(speed) if is_number else None, node))
    return tuple(found)


def _from_ioreg(listing: str) -> tuple[UsbDevice, ...]:
    """Parse the devices of ``ioreg -p IOUSB -l``; each begins with ``+-o NAME@PLACE``."""
    found = []
    for block in listing.split("+-o ")[1:]:
        fields = {name: int(number) for name, number in _IOREG_FIELD.findall(block)}
        pair = f"{fields.get('idVendor', 0):04x}", f"{fields.get('idProduct', 0):04x}"
        if pair in _STATES:
            speed = fields.get("Device Speed", fields.get("USBSpeed", -1))
            place = "port " + "".join(block.partition("@")[2].split()[:1])
            found.append(UsbDevice(*pair, place, _IOREG_SPEEDS_MBIT.get(speed), ""))
    return tuple(found)


def _speed(mbit: float) -> str:
    return f"USB {3 if mbit >= _SUPER_SPEED_MBIT else 2} ({mbit:g} Mbit/s)"
