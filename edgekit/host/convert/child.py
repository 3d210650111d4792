# SPDX-License-Identifier: Apache-2.0
"""The parent's side of a conversion: starts the child, sends it data, explains its crashes."""

from __future__ import annotations

import contextlib
import contextvars
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.edgetpu.advice import advice_for
from edgekit.errors import EdgeKitError, UnsupportedModelError
from edgekit.host.convert.worker_process import WorkerProcess, worker_command, worker_environment
from edgekit.process import Conversation
from edgekit.wire import Message, as_array

Batches = Callable[[], Iterator[list[Any]]]

# Layers at which the converter is known to crash or to stop, the most frequent first.
_SUSPECTS = re.compile(r"LSTM|GRU|RNN|Attention|Embedding|Conv3D|Normalization|Hash|Lookup")
_NO_OPERATOR = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


@dataclass
class Loaded:
    """The child's description of the loaded model."""

    loader: str
    inputs: list[dict[str, Any]]
    outputs: list[str]
    layers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class LayerStatistics:
    """How the input of a normalizing layer differs between calibration and training.

    Both arrays are float32, (channels,): ``shifts`` are the distances of the means in standard
    deviations of training, ``ratios`` the standard deviations divided by those of training.
    """

    layer: str  # the name of an operation: "model/batch_normalization/batchnorm/Rsqrt"
    shifts: NDArray[np.float32]
    ratios: NDArray[np.float32]


@dataclass(frozen=True)
class FloatModel:
    """A network as a float .tflite, and what the child found in it."""

    content: bytes
    notes: list[str]  # descriptions of changes to the network
    network_start: list[Any]  # the first operations after each input, see `steps_from`
    # Tensor name -> range that quantization-aware training stored.
    ranges: dict[str, tuple[float, float]]


