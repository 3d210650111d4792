# SPDX-License-Identifier: Apache-2.0
"""The CPU backend: TensorFlow Lite's interpreter with kernels chosen on purpose."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.runtime.base import Environment, TensorInfo
from edgekit.runtime.interpreters import InterpreterLibrary

if TYPE_CHECKING:
    from numpy.typing import NDArray

# --kernels -> member of OpResolverType. AUTO is XNNPACK with TFLite's own optimized kernels for
# what XNNPACK does not take.
_RESOLVERS = {"fast": "AUTO", "reference": "BUILTIN_REF"}
KERNELS = tuple(_RESOLVERS)
_WITHOUT_XNNPACK = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
_XNNPACK_FAILED = "XNNPack"  # in the text of the interpreter's error
_UNKNOWN_CUSTOM_OP = "unresolved custom op: "
_NOT_XNNPACK_BUILT = "this build of the runtime gives no operator of this model to XNNPACK"


class CpuBackend:
    """A model in TensorFlow Lite's interpreter on this machine's CPU."""

    def __init__(
        self, content: bytes, library: InterpreterLibrary, kernels: str, num_threads: int
    ) -> None:
        if kernels not in _RESOLVERS:
            raise UsageError(f"no kernels {kernels!r}", fix=f"use one of {', '.join(KERNELS)}")
        note = ""
        start = time.perf_counter()
        try:
            interpreter = _prepare(content, library, _RESOLVERS[kernels], num_threads)
        except (RuntimeError, ValueError) as error:
            if kernels != "fast" or _XNNPACK_FAILED not in str(error):
                raise _refusal(error, library) from error
            note = f"XNNPACK refused the model: {_one_line(error)}"
            interpreter = _prepare_without_xnnpack(content, library, num_threads)
        self.load_ms = (time.perf_counter() - start) * 1e3
        ran = "reference" if kernels == "reference" else _fast_kernels(interpreter)
        if ran == "builtin" and not note:
            note = _NOT_XNNPACK_BUILT
        self.environment = Environment(
            "cpu", library.runtime, ran, note, num_threads, library.versions
        )
        self.inputs = tuple(_info(each) for each in interpreter.get_input_details())
        self.outputs = tuple(_info(each) for each in interpreter.get_output_details())
        self._set_tensor, self._get_tensor = interpreter.set_tensor, interpreter.get_tensor
        self._invoke = interpreter.invoke
        self._input_indices = tuple(each.index for each in self.inputs)
        self._output_indices = tuple(each.index for each in self.outputs)

    def invoke(self, raw: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        """Copy the inputs in, run, copy the outputs out."""
        # set_tensor and get_tensor copy: no numpy view of a tensor stays, with which invoke would
        # refuse to run.
        for index, values in zip(self._input_indices, raw):
            self._set_tensor(index, values)
        self.reinvoke()
        return tuple([self._get_tensor(index) for index in self._output_indices])

    def reinvoke(self) -> None:
        """Run again on the inputs that are there; nothing is copied."""
        try:
            self._invoke()
        except (RuntimeError, ValueError) as error:
            raise UnsupportedModelError(
                "the model was loaded but cannot be run",
                why=_one_line(error),
                fix="convert it again; where it is somebody else's, try --kernels reference",
            ) from error

    def close(self) -> None:
        """Give the interpreter's memory back."""
        # The bound methods hold the only references to the interpreter.
        for name in ("_set_tensor", "_get_tensor", "_invoke"):
            self.__dict__.pop(name, None)


def _prepare(content: bytes, library: InterpreterLibrary, resolver: str, num_threads: int) -> Any:  # noqa: ANN401
    interpreter = library.interpreter(
        content,
        num_threads=num_threads,
        experimental_op_resolver_type=library.resolver(resolver),
    )
    interpreter.allocate_tensors()
    return interpreter


def _prepare_without_xnnpack(content: bytes, library: InterpreterLibrary, num_threads: int) -> Any:  # noqa: ANN401
    try:
        return _prepare(content, library, _WITHOUT_XNNPACK, num_threads)
    except (RuntimeError, ValueError) as error:
        raise _refusal(error, library) from error


def _fast_kernels(interpreter: Any) -> str:  # noqa: ANN401
    """What AUTO came to: delegated operators stand in the plan as one DELEGATE."""
    # Not public, but alike in every release since 2.5; without it the record says "builtin".
    details = getattr(interpreter, "_get_ops_details", list)
    return "xnnpack" if any(op["op_name"] == "DELEGATE" for op in details()) else "builtin"


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


def _refusal(error: Exception, library: InterpreterLibrary) -> UnsupportedModelError:
    text = _one_line(error)
    if _UNKNOWN_CUSTOM_OP in text:
        name = text.split(_UNKNOWN_CUSTOM_OP)[1].split()[0].rstrip(".")
        return UnsupportedModelError(
            f"no CPU kernel for the custom operator {name}",
            why=text,
            fix="give a model without it; custom operators run only where their library is linked",
        )
    return UnsupportedModelError(
        f"{library.runtime} cannot load the model",
        why=text,
        fix="try --kernels reference, another --runtime, or convert the model again",
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
