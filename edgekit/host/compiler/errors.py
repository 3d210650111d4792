# SPDX-License-Identifier: Apache-2.0
"""Errors for a missing compiler or a failed run, each with a fix for this machine.

edgekit never downloads Google's compiler.
"""

from __future__ import annotations

import platform
import shutil

from edgekit.errors import ExternalToolError
from edgekit.explain import compiler_cause, may_be_random
from edgekit.opencompiler.compilers import PROGRAM
from edgekit.process import Finished

_PAGE = "coral.ai/docs/edgetpu/compiler"
_INDENT = "\n       "
_TAIL_LINES = 6
# Crashes without a message; SIGKILL (out of memory) is not one of them.
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS")


class CompilerError(ExternalToolError):
    """edgetpu_compiler is missing, failed, or printed what edgekit cannot read."""

    code = "compiler.failed"


def missing_compiler(tried: str = "") -> CompilerError:
    """Return the error for a machine without the compiler, with the ways to get it on this machine.

    Args:
        tried: The given path, where the compiler is not; empty if PATH was searched.
    """
    return CompilerError(
        f"there is no {PROGRAM} at {tried}" if tried else f"no {PROGRAM} on PATH",
        where=tried,
        why="Google's compiler is not part of edgekit, and edgekit may not download it",
        fix=_ways_here(),
        code="compiler.missing",
    )


def unusable_compiler(path: str, error: ExternalToolError) -> CompilerError:
    """Return the error for a compiler that does not start, for example on an ARM machine."""
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
    """Return the ways to get the compiler, the best one for this kind of machine first.

    Args:
        system: What `platform.system` returns: Linux, Darwin, Windows.
        machine: What `platform.machine` returns: x86_64, aarch64, arm64, AMD64.
        has_apt: Whether Debian's package manager is installed.
    """
    container = (
        "in a container: build an image of Debian for x86-64 (linux/amd64) with the compiler "
        "installed, then edgekit compile MODEL --via docker:IMAGE"
    )
    elsewhere = "on another x86-64 Linux machine: edgekit compile MODEL --via ssh://user@host"
    colab = f"without a machine: Google's Colab notebook, linked from {_PAGE}"
    install = (
        "install it: sudo apt-get install edgetpu-compiler, from Coral's package source "
        f"({_PAGE}); if that source is missing or gone: edgekit explain install.compiler"
    )
    own = "without it: edgekit compile MODEL --compiler edgekit, edgekit's own compiler"
    known = "if it is installed under another name: --compiler PATH, or EDGETPU_COMPILER=PATH"
    if system == "Linux" and machine in {"x86_64", "AMD64"}:
        if has_apt:
            return [install, known, own, container, elsewhere, colab]
        unpacked = (
            "it is packaged for Debian and Ubuntu; unpack their package edgetpu-compiler ("
            "edgekit explain install.compiler names files) and give --compiler PATH"
        )
        return [container, unpacked, own, elsewhere, colab]
    note = f"it exists for x86-64 Linux only, and this is {system} on {machine}"
    return [note, own, elsewhere, container, colab]


def is_random(finished: Finished) -> bool:
    """Whether the failure is random: the same file may compile on the next attempt."""
    if finished.timed_out:
        return False
    text = finished.stdout + finished.stderr
    if finished.signal_name in _CRASHES:
        cause = compiler_cause(text)
        return cause is None or may_be_random(text)
    return may_be_random(text)


def failure_of(finished: Finished, where: str, num_attempts: int) -> CompilerError:
    """Return the error for a run that failed after ``num_attempts`` attempts."""
    text = f"{finished.stdout}\n{finished.stderr}"
    tries = f" in {num_attempts} attempts" if num_attempts > 1 else ""
    tail = " | ".join([line.strip() for line in text.splitlines() if line.strip()][-_TAIL_LINES:])
    if finished.timed_out:
        return CompilerError(
            f"{PROGRAM} was stopped after {finished.time_s:.0f} s",
            where=where,
            why=tail,
            fix="raise --deadline-sec, make the input smaller, or search with larger steps "
            "(--search-delegate --delegate-search-step 10)",
            code="compiler.deadline",
        )
    cause = compiler_cause(text)
    if cause is not None:
        return CompilerError(
            f"{PROGRAM} failed{tries}: {_one_line(cause.text)}",
            where=where,
            why=cause.cause,
            fix=cause.fix,
            code=cause.code,
        )
    signal = finished.signal_name
    ended = f"was killed by {signal}" if signal else f"failed with status {finished.returncode}"
    memory = "it may have run out of memory; " if signal == "SIGKILL" else ""
    return CompilerError(
        f"{PROGRAM} {ended}{tries} for an unknown reason",
        where=where,
        why=tail or "it printed nothing",
        fix=f"{memory}run the command by itself (--dry-run shows it), and report its last lines",
    )


def _one_line(text: str) -> str:
    return " | ".join(text.splitlines())
