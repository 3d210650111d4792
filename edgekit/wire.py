# SPDX-License-Identifier: Apache-2.0
"""Messages between edgekit and the child: one line of JSON, then the bytes of its arrays."""

from __future__ import annotations

import json
import os
import sys
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Message:
    """A ``kind``, plain ``fields``, and ``arrays`` (read-only when received)."""

    def __init__(self, kind: str, fields: dict[str, Any], arrays: list[NDArray[Any]]) -> None:
        self.kind, self.fields, self.arrays = kind, fields, arrays


class Wire:
    """A pair of pipes that carries messages; ``send`` and ``receive`` block."""

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self._reader, self._writer = reader, writer

    def send(self, kind: str, *arrays: NDArray[Any], **fields: Any) -> None:  # noqa: ANN401
        """Send one message.

        Raises:
            BrokenPipeError: The other process has exited.
        """
        plain = [np.ascontiguousarray(array).reshape(np.shape(array)) for array in arrays]
        heads = [{"dtype": array.dtype.str, "shape": list(array.shape)} for array in plain]
        line = json.dumps({"kind": kind, "fields": fields, "arrays": heads})
        self._writer.write(line.encode() + b"\n")
        for array in plain:
            self._writer.write(array.tobytes())
        self._writer.flush()

    def receive(self) -> Message | None:
        """Return the next message; None if the other process has exited, also in mid-message."""
        line = self._reader.readline()
        if not line.endswith(b"\n"):
            return None
        head = json.loads(line)
        arrays = []
        for each in head["arrays"]:
            dtype, shape = np.dtype(each["dtype"]), tuple(each["shape"])
            count = int(np.prod(shape, dtype=np.int64))
            raw = self._reader.read(count * dtype.itemsize)
            if len(raw) != count * dtype.itemsize:
                return None
            arrays.append(np.frombuffer(raw, dtype).reshape(shape))
        return Message(head["kind"], head["fields"], arrays)


def wire_to_parent() -> Wire:
    """Return a child's pipes to its parent; from now on, what is printed goes to standard error.

    Libraries and interpreters print, and on standard output that would mix with the messages.
    """
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return Wire(sys.stdin.buffer, channel)


def as_array(content: bytes) -> NDArray[np.uint8]:
    """Return bytes as an array for a message."""
    return np.frombuffer(content, np.uint8)
