# SPDX-License-Identifier: Apache-2.0
"""Choose the backend for a device word, and check a model before an interpreter loads it."""

from __future__ import annotations

from typing import Callable, NamedTuple

from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.extras import require_part
from edgekit.formats.model_file import (
    COMPILED,
    PLAIN,
    PROGRAM,
    ModelFile,
    ModelSource,
    read_model_file,
)
from edgekit.formats.tflite import EDGETPU_CUSTOM_OP, Model, is_edgetpu_operator
from edgekit.runtime.base import Backend
from edgekit.runtime.cpu import open_cpu
from edgekit.runtime.devices import AUTO, CPU, EDGE_TPU_WORDS, EMULATOR, is_edge_tpu, needs_compiled
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.options import RunnerOptions


class _Request(NamedTuple):
    """A model and how to run it."""

    file: ModelFile
    options: RunnerOptions
    note: str  # why this device, for `Environment`
    like: Backend | None  # of the same model, to share its plans


def open_backend(
    file: ModelFile, options: RunnerOptions, *, note: str = "", like: Backend | None = None
) -> Backend:
    """Load ``file`` on ``options.device``.

    Args:
        file: The model.
        options: How to run it.
        note: Why on this device, for `Environment`.
        like: A backend of the same model; the new one may share its plans.

    Raises:
        UsageError: ``options.device`` is not a device.
        DeviceError: There is no such device here.
        UnsupportedModelError: The model cannot run there.
        MissingExtraError: No runtime is installed.
    """
    check_device(options.device)
    open_on = _DEVICES.get(options.device, _open_edge_tpu)
    return open_on(_Request(file, options, note, like))


def check_device(device: str) -> None:
    """Check that ``device`` names a device.

    Raises:
        UsageError: It does not.
    """
    if device not in _DEVICES and not is_edge_tpu(device):
        words = ", ".join([*_DEVICES, *EDGE_TPU_WORDS])
        raise UsageError(f"no device {device!r}", fix=f"use one of {words}")


def _open_cpu(request: _Request) -> Backend:
    check_for_cpu(request.file.model)
    options = request.options
    library = load_library(options.runtime)
    return open_cpu(request.file, library, options.kernels, options.num_threads, note=request.note)


def _open_edge_tpu(request: _Request) -> Backend:
    # Imported here: a Runner on the CPU needs neither the package's reader nor the probe.
    from edgekit.runtime.edgetpu import EdgeTpuBackend  # noqa: PLC0415

    return EdgeTpuBackend(request.file, request.options, note=request.note)


def _open_auto(request: _Request) -> Backend:
    if request.file.is_compiled:
        return _open_edge_tpu(request._replace(note="auto: an Edge TPU is usable"))
    return _open_cpu(request._replace(note="auto: the model is not compiled for the Edge TPU"))


def _open_emulator(request: _Request) -> Backend:
    require_part("chip.emulator")  # only this needs it, and a board may not have it
    from edgekit.runtime.emulator import EmulatorBackend  # noqa: PLC0415

    options = request.options
    return EmulatorBackend(
        request.file.model,
        lambda: load_library(options.runtime),
        options.kernels,
        options.num_threads,
        strict_sync=options.strict_sync,
        unproven=options.unproven,
        source=None if options.source is None else read_model_file(options.source),
        like=request.like if isinstance(request.like, EmulatorBackend) else None,
    )


_DEVICES: dict[str, Callable[[_Request], Backend]] = {
    CPU: _open_cpu,
    AUTO: _open_auto,
    EMULATOR: _open_emulator,
}


def compiled_operator(model: Model) -> str:
    """Return the place of the first operator for the Edge TPU; "" if the model is not compiled."""
    for subgraph_index, operator_index, operator in model.operators():
        if is_edgetpu_operator(operator):
            return f"subgraph {subgraph_index}, operator {operator_index} {EDGETPU_CUSTOM_OP}"
    return ""


def file_for(device: str, model: ModelSource) -> ModelFile:
    """Read ``model``; of a bundle, the model that is for ``device``.

    Raises:
        InputError: It cannot be read.
        BundleError: It is a damaged bundle.
        UnsupportedModelError: It is a bundle without a model for the Edge TPU.
    """
    if device == AUTO:
        return read_model_file(model, PROGRAM)
    return read_model_file(model, COMPILED if needs_compiled(device) else PLAIN)


def suited_device(file: ModelFile, device: str) -> str:
    """Return ``device`` for a compiled model or a bundle; the CPU for a plain model."""
    return device if file.is_bundle or file.is_compiled else CPU


def check_for_cpu(model: Model) -> None:
    """Check that ``model`` does not contain code for the Edge TPU.

    Raises:
        UnsupportedModelError: It does; ``where`` names the operator.
    """
    where = compiled_operator(model)
    if where:
        raise UnsupportedModelError(
            "the model is compiled for the Edge TPU and cannot run on the CPU",
            where=where,
            why="its operators are machine code of the Edge TPU",
            fix="use the model that was given to the compiler, without _edgetpu in its name "
            "(--fallback uses it if it is beside this one), name the device it is for "
            "(--device usb, --device pci), or run its program in software (--device emulator)",
        )
