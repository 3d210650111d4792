# SPDX-License-Identifier: Apache-2.0
"""A model in an interpreter with allocated tensors: the common part of the backends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.errors import EdgeKitError, UnsupportedModelError
from edgekit.runtime.base import Environment, TensorInfo
from edgekit.runtime.native_output import chatter_logged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.runtime.interpreters import InterpreterLibrary
    from edgekit.runtime.thermal import ThermalMonitor


XNNPACK_FAILED = "XNNPack"  # in the text of the interpreter's error
_BOUND = ("_set_tensor", "_get_tensor", "_invoke", "_reset_variables")


class Session:
    """An interpreter that can be invoked; backends derive from it."""

    def __init__(
        self,
        interpreter: Any,  # noqa: ANN401 - they have no type hints
        environment: Environment,
        monitor: ThermalMonitor,
        load_ms: float,
    ) -> None:
        self.load_ms = load_ms
        self._environment, self._monitor = environment, monitor
        self.inputs = tuple(_info(each) for each in interpreter.get_input_details())
        self.outputs = tuple(_info(each) for each in interpreter.get_output_details())
        self._bind(interpreter)
        self._input_indices = tuple(each.index for each in self.inputs)
        self._output_indices = tuple(each.index for each in self.outputs)

    @property
    def environment(self) -> Environment:
        """What runs the model, with the temperatures up to now."""
        return replace(self._environment, thermal=self._monitor.reading())

    def invoke(self, raw: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        """Copy the inputs in, run, copy the outputs out."""
        # set_tensor and get_tensor copy: with a numpy view of a tensor, invoke would refuse to run.
        for index, values in zip(self._input_indices, raw):
            self._set_tensor(index, values)
        try:  # as `reinvoke`: a call takes a hundredth of the time of a small network
            self._invoke()
        except (RuntimeError, ValueError) as error:
            raise self._failure(error) from error
        return tuple([self._get_tensor(index) for index in self._output_indices])

    def reinvoke(self) -> None:
        """Run again on the inputs of the last call; copy nothing."""
        try:
            self._invoke()
        except (RuntimeError, ValueError) as error:
            raise self._failure(error) from error

    def reset(self) -> None:
        """Set the variable tensors to zero (int8: to their zero point)."""
        try:
            self._reset_variables()
        except (RuntimeError, ValueError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Release the interpreter's memory and the device."""
        self._monitor.close()
        for name in _BOUND:
            self.__dict__.pop(name, None)

    def _bind(self, interpreter: Any) -> None:  # noqa: ANN401 - they have no type hints
        """Store the bound methods of ``interpreter``: the only references to it."""
        self._set_tensor, self._get_tensor = interpreter.set_tensor, interpreter.get_tensor
        self._invoke = interpreter.invoke
        self._reset_variables = interpreter.reset_all_variables

    def _failure(self, error: Exception) -> EdgeKitError:
        """Return the error to raise for a failed inference."""
        return UnsupportedModelError(
            "the model was loaded but cannot be run",
            why=one_line(error),
            fix="convert it again; if you cannot, try --kernels reference",
        )


def prepare(
    content: bytes,
    library: InterpreterLibrary,
    resolver: str,
    num_threads: int,
    delegates: Sequence[Any] = (),
    shapes: Sequence[tuple[int, ...]] = (),
    **options: Any,  # noqa: ANN401 - arguments of the runtime's interpreter
) -> Any:  # noqa: ANN401 - the interpreters have no type hints
    """Return an interpreter with its tensors allocated; ``shapes`` resizes the inputs."""
    if delegates:
        options["experimental_delegates"] = list(delegates)
    with chatter_logged(lose_on_error=True):
        interpreter = library.interpreter(
            content,
            num_threads=num_threads,
            experimental_op_resolver_type=library.resolver(resolver),
            **options,
        )
        if shapes:
            for detail, shape in zip(interpreter.get_input_details(), shapes):
                interpreter.resize_tensor_input(detail["index"], shape)
        interpreter.allocate_tensors()
    return interpreter


def one_line(error: Exception) -> str:
    """The error's text without its line ends."""
    return " ".join(str(error).split())


def _info(detail: Mapping[str, Any]) -> TensorInfo:
    scales = detail["quantization_parameters"]["scales"]
    per_tensor = len(scales) == 1 and scales[0] > 0
    zero_points = detail["quantization_parameters"]["zero_points"]
    return TensorInfo(
        name=str(detail["name"]),
        shape=tuple(int(size) for size in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scales[0]) if per_tensor else None,
        zero_point=int(zero_points[0]) if per_tensor else None,
        index=int(detail["index"]),
    )
