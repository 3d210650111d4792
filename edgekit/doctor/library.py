# SPDX-License-Identifier: Apache-2.0
"""Check libedgetpu: installed, for this processor, loadable, and compatible with the runtime."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Iterator

from edgekit.doctor.machine import (
    FAILED,
    MACOS,
    NOT_APPLICABLE,
    OK,
    WARNING,
    WINDOWS,
    Machine,
)
from edgekit.doctor.python_env import runtime_of
from edgekit.doctor.result import CheckResult
from edgekit.formats.libedgetpu import (
    LIBRARY_NAMES,
    LIBRARY_PACKAGES,
    LIBRARY_VARIABLE,
    runtime_version_in,
)
from edgekit.versions import CURRENT_RUNTIME_VERSION, pair_verdict

_TRIPLETS = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "arm": "arm-linux-gnueabihf",
}
_MAC_FOLDERS = ("/usr/local/lib", "/opt/local/lib", "/opt/homebrew/lib")
# ELF e_machine, Mach-O cputype and PE machine numbers of the processors of libedgetpu.
_ELF = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "arm", 0x03: "x86"}
_MACHO = {0x01000007: "x86_64", 0x0100000C: "aarch64"}
_PE = {0x8664: "x86_64", 0xAA64: "aarch64", 0x014C: "x86"}
# This key is valid only for this source; a key in trusted.gpg.d is valid for all sources.
_KEYRING = "/etc/apt/keyrings/coral-edgetpu.gpg"
_GOOGLE_APT = (
    "sudo mkdir -p /etc/apt/keyrings && curl -fsSL --proto =https "
    "https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo gpg --dearmor --yes -o "
    f"{_KEYRING} && echo 'deb [signed-by={_KEYRING}] https://packages.cloud.google.com/apt "
    "coral-edgetpu-stable main' | sudo tee /etc/apt/sources.list.d/coral-edgetpu.list && sudo "
    "apt-get update && sudo apt-get install "
)


def apt_install(machine: Machine, package: str) -> str:
    """Return the command that installs a package of Google, and adds its source if needed."""
    known = any(
        "coral-edgetpu" in machine.text("/" + str(each.relative_to(machine.root)))
        for each in machine.children("/etc/apt/sources.list.d", "*")
    )
    return f"sudo apt-get install {package}" if known else _GOOGLE_APT + package


def find_library(machine: Machine) -> str:
    """Return the machine's path of the library that the loader would use; "" if none."""
    name = LIBRARY_NAMES.get(machine.facts.platform, "")
    named = machine.env.get(LIBRARY_VARIABLE, "")
    if named or not name:
        return named if named and machine.has(named) else ""
    places = (f"{folder.rstrip('/')}/{name}" for folder in _folders(machine) if folder)
    return next((place for place in places if machine.has(place)), "")


def package_version(machine: Machine) -> str:
    """Return the version of the library's Debian package; "" if it has none."""
    versions = (machine.debian_packages.get(name, "") for name in LIBRARY_PACKAGES)
    return next((version for version in versions if version), "")


def check_library(machine: Machine) -> CheckResult:
    """Check that libedgetpu is where the loader looks."""
    code, place = "library", find_library(machine)
    name = LIBRARY_NAMES.get(machine.facts.platform, "libedgetpu")
    if place:
        brought = [
            f"{package} {machine.debian_packages[package]}"
            for package in LIBRARY_PACKAGES
            if package in machine.debian_packages
        ]
        return CheckResult(code, OK, ", ".join([place, *brought]))
    named = machine.env.get(LIBRARY_VARIABLE, "")
    if named:
        seen = f"no {named}, which {LIBRARY_VARIABLE} names"
        return CheckResult(code, FAILED, seen, "nothing else is tried", f"unset {LIBRARY_VARIABLE}")
    fix = "install the Edge TPU runtime; edgekit explain install.runtime says from where"
    if machine.is_linux and machine.has_apt:
        fix = apt_install(machine, LIBRARY_PACKAGES[0])
    return CheckResult(code, FAILED, f"no {name}", "without it no program can use an Edge TPU", fix)


def check_architecture(machine: Machine) -> CheckResult:
    """Check that libedgetpu is built for the same processor as this Python."""
    code, place = "library.architecture", find_library(machine)
    if not place:
        return CheckResult(code, NOT_APPLICABLE, "no library")
    built_for, wanted = _architectures(machine.path(place)), machine.facts.architecture
    if not built_for:
        return CheckResult(
            code,
            FAILED,
            f"{place} is not a shared library",
            "the file is damaged, or its download failed",
            _reinstall(machine),
        )
    if wanted in built_for:
        return CheckResult(code, OK, f"{place} is for {' and '.join(built_for)}")
    return CheckResult(
        code,
        FAILED,
        f"{place} is for {' and '.join(built_for)}, this Python for {wanted}",
        "a library for another processor cannot be loaded",
        _reinstall(machine),
    )


