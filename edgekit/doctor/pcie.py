# SPDX-License-Identifier: Apache-2.0
"""Check Edge TPUs on PCIe: present, with a driver for this kernel, and open to this user."""

from __future__ import annotations

import os
import re

from edgekit.doctor.access import access_fix, describe_access, may_write
from edgekit.doctor.library import apt_install
from edgekit.doctor.machine import FAILED, NOT_APPLICABLE, OK, WARNING, WINDOWS, Machine
from edgekit.doctor.result import CheckResult
from edgekit.doctor.system import container, pass_through
from edgekit.files import integer_in
from edgekit.versions import Version, parse_version

_VENDOR, _DEVICE = "0x1ac1", "0x089a"
_PNP_PCI = re.compile(r"PCI\\VEN_1AC1&DEV_089A", re.IGNORECASE)
_PACKAGE = "gasket-dkms"
# The first kernel on which a driver package does not compile: Google's last (class_create lost an
# argument in 6.4), and feranick's (no_llseek was removed in 6.12).
_GOOGLE_END: Version = (6, 4)
_PATCHED_END: Version = (6, 12)
_PATCHED = "1.0-18.2"
_BUILD = (
    "git clone https://github.com/feranick/gasket-driver && cd gasket-driver && "
    "debuild -us -uc -tc -b && sudo dpkg -i ../gasket-dkms_*.deb"
)
# The C compiler's messages if the kernel's interface has changed.
_BUILD_ERRORS = ("no_llseek", "eventfd_signal", "class_create", "MODULE_IMPORT_NS")
# The sensor's value if the chip does not respond: all ones result in (662 - 1023) * 250 + 550.
_DEAD_BELOW_MILLICELSIUS = -40_000


def find_pcie(machine: Machine) -> tuple[str, ...]:
    """Return the addresses of the Edge TPUs on PCIe."""
    if machine.facts.platform == WINDOWS:
        listing = machine.run("pnputil", "/enum-devices", "/connected").stdout
        return ("PCI",) * bool(_PNP_PCI.search(listing))
    folder = "/sys/bus/pci/devices"
    return tuple(
        entry.name
        for entry in machine.children(folder)
        if machine.text(f"{folder}/{entry.name}/vendor") == _VENDOR
        and machine.text(f"{folder}/{entry.name}/device") == _DEVICE
    )


def apex_nodes(machine: Machine) -> list[str]:
    """Return the driver's device nodes: /dev/apex_0, ..."""
    return [f"/dev/{each.name}" for each in machine.children("/dev", "apex_*")]


def check_pcie_device(machine: Machine) -> CheckResult:
    """Check that an Edge TPU is on PCIe."""
    addresses = find_pcie(machine)
    if not addresses:
        return CheckResult("pcie.device", NOT_APPLICABLE, "none on PCIe (1ac1:089a)")
    return CheckResult("pcie.device", OK, ", ".join(f"1ac1:089a at {each}" for each in addresses))


def check_pcie_driver(machine: Machine) -> CheckResult:
    """Check that the apex driver is loaded, bound to the device, and built for this kernel."""
    code, addresses = "pcie.driver", find_pcie(machine)
    if not addresses:
        return CheckResult(code, NOT_APPLICABLE, "no device on PCIe")
    if not machine.is_linux:
        return CheckResult(code, NOT_APPLICABLE, "the driver is part of Google's installer")
    if container(machine):
        return CheckResult(code, NOT_APPLICABLE, "the driver belongs to the container's host")
    if machine.has("/sys/module/apex"):
        return _check_bound(machine, addresses)
    kernel = machine.facts.kernel
    if _module_file(machine, kernel):
        return CheckResult(
            code, FAILED, f"the apex module for {kernel} is not loaded", fix="sudo modprobe apex"
        )
    package = machine.debian_packages.get(_PACKAGE, "")
    seen = f"no apex module for kernel {kernel}, " + (
        f"though {_PACKAGE} {package} is installed" if package else f"no {_PACKAGE}"
    )
    why, fix = _missing_module(machine, kernel, package)
    return CheckResult(code, FAILED, seen, why, fix)


