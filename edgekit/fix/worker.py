# SPDX-License-Identifier: Apache-2.0
"""A process that runs models and returns their outputs, because kernels may abort on odd scales.

Both directions carry packets: a length of 8 bytes, then an .npz without pickles. A request has
the ``model``'s bytes, ``kernels``, ``runtime`` ("" for any) and an array ``in_SAMPLE_INPUT`` for
each input of each sample. A reply has ``out_SAMPLE_OUTPUT``, also raw, and what ran; or
``refused``.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from typing import IO, TYPE_CHECKING, Any, Mapping

import numpy as np

from edgekit.errors import EdgeKitError, MissingExtraError
from edgekit.runtime import Runner
from edgekit.runtime.trial import trust_models

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LENGTH = struct.Struct("<Q")


def send(pipe: IO[bytes], arrays: Mapping[str, Any]) -> None:
    """Write one packet.

    Raises:
        BrokenPipeError: The other process has exited.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    pipe.write(_LENGTH.pack(buffer.tell()))
    pipe.write(buffer.getbuffer())
    pipe.flush()


def receive(pipe: IO[bytes]) -> dict[str, NDArray[Any]] | None:
    """Read one packet; return None if the other process has exited."""
    head = pipe.read(_LENGTH.size)
    if len(head) != _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = pipe.read(length)
    if len(content) != length:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def main() -> None:
    """Serve requests until there are no more."""
    trust_models()
    # Interpreters print; their output must not mix with the packets.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        request = receive(sys.stdin.buffer)
        if request is None:
            return
        try:
            answer = _answer(request)
        except EdgeKitError as error:
            missing = isinstance(error, MissingExtraError)
            texts = [error.what, error.where, error.why, error.fix, "missing" if missing else ""]
            answer = {"refused": np.array(texts)}
        send(channel, answer)


def _answer(request: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    runtime, kernels = str(request["runtime"]) or None, str(request["kernels"])
    with Runner(request["model"].tobytes(), runtime=runtime, kernels=kernels) as runner:
        answer: dict[str, Any] = {"kernels": np.array(runner.environment.kernels)}
        for sample in range(int(request["samples"])):
            raw = [request[f"in_{sample}_{number}"] for number in range(len(runner.inputs))]
            # Do not reset the state between samples, so that it is compared too.
            for number, output in enumerate(runner.invoke(*raw, keep_state=True)):
                answer[f"out_{sample}_{number}"] = output
    return answer
