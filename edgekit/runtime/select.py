# SPDX-License-Identifier: Apache-2.0
"""Device words to backends, and what a model must be before an interpreter sees it."""

from __future__ import annotations

from edgekit.errors import DeviceError, UnsupportedModelError
from edgekit.formats.tflite import CUSTOM, Model
from edgekit.runtime.base import Backend
from edgekit.runtime.cpu import CpuBackend
from edgekit.runtime.emulator import DEVICE as EMULATOR
from edgekit.runtime.emulator import EmulatorBackend
from edgekit.runtime.interpreters import load_library

EDGETPU_CUSTOM_OP = "edgetpu-custom-op"


def open_backend(
    content: bytes,
    model: Model,
    *,
    device: str,
    runtime: str | None,
    kernels: str,
    num_threads: int,
) -> Backend:
    """Load ``content`` (read and checked as ``model``) on ``device``.

    Raises:
        DeviceError: There is no such device here.
        UnsupportedModelError: The model cannot run there.
        MissingExtraError: No runtime is installed.
    """
    if device == EMULATOR:
        return EmulatorBackend(model, lambda: load_library(runtime), kernels, num_threads)
    if device != "cpu":
        raise DeviceError(
            f"no device {device!r}",
            why="this edgekit runs models on the CPU and compiled ones in its emulator",
            fix="use --device cpu with the uncompiled model, --device emulator with the compiled",
        )
    check_for_cpu(model)
    return CpuBackend(content, load_library(runtime), kernels, num_threads)


def check_for_cpu(model: Model) -> None:
    """Refuse a model that holds code for the Edge TPU.

    Raises:
        UnsupportedModelError: It does; ``where`` names the operator.
    """
    for subgraph_index, operator_index, operator in model.operators():
        if operator.opcode == CUSTOM and operator.custom_code == EDGETPU_CUSTOM_OP:
            raise UnsupportedModelError(
                "the model is compiled for the Edge TPU and cannot run on the CPU",
                where=f"subgraph {subgraph_index}, operator {operator_index} {EDGETPU_CUSTOM_OP}",
                why="its operators are machine code of the Edge TPU",
                fix="give the model that went into the compiler, without _edgetpu in its name, "
                "or run its program in software (--device emulator)",
            )
