# SPDX-License-Identifier: Apache-2.0
"""The protocol of a backend, between the Runner, which checks and casts, and an interpreter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping

from edgekit.protocol import Protocol
from edgekit.quant import QuantParams
from edgekit.result import Result
from edgekit.runtime.thermal import Thermal

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_TARGETS = 4  # outputs with at most so many numbers are targets of a regression


@dataclass(frozen=True)
class TensorInfo(Result):
    """An input or output of a loaded model; scale and zero point are None where not quantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # a numpy name: "uint8"
    scale: float | None
    zero_point: int | None
    index: int  # of the tensor in the file

    @property
    def params(self) -> QuantParams | None:
        """How real values are stored in it; None if they are stored as they are."""
        if self.scale is None or self.zero_point is None:
            return None
        return QuantParams(self.scale, self.zero_point, self.dtype)

    @property
    def real_range(self) -> tuple[float, float] | None:
        """The lowest and highest real value that it can store; None if it is not quantized."""
        params = self.params
        return None if params is None else (params.real_min, params.real_max)


@dataclass(frozen=True)
class Environment(Result):
    """What runs a model, for the record of a result."""

    device: str  # "cpu", "usb:0", ...; "edgetpu" where "auto" chose one
    runtime: str  # "litert", "tflite-runtime" or "tensorflow"
    kernels: str  # "edgetpu", "xnnpack", "builtin" (TFLite's own optimized ones) or "reference"
    kernels_note: str  # why it differs from the request; empty if it does not
    num_threads: int
    versions: Mapping[str, str] = field(
        default_factory=dict
    )  # the runtime's comes first; then library and kernel
    thermal: Thermal | None = None  # temperatures, and whether the clock was likely lowered

    @property
    def is_edge_tpu(self) -> bool:
        """Whether an Edge TPU runs it, through libedgetpu."""
        return "libedgetpu" in self.versions


class MeasuredResult(Result):
    """A result with an ``environment``: what ran the model.

    The fields of the environment can also be read from the result itself. In JSON they are also
    beside ``environment``, where documents with the number 1 had them.
    """

    environment: Environment

    @property
    def device(self) -> str:
        """See `Environment`."""
        return self.environment.device

    @property
    def runtime(self) -> str:
        """See `Environment`."""
        return self.environment.runtime

    @property
    def kernels(self) -> str:
        """See `Environment`."""
        return self.environment.kernels

    @property
    def kernels_note(self) -> str:
        """See `Environment`."""
        return self.environment.kernels_note

    @property
    def num_threads(self) -> int:
        """See `Environment`."""
        return self.environment.num_threads

    @property
    def versions(self) -> Mapping[str, str]:
        """See `Environment`."""
        return self.environment.versions

    @property
    def thermal(self) -> Thermal | None:
        """See `Environment`."""
        return self.environment.thermal

    def json_fields(self) -> dict[str, Any]:
        """The fields, and those of ``environment`` beside them as in documents numbered 1."""
        return {**self.environment.json_fields(), **super().json_fields()}


class Backend(Protocol):
    """A model in an interpreter, ready to be invoked; it does not check arrays.

    Not thread-safe: two threads need two backends.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    load_ms: float  # to construct the interpreter and allocate its tensors

    @property
    def environment(self) -> Environment:
        """What runs the model, with the temperatures up to now."""

    def invoke(self, raw: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        """Copy the inputs in, run, copy the outputs out."""

    def reinvoke(self) -> None:
        """Run again on the inputs of the last call; copy nothing."""

    def reset(self) -> None:
        """Reset the state that the model keeps from one inference to the next."""

    def close(self) -> None:
        """Release the interpreter's memory and the device."""
