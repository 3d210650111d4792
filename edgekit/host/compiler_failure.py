# SPDX-License-Identifier: Apache-2.0
"""Why a run of the compiler failed: its texts, signals and statuses as one error with a way out."""

from __future__ import annotations

from edgekit.explain import compiler_cause, may_be_random
from edgekit.host.compiler_missing import PROGRAM, CompilerError
from edgekit.process import Finished

_TAIL_LINES = 6
# Crashes that say nothing; out of memory (SIGKILL) is not among them.
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS")


def is_random(finished: Finished) -> bool:
    """Whether the same file may well compile on the next try."""
    if finished.timed_out:
        return False
    text = finished.stdout + finished.stderr
    if finished.signal_name in _CRASHES:
        cause = compiler_cause(text)
        return cause is None or may_be_random(text)
    return may_be_random(text)


def failure_of(finished: Finished, where: str, num_attempts: int) -> CompilerError:
    """The error for a run that failed, after so many attempts."""
    text = f"{finished.stdout}\n{finished.stderr}"
    tries = f" in {num_attempts} attempts" if num_attempts > 1 else ""
    tail = " | ".join([line.strip() for line in text.splitlines() if line.strip()][-_TAIL_LINES:])
    if finished.timed_out:
        return CompilerError(
            f"{PROGRAM} was ended after {finished.time_s:.0f} s",
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
    ended = f"was ended by {signal}" if signal else f"failed with status {finished.returncode}"
    memory = "it may have run out of memory; " if signal == "SIGKILL" else ""
    return CompilerError(
        f"{PROGRAM} {ended}{tries}, and edgekit does not know why",
        where=where,
        why=tail or "it printed nothing",
        fix=f"{memory}run the command by itself (--dry-run shows it), and report its last lines",
    )


def _one_line(text: str) -> str:
    return " | ".join(text.splitlines())
