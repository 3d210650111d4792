# SPDX-License-Identifier: Apache-2.0
"""Run a real inference in the doctor's child: a small network with a known answer."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from edgekit.errors import EdgeKitError
from edgekit.formats.libedgetpu import runtime_version_in
from edgekit.formats.model_file import PLAIN, PROGRAM, read_model_file
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    write_model,
)
from edgekit.runtime import Runner
from edgekit.runtime.edgetpu import required_runtime_version
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.probe import too_old
from edgekit.runtime.probe_child import version_of

_WEIGHTS = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [1, -1, 1, -1]], np.int8)
_BIAS = np.array([0, 10, -20], np.int32)
_INPUT = np.array([[1, 20, 30, -40]], np.int8)
_OUTPUT = [1, 21, 31]  # weights times input plus bias; every scale is 1
_ONE = Quantization((1.0,), (0,))


def run_small_network() -> dict[str, Any]:
    """Run the network on the CPU; ``ok`` is whether the answer is right."""
    try:
        with Runner(_small_network()) as runner:
            (answer,) = runner.invoke(_INPUT)
            environment = runner.environment
    except (EdgeKitError, ImportError) as error:
        return {"ok": False, "error": " ".join(str(error).split())}
    given = [int(value) for value in answer.ravel()]
    wrong = "" if given == _OUTPUT else f"answered {given}, expected {_OUTPUT}"
    return {
        "ok": not wrong,
        "error": wrong,
        "runtime": environment.runtime,
        "kernels": environment.kernels,
        "versions": dict(environment.versions),
    }


def run_model(path: str, library_path: str) -> dict[str, Any]:
    """Run the model at ``path``, or in a bundle there, once without setting its inputs.

    A compiled model runs through the delegate in ``library_path``, another on the CPU.
    """
    try:
        file = read_model_file(path, PROGRAM if library_path else PLAIN)
        compiled = file.is_compiled
        if compiled and library_path:
            _check_version(file.model, library_path)
            _invoke_delegated(file.content, library_path)
        else:
            with Runner(file) as runner:
                runner.invoke(*(np.zeros(each.shape, each.dtype) for each in runner.inputs))
    except (EdgeKitError, ImportError, RuntimeError, ValueError, OSError) as error:
        return {"ok": False, "error": " ".join(str(error).split())}
    return {"ok": True, "error": "", "device": "the Edge TPU" if compiled else "the CPU"}


def _check_version(model: Model, library_path: str) -> None:
    have = runtime_version_in(version_of(ctypes.CDLL(library_path)))
    wanted = required_runtime_version(model)
    if have and wanted > have:
        raise too_old(wanted, have, library_path)


def _invoke_delegated(content: bytes, library_path: str) -> None:
    library = load_library()
    delegate = library.module.load_delegate(library_path)
    interpreter = library.interpreter(content, experimental_delegates=[delegate])
    interpreter.allocate_tensors()
    interpreter.invoke()


def _small_network() -> bytes:
    def tensor(name: str, shape: tuple[int, ...], dtype: str, buffer: int) -> Tensor:
        return Tensor(name, shape, dtype, buffer, _ONE)

    dense = Operator(
        "FULLY_CONNECTED",
        4,
        inputs=(0, 1, 2),
        outputs=(3,),
        options={"fused_activation_function": "NONE"},
        options_type="FullyConnectedOptions",
    )
    graph = Subgraph(
        tensors=(
            tensor("input", (1, 4), "INT8", 0),
            tensor("weights", (3, 4), "INT8", 1),
            tensor("bias", (3,), "INT32", 2),
            tensor("output", (1, 3), "INT8", 0),
        ),
        inputs=(0,),
        outputs=(3,),
        operators=(dense,),
    )
    constants = (_WEIGHTS.view(np.uint8).ravel(), _BIAS.view(np.uint8))
    return write_model(Model((graph,), (np.empty(0, np.uint8), *constants)))