class Converters:
    """Child processes that wait for the next conversion, with TensorFlow imported.

    Only children without an open request are kept: a child that crashed, hung or was interrupted
    is stopped. `close` stops all of them.
    """

    def __init__(self) -> None:
        self._idle: dict[str, Conversation] = {}

    def close(self) -> None:
        """End the processes."""
        while self._idle:
            self._idle.popitem()[1].__exit__()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Let conversions in this block, in this thread, use these processes."""
        token = _active.set(self)
        try:
            yield
        finally:
            _active.reset(token)

    def take(self, program: str) -> Conversation | None:
        """Return a waiting process; None if there is none."""
        conversation = self._idle.pop(program, None)
        if conversation is None or conversation.is_running:
            return conversation
        conversation.__exit__()
        return None

    def keep(self, program: str, conversation: Conversation) -> None:
        """Keep a process for the next conversion."""
        if program in self._idle:
            conversation.__exit__()
            return
        conversation.set_timeout(None)
        self._idle[program] = conversation


_active: contextvars.ContextVar[Converters | None] = contextvars.ContextVar("_active", default=None)


@contextlib.contextmanager
def kept_converters() -> Iterator[None]:
    """Within the block, let one process run all conversions, one after the other.

    TensorFlow is imported once instead of for each conversion, which takes about four seconds.
    ``peak_rss_bytes`` is then the peak of all conversions so far, and the process has the
    environment variables of the first one. A block inside another one uses the outer's process.
    """
    if _active.get() is not None:
        yield
        return
    converters = Converters()
    try:
        with converters.used():
            yield
    finally:
        converters.close()


class ConverterChild(WorkerProcess):
    """A conversion with TensorFlow in another process; a context manager.

    The process ends with the block, unless `kept_converters` keeps it for the next conversion.
    """

    def __init__(self, python: str | None, timeout_s: float | None, where: str) -> None:
        program = python or sys.executable
        self._converters = _active.get()
        self._program = program
        kept = self._converters.take(program) if self._converters is not None else None
        if kept is not None:
            kept.set_timeout(timeout_s)
        super().__init__(
            kept
            or Conversation(
                worker_command(python), timeout_s=timeout_s, env=worker_environment(python)
            ),
            where,
        )
        self._layers: list[tuple[str, str]] = []
        self._has_network = False  # the child has the network of `to_float`
        # Of `compare`.
        self.statistics: tuple[LayerStatistics, ...] = ()

    def __enter__(self) -> ConverterChild:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._converters is not None and self._is_idle and self._conversation.is_running:
            self._converters.keep(self._program, self._conversation)
        else:
            super().__exit__(kind, error, trace)

    def load(self, job: dict[str, Any]) -> Loaded:
        """Begin ``to_float``: let the child load a TensorFlow model.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        self._send("to_float", **job)
        message = self._receive("loaded")
        loaded = Loaded(**message.fields)
        self._layers = [(str(name), str(kind)) for name, kind in loaded.layers]
        return loaded

    def to_float(self, shapes: Sequence[Sequence[int]]) -> FloatModel:
        """Finish ``to_float``: let the child convert the loaded model.

        Args:
            shapes: The shape of each input, with every dimension known.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        self._send("shapes", shapes=[list(shape) for shape in shapes])
        message = self._receive("float")
        fields = message.fields
        content = self._content(message)
        self._has_network = True
        ranges = {name: (low, high) for name, (low, high) in fields["ranges"].items()}
        return FloatModel(content, fields["notes"], fields["network_start"], ranges)

    def compare(self, samples: Sequence[Sequence[Any]]) -> None:
        """Compare samples with the training data of `to_float`'s network, and set `statistics`.

        The child then releases the network. This does nothing without `to_float`.

        Args:
            samples: For each call of the network, arrays in the order of its inputs.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        if not self._has_network:
            return
        self._has_network = False
        self._send("compare")
        message = self._answer_to_samples("compared", lambda: iter(samples))
        layers = message.fields["layers"]
        self.statistics = tuple(
            LayerStatistics(layer, shifts, ratios)
            for layer, (shifts, ratios) in zip(layers, message.arrays, strict=True)
        )
        self._is_idle = True

    def calibrate(self, content: bytes, batches: Batches) -> bytes:
        """Let the child run a float .tflite on samples.

        Args:
            content: The float model, whose shapes are static.
            batches: Returns an iterator over calibration batches, in the order of the inputs.

        Returns:
            The float model with the range of each tensor: the input of `quantize`, which can be
            kept to quantize again.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        self._send("calibrate", as_array(content))
        return self._content(self._answer_to_samples("calibrated", batches))

    def quantize(self, calibrated: bytes, *, io: str, per_tensor_dense: bool = True) -> bytes:
        """Let the child quantize the result of `calibrate`.

        Args:
            calibrated: The float model with ranges.
            io: Type of the model's inputs and outputs: ``uint8``, ``int8`` or ``float32``.
            per_tensor_dense: Give dense layers one weight scale.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        self._send("quantize", as_array(calibrated), io=io, per_tensor_dense=per_tensor_dense)
        return self._content(self._receive("quantized"))

    def _answer_to_samples(self, wanted: str, batches: Callable[[], Iterator[Any]]) -> Message:
        """Return the message ``wanted``; before, send the samples for which the child asks."""
        while True:
            message = self._receive(wanted, "samples")
            if message.kind == wanted:
                return message
            for arrays in batches():
                self._send("sample", *arrays)
            self._send("end")

    def _likely_cause(self) -> str:
        suspects = [f"{name} ({kind})" for name, kind in self._layers if _SUSPECTS.search(kind)]
        return f"; the likely cause is the layer {', '.join(suspects[:3])}" if suspects else ""

    def _known_failure(self, stderr: str, why: str) -> EdgeKitError | None:
        unknown = list(dict.fromkeys(_NO_OPERATOR.findall(stderr)))
        if not unknown:
            return None
        return UnsupportedModelError(
            f"TensorFlow Lite has no operator for {', '.join(unknown)}",
            where=self._where,
            why=why,
            fix="\n       ".join(advice_for(name, at_source=True) for name in unknown),
        )
