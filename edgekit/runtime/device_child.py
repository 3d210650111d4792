# SPDX-License-Identifier: Apache-2.0
"""The process that uses an Edge TPU for another one, which can end it if the library hangs.

``python -m edgekit.runtime.device_child RUNTIME`` takes messages on standard input and answers each
on standard output::

    open {number, request} [model]   done {inputs, outputs}
    invoke {number} [inputs]         done [outputs]; without inputs: on the last ones, no outputs
    get {number}                     done [outputs]
    reset {number}                   done
    close {number}                   done
    ping {number}                    done: to measure how long a message takes

or ``failed {error}``. It sends ``ready`` when it has imported the runtime, and exits at the end of
its input.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.runtime.delegate import REFUSALS, OpenRequest, open_interpreter
from edgekit.runtime.interpreters import InterpreterLibrary, load_library
from edgekit.runtime.session import one_line
from edgekit.wire import Message, wire_to_parent

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Opened:
    """An interpreter, and the places of its inputs and outputs."""

    def __init__(self, interpreter: Any) -> None:  # noqa: ANN401 - they have no type hints
        self.interpreter = interpreter
        self._inputs = [each["index"] for each in interpreter.get_input_details()]
        self._outputs = [each["index"] for each in interpreter.get_output_details()]

    def invoke(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        for index, values in zip(self._inputs, inputs):
            self.interpreter.set_tensor(index, values)
        self.interpreter.invoke()
        return self.outputs() if inputs else []

    def outputs(self) -> list[NDArray[Any]]:
        return [self.interpreter.get_tensor(index) for index in self._outputs]


def main(runtime: str) -> None:
    """Answer messages until the other process has no more."""
    wire = wire_to_parent()
    library = load_library(runtime or None)
    opened: dict[int, _Opened] = {}
    wire.send("ready")
    for message in iter(wire.receive, None):
        kind, fields, arrays = _answer(message, library, opened)
        wire.send(kind, *arrays, **fields)


def _answer(
    message: Message, library: InterpreterLibrary, opened: dict[int, _Opened]
) -> tuple[str, dict[str, Any], Sequence[NDArray[Any]]]:
    try:
        return ("done", *_do(message, library, opened))
    except REFUSALS as error:
        return "failed", {"error": one_line(error)}, ()


def _do(
    message: Message, library: InterpreterLibrary, opened: dict[int, _Opened]
) -> tuple[dict[str, Any], Sequence[NDArray[Any]]]:
    """Do what a message requests; return the fields and arrays of the answer."""
    number = int(message.fields["number"])
    if message.kind == "open":
        request = OpenRequest(**message.fields["request"])
        interpreter = open_interpreter(message.arrays[0].tobytes(), library, request)
        opened[number] = _Opened(interpreter)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        return {"inputs": _plain(inputs), "outputs": _plain(outputs)}, ()
    if message.kind == "invoke":
        return {}, opened[number].invoke(message.arrays)
    if message.kind == "get":
        return {}, opened[number].outputs()
    if message.kind == "reset":
        opened[number].interpreter.reset_all_variables()
    elif message.kind == "close":
        opened.pop(number, None)  # the last reference: the interpreter closes the device
    return {}, ()


def _plain(details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what `Session` reads of an interpreter's details, as JSON values."""
    return [
        {
            "name": str(each["name"]),
            "shape": [int(size) for size in each["shape"]],
            "dtype": np.dtype(each["dtype"]).name,
            "index": int(each["index"]),
            "quantization_parameters": {
                name: each["quantization_parameters"][name].tolist()
                for name in ("scales", "zero_points")
            },
        }
        for each in details
    ]


if __name__ == "__main__":
    main(sys.argv[1])
