# SPDX-License-Identifier: Apache-2.0
"""Machines to check: a folder with a few files of /sys, /proc, /dev and /etc, and fixed replies.

The replies replace programs outside of edgekit: the checked Python, ioreg, pnputil.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import pytest

from edgekit.doctor.checks import doctor
from edgekit.doctor.machine import CHILD
from edgekit.doctor.result import CheckResult, DoctorResult
from edgekit.errors import ExternalToolError
from edgekit.process import Finished

GOOGLE_VERSION = "BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted), RuntimeVersion(14)"
_ELF_MACHINES = {"x86_64": 0x3E, "aarch64": 0xB7, "armv7l": 0x28}
_TRIPLETS = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
# A user that owns nothing here, in the group that owns everything a test makes.
USER = os.getuid() + 1


@dataclass
class Tree:
    """One machine; change its parts, then call `examine`."""

    root: Path
    facts: dict[str, Any]
    env: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/bin", "HOME": "/home/mendel"}
    )
    replies: dict[str, Any] = field(default_factory=dict)  # first word -> document or text

    def write(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        return place

    def link(self, path: str, target: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def install(self, package: str, version: str) -> None:
        status = self.root / "var/lib/dpkg/status"
        old = status.read_text() if status.exists() else ""
        entry = f"Package: {package}\nStatus: install ok installed\nVersion: {version}\n\n"
        self.write("/var/lib/dpkg/status", old + entry)

    def install_library(self, version: str, folder: str = "", machine: str = "") -> None:
        """Libedgetpu by its first bytes, and its Debian package."""
        machine = machine or self.facts["machine"]
        folder = folder or f"/usr/lib/{_TRIPLETS[machine]}"
        head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, _ELF_MACHINES[machine])
        place = self.write(f"{folder}/libedgetpu.so.1")
        place.write_bytes(head)
        self.install("libedgetpu1-std", version)

    def set_group(self, name: str, *, member: bool, gid: int | None = None) -> None:
        """A group with the number of files that are created here, or ``gid``."""
        number = os.getgid() if gid is None else gid
        old = self.root / "etc/group"
        lines = old.read_text() if old.exists() else ""
        self.write("/etc/group", f"{lines}{name}:x:{number}:\n")
        if member:
            self.facts["gids"] = sorted({*self.facts["gids"], number})

    def usb(self, vendor: str, product: str, speed: str = "5000", node: int | None = 0o664) -> None:
        place = "/sys/bus/usb/devices/2-1"
        entries = {"idVendor": vendor, "idProduct": product, "speed": speed}
        for name, text in {**entries, "busnum": "2", "devnum": "3"}.items():
            self.write(f"{place}/{name}", text + "\n")
        if node is not None:
            self.write("/dev/bus/usb/002/003", mode=node)

    def pcie(self, driver: str = "apex", node: int | None = 0o660) -> None:
        place = "/sys/bus/pci/devices/0000:01:00.0"
        self.write(f"{place}/vendor", "0x1ac1\n")
        self.write(f"{place}/device", "0x089a\n")
        if driver:
            self.link(f"{place}/driver", f"../../../../bus/pci/drivers/{driver}")
            self.write("/sys/module/apex/version", "1.2\n")
        if node is not None:
            self.write("/dev/apex_0", mode=node)
            self.write("/sys/class/apex/apex_0/temp", "48050\n")
            self.write("/sys/class/apex/apex_0/trip_point0_temp", "85000\n")

    def run(self, args: Sequence[str], _timeout_s: float) -> Finished:
        words = list(args)
        if words[1:3] == ["-m", CHILD]:
            reply = self.facts if words[3] == "facts" else self.replies.get(words[3])
        elif Path(words[0]).name in self.replies:
            reply = self.replies[Path(words[0]).name]
        else:
            raise ExternalToolError(f"cannot run {words[0]}: No such file or directory")
        if isinstance(reply, Finished):
            return reply
        text = reply if isinstance(reply, str) else "noise of a library\n" + json.dumps(reply)
        return Finished(words, 0, text, "", 0.1, False)

    def examine(self, *, cpu: bool = False) -> DoctorResult:
        return doctor(root=self.root, env=self.env, run=self.run, cpu=cpu)

    def check(self, code: str) -> CheckResult:
        return next(check for check in self.examine().checks if check.code == code)


def tree(root: Path, **facts: object) -> Tree:
    """A Linux machine without an Edge TPU, whose CPU runs models."""
    base: dict[str, Any] = {
        "platform": "linux",
        "system": "Linux",
        "kernel": "6.1.0-18-amd64",
        "machine": "x86_64",
        "bits": 64,
        "page_size_bytes": 4096,
        "python": [3, 9, 2],
        "executable": "/usr/bin/python3",
        "uid": USER,
        "gids": [],
        "user": "mendel",
        "packages": {"numpy": "1.19.5", "tflite-runtime": "2.5.0.post1", "edgekit": "0.1.0"},
        "pycoral": "",
        "pycoral_is_google": False,
        "edgetpu": "",
    }
    machine = Tree(root, {**base, **facts})
    machine.write("/etc/group")
    machine.write("/proc/1/cgroup", "0::/init.scope\n")
    machine.replies = {
        "inference": {"ok": True, "error": "", "runtime": "tflite-runtime", "versions": {}},
        "library": {"loaded": True, "missing": [], "version": GOOGLE_VERSION},
        "delegate": {"opened": False, "error": "Failed to load delegate from libedgetpu.so.1"},
    }
    return machine


def usable(machine: Tree) -> Tree:
    """The same machine, on which the delegate opens its Edge TPU."""
    machine.replies["delegate"] = {"opened": True, "error": ""}
    return machine


def dev_board(root: Path) -> Tree:
    """A Coral Dev Board with Mendel as Google ships it."""
    machine = tree(root, kernel="4.14.98-imx", machine="aarch64", python=[3, 7, 3])
    machine.write("/proc/device-tree/model", "Freescale i.MX8MQ Phanbell\0")
    machine.install_library("16.0")
    machine.pcie()
    machine.set_group("apex", member=True)
    machine.write(
        "/lib/udev/rules.d/60-gasket.rules", 'SUBSYSTEM=="apex", MODE="0660", GROUP="apex"\n'
    )
    return usable(machine)


def dev_board_mini(root: Path) -> Tree:
    """A Coral Dev Board Mini: the Edge TPU is on an internal USB 2."""
    machine = tree(root, kernel="4.19.125-mtk", machine="aarch64", python=[3, 7, 3])
    machine.install_library("16.0")
    machine.usb("18d1", "9302", speed="480")
    machine.set_group("plugdev", member=True)
    machine.write("/lib/udev/rules.d/60-libedgetpu1-std.rules", _GOOGLE_RULES)
    return usable(machine)


def raspberry_pi_4(root: Path) -> Tree:
    """A Raspberry Pi 4 with a USB Accelerator that has not been used yet."""
    machine = tree(root, kernel="6.1.21-v8+", machine="aarch64")
    machine.write("/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    machine.install_library("16.0")
    machine.usb("1a6e", "089a")
    machine.set_group("plugdev", member=True)
    machine.write("/lib/udev/rules.d/60-libedgetpu1-std.rules", _GOOGLE_RULES)
    return usable(machine)


def raspberry_pi_5(root: Path) -> Tree:
    """A Raspberry Pi 5 with 16 KiB pages, feranick's library and a used USB Accelerator."""
    machine = tree(
        root,
        kernel="6.6.51+rpt-rpi-2712",
        machine="aarch64",
        page_size_bytes=16384,
        python=[3, 11, 2],
        packages={"numpy": "1.26.4", "tflite-runtime": "2.17.1"},
    )
    machine.write("/proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    machine.install_library("16.0tf2.17.1-1")
    machine.usb("18d1", "9302")
    machine.set_group("plugdev", member=True)
    machine.write("/lib/udev/rules.d/60-libedgetpu1-std.rules", _GOOGLE_RULES)
    return usable(machine)


def pc_with_m2(root: Path) -> Tree:
    """A PC with an M.2 card and the compiler."""
    machine = tree(root, kernel="5.10.0-28-amd64")
    machine.install_library("16.0")
    machine.install("gasket-dkms", "1.0-18")
    machine.pcie()
    machine.set_group("apex", member=True)
    machine.write("/lib/udev/rules.d/60-gasket-dkms.rules", 'SUBSYSTEM=="apex", GROUP="apex"\n')
    machine.write("/usr/bin/edgetpu_compiler", mode=0o755)
    machine.replies["edgetpu_compiler"] = "Edge TPU Compiler version 16.0.384591198\n"
    return usable(machine)


def docker_without_device(root: Path) -> Tree:
    """A Docker container on a host with a USB Accelerator that was not passed to it."""
    machine = tree(root, uid=0, user="root")
    machine.write("/.dockerenv")
    machine.install_library("16.0")
    machine.usb("1a6e", "089a", node=None)
    return machine


def lxc_without_device(root: Path) -> Tree:
    """A Proxmox LXC container on a host with an M.2 card that was not passed to it."""
    machine = tree(root, uid=0, user="root", kernel="6.8.12-4-pve")
    machine.write("/proc/1/environ", "PATH=/sbin\0container=lxc\0")
    machine.install_library("16.0")
    machine.pcie(node=None)
    return machine


def macos(root: Path) -> Tree:
    """A Mac with a USB Accelerator at USB 3 speed."""
    machine = tree(root, platform="darwin", system="Darwin 20.6.0 x86_64", kernel="20.6.0")
    machine.facts["gids"] = [20]
    place = machine.write("/usr/local/lib/libedgetpu.1.dylib")
    place.write_bytes(struct.pack("<II", 0xFEEDFACF, 0x01000007) + bytes(24))
    machine.replies["ioreg"] = _IOREG
    return usable(machine)


def windows(root: Path) -> Tree:
    """A Windows PC with a USB Accelerator."""
    machine = tree(root, platform="win32", system="Windows 10 AMD64", machine="AMD64", uid=-1)
    machine.env = {"PATH": "C:\\Windows\\System32;C:\\edgetpu"}
    head = b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40) + b"PE\0\0" + struct.pack("<H", 0x8664)
    machine.write("/edgetpu/edgetpu.dll").write_bytes(head)
    machine.replies["pnputil"] = (
        "Instance ID:    USB\\VID_18D1&PID_9302\\5&1A2B\n"
        "Instanz-ID:     PCI\\VEN_8086&DEV_1901\\3&11\n"
    )
    return usable(machine)


_GOOGLE_RULES = """\
SUBSYSTEM=="usb",ATTRS{idVendor}=="1a6e",ATTRS{idProduct}=="089a",GROUP="plugdev"
SUBSYSTEM=="usb",ATTRS{idVendor}=="18d1",ATTRS{idProduct}=="9302",GROUP="plugdev"
"""
_IOREG = """\
+-o Root  <class IORegistryEntry>
  +-o AppleUSBXHCI Root Hub@14000000  <class AppleUSBRootHubDevice>
    +-o Edge TPU@14400000  <class AppleUSBDevice, id 0x100000a1b>
        {
          "idProduct" = 37634
          "idVendor" = 6353
          "Device Speed" = 3
        }
"""

MACHINES: Mapping[str, Callable[[Path], Tree]] = {
    each.__name__: each
    for each in (
        tree,
        dev_board,
        dev_board_mini,
        raspberry_pi_4,
        raspberry_pi_5,
        pc_with_m2,
        docker_without_device,
        lxc_without_device,
        macos,
        windows,
    )
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Tree]:
    """Builds one of `MACHINES` by its name in the test's folder."""
    return lambda name: MACHINES[name](tmp_path)
