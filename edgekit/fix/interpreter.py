# SPDX-License-Identifier: Apache-2.0
"""Run models in a child process, which is started again after a model has crashed it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence, Tuple

import numpy as np

from edgekit.errors import MissingExtraError, UnsupportedModelError
from edgekit.formats.tflite import Model, write_model
from edgekit.process import Conversation, python_child, python_environment
from edgekit.runtime.trial import CRASH
from edgekit.wire import Message, Wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNELS = ("reference", "fast")  # tried in this order
_WORKER = "edgekit.fix"
Arrays = Tuple["NDArray[Any]", ...]


@dataclass(frozen=True)
class Run:
    """The raw outputs of a model for each sample, and the kernels that computed them."""

    outputs: tuple[Arrays, ...]
    kernels: str


class Interpreter:
    """Runs models on samples; a context manager."""

    def __init__(self, runtime: str | None) -> None:
        self._runtime = runtime
        self._conversation: Conversation | None = None

    def run(self, model: Model, samples: Sequence[Sequence[NDArray[Any]]], kernels: str) -> Run:
        """Return the raw outputs of ``model`` for each of ``samples``.

        Args:
            model: Any model.
            samples: For each sample, one array per input, in its type and shape.
            kernels: ``reference`` or ``fast``.

        Raises:
            UnsupportedModelError: The interpreter refuses the model, or crashes on it.
            MissingExtraError: No runtime is installed.
        """
        arrays = [np.frombuffer(write_model(model), np.uint8)]
        arrays += [array for sample in samples for array in sample]
        fields = {"kernels": kernels, "runtime": self._runtime or "", "samples": len(samples)}
        answer = self._ask(arrays, fields)
        count = len(model.main.outputs)
        outputs = tuple(
            tuple(answer.arrays[sample * count : (sample + 1) * count])
            for sample in range(len(samples))
        )
        return Run(outputs, str(answer.fields["kernels"]))

    def close(self) -> None:
        """End the process."""
        if self._conversation is not None:
            self._conversation.__exit__(None, None, None)
            self._conversation = None

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, arrays: Sequence[NDArray[Any]], fields: Mapping[str, Any]) -> Message:
        if self._conversation is None:
            self._conversation = Conversation(python_child(_WORKER), env=python_environment())
        wire = Wire(self._conversation.stdout, self._conversation.stdin)
        with contextlib.suppress(BrokenPipeError):
            wire.send("run", *arrays, **fields)
        answer = wire.receive()
        if answer is None:
            raise self._death()
        if answer.kind == "refused":
            texts = answer.fields
            kind = MissingExtraError if texts.pop("missing") else UnsupportedModelError
            raise kind(texts.pop("what"), **texts)
        return answer

    def _death(self) -> UnsupportedModelError:
        finished = self._conversation.finish() if self._conversation else None
        self.close()
        cause = (finished.signal_name or f"exit status {finished.returncode}") if finished else ""
        lines = finished.stderr.strip().splitlines() if finished else []
        return UnsupportedModelError(
            "the interpreter crashed on the model",
            why=f"{cause}: {lines[-1] if lines else 'it printed nothing'}",
            fix="convert the model again; the usual cause is scales that kernels cannot use",
            code=CRASH,
        )