def check_pcie_node(machine: Machine) -> CheckResult:
    """Check that the driver has created a device node and this user may open it."""
    code, nodes = "pcie.node", apex_nodes(machine)
    if not nodes:
        if not find_pcie(machine) or not machine.is_linux:
            return CheckResult(code, NOT_APPLICABLE, "no device on PCIe")
        if container(machine):
            why = "the device is on the bus, but it was not passed to the container"
            return CheckResult(code, FAILED, "no /dev/apex_*", why, pass_through(machine, "pci"))
        return CheckResult(
            code, FAILED, "no /dev/apex_*", "the driver is not loaded", "sudo modprobe apex"
        )
    for node in nodes:
        if not may_write(machine, node):
            seen, fix = describe_access(machine, node), access_fix(machine, node, "apex")
            return CheckResult(code, FAILED, seen, "opening it is refused", fix)
    return CheckResult(code, OK, "; ".join(describe_access(machine, node) for node in nodes))


def check_temperature(machine: Machine) -> CheckResult:
    """Check that the chip is not so hot that its clock is lowered; USB devices lack a sensor."""
    code, folder = "temperature", "/sys/class/apex"
    readings = []
    for entry in machine.children(folder, "apex_*"):
        place = f"{folder}/{entry.name}"
        value, limit = (
            integer_in(machine.path(f"{place}/{n}")) for n in ("temp", "trip_point0_temp")
        )
        if value is None:
            continue
        readings.append(f"{entry.name} {value / 1000:.1f} °C")
        if value < _DEAD_BELOW_MILLICELSIUS:
            why = "this value means that the chip does not respond any more"
            fix = "power the machine off and on; if it comes back, check slot, adapter and cooling"
            return CheckResult(code, FAILED, readings[-1], why, fix)
        if limit is not None and value >= limit:
            why = f"above {limit / 1000:.0f} °C the clock is halved, step by step"
            return CheckResult(code, WARNING, readings[-1], why, "cool the card: heat sink, fan")
    if readings:
        return CheckResult(code, OK, ", ".join(readings))
    return CheckResult(code, NOT_APPLICABLE, "not measured: only the apex driver has a sensor")


def _check_bound(machine: Machine, addresses: tuple[str, ...]) -> CheckResult:
    code = "pcie.driver"
    for address in addresses:
        link = machine.path(f"/sys/bus/pci/devices/{address}/driver")
        driver = os.path.basename(os.readlink(link)) if link.is_symlink() else ""  # noqa: PTH119
        if driver != "apex":
            seen = f"apex is loaded, {address} has " + (f"driver {driver}" if driver else "none")
            return CheckResult(
                code,
                FAILED,
                seen,
                "the driver found no memory or interrupts for the device, or another driver "
                "uses it",
                "sudo dmesg | grep -iE 'apex|gasket'",
            )
    version = machine.text("/sys/module/gasket/version") or machine.text("/sys/module/apex/version")
    seen = f"apex {version}".strip() + f" on kernel {machine.facts.kernel}"
    return CheckResult(code, OK, seen)


def _module_file(machine: Machine, kernel: str) -> bool:
    root = f"/lib/modules/{kernel}"
    folders = ("updates/dkms", "updates", "extra", "kernel/drivers/staging/gasket")
    return any(machine.children(f"{root}/{folder}", "apex.ko*") for folder in folders)


def _missing_module(machine: Machine, kernel: str, package: str) -> tuple[str, str]:
    """Return why there is no module for the kernel, and the command that builds one."""
    if not machine.has_apt:
        return "the driver is not part of this kernel", "build github.com/google/gasket-driver"
    version = parse_version(kernel)
    logs = machine.children("/var/lib/dkms/gasket", "*/build/make.log")
    log = logs[-1].read_text(errors="replace") if logs else ""
    broken = next((word for word in _BUILD_ERRORS if word in log), "")
    if version >= _PATCHED_END:
        why = f"no released driver compiles on kernel 6.12 or newer; {_PATCHED} needs a patch"
        return why + (f" (its log names {broken})" if broken else ""), _BUILD
    if version >= _GOOGLE_END and package != _PATCHED:
        why = (
            f"Google's driver 1.0-18 compiles only on kernels before 6.4, {_PATCHED} only before "
            "6.12"
        )
        return why + (f" (its log names {broken})" if broken else ""), _BUILD
    if not package:
        return "", apt_install(machine, f"{_PACKAGE} linux-headers-{kernel}")
    if not machine.has(f"/lib/modules/{kernel}/build"):
        fix = f"sudo apt-get install linux-headers-{kernel} && sudo dkms autoinstall"
        return "the kernel's headers are missing, so the driver was not compiled", fix
    return "the driver was not compiled for this kernel", "sudo dkms autoinstall"
