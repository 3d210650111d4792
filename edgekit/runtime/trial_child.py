# SPDX-License-Identifier: Apache-2.0
"""The child process of a trial: load a model, run it on a few inputs, report each step.

``python -m edgekit.runtime.trial_child OPTIONS`` takes the model in base64 on standard input.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, Mapping

import numpy as np

from edgekit.errors import EdgeKitError
from edgekit.runtime.session import XNNPACK_FAILED, one_line, prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.runtime.interpreters import InterpreterLibrary

LOADING, PREPARED, RAN, FAILED, NO_MEMORY = "loading", "prepared", "ran", "failed", "no memory"
# In addition to what the process has already, and to four copies of the model.
_MEMORY_BYTES = 5 << 28
NO_REASON = "the runtime gives no reason; its tensors may need more memory than there is"
_MORE_INPUTS_S = 0.05  # a model that is at least this fast is tried on more inputs than zeros
_MORE_INPUTS_BYTES = 1 << 24


@dataclass(frozen=True)
class Trial:
    """A model and how to run it."""

    content: bytes
    runtime: str
    # Names of OpResolverType; the next one is tried if XNNPACK refuses the model.
    resolvers: tuple[str, ...]
    num_threads: int = 1
    shapes: tuple[tuple[int, ...], ...] = ()  # to resize the inputs to; () leaves them

    def options(self) -> dict[str, Any]:
        """Return all but the content, as JSON values."""
        return {
            "runtime": self.runtime,
            "resolvers": self.resolvers,
            "num_threads": self.num_threads,
            "shapes": self.shapes,
        }


@dataclass(frozen=True)
class Reported:
    """What a child reported, the last value of each field."""

    stage: str = ""
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended."""

    reported: Reported
    signal: str  # "SIGABRT"; empty if no signal killed it
    text: str  # what was printed
    timed_out: bool = False


Report = Callable[..., None]


def run_trial(trial: Trial, library: InterpreterLibrary, report: Report) -> None:
    """Load and run the model; ``report`` reports each stage as it begins or ends."""
    error = ""
    for resolver in trial.resolvers:
        report(stage=LOADING)
        try:
            interpreter = prepare(
                trial.content, library, resolver, trial.num_threads, shapes=trial.shapes
            )
        except (RuntimeError, ValueError) as refused:
            # TensorFlow Lite does not say that it could not allocate the tensors.
            error = error or one_line(refused) or NO_REASON
            if XNNPACK_FAILED not in error:
                break
            continue
        report(stage=PREPARED)
        _run(interpreter)
        report(stage=RAN)
        return
    report(stage=FAILED, error=error)


def limit_resources(content_bytes: int) -> None:
    """Limit this process's memory, and disable core files."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/statm") as stream:  # noqa: PTH123 - pathlib costs more than the read
            pages = int(stream.read().split()[0])
        most = pages * resource.getpagesize() + _MEMORY_BYTES + 4 * content_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def merged(lines: str) -> Reported:
    """Merge a child's JSON objects, one per line; a last line that is cut off is ignored."""
    reported = Reported()
    for line in lines.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            reported = replace(reported, **json.loads(line))
    return reported


def _run(interpreter: Any) -> None:  # noqa: ANN401 - the interpreters carry no types
    details = interpreter.get_input_details()
    begun = time.monotonic()
    size = 0
    for values in _INPUTS:
        for detail in details:
            with contextlib.suppress(RuntimeError, ValueError, TypeError):  # for example strings
                array = values(detail)
                size += array.nbytes
                interpreter.set_tensor(detail["index"], array)
        with contextlib.suppress(RuntimeError, ValueError):
            interpreter.reset_all_variables()
        # An error is not a crash; the model may take another input.
        with contextlib.suppress(RuntimeError, ValueError):
            interpreter.invoke()
        if time.monotonic() - begun > _MORE_INPUTS_S or size > _MORE_INPUTS_BYTES:
            return


def _zeros(detail: Mapping[str, Any]) -> NDArray[Any]:
    return np.zeros(detail["shape"], detail["dtype"])


def _lowest(detail: Mapping[str, Any]) -> NDArray[Any]:
    return np.full(detail["shape"], _range(detail)[0], detail["dtype"])


def _highest(detail: Mapping[str, Any]) -> NDArray[Any]:
    return np.full(detail["shape"], _range(detail)[1], detail["dtype"])


def _random(detail: Mapping[str, Any]) -> NDArray[Any]:
    low, high = _range(detail)
    generator = np.random.RandomState(1)
    share = generator.random_sample(tuple(detail["shape"]))
    return np.asarray(low + share * (high - low)).astype(detail["dtype"])


def _range(detail: Mapping[str, Any]) -> tuple[float, float]:
    dtype = np.dtype(detail["dtype"])
    if dtype.kind in "iu" and dtype.itemsize == 1:
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    if dtype.kind == "f":
        return -1e4, 1e4
    return 0.0, 1.0  # indices, sizes: larger ones may be invalid


_INPUTS = (_zeros, _lowest, _highest, _random)


def _report(**facts: str) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main(options_json: str) -> None:
    """Run one trial in this process."""
    from edgekit.runtime.interpreters import load_library  # noqa: PLC0415 - only in the child

    options = json.loads(options_json)
    trial = Trial(
        base64.b64decode(sys.stdin.read()),
        options["runtime"],
        tuple(options["resolvers"]),
        options["num_threads"],
        tuple(tuple(shape) for shape in options["shapes"]),
    )
    library = load_library(trial.runtime)
    limit_resources(len(trial.content))
    try:
        run_trial(trial, library, _report)
    except MemoryError:
        _report(stage=NO_MEMORY)
    except EdgeKitError as error:
        _report(stage=FAILED, error=str(error))


if __name__ == "__main__":
    main(sys.argv[1])
