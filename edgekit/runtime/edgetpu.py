# SPDX-License-Identifier: Apache-2.0
"""The Edge TPU backend: a compiled model through libedgetpu, tried in a child process first."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from edgekit.errors import DeviceError, DeviceLostError, EdgeKitError, UnsupportedModelError
from edgekit.formats.darwinn import read_packages
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.runtime.base import Environment
from edgekit.runtime.cpu import check_kernels
from edgekit.runtime.delegate import (
    OpenRequest,
    open_interpreter,
    open_request,
    package_version,
    pycoral_version,
)
from edgekit.runtime.device_process import RemoteInterpreter
from edgekit.runtime.devices import EDGE_TPU, delegate_option, is_edge_tpu
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.options import RunnerOptions
from edgekit.runtime.probe import Probe, hold, probe, refusal, release, too_old
from edgekit.runtime.session import Session, one_line
from edgekit.runtime.thermal import SYSFS, ThermalMonitor
from edgekit.versions import CURRENT_RUNTIME_VERSION, runtime_version_of

KERNELS = "edgetpu"
# Words in the text of a failed inference: of libedgetpu's operator, its driver and USB.
_OF_THE_DEVICE = re.compile(
    r"EdgeTpuDelegate|edgetpu-custom-op|Edge TPU|TPU context|USB (?:transfer )?error|HIB Error"
    r"|Failed to execute request"
)


class EdgeTpuBackend(Session):
    """A compiled model in an interpreter whose edgetpu-custom-ops run on an Edge TPU."""

    def __init__(
        self,
        file: ModelFile,
        options: RunnerOptions,
        *,
        note: str = "",
        sysfs: Path = SYSFS,
    ) -> None:
        """Open a compiled model on an Edge TPU, in a child process first.

        Args:
            file: The compiled model.
            options: ``device`` ``auto`` uses the first Edge TPU; ``kernels`` and ``num_threads``
                are for the operators that run on the CPU; ``timeout_s`` is the limit for
                each call into the library (loading it, opening the device, an inference, closing
                it), and the device is used in a process of its own (`RemoteInterpreter`). None
                waits 60 s for the trial, and without limit after it.
            note: Why this device, for `Environment`.
            sysfs: The folder with the drivers' sensors.

        Raises:
            UnsupportedModelError: It is not compiled for the Edge TPU.
            DeviceError: No Edge TPU can be used; the error states why.
            MissingExtraError: No runtime is installed.
        """
        content, device, timeout_s = file.content, options.device, options.timeout_s
        num_threads = options.num_threads
        check_kernels(options.kernels)
        wanted = required_runtime_version(file.model)
        request = open_request(
            delegate_option(device), options.runtime, options.kernels, num_threads
        )
        # A Debian package states the library's version before it is loaded; otherwise the newest
        # one is assumed.
        have = runtime_version_of(package_version(request.library)) or CURRENT_RUNTIME_VERSION
        if wanted > have:
            raise too_old(wanted, have, request.library)
        library = load_library(request.runtime or None)
        self._probed = probe(content, request, wanted, library.versions, timeout_s)
        where = f"{device}, {self._probed.library_path}"
        self._remote: RemoteInterpreter | None = None
        start = time.perf_counter()
        try:
            if timeout_s is None:
                interpreter = open_interpreter(content, library, request)
            else:
                interpreter = self._remote = RemoteInterpreter(content, request, timeout_s, where)
        except (OSError, ValueError, RuntimeError, AttributeError) as error:
            release(self._probed, lost=True)
            raise refusal(one_line(error), self._probed.library_path) from error
        except DeviceError:
            release(self._probed, lost=True)
            raise
        load_ms = (time.perf_counter() - start) * 1e3
        hold(self._probed)
        if self._remote is not None:
            note = "; ".join(filter(None, (note, _note_of_process(self._remote))))
        environment = Environment(
            device if is_edge_tpu(device) else EDGE_TPU,
            library.runtime,
            KERNELS,
            note,
            num_threads,
            {**library.versions, **_versions(request, self._probed)},
        )
        monitor = ThermalMonitor(environment.device, sysfs)
        super().__init__(interpreter, environment, monitor, load_ms)
        self._lost = False

    def close(self) -> None:
        """Release the device."""
        super().close()
        if self._remote is not None:
            self._remote.close()
        release(self._probed, lost=self._lost)

    def _failure(self, error: Exception) -> EdgeKitError:
        text = one_line(error)
        if not _OF_THE_DEVICE.search(text):
            return super()._failure(error)
        self._lost = True
        known = refusal(text, self._probed.library_path)
        return DeviceLostError(
            "the Edge TPU was lost during a run",
            where=f"{self._environment.device}, {known.where}",
            why=known.why,
            fix=f"{known.fix} --recover opens the device again and continues",
        )


def _note_of_process(remote: RemoteInterpreter) -> str:
    return (
        "in a process of its own because of the time limit, which adds about "
        f"{remote.overhead_ms():.2g} ms to an inference here, and more for large inputs"
    )


def required_runtime_version(model: Model) -> int:
    """Return the runtime version that the model's programs need, read from the file.

    Raises:
        UnsupportedModelError: The model does not contain a program for the Edge TPU.
        ModelFormatError: A program is damaged.
    """
    packages = read_packages(model)
    if not packages:
        raise UnsupportedModelError(
            "the model is not compiled for the Edge TPU: the CPU would run all of it",
            why="it has no operator edgetpu-custom-op",
            fix="compile it (edgekit compile MODEL), or run it with --device cpu",
        )
    return max(each.package.min_runtime_version for each in packages)


def _versions(request: OpenRequest, probed: Probe) -> dict[str, Any]:
    versions = {"libedgetpu": probed.version}
    if probed.library_version:
        versions["libedgetpu_build"] = probed.library_version
    return {**versions, **pycoral_version()} if request.pycoral else versions
