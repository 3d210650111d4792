# SPDX-License-Identifier: Apache-2.0
"""The Runner: a loaded model that checks and casts input and output arrays."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Iterable, Iterator, NoReturn, Sequence

import numpy as np

from edgekit.errors import (
    DataError,
    DeviceError,
    DeviceLostError,
    UnsupportedModelError,
    UsageError,
)
from edgekit.files import sha256_hex
from edgekit.formats.features import read_features
from edgekit.formats.model_file import ModelSource
from edgekit.formats.tflite import Model
from edgekit.log import debug, log_is_used
from edgekit.quant import QuantParams, dequantize, quantize
from edgekit.runtime.base import Backend, Environment, TensorInfo
from edgekit.runtime.devices import AUTO, CPU
from edgekit.runtime.options import RunnerOptions
from edgekit.runtime.select import check_device, file_for, open_backend
from edgekit.runtime.state import is_stateful

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from edgekit.formats.tflite_metadata import Notes

# Seconds before each attempt to open a lost device again: on USB it reconnects after some seconds.
_PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0)
_MOST_RECOVERIES = 10


class Runner:
    """A loaded model that can be invoked; a context manager.

    Threads that share a Runner wait for each other: it runs one inference at a time. `clone`
    returns a Runner for another thread, which runs in parallel. Outputs are copies, owned by the
    caller.

    ``predict`` takes and returns real values, ``invoke`` the tensors' own types. Real values are
    quantized by the input's scale and zero point (division in float32, ties away from zero,
    saturating: see `edgekit.quant.quantize`) and outputs come back as float32.
    """

    def __init__(  # noqa: PLR0913 - public: its options are keywords
        self,
        model: ModelSource | Sequence[ModelSource],
        device: str = CPU,
        *,
        runtime: str | None = None,
        kernels: str = "fast",
        num_threads: int = 1,
        fallback: bool = False,
        recover: bool = False,
        timeout_s: float | None = None,
        strict_sync: bool = False,
        unproven: bool = False,
        source: ModelSource | None = None,
        options: RunnerOptions | None = None,
    ) -> None:
        """Read, check and load ``model``.

        Args:
            model: Path or content of a .tflite file or a bundle; or a list of them, the segments of
                one model in their order. Each segment then has its own device (``usb`` is
                ``usb:0``, ``usb:1``, ...), and `stream` runs them as a pipeline.
            device: See `RunnerOptions`.
            runtime: See `RunnerOptions`.
            kernels: See `RunnerOptions`.
            num_threads: See `RunnerOptions`.
            fallback: See `RunnerOptions`.
            recover: See `RunnerOptions`.
            timeout_s: See `RunnerOptions`.
            strict_sync: See `RunnerOptions`.
            unproven: See `RunnerOptions`.
            source: See `RunnerOptions`.
            options: All of these as one value, instead of the keywords.

        Raises:
            ModelFormatError: ``model`` is not a .tflite file, or is damaged.
            BundleError: ``model`` is a damaged bundle, or the file beside it is another model.
            UnsupportedModelError: The interpreter has no kernel for it, or it is compiled for the
                Edge TPU and ``device`` is not one.
            DeviceError: There is no such device, or it cannot be used.
            MissingExtraError: No runtime is installed.
        """
        self._options = RunnerOptions.given(
            options,
            device=device,
            runtime=runtime,
            kernels=kernels,
            num_threads=num_threads,
            fallback=fallback,
            recover=recover,
            timeout_s=timeout_s,
            strict_sync=strict_sync,
            unproven=unproven,
            source=source,
        )
        check_device(self._options.device)
        given: Sequence[Any] = model if isinstance(model, (list, tuple)) else [model]
        if not given:
            raise UsageError("the list of segments is empty", fix="give at least one model")
        self._files = [file_for(self._options.device, each) for each in given]
        self._file = self._files[0]
        for file in self._files:
            file.model  # noqa: B018 - refuse a damaged one before a device is opened
        self._note = ""  # why it runs on another device than requested
        self._last: tuple[NDArray[Any], ...] = ()
        self.num_recovered = 0  # how often the device was lost and opened again
        self.recovery_s = 0.0  # the time for that, for callers that time inferences
        self._began_s = 0.0
        self._open()

    def _open(self, like: Backend | None = None) -> None:
        self._backend: Backend = self._open_or_fall_back(like)
        self._inputs = self._backend.inputs
        self._expected = tuple((each.shape, np.dtype(each.dtype)) for each in self._inputs)
        self._input_params = tuple(each.params for each in self._inputs)
        self._features = read_features(self._file.model)
        self._output_params = tuple(each.params for each in self._backend.outputs)
        self._is_stateful = any(is_stateful(file.model) for file in self._files)
        self._recovers = self._options.recover
        self._closed = False
        self._turn = threading.Lock()
        if log_is_used():
            debug("runtime", self._description())

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's inputs, in the order in which ``predict`` and ``invoke`` take them."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's outputs, in the order in which they are returned."""
        return self._backend.outputs

    @property
    def environment(self) -> Environment:
        """What runs the model: device, runtime, kernels, versions, temperatures up to now."""
        environment = self._backend.environment
        if not self.num_recovered:
            return environment
        note = f"the device was lost and opened again, times: {self.num_recovered}"
        if self._is_stateful:
            note += "; each time the model's state was reset"
        notes = [part for part in (environment.kernels_note, note) if part]
        return replace(environment, kernels_note="; ".join(notes))

    @property
    def model(self) -> Model:
        """The model as it was read."""
        return self._file.model

    @property
    def options(self) -> RunnerOptions:
        """How the model is run; ``device`` is the CPU if the plain model runs instead."""
        return self._options

    @property
    def backend(self) -> Backend:
        """What runs the model; an `EmulatorBackend` also has the emulated programs."""
        return self._backend

    @property
    def source(self) -> str:
        """The path of the model that runs, of segments the paths; empty for bytes."""
        return ", ".join(filter(None, (file.path for file in self._files)))

    @property
    def load_ms(self) -> float:
        """The time to construct the interpreter and allocate its tensors."""
        return self._backend.load_ms

    @property
    def sha256(self) -> str:
        """The hash of the model file; of segments, that of their hashes."""
        if len(self._files) == 1:
            return self._file.sha256
        return sha256_hex(" ".join(file.sha256 for file in self._files).encode())

    @property
    def notes(self) -> Notes:
        """Preprocessing, labels and task, as the model's file or its bundle states them.

        Raises:
            ModelFormatError: The metadata in the model is damaged.
        """
        return self._file.notes

    def predict(
        self,
        *real: Any,  # noqa: ANN401 - anything array-like
        keep_state: bool = False,
    ) -> tuple[NDArray[Any], ...]:
        """Run on real values.

        Args:
            real: One array per input, in the input's shape.
            keep_state: See `invoke`.

        Returns:
            One array per output: float32 if the output is quantized or float, else its own type.

        Raises:
            DataError: An array has the wrong shape, has integers for a quantized input, or contains
                NaN; the message names the tensor.
        """
        return self.to_real(*self.invoke(*self.to_raw(*real), keep_state=keep_state))

    def invoke(self, *raw: NDArray[Any], keep_state: bool = False) -> tuple[NDArray[Any], ...]:
        """Run on the tensors' own types and shapes; nothing is cast.

        Args:
            raw: One array per input.
            keep_state: Keep the model's state (of an LSTM) from the previous call, as for the
                frames of a stream. Otherwise it is reset before each call; `reset` begins a new
                stream.

        Raises:
            DataError: An array has the wrong shape or type, or contains NaN.
            DeviceLostError: The Edge TPU was lost.
        """
        self._checked(raw)
        with self._turn:
            if self._closed:
                raise _closed()
            if self._is_stateful and not keep_state:
                self._backend.reset()
            if self._recovers:
                self._last = tuple([values.copy() for values in raw])
                self._began_s = time.perf_counter()
            try:
                return self._backend.invoke(raw)
            except DeviceLostError as lost:
                return self._repeat(lost, raw)
            except UnsupportedModelError as error:
                error.where = error.where or self.source
                raise

    def stream(
        self, inputs: Iterable[tuple[NDArray[Any], ...]]
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        """Yield the outputs of `invoke` for each of ``inputs``, in order, as a stream with a state.

        Segments run as a pipeline: each in a thread of its own, on another inference than the
        others. Until the end, nothing else may use the Runner.

        Args:
            inputs: For each inference a tuple with an array per input.

        Raises:
            DataError: As for `invoke`.
        """
        from edgekit.runtime.pipeline import PipelineBackend  # noqa: PLC0415 - seldom used

        backend = self._backend
        if not isinstance(backend, PipelineBackend):
            yield from (self.invoke(*raw, keep_state=True) for raw in inputs)
            return
        with self._turn:
            yield from backend.stream(self._checked(raw) for raw in inputs)

    def _checked(self, raw: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        if self._closed:
            raise _closed()
        if len(raw) != len(self._expected):
            raise _wrong_count(raw, self._inputs)
        for values, (shape, dtype), info in zip(raw, self._expected, self._inputs):
            if not isinstance(values, np.ndarray):
                raise DataError(
                    f"{type(values).__name__} given, expected a numpy array", where=_where(info)
                )
            # numpy has one object for each usual type; comparing two takes longer.
            if values.shape != shape or (values.dtype is not dtype and values.dtype != dtype):
                raise _wrong_raw(values, info)
            if dtype.kind == "f" and values.size and np.isnan(values.min()):
                raise _nan(values, info)
        return raw

    def reset(self) -> None:
        """Reset the state that the model keeps from earlier calls."""
        with self._turn:
            if self._closed:
                raise _closed()
            if self._is_stateful:
                self._backend.reset()

    def reinvoke(self) -> None:
        """Run again on the inputs of the last call, with the model's state; copy nothing."""
        with self._turn:
            if self._closed:
                raise _closed()
            if self._options.recover:
                self._began_s = time.perf_counter()
            try:
                self._backend.reinvoke()
            except DeviceLostError as lost:
                self._repeat(lost, self._last)
            except UnsupportedModelError as error:
                error.where = error.where or self.source
                raise

    def to_raw(self, *real: Any) -> tuple[NDArray[Any], ...]:  # noqa: ANN401 - anything array-like
        """Convert real values to the types of the input tensors.

        Raises:
            DataError: As for `predict`.
        """
        if len(real) != len(self._inputs):
            raise _wrong_count(real, self._inputs)
        return tuple(
            [
                self._stored(np.asarray(values), info, params)
                for values, info, params in zip(real, self._inputs, self._input_params)
            ]
        )

    def to_raw_at(self, index: int, real: Any) -> NDArray[Any]:  # noqa: ANN401 - array-like
        """Convert real values to the type of input ``index``.

        Raises:
            DataError: As for `predict`.
        """
        return self._stored(np.asarray(real), self._inputs[index], self._input_params[index])

    def normalizes(self, index: int) -> bool:
        """Whether input ``index`` stores features that are normalized before."""
        return self._inputs[index].index in self._features

    def normalized(self, index: int, real: NDArray[Any]) -> NDArray[Any]:
        """Return real values as input ``index`` stores them, before quantization.

        They are the same unless `convert` normalized the features of the input.
        """
        features = self._features.get(self._inputs[index].index)
        return real if features is None else features.normalized(real)

    def _stored(
        self, values: NDArray[Any], info: TensorInfo, params: QuantParams | None
    ) -> NDArray[Any]:
        features = self._features.get(info.index)
        if features is not None and values.dtype.kind == "f" and values.shape == info.shape:
            values = features.normalized(values)
        return _to_raw(values, info, params)

    def to_real(self, *raw: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Convert output tensors to real values."""
        return tuple(
            [
                values if params is None else dequantize(values, params)
                for values, params in zip(raw, self._output_params)
            ]
        )

    def clone(self) -> Runner:
        """Return another Runner for the same model on the same device, for another thread."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._open(self._backend)  # noqa: SLF001 - of the same class
        return other

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Runner contains a loaded model and cannot be pickled or copied: open one in each "
            "process (Runner(path)), or clone() it for another thread"
        )

    def _description(self) -> str:
        record = self._backend.environment
        note = f" ({record.kernels_note})" if record.kernels_note else ""
        return (
            f"{self.source or 'a model'} loaded in {self._backend.load_ms:.1f} ms: "
            f"{record.device}, {record.runtime}, {record.kernels} kernels{note}"
        )

    def _open_backend(self, like: Backend | None = None) -> Backend:
        """Open the requested backend; of a list of segments, one that runs them all."""
        if len(self._files) > 1:
            from edgekit.runtime.pipeline import PipelineBackend  # noqa: PLC0415 - seldom used

            return PipelineBackend(self._files, self._options)
        return open_backend(self._file, self._options, note=self._note, like=like)

    def _open_or_fall_back(self, like: Backend | None) -> Backend:
        """Open the requested backend, or the CPU with the plain model where that is allowed."""
        try:
            return self._open_backend(like)
        except (DeviceError, UnsupportedModelError) as error:
            if len(self._files) > 1:
                raise
            if isinstance(error, UnsupportedModelError):
                error.where = error.where or self.source
            from edgekit.runtime.fallback import plain_or_raise  # noqa: PLC0415 - seldom used

            wanted = self._options.fallback or self._options.device == AUTO
            self._file = plain_or_raise(error, self._file, wanted=wanted)
            self._files = [self._file]
            self._note = f"the plain model, instead of {self._options.device}: {error.what}"
            self._options = replace(self._options, device=CPU)
            return self._open_backend()

    def _repeat(
        self, lost: DeviceLostError, raw: tuple[NDArray[Any], ...]
    ) -> tuple[NDArray[Any], ...]:
        """Open the lost device again and repeat the inference, if ``recover`` is set."""
        if not self._options.recover or self.num_recovered >= _MOST_RECOVERIES:
            raise lost
        self._backend.close()
        self._backend = self._reopen(lost)
        self.num_recovered += 1
        self.recovery_s += time.perf_counter() - self._began_s
        return self._backend.invoke(raw)

    def _reopen(self, lost: DeviceLostError) -> Backend:
        why = ""
        for pause_s in _PAUSES_S:
            time.sleep(pause_s)
            try:
                return self._open_backend()
            except DeviceError as error:
                why = f"{error.what}: {error.why}"
        self._closed = True
        raise DeviceLostError(
            "the Edge TPU was lost during a run and cannot be opened again",
            where=lost.where,
            why=why,
            fix="power the device off and on, then run edgekit doctor",
        ) from lost

    def close(self) -> None:
        """Release memory and device; the Runner cannot be used afterwards."""
        with self._turn:
            if not self._closed:
                self._closed = True
                self._backend.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _to_raw(values: NDArray[Any], info: TensorInfo, params: QuantParams | None) -> NDArray[Any]:
    if values.shape != info.shape:
        raise DataError(
            f"shape {values.shape} given, expected {info.shape}",
            where=_where(info),
            fix="the first dimension is the batch; array[None] adds it" * (len(info.shape) > 0),
        )
    wanted = np.dtype(info.dtype)
    if params is not None:
        if values.dtype.kind != "f":
            raise DataError(
                f"{values.dtype} given, expected real values (float32)",
                where=_where(info),
                why=f"the input is {info.dtype}: integers may be pixels, real values or "
                "already quantized values",
                fix="give floats in the units of the training data, or call invoke for raw values",
            )
        if values.size and np.isnan(values.min()):
            raise _nan(values, info)
        return quantize(values, params)
    if wanted.kind == "f" and values.dtype.kind in "fiu":
        return values.astype(wanted)
    if values.dtype.kind != wanted.kind and not np.can_cast(values.dtype, wanted):
        raise DataError(
            f"{values.dtype} given, expected {info.dtype}",
            where=_where(info),
            why="the input is not quantized, so its values are not converted",
        )
    return _as_integers(values, info)


def _as_integers(values: NDArray[Any], info: TensorInfo) -> NDArray[Any]:
    cast = values.astype(info.dtype)
    if not np.array_equal(cast, values):
        raise DataError(f"values outside the range of {info.dtype}", where=_where(info))
    return cast


def _closed() -> UsageError:
    return UsageError("the Runner is closed", fix="use it inside its with block")


def _where(info: TensorInfo) -> str:
    return f"input {info.name!r}"


def _wrong_count(given: Sequence[Any], inputs: Sequence[TensorInfo]) -> DataError:
    return DataError(
        f"{len(given)} arrays given, the model has {len(inputs)} inputs",
        fix=f"give one for each of {[info.name for info in inputs]}",
    )


def _wrong_raw(values: NDArray[Any], info: TensorInfo) -> DataError:
    return DataError(
        f"{values.dtype} of shape {values.shape} given, expected {info.dtype} of {info.shape}",
        where=_where(info),
        why="invoke casts nothing",
        fix="call predict to give real values",
    )


def _nan(values: NDArray[Any], info: TensorInfo) -> DataError:
    return DataError(
        f"{int(np.isnan(values).sum())} of {values.size} values are NaN, expected numbers",
        where=_where(info),
    )
