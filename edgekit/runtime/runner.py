# SPDX-License-Identifier: Apache-2.0
"""The Runner: a loaded model, arrays checked and cast on their way in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.errors import DataError, UsageError
from edgekit.files import PathLike, read_bytes, sha256_hex
from edgekit.formats.tflite import read_model
from edgekit.quant import QuantParams, dequantize, quantize
from edgekit.runtime.base import Backend, Environment, TensorInfo
from edgekit.runtime.select import open_backend

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray


class Runner:
    """A loaded model that can be invoked; a context manager.

    Not thread-safe: two threads need two Runners. Outputs are copies, owned by the caller.

    ``predict`` speaks real values, ``invoke`` the tensors' own types. Real values are quantized by
    the input's scale and zero point (division in float32, ties away from zero, saturating: see
    `edgekit.quant.quantize`) and outputs come back as float32.
    """

    def __init__(
        self,
        model: bytes | PathLike,
        device: str = "cpu",
        *,
        runtime: str | None = None,
        kernels: str = "fast",
        num_threads: int = 1,
    ) -> None:
        """Read, check and load ``model``.

        Args:
            model: Path or content of a .tflite file.
            device: ``cpu``, or ``emulator`` for a model compiled for the Edge TPU: its program in
                software, value for value what the chip computes.
            runtime: ``litert``, ``tflite-runtime`` or ``tensorflow``; None takes the first that is
                installed.
            kernels: ``fast`` is XNNPACK where the runtime has it, which computes what the Edge TPU
                computes for convolutions (depthwise too), dense layers and additions;
                ``reference`` is slow and bit-identical across runtimes.
            num_threads: Threads of one invoke.

        Raises:
            ModelFormatError: ``model`` is no .tflite file, or a damaged one.
            UnsupportedModelError: The interpreter has no kernel for it, or it is compiled for the
                Edge TPU and ``device`` is not one.
            DeviceError: There is no such device.
            MissingExtraError: No runtime is installed.
        """
        if num_threads < 1:
            raise UsageError(f"num_threads is {num_threads}, expected at least 1")
        is_content = isinstance(model, (bytes, bytearray, memoryview))
        self.source = "" if is_content else str(model)
        self.content = bytes(model) if is_content else read_bytes(Path(model), "model")  # type: ignore[arg-type] # decided by is_content
        checked = read_model(self.content) if is_content else read_model(Path(self.source))
        self._backend: Backend = open_backend(
            self.content,
            checked,
            device=device,
            runtime=runtime,
            kernels=kernels,
            num_threads=num_threads,
        )
        self._inputs = self._backend.inputs
        self._expected = tuple((each.shape, np.dtype(each.dtype)) for each in self._inputs)
        self._input_params = tuple(each.params for each in self._inputs)
        self._output_params = tuple(each.params for each in self._backend.outputs)
        self._closed = False

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
        """What runs the model: device, runtime, kernels, versions."""
        return self._backend.environment

    @property
    def load_ms(self) -> float:
        """The time to construct the interpreter and allocate its tensors."""
        return self._backend.load_ms

    @property
    def sha256(self) -> str:
        """The hash of the model file."""
        return sha256_hex(self.content)

    def predict(self, *real: Any) -> tuple[NDArray[Any], ...]:  # noqa: ANN401 - anything array-like
        """Run on real values: one array an input, in the input's shape.

        Returns:
            One array an output: float32 where the output is quantized or float, else as it is.

        Raises:
            DataError: An array has another shape, is of integers where real values are quantized,
                or holds NaN; the message names the tensor.
        """
        return self.to_real(*self.invoke(*self.to_raw(*real)))

    def invoke(self, *raw: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Run on the tensors' own types and shapes; nothing is cast.

        Raises:
            DataError: An array has another shape or type, or holds NaN.
        """
        if self._closed:
            raise UsageError("the Runner is closed", fix="use it inside its with block")
        if len(raw) != len(self._expected):
            raise _wrong_count(raw, self._inputs)
        for values, (shape, dtype), info in zip(raw, self._expected, self._inputs):
            if not isinstance(values, np.ndarray):
                raise DataError(
                    f"{type(values).__name__} given, expected a numpy array", where=_where(info)
                )
            if values.shape != shape or values.dtype != dtype:
                raise _wrong_raw(values, info)
            if dtype.kind == "f" and values.size and np.isnan(values.min()):
                raise _nan(values, info)
        return self._backend.invoke(raw)

    def reinvoke(self) -> None:
        """Run again on the inputs of the last call, copying nothing: the bare inference."""
        if self._closed:
            raise UsageError("the Runner is closed", fix="use it inside its with block")
        self._backend.reinvoke()

    def to_raw(self, *real: Any) -> tuple[NDArray[Any], ...]:  # noqa: ANN401 - anything array-like
        """Real values as the input tensors store them.

        Raises:
            DataError: As for `predict`.
        """
        if len(real) != len(self._inputs):
            raise _wrong_count(real, self._inputs)
        return tuple(
            [
                _to_raw(np.asarray(values), info, params)
                for values, info, params in zip(real, self._inputs, self._input_params)
            ]
        )

    def to_real(self, *raw: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Output tensors as real values."""
        return tuple(
            [
                values if params is None else dequantize(values, params)
                for values, params in zip(raw, self._output_params)
            ]
        )

    def close(self) -> None:
        """Give memory and device back; the Runner cannot be used afterwards."""
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
                why=f"the input is {info.dtype}: whether integers are pixels, real values or "
                "quantized already cannot be told",
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
            why="the input is not quantized, its values are taken as they are",
        )
    return _as_integers(values, info)


def _as_integers(values: NDArray[Any], info: TensorInfo) -> NDArray[Any]:
    cast = values.astype(info.dtype)
    if not np.array_equal(cast, values):
        raise DataError(f"values outside the range of {info.dtype}", where=_where(info))
    return cast


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
