# SPDX-License-Identifier: Apache-2.0
"""Try a model in a child process before this one loads it: kernels abort on unusual models.

TensorFlow Lite's kernels end the process (SIGABRT, SIGSEGV, SIGFPE) on scales, shapes and options
that they do not expect, and no Python code can catch that. A model that has not run before is first
loaded and run in a child. On Linux the child is a fork, which takes some milliseconds; elsewhere it
is a new Python. Models that ran are recorded (`edgekit.runtime.proven`).
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from typing import TYPE_CHECKING

from edgekit.errors import UnsupportedModelError
from edgekit.log import debug
from edgekit.runtime.proven import identity, is_proven, record_success
from edgekit.runtime.trial_child import (
    FAILED,
    LOADING,
    NO_MEMORY,
    PREPARED,
    RAN,
    Outcome,
    Reported,
    Trial,
    merged,
)

if TYPE_CHECKING:
    from edgekit.formats.tflite import Model
    from edgekit.runtime.interpreters import InterpreterLibrary

CRASH = "model.crash"
# A good model may be slow: one that has not crashed by then is accepted, unless it has so few
# operations that even a slow and busy board computes them in a fraction of this time.
TIMEOUT_S = 20.0
_FEW_OPERATIONS = 1_000_000
_DOING = {
    "": "loading the runtime",
    LOADING: "loading the model",
    PREPARED: "running it once",
    RAN: "closing it",
}
_LOCK = threading.Lock()
_in_child = [False]


def skip_trials() -> None:
    """Skip trials in this process: it is a child itself, and its parent reports a crash."""
    _in_child[0] = True


def require_sound(trial: Trial, model: Model, library: InterpreterLibrary) -> str:
    """Load and run ``trial.content`` in a child, unless it is known to run.

    Args:
        trial: The model, and how to run it.
        model: The model read from its content.
        library: The runtime.

    Returns:
        The interpreter's message if it refuses the model, which is not a crash; else "".

    Raises:
        UnsupportedModelError: The model ends the process that runs it, needs too much memory, or
            does not end.
    """
    if _in_child[0]:
        return ""
    version = next(iter(library.versions.values()))
    how = (library.runtime, version, trial.resolvers, trial.num_threads > 1, trial.shapes)
    key = identity(trial.content, model, *how)
    if is_proven(key):
        return ""
    with _LOCK:
        outcome = _try(trial, library)
    reported = outcome.reported
    debug("trial", f"{len(trial.content)} bytes tried in a child: {reported.stage or 'nothing'}")
    if outcome.signal or reported.stage == NO_MEMORY:
        raise _crash(outcome, library)
    if outcome.timed_out and reported.stage == PREPARED and _is_small(model):
        raise _endless(library)
    if reported.stage == FAILED:
        return reported.error
    record_success(key, for_good=reported.stage == RAN)
    return ""


def _try(trial: Trial, library: InterpreterLibrary) -> Outcome:
    if sys.platform.startswith("linux"):
        from edgekit.runtime.trial_fork import fork_trial  # noqa: PLC0415 - not on every system

        return fork_trial(trial, library, TIMEOUT_S)
    return spawn_trial(trial)


def spawn_trial(trial: Trial) -> Outcome:
    """Run a trial in a new Python: where a fork is not safe (macOS) or does not exist (Windows)."""
    from edgekit.process import (  # noqa: PLC0415 - seldom used
        python_child,
        python_environment,
        run_process,
    )

    finished = run_process(
        python_child("edgekit.runtime.trial_child", json.dumps(trial.options())),
        timeout_s=TIMEOUT_S,
        env=python_environment(),
        stdin=base64.b64encode(trial.content).decode(),
    )
    signal = "" if finished.timed_out else finished.signal_name
    reported = merged(finished.stdout)
    if not reported.stage and finished.returncode and not finished.timed_out:
        # It failed before it loaded the model: the parent will report what is wrong with this
        # Python.
        return Outcome(Reported(), "", finished.stderr)
    if sys.platform == "win32" and finished.returncode and not finished.timed_out:
        signal = f"exit status {finished.returncode & 0xFFFFFFFF:#x}"
    return Outcome(reported, signal, finished.stderr, finished.timed_out)


def _is_small(model: Model) -> bool:
    """Whether the model has few operations; False if they cannot be counted (loops, custom)."""
    from edgekit.edgetpu.macs import model_macs  # noqa: PLC0415 - seldom used

    graph = model.main
    if len(model.subgraphs) > 1 or any(each.opcode == "CUSTOM" for each in graph.operators):
        return False
    return (
        model_macs(model) + sum(tensor.num_elements for tensor in graph.tensors) <= _FEW_OPERATIONS
    )


def _endless(library: InterpreterLibrary) -> UnsupportedModelError:
    version = next(iter(library.versions.values()))
    return UnsupportedModelError(
        f"the model does not end on {library.runtime} {version}",
        why=f"it was tried in a child process, which was stopped after {TIMEOUT_S:g} s; its "
        f"fewer than {_FEW_OPERATIONS:,} operations take less than a second on any board",
        fix="look for types, scales or shapes that kernels do not support: "
        "edgekit inspect MODEL; then convert the model again",
        code=CRASH,
    )


def _crash(outcome: Outcome, library: InterpreterLibrary) -> UnsupportedModelError:
    version = next(iter(library.versions.values()))
    memory = (
        outcome.reported.stage == NO_MEMORY
        or outcome.signal == "SIGKILL"  # by the system, which has no memory left
        or "bad_alloc" in outcome.text
    )
    doing = _DOING.get(outcome.reported.stage, "running it")
    lines = [line.strip() for line in outcome.text.splitlines() if line.strip()]
    output = f"; its output: {lines[-1][:300]}" if lines else ""
    if memory:
        return UnsupportedModelError(
            "the model needs more memory than an Edge TPU model may",
            why=f"{library.runtime} {version} could not allocate it while {doing}{output}",
            fix="look for the largest tensors: edgekit inspect MODEL; make inputs smaller",
            code=CRASH,
        )
    return UnsupportedModelError(
        f"the model crashes {library.runtime} {version} ({outcome.signal})",
        why=f"it was tried in a child process, which crashed while {doing}{output}",
        fix="look for scales, zero points or shapes that kernels do not support: "
        "edgekit inspect MODEL; then convert the model again",
        code=CRASH,
    )
