# SPDX-License-Identifier: Apache-2.0
"""Run many samples through one model: on all cores, and in larger batches if the results are equal.

A small network spends much of its time between inferences. A copy with a larger batch (for the CPU
only) saves that; it is used if its outputs equal the original's, bit for bit, on the samples that
already ran one by one.
"""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.data import Pixels
from edgekit.data.dataset import has_batch
from edgekit.errors import UnsupportedModelError
from edgekit.evaluate.batch import with_batch
from edgekit.formats.tflite import write_model
from edgekit.quant import quantize
from edgekit.runtime import Runner, RunnerOptions
from edgekit.runtime.latency import median

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.runtime import TensorInfo
    from edgekit.tasks import Prepared

# A batch takes about this long: the time between batches is then a few percent of it, and a larger
# batch only takes more memory.
_BATCH_S = 1e-3
# Slower networks lose little between inferences; to make and compare a copy takes 0.1 s or more.
_SLOW_S = 0.3e-3
# A batch saves this for each sample. To make and to compare a copy takes the second time, and the
# third one times an inference. Measured with seven networks of 4 to 440 us.
_SAVED_S, _COPY_S, _COPY_INFERENCES = 25e-6, 12e-3, 300

_PIXELS = np.arange(256, dtype=np.uint8)
_SIGN = np.uint8(0x80)

Rows = Sequence[Any]  # one array, or Pixels, per input; the samples along the first dimension


class Engine:
    """A model and the interpreters that run it; a context manager.

    Call ``run_timed`` and ``specialize`` from one thread; afterwards ``run`` may be called from as
    many threads as ``specialize`` has ``workers``.
    """

    def __init__(
        self,
        prepared: Prepared,
        options: RunnerOptions,
        *,
        keep_state: bool = False,
        single: Runner | None = None,
    ) -> None:
        """Load the model.

        Args:
            prepared: The model.
            options: How to run it.
            keep_state: Samples are a stream: the model's state is kept from one to the next.
                ``specialize`` then uses one worker.
            single: A Runner of the model; None opens one.
        """
        self._options, self._keep_state = options, keep_state
        self.prepared = prepared
        self.single = single or Runner(prepared.runnable, options=options)
        self.batch = _batch_of(self.single)  # samples per inference of ``run``
        self.times_s: list[float] = []
        self._seen: list[tuple[Rows, Rows]] = []
        self._runners = [self.single]
        self._free: queue.LifoQueue[Runner] = queue.LifoQueue()

    def run_timed(self, rows: Rows) -> Rows:
        """Return raw outputs for real inputs; append the time of each inference to ``times_s``."""
        return self._run_single(rows, self.times_s)

    def run_untimed(self, rows: Rows) -> None:
        """Run ``rows`` untimed, for ``specialize`` to compare with."""
        self._run_single(rows, None)

    def specialize(
        self, workers: int, largest_batch: int, left: int | None = None, *, exactly: bool = False
    ) -> None:
        """Prepare ``workers`` interpreters for ``run``, with a larger batch if outputs are equal.

        Args:
            workers: How many interpreters.
            largest_batch: The upper limit of the batch, which is chosen by the measured times.
            left: How many samples will follow; None if that is unknown.
            exactly: Use ``largest_batch`` itself.
        """
        if self.single.environment.is_edge_tpu or self._keep_state:
            # A second interpreter would share the device, keep it open after it was lost, and have
            # a separate state.
            self._seen.clear()
            self._free.put(self.single)
            return
        wanted = largest_batch
        if not exactly:
            typical_s = median(self.times_s)
            is_useful = left is None or left * _SAVED_S > _COPY_S + _COPY_INFERENCES * typical_s
            if typical_s >= _SLOW_S or not is_useful:
                wanted = 1
            else:
                wanted = int(min(largest_batch, _BATCH_S / typical_s))
        if wanted > self.batch and self._seen:
            copy = with_batch(self.single.model, wanted)
            if copy is not None:
                self._try(write_model(copy))
        self._seen.clear()
        while self._free.qsize() < workers:
            self._add(self._runners[-1].clone())

    def run(self, rows: Rows) -> Rows:
        """Return raw outputs for real inputs."""
        if not len(rows[0]):
            return []
        runner = self._free.get()
        try:
            return _run(runner, rows, keep_state=self._keep_state)
        finally:
            self._free.put(runner)

    def answer(self, rows: Rows) -> Rows:
        """Return raw outputs for real inputs, one by one and untimed, before other threads run."""
        return _run(self.single, rows) if len(rows[0]) else []

    def close(self) -> None:
        """Close every interpreter."""
        for runner in self._runners:
            runner.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run_single(self, rows: Rows, times_s: list[float] | None) -> Rows:
        if not len(rows[0]):
            return []
        outputs = _run(self.single, rows, times_s, keep_state=self._keep_state)
        self._seen.append((rows, outputs))
        return outputs

    def _try(self, content: bytes) -> None:
        """Use the copy ``content`` if its outputs equal the original's."""
        runner = Runner(content, options=self._options)
        if not all(_agrees(runner, *seen) for seen in self._seen):
            runner.close()
            return
        self.batch = _batch_of(runner)
        self._add(runner)

    def _add(self, runner: Runner) -> None:
        self._runners.append(runner)
        self._free.put(runner)