def check_loads(machine: Machine) -> CheckResult:
    """Check in a child process that libedgetpu loads, is a delegate, and reports its version."""
    code, place = "library.version", find_library(machine)
    if not place:
        return CheckResult(code, NOT_APPLICABLE, "no library")
    answer = machine.query("library", place)
    if answer.failure:
        return CheckResult(
            code, FAILED, f"loading {place}: {answer.failure}", fix=_reinstall(machine)
        )
    reply = answer.document
    if not reply.get("loaded"):
        missing_usb = "libusb" in str(reply.get("error"))
        fix = "sudo apt-get install libusb-1.0-0" if missing_usb else _reinstall(machine)
        return CheckResult(code, FAILED, f"cannot load {place}: {reply.get('error')}", fix=fix)
    if reply.get("missing"):
        return CheckResult(
            code,
            FAILED,
            f"{place} does not have {reply['missing'][0]}",
            "it is not TensorFlow Lite's delegate for the Edge TPU",
            _reinstall(machine),
        )
    number = runtime_version(machine)
    seen = reply.get("version") or "it does not report its version"
    if number and number < CURRENT_RUNTIME_VERSION:
        return CheckResult(
            code,
            WARNING,
            f"runtime version {number} ({seen})",
            f"models of edgetpu_compiler 16 need version {CURRENT_RUNTIME_VERSION}",
            apt_install(machine, LIBRARY_PACKAGES[0])
            if machine.has_apt
            else f"compile with --min-runtime-version {number}",
        )
    return CheckResult(code, OK, f"runtime version {number} ({seen})" if number else seen)


def runtime_version(machine: Machine) -> int:
    """Return the highest runtime version of models that the library runs; 0 if unknown."""
    place = find_library(machine)
    reply = machine.query("library", place).document if place else {}
    return runtime_version_in(str(reply.get("version", "")))


def check_pair(machine: Machine) -> CheckResult:
    """Check that the library and the interpreter were built from compatible releases."""
    code, (runtime, version) = "library.pair", runtime_of(machine)
    if not find_library(machine) or not runtime:
        return CheckResult(code, NOT_APPLICABLE, "no library" if runtime else "no runtime")
    library = package_version(machine)
    verdict = pair_verdict(library, runtime, version, machine.facts.python)
    seen = f"libedgetpu {library or 'of unknown origin'} with {runtime} {version}"
    status = {True: OK, False: FAILED, None: WARNING}[verdict.works]
    return CheckResult(code, status, seen, "" if verdict.works else verdict.why, verdict.fix)


def _folders(machine: Machine) -> Iterator[str]:
    """Yield the loader's folders in its order; last, other processors' folders, to report them."""
    platform = machine.facts.platform
    if platform == WINDOWS:
        yield "C:/Windows/System32"
        yield from machine.env.get("PATH", "").split(";")
    elif platform == MACOS:
        yield from machine.env.get("DYLD_LIBRARY_PATH", "").split(":")
        yield from _MAC_FOLDERS
    else:
        yield from machine.env.get("LD_LIBRARY_PATH", "").split(":")
        for file in machine.children("/etc/ld.so.conf.d", "*.conf"):
            lines = machine.text(f"/etc/ld.so.conf.d/{file.name}").splitlines()
            yield from (line.strip() for line in lines if line.startswith("/"))
        own = _TRIPLETS.get(machine.facts.architecture, "")
        for triplet in [own, *(each for each in _TRIPLETS.values() if each != own)]:
            if triplet:
                yield f"/lib/{triplet}"
                yield f"/usr/lib/{triplet}"
        yield from ("/usr/local/lib", "/lib", "/usr/lib", "/lib64", "/usr/lib64")


def _architectures(library: Path) -> tuple[str, ...]:
    """Return the processors of a shared library by its first bytes; () if it is not one."""
    try:
        with library.open("rb") as stream:
            head = stream.read(4096)
    except OSError:
        return ()
    try:
        if head.startswith(b"\x7fELF"):
            order = "<" if head[5] == 1 else ">"
            return _named(_ELF, struct.unpack_from(order + "H", head, 18)[0])
        if head.startswith(b"MZ"):
            (offset,) = struct.unpack_from("<I", head, 0x3C)
            return _named(_PE, struct.unpack_from("<H", head, offset + 4)[0])
        (magic,) = struct.unpack_from(">I", head)
        if magic == 0xCAFEBABE:  # several in one file; this header is always big-endian
            (count,) = struct.unpack_from(">I", head, 4)
            types = [struct.unpack_from(">I", head, 8 + 20 * i)[0] for i in range(min(count, 8))]
            return tuple(name for each in types for name in _named(_MACHO, each))
        if magic == 0xCFFAEDFE:
            return _named(_MACHO, struct.unpack_from("<I", head, 4)[0])
    except (struct.error, IndexError):  # truncated
        return ()
    return ()


def _named(names: dict[int, str], number: int) -> tuple[str, ...]:
    return (names.get(number, f"machine {number:#x}"),)


def _reinstall(machine: Machine) -> str:
    if machine.has_apt:
        package = next((p for p in LIBRARY_PACKAGES if p in machine.debian_packages), "")
        if package:
            return f"sudo apt-get install --reinstall {package}"
        return apt_install(machine, LIBRARY_PACKAGES[0])
    return (
        "install the Edge TPU runtime for this system; edgekit explain install.runtime says which"
    )
