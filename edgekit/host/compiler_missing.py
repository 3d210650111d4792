# SPDX-License-Identifier: Apache-2.0
"""Where Google's compiler can be had or run, for each kind of machine. It is never downloaded."""

from __future__ import annotations

import platform
import shutil

from edgekit.errors import ExternalToolError

PROGRAM = "edgetpu_compiler"
_PAGE = "coral.ai/docs/edgetpu/compiler"
_INDENT = "\n       "


class CompilerError(ExternalToolError):
    """edgetpu_compiler is missing, failed, or printed what edgekit cannot read."""

    code = "compiler.failed"


def missing_compiler(tried: str = "") -> CompilerError:
    """The error for a machine without the compiler, with the ways that this machine has.

    Args:
        tried: A path that was given and does not hold it; empty if PATH was searched.
    """
    return CompilerError(
        f"there is no {PROGRAM} at {tried}" if tried else f"no {PROGRAM} on PATH",
        where=tried,
        why="Google's compiler is not part of edgekit and may not be downloaded by it",
        fix=_ways_here(),
        code="compiler.missing",
    )


def unusable_compiler(path: str, error: ExternalToolError) -> CompilerError:
    """The error for a compiler that does not start, on an ARM machine for example."""
    return CompilerError(
        error.what,
        where=path,
        why="the compiler is a program for x86-64 Linux",
        fix=_ways_here(),
        code="compiler.missing",
    )


def _ways_here() -> str:
    has_apt = shutil.which("apt-get") is not None
    ways = ways_to_get_it(platform.system(), platform.machine(), has_apt=has_apt)
    return _INDENT.join(ways)


def ways_to_get_it(system: str, machine: str, *, has_apt: bool) -> list[str]:
    """How to come by the compiler, the best way for this kind of machine first.

    Args:
        system: As `platform.system` says: Linux, Darwin, Windows.
        machine: As `platform.machine` says: x86_64, aarch64, arm64, AMD64.
        has_apt: Whether Debian's package manager is there.
    """
    container = (
        "in a container: make an image of a Debian for x86-64 (linux/amd64) with the compiler "
        "installed, and edgekit compile MODEL --via docker:IMAGE"
    )
    elsewhere = "on another x86-64 Linux machine: edgekit compile MODEL --via ssh://user@host"
    colab = f"without a machine: Google's Colab notebook, linked from {_PAGE}"
    install = (
        f"install it: add Coral's package source ({_PAGE}), then sudo apt-get install "
        "edgetpu-compiler"
    )
    known = "if it is here under another name: --compiler PATH, or EDGETPU_COMPILER=PATH"
    if system == "Linux" and machine in {"x86_64", "AMD64"}:
        if has_apt:
            return [install, known, container, elsewhere, colab]
        unpacked = (
            f"it is packaged for Debian and Ubuntu; unpack their package edgetpu-compiler ({_PAGE})"
            " and give --compiler PATH"
        )
        return [container, unpacked, elsewhere, colab]
    note = f"it exists for x86-64 Linux only, and this is {system} on {machine}"
    return [note, elsewhere, container, colab]
