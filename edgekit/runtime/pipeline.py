# SPDX-License-Identifier: Apache-2.0
"""Segments of a model, each on its own device: one after the other, or as a pipeline of threads."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Sequence

from edgekit.errors import UnsupportedModelError
from edgekit.runtime.base import Backend, Environment, TensorInfo
from edgekit.runtime.devices import device_of
from edgekit.runtime.select import open_backend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.model_file import ModelFile
    from edgekit.runtime.options import RunnerOptions

    Arrays = tuple[NDArray[Any], ...]

_WAITING = 2  # inferences between two segments: enough for uneven times, few in memory
_POLL_S = 0.1  # how often a waiting thread looks whether the reader has stopped
_END = object()


@dataclass(frozen=True)
class _Segment:
    """A loaded segment, and where its inputs come from."""

    backend: Backend
    inputs: tuple[tuple[int, int], ...]  # (segment, output); segment -1 has the model's inputs


class PipelineBackend:
    """A model in segments; each is opened on its own device."""

    def __init__(self, files: Sequence[ModelFile], options: RunnerOptions) -> None:
        """Open the segments in their order.

        Raises:
            UnsupportedModelError: An input of a segment is not an output of those before it.
            EdgeKitError: As for `open_backend`.
        """
        self._segments: list[_Segment] = []
        try:
            for index, file in enumerate(files):
                device = device_of(options.device, index, is_compiled=file.is_compiled)
                backend = open_backend(file, replace(options, device=device))
                self._segments.append(_Segment(backend, ()))
                wires = tuple(self._wire(info, place) for place, info in enumerate(backend.inputs))
                self._segments[-1] = _Segment(backend, wires)
        except UnsupportedModelError as error:
            error.where = error.where or files[len(self._segments) - 1].path
            self.close()
            raise
        except BaseException:
            self.close()
            raise
        self.inputs = self._segments[0].backend.inputs
        used = {wire for each in self._segments for wire in each.inputs}
        last = len(self._segments) - 1
        # Of a segment before the last, what no other takes is an output of the model.
        self._given = tuple(
            (index, place)
            for index, each in enumerate(self._segments)
            for place in range(len(each.backend.outputs))
            if index == last or (index, place) not in used
        )
        self.outputs = tuple(self._segments[i].backend.outputs[k] for i, k in self._given)
        self.load_ms = sum(each.backend.load_ms for each in self._segments)
        self._last: Arrays = ()

    @property
    def environment(self) -> Environment:
        """Those of the segments in one: devices and kernels are listed."""
        found = [each.backend.environment for each in self._segments]
        notes = list(dict.fromkeys(each.kernels_note for each in found if each.kernels_note))
        kernels = list(dict.fromkeys(each.kernels for each in found))
        return replace(
            found[0],
            device=", ".join(each.device for each in found),
            kernels=", ".join(kernels),
            kernels_note="; ".join(notes),
            versions={name: text for each in found for name, text in each.versions.items()},
        )

    def invoke(self, raw: Arrays) -> Arrays:
        """Run all segments, one after the other."""
        self._last = raw
        values = [raw]
        for each in self._segments:
            values.append(each.backend.invoke(_taken(values, each)))
        return self._outputs(values)

    def reinvoke(self) -> None:
        """Run again on the inputs of the last call."""
        self.invoke(self._last)

    def reset(self) -> None:
        """Reset the state of each segment."""
        for each in self._segments:
            each.backend.reset()

    def close(self) -> None:
        """Close all segments."""
        for each in self._segments:
            each.backend.close()

    def stream(self, inputs: Iterable[Arrays], busy_s: list[float] | None = None) -> Iterator[Any]:
        """Yield the outputs for each of ``inputs``, in order; a thread runs each segment.

        Args:
            inputs: Raw arrays of one inference each. They are drawn in another thread.
            busy_s: Gets the time of each segment's inferences, a number per segment.
        """
        lines: list[queue.Queue[Any]] = [
            queue.Queue(_WAITING) for _ in range(len(self._segments) + 1)
        ]
        stopped = threading.Event()
        spent = [0.0] * len(self._segments)

        def feed() -> None:
            try:
                for raw in inputs:
                    if not _put(lines[0], [raw], stopped):
                        return
                _put(lines[0], _END, stopped)
            except BaseException as error:  # noqa: BLE001 - raised by the reader
                _put(lines[0], error, stopped)

        def work(index: int) -> None:
            each = self._segments[index]
            while True:
                values = _get(lines[index], stopped)
                if isinstance(values, list):
                    begin = time.perf_counter()
                    try:
                        values = [*values, each.backend.invoke(_taken(values, each))]
                    except BaseException as error:  # noqa: BLE001 - raised by the reader
                        values = error
                    spent[index] += time.perf_counter() - begin
                if not _put(lines[index + 1], values, stopped) or not isinstance(values, list):
                    return

        threads = [threading.Thread(target=feed, daemon=True)]
        threads += [
            threading.Thread(target=work, args=(index,), daemon=True)
            for index in range(len(self._segments))
        ]
        for thread in threads:
            thread.start()
        try:
            while True:
                values = lines[-1].get()
                if values is _END:
                    return
                if isinstance(values, BaseException):
                    raise values
                yield self._outputs(values)
        finally:
            stopped.set()
            for thread in threads[1:]:
                thread.join()
            if busy_s is not None:
                busy_s[:] = spent

    @property
    def segments(self) -> tuple[Backend, ...]:
        """The backend of each segment."""
        return tuple(each.backend for each in self._segments)

    def _outputs(self, values: Sequence[Arrays]) -> Arrays:
        return tuple([values[index + 1][place] for index, place in self._given])

    def _wire(self, info: TensorInfo, place: int) -> tuple[int, int]:
        """Return where the last segment's input ``place`` comes from: by name, else by order."""
        index = len(self._segments) - 1
        if index == 0:
            return -1, place
        before = [each.backend for each in self._segments[:index]]
        for segment in range(index - 1, -1, -1):
            for number, output in enumerate(before[segment].outputs):
                if output.name == info.name and _fits(output, info):
                    return segment, number
        for number, given in enumerate(before[0].inputs):
            if given.name == info.name and _fits(given, info):
                return -1, number
        outputs = before[-1].outputs
        if len(outputs) == len(self._segments[index].backend.inputs) and _fits(
            outputs[place], info
        ):
            return index - 1, place
        raise UnsupportedModelError(
            f"segment {index} needs {info.name!r}, which no segment before it gives",
            why=f"it is {info.dtype} of {info.shape}; segment {index - 1} gives "
            f"{[(each.name, each.shape, each.dtype) for each in outputs]}",
            fix="give the segments of one model in their order: segment_0_of_N first",
        )


def _fits(given: TensorInfo, wanted: TensorInfo) -> bool:
    return (given.shape, given.dtype) == (wanted.shape, wanted.dtype)


def _taken(values: Sequence[Arrays], segment: _Segment) -> Arrays:
    """Return a segment's inputs; ``values`` has the model's, then the outputs of each segment."""
    return tuple([values[index + 1][place] for index, place in segment.inputs])


def _put(line: queue.Queue[Any], values: Any, stopped: threading.Event) -> bool:  # noqa: ANN401
    """Put ``values`` into ``line``; return False if the reader has stopped."""
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            line.put(values, timeout=_POLL_S)
            return True
    return False


def _get(line: queue.Queue[Any], stopped: threading.Event) -> Any:  # noqa: ANN401
    while not stopped.is_set():
        with contextlib.suppress(queue.Empty):
            return line.get(timeout=_POLL_S)
    return _END