def _agrees(runner: Runner, rows: Rows, outputs: Rows) -> bool:
    """Whether ``runner`` has exactly these outputs."""
    try:
        return all(map(np.array_equal, _run(runner, rows), outputs))
    except UnsupportedModelError:  # an output of the copy has no row for each sample
        return False


def _looked_up(runner: Runner, index: int, rows: Any) -> NDArray[Any] | None:  # noqa: ANN401 - array-like
    """Return all rows as input ``index`` stores them if that is a look-up, else None."""
    params = runner.inputs[index].params
    if params is None or not isinstance(rows, Pixels) or runner.normalizes(index):
        return None
    codes = quantize(rows.table, params)
    if codes.dtype == np.uint8 and np.array_equal(codes, _PIXELS):
        return rows.values  # each pixel equals its code
    if codes.dtype == np.int8 and np.array_equal(codes.view(np.uint8), _PIXELS ^ _SIGN):
        return (rows.values ^ _SIGN).view(np.int8)  # ten times as fast as looking it up
    stored: NDArray[Any] = codes.take(rows.values)
    return stored


def as_pixels(values: NDArray[Any], info: TensorInfo) -> NDArray[Any]:
    """Convert whole real numbers (``raw`` pixels) to the integers of an unquantized input."""
    wanted = np.dtype(info.dtype)
    if info.scale is not None or wanted.kind not in "iu" or values.dtype.kind != "f":
        return values
    with np.errstate(invalid="ignore"):
        cast = values.astype(wanted)
    return cast if np.array_equal(cast, values) else values


def _run(
    runner: Runner, rows: Rows, times_s: list[float] | None = None, *, keep_state: bool = False
) -> Rows:
    size, count = _batch_of(runner), len(rows[0])
    stored = [_looked_up(runner, index, each) for index, each in enumerate(rows)]
    parts = []
    for start in range(0, count, size):
        part = slice(start, start + size)
        raw = [
            _to_raw(runner, index, _filled(np.asarray(each[part]), size))
            if known is None
            else _filled(known[part], size).reshape(runner.inputs[index].shape)
            for index, (each, known) in enumerate(zip(rows, stored))
        ]
        if not keep_state:
            runner.reset()
        spent_s, begin = runner.recovery_s, time.perf_counter()
        parts.append(runner.invoke(*raw, keep_state=True))
        if times_s is not None:
            times_s.append(time.perf_counter() - begin - (runner.recovery_s - spent_s))
    return [_rows_of(each, size)[:count] for each in zip(*parts)]


def _rows_of(outputs: Sequence[NDArray[Any]], size: int) -> NDArray[Any]:
    """One output of several inferences, the samples along the first dimension."""
    shape = outputs[0].shape
    if shape[:1] == (size,):
        return np.concatenate(outputs)
    if size > 1:
        raise UnsupportedModelError(
            f"an output has the shape {shape}, expected {size} rows, one for each sample",
            why=f"the first dimension of the inputs is {size}: so many samples in an inference",
            fix="export or convert the model with a batch of 1",
        )
    return np.stack(outputs)


def _batch_of(runner: Runner) -> int:
    """Samples per inference: one if the inputs' first dimension is not a batch."""
    shapes = [info.shape for info in runner.inputs]
    return shapes[0][0] if shapes and shapes[0] and has_batch(shapes) else 1


def _to_raw(runner: Runner, index: int, real: NDArray[Any]) -> NDArray[Any]:
    info = runner.inputs[index]
    return runner.to_raw_at(index, as_pixels(real.reshape(info.shape), info))


def _filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """``rows`` with the last one repeated up to ``size``."""
    missing = size - len(rows)
    return rows if not missing else np.concatenate([rows, rows[-1:].repeat(missing, axis=0)])
