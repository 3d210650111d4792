# SPDX-License-Identifier: Apache-2.0
"""Device words to backends, and what a model must be before an interpreter sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.extras import require_part
from edgekit.files import PathLike, read_bytes
from edgekit.formats.content import holds_bundle, model_content
from edgekit.formats.tflite import CUSTOM, Model, read_model
from edgekit.runtime.base import Backend
from edgekit.runtime.cpu import open_cpu
from edgekit.runtime.devices import AUTO, CPU, EDGE_TPU_WORDS, EMULATOR, is_edge_tpu, wants_compiled
from edgekit.runtime.interpreters import load_library

EDGETPU_CUSTOM_OP = "edgetpu-custom-op"


@dataclass(frozen=True)
class _Request:
    """A model and how it is to be run."""

    content: bytes
    model: Model
    device: str
    options: dict[str, Any]  # runtime, kernels, num_threads
    note: str  # why this device, for the record
    timeout_s: float | None = None


def open_backend(
    content: bytes,
    model: Model,
    *,
    device: str,
    runtime: str | None,
    kernels: str,
    num_threads: int,
    note: str = "",
    timeout_s: float | None = None,
) -> Backend:
    """Load ``content`` (read and checked as ``model``) on ``device``.

    ``timeout_s`` limits the opening of an Edge TPU, and each of its inferences.

    Raises:
        UsageError: ``device`` names none.
        DeviceError: There is no such device here.
        UnsupportedModelError: The model cannot run there.
        MissingExtraError: No runtime is installed.
    """
    options = {"runtime": runtime, "kernels": kernels, "num_threads": num_threads}
    check_device(device)
    open_on = _DEVICES.get(device, _open_edge_tpu)
    return open_on(_Request(content, model, device, options, note, timeout_s))


def check_device(device: str) -> None:
    """Refuse a word that names no device.

    Raises:
        UsageError: It does not.
    """
    if device not in _DEVICES and not is_edge_tpu(device):
        words = ", ".join([*_DEVICES, *EDGE_TPU_WORDS])
        raise UsageError(f"no device {device!r}", fix=f"use one of {words}")


def _open_cpu(request: _Request) -> Backend:
    check_for_cpu(request.model)
    options = request.options
    library = load_library(options["runtime"])
    return open_cpu(
        request.content,
        request.model,
        library,
        options["kernels"],
        options["num_threads"],
        note=request.note,
    )


def _open_edge_tpu(request: _Request) -> Backend:
    # Imported here: a Runner on the CPU needs neither the package's reader nor the probe.
    from edgekit.runtime.edgetpu import EdgeTpuBackend  # noqa: PLC0415

    return EdgeTpuBackend(
        request.content,
        request.model,
        request.device,
        note=request.note,
        timeout_s=request.timeout_s,
        **request.options,
    )


def _open_auto(request: _Request) -> Backend:
    if compiled_operator(request.model):
        return _open_edge_tpu(replace(request, note="auto: an Edge TPU is usable"))
    return _open_cpu(replace(request, note="auto: the model is not compiled for the Edge TPU"))


def _open_emulator(request: _Request) -> Backend:
    require_part("emulator")  # nothing else needs it, and a board may lack it
    from edgekit.runtime.emulator import EmulatorBackend  # noqa: PLC0415

    options = request.options
    return EmulatorBackend(
        request.model,
        lambda: load_library(options["runtime"]),
        options["kernels"],
        options["num_threads"],
    )


_DEVICES: dict[str, Callable[[_Request], Backend]] = {
    CPU: _open_cpu,
    AUTO: _open_auto,
    EMULATOR: _open_emulator,
}


def compiled_operator(model: Model) -> str:
    """Where the first operator for the Edge TPU stands; "" if the model is not compiled."""
    for subgraph_index, operator_index, operator in model.operators():
        if operator.opcode == CUSTOM and operator.custom_code == EDGETPU_CUSTOM_OP:
            return f"subgraph {subgraph_index}, operator {operator_index} {EDGETPU_CUSTOM_OP}"
    return ""


def content_for(device: str, given: bytes, where: str) -> bytes:
    """The model in ``given`` that is for ``device``: a bundle holds two.

    Raises:
        BundleError: It is a damaged bundle.
        UnsupportedModelError: It is a bundle without a model for the Edge TPU.
    """
    try:
        return model_content(given, compiled=wants_compiled(device), where=where)
    except UnsupportedModelError:
        if device != AUTO:
            raise
        return model_content(given, where=where)


def suited_device(model: bytes | PathLike, device: str) -> str:
    """``device`` for a model that is compiled or a bundle; the CPU for a plain one."""
    is_content = isinstance(model, (bytes, bytearray, memoryview))
    content = bytes(model) if is_content else read_bytes(Path(model), "model")  # type: ignore[arg-type] # decided by is_content
    where = "" if is_content else str(model)
    if holds_bundle(content) or compiled_operator(read_model(content, where=where)):
        return device
    return CPU


def check_for_cpu(model: Model) -> None:
    """Refuse a model that holds code for the Edge TPU.

    Raises:
        UnsupportedModelError: It does; ``where`` names the operator.
    """
    where = compiled_operator(model)
    if where:
        raise UnsupportedModelError(
            "the model is compiled for the Edge TPU and cannot run on the CPU",
            where=where,
            why="its operators are machine code of the Edge TPU",
            fix="give the model that went into the compiler, without _edgetpu in its name "
            "(--fallback takes it where it stands beside this one), name the device it is for "
            "(--device usb, --device pci), or run its program in software (--device emulator)",
        )
