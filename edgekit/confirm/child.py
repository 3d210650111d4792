# SPDX-License-Identifier: Apache-2.0
"""The process that runs one rung: it opens the device, runs the inputs, and exits.

``python -m edgekit.confirm.child`` takes one message ``run`` on standard input: the model's bytes,
then the inputs; its fields are ``emulator`` and ``request``, an `OpenRequest`. It reports on
standard output, in this order::

    step {stage, version, path}      each step that begins
    output {time_ms} [arrays]        for each input
    failed {error}                   instead of what follows, if the library reports an error
    step {stage}, done

If the process is killed or crashes, the last step is the one that did it.
"""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence, Tuple

from edgekit.runtime.delegate import REFUSALS, OpenRequest, open_interpreter
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.probe_child import (
    LOADED,
    OPENING,
    PREPARED,
    RAN,
    STARTED,
    library_path,
    version_of,
)
from edgekit.wire import Wire, wire_to_parent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Invoke = Callable[[NDArray[Any]], Sequence[NDArray[Any]]]
    Opened = Tuple[Invoke, Callable[[], None]]


def main() -> None:
    """Run one rung."""
    wire = wire_to_parent()
    request = wire.receive()
    if request is None:
        return
    model, *inputs = request.arrays
    opening = _open_emulator if request.fields["emulator"] else _open_device
    try:
        invoke, close = opening(model.tobytes(), request.fields["request"], wire)
        wire.send("step", stage=PREPARED)
        for values in inputs:
            start = time.perf_counter()
            outputs = invoke(values)
            wire.send("output", *outputs, time_ms=(time.perf_counter() - start) * 1e3)
        wire.send("step", stage=RAN)
        close()
    except REFUSALS as error:
        wire.send("failed", error=" ".join(str(error).split()))
        return
    wire.send("done")


def _open_device(content: bytes, fields: Mapping[str, Any], wire: Wire) -> Opened:
    request = OpenRequest(**fields)
    wire.send("step", stage=STARTED)
    version = version_of(ctypes.CDLL(request.library))
    path = library_path(request.library)
    wire.send("step", stage=LOADED, version=version, path=path)
    library = load_library(request.runtime or None)
    wire.send("step", stage=OPENING)
    held = [open_interpreter(content, library, request)]
    (first,) = held[0].get_input_details()
    outputs = [each["index"] for each in held[0].get_output_details()]

    def invoke(values: NDArray[Any]) -> Sequence[NDArray[Any]]:
        held[0].set_tensor(first["index"], values)
        held[0].invoke()
        return [held[0].get_tensor(index) for index in outputs]

    return invoke, held.clear  # the last reference: the interpreter closes the device


def _open_emulator(content: bytes, fields: Mapping[str, Any], wire: Wire) -> Opened:
    del fields
    from edgekit.runtime import Runner  # noqa: PLC0415 - a chip does not need it

    wire.send("step", stage=OPENING)
    runner = Runner(content, "emulator", strict_sync=True, unproven=True)
    return runner.invoke, runner.close


if __name__ == "__main__":
    main()
