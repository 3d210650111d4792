# SPDX-License-Identifier: Apache-2.0
"""Check the system around the device: container, page size, and Google's compiler."""

from __future__ import annotations

from edgekit.doctor.machine import FAILED, LINUX, NOT_APPLICABLE, OK, WARNING, Machine
from edgekit.doctor.result import CheckResult

_COMPILER = "edgetpu_compiler"
_NEWEST_COMPILER = "16."
_PAGE_BYTES = 4096
_CGROUPS = (
    ("kubepods", "Kubernetes"),
    ("/docker", "Docker"),
    ("libpod", "Podman"),
    ("/lxc", "LXC"),
)
_NAMES = {"lxc": "LXC", "docker": "Docker", "podman": "Podman", "systemd-nspawn": "systemd-nspawn"}
# Major number 189 means all USB devices; the Edge TPU reconnects under another minor number.
_PASS_THROUGH = {
    ("Docker", "usb"): "docker run --device-cgroup-rule='c 189:* rmw' "
    "-v /dev/bus/usb:/dev/bus/usb IMAGE",
    ("Docker", "pci"): "docker run --device /dev/apex_0:/dev/apex_0 IMAGE",
    ("LXC", "usb"): "on the host, in the container's configuration: lxc.cgroup2.devices.allow: "
    "c 189:* rwm; lxc.mount.entry: /dev/bus/usb dev/bus/usb none bind,optional,create=dir",
    ("LXC", "pci"): "on the host, in the container's configuration: lxc.mount.entry: /dev/apex_0 "
    "dev/apex_0 none bind,optional,create=file; lxc.cgroup2.devices.allow: c MAJOR:* rwm, with the "
    "MAJOR that ls -l /dev/apex_0 shows there",
}


def container(machine: Machine) -> str:
    """Return the kind of container that this is; "" outside of one."""
    if machine.has("/.dockerenv"):
        return "Docker"
    if machine.has("/run/.containerenv"):
        return "Podman"
    first = machine.text("/proc/1/environ").split("\0")
    printed = [word[10:] for word in first if word.startswith("container=")]
    for name in (
        machine.env.get("container", ""),
        *printed,
        machine.text("/run/systemd/container"),
    ):
        if name:
            return _NAMES.get(name, name)
    groups = machine.text("/proc/1/cgroup")
    return next((name for mark, name in _CGROUPS if mark in groups), "")


def pass_through(machine: Machine, bus: str) -> str:
    """Return how to pass an Edge TPU on ``bus`` (usb or pci) to a container."""
    kind = container(machine)
    return _PASS_THROUGH.get(
        (kind, bus),
        _PASS_THROUGH["Docker", bus].replace("docker", "podman")
        if kind == "Podman"
        else _PASS_THROUGH["Docker", bus],
    )


def is_raspberry_pi_5(machine: Machine) -> bool:
    """Whether the board is a Raspberry Pi 5 or a Compute Module 5."""
    return machine.board.startswith(("Raspberry Pi 5", "Raspberry Pi Compute Module 5"))


def check_container(machine: Machine) -> CheckResult:
    """Check whether the program runs in a container that has the device."""
    kind = container(machine)
    if not kind:
        return CheckResult("container", OK, "none")
    seen = kind
    places = ("/dev/bus/usb", "/dev/apex_0")
    given = [place for place in places if machine.has(place)]
    if given:
        return CheckResult("container", OK, f"{kind} with {' and '.join(given)}")
    return CheckResult(
        "container",
        WARNING,
        f"{seen} without {' and '.join(places)}",
        "a USB device changes its number when its firmware is loaded, so pass the whole bus",
        pass_through(machine, "usb"),
    )


def check_page_size(machine: Machine, has_pcie: bool) -> CheckResult:
    """Check that a Raspberry Pi 5 with a card runs the kernel with 4 KiB pages."""
    code = "page_size"
    if not is_raspberry_pi_5(machine):
        return CheckResult(
            code, NOT_APPLICABLE, "only the Raspberry Pi 5 has kernels with different page sizes"
        )
    seen = f"{machine.board}, pages of {machine.facts.page_size_bytes // 1024} KiB"
    if machine.facts.page_size_bytes == _PAGE_BYTES:
        return CheckResult(code, OK, seen)
    if not has_pcie:
        return CheckResult(code, OK, f"{seen}; this matters only for cards")
    return CheckResult(
        code,
        FAILED,
        seen,
        "the apex driver works only with pages of 4 KiB",
        "echo 'kernel=kernel8.img' | sudo tee -a /boot/firmware/config.txt && sudo reboot",
    )


def check_compiler(machine: Machine) -> CheckResult:
    """Check that Google's compiler is installed and is the last version."""
    code, facts = "compiler", machine.facts
    program = _find_compiler(machine)
    if not program:
        seen = f"no {_COMPILER} on PATH"
        if facts.platform != LINUX or facts.architecture != "x86_64":
            return CheckResult(code, NOT_APPLICABLE, f"{seen}; it runs on x86-64 Linux only")
        return CheckResult(
            code,
            WARNING,
            seen,
            "needed to compile, not to run models",
            "install it from coral.ai/docs/edgetpu/compiler, or set EDGETPU_COMPILER to its path",
        )
    finished = machine.run(program, "--version")
    version = next((w for w in finished.stdout.split() if w[:1].isdigit() and "." in w), "")
    if finished.returncode or not version:
        printed = (finished.stdout + finished.stderr).strip().splitlines()[-1:]
        return CheckResult(
            code,
            FAILED,
            ": ".join([f"{program} does not print its version", *printed]),
            fix="install it again from coral.ai/docs/edgetpu/compiler",
        )
    if not version.startswith(_NEWEST_COMPILER):
        why = "16.0 maps more operators and is the last version"
        fix = "sudo apt-get install --only-upgrade edgetpu-compiler"
        return CheckResult(code, WARNING, f"{program} {version}", why, fix)
    return CheckResult(code, OK, f"{program} {version}")


def _find_compiler(machine: Machine) -> str:
    named = machine.env.get("EDGETPU_COMPILER", "")
    if named:
        return named
    folders = machine.env.get("PATH", "").split(":")
    places = (f"{folder.rstrip('/')}/{_COMPILER}" for folder in folders if folder)
    return next((place for place in places if machine.has(place)), "")
