# SPDX-License-Identifier: Apache-2.0
"""Run a rung on a device, in a process of its own that is killed when a step takes too long."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.confirm.report import CRASHED, EDGE_TPU, EMULATOR, FAILED, MATCH, STALLED, DeviceFacts
from edgekit.doctor.machine import Machine
from edgekit.doctor.pcie import find_pcie
from edgekit.doctor.usb import find_usb
from edgekit.errors import DeviceError, InputError, UsageError
from edgekit.files import read_bytes, sha256_hex
from edgekit.formats.tflite import read_model
from edgekit.process import Conversation, Finished, python_child, python_environment
from edgekit.runtime.delegate import OpenRequest, open_request, package_version
from edgekit.runtime.devices import AUTO, delegate_option, is_edge_tpu
from edgekit.runtime.edgetpu import required_runtime_version
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.probe import DOING, probe
from edgekit.runtime.probe import TIMEOUT_S as OPEN_TIMEOUT_S
from edgekit.runtime.probe_child import PREPARED, RAN
from edgekit.wire import Wire, as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHILD = "edgekit.confirm.child"


@dataclass(frozen=True)
class Target:
    """A device to run rungs on."""

    word: str  # auto, usb, usb:0, ..., emulator
    request: OpenRequest
    runtime: str
    versions: Mapping[str, str]

    @property
    def is_emulator(self) -> bool:
        """Whether it is software."""
        return self.word == EMULATOR


@dataclass(frozen=True)
class Outcome:
    """What a process reported about one program."""

    verdict: str  # match (it did all), stalled, crashed, failed
    stage: str  # the last one that began
    note: str  # an error's text, or how the process ended
    outputs: tuple[tuple[NDArray[Any], ...], ...]  # of the inputs that ran
    times_ms: tuple[float, ...]
    time_s: float
    library: str = ""  # the build label
    library_path: str = ""

    @property
    def is_opened(self) -> bool:
        """Whether the device was opened and took the program."""
        return self.stage in {PREPARED, RAN}


def target_of(word: str, runtime: str | None) -> Target:
    """Return the device for a word of ``--device``.

    Raises:
        UsageError: It is not an Edge TPU and not the emulator.
        MissingExtraError: No TensorFlow Lite runtime is installed.
    """
    if word == EMULATOR:
        return Target(word, OpenRequest("", "", "", "", 1, pycoral=False), EMULATOR, {})
    if word != AUTO and not is_edge_tpu(word):
        raise UsageError(
            f"the ladder does not run on {word!r}",
            why="it confirms what an Edge TPU computes",
            fix="use auto, usb, usb:N, pci, pci:N or :N; emulator is a dry run without a chip",
        )
    request = open_request(delegate_option(word), runtime, "fast", 1)
    library = load_library(request.runtime or None)
    return Target(word, request, library.runtime, library.versions)


def facts_of(target: Target, outcome: Outcome, machine: Machine | None = None) -> DeviceFacts:
    """Return what ran a program: the library as its process reported it, the system's devices."""
    if target.is_emulator:
        return DeviceFacts(EMULATOR, target.word, (), "", "", "", EMULATOR, target.versions)
    machine = machine or Machine()
    usb = [f"usb {each.vendor}:{each.product} at {each.place}" for each in find_usb(machine)]
    pcie = [f"pcie 1ac1:089a at {each}" for each in find_pcie(machine)]
    return DeviceFacts(
        kind=EDGE_TPU,
        word=target.word,
        hardware=(*usb, *pcie),
        library=outcome.library,
        library_package=package_version(outcome.library_path),
        library_sha256=_hash_of_file(outcome.library_path),
        runtime=target.runtime,
        versions=target.versions,
    )


def run_program(
    target: Target, content: bytes, inputs: Sequence[NDArray[Any]], timeout_s: float
) -> Outcome:
    """Open the device in a new process, run a compiled model, and close the device.

    Args:
        target: The device.
        content: The compiled model.
        inputs: For each inference the one input, raw.
        timeout_s: The limit of each inference and of the closing. The opening may take a minute:
            the first use of a USB device loads its firmware.
    """
    start = time.monotonic()
    steps = _Steps()
    command = python_child(_CHILD)
    with Conversation(command, timeout_s=OPEN_TIMEOUT_S, env=python_environment()) as child:
        wire = Wire(child.stdout, child.stdin)
        with contextlib.suppress(BrokenPipeError):
            fields = {"emulator": target.is_emulator, "request": asdict(target.request)}
            wire.send("run", as_array(content), *inputs, **fields)
        while steps.verdict is None:
            message = wire.receive()
            if message is None:
                steps.died(child.finish())
                break
            steps.take(message.kind, message.fields, message.arrays)
            if steps.has_opened:
                child.set_timeout(timeout_s)
        else:
            child.set_timeout(timeout_s)
            _let_exit(child, steps)
    return steps.outcome(time.monotonic() - start)


def explain_failure(target: Target, content: bytes, outcome: Outcome, timeout_s: float) -> None:
    """Raise the error that says why the device could not be opened.

    The program is tried once more, with the diagnosis that every command has; if that succeeds,
    nothing is raised.

    Raises:
        DeviceError: There is no device, or it or its library cannot be used.
    """
    if target.is_emulator:
        raise DeviceError("the emulator failed", where=DOING[outcome.stage], why=outcome.note)
    wanted = required_runtime_version(read_model(content))
    probe(content, target.request, wanted, target.versions, max(timeout_s, OPEN_TIMEOUT_S))


class _Steps:
    """Collects the messages of a process."""

    def __init__(self) -> None:
        self.verdict: str | None = None
        self.has_opened = False
        self._stage, self._note, self._label, self._path = "", "", "", ""
        self._outputs: list[tuple[NDArray[Any], ...]] = []
        self._times_ms: list[float] = []

    def take(self, kind: str, fields: Mapping[str, Any], arrays: list[NDArray[Any]]) -> None:
        if kind == "step":
            self._stage = str(fields["stage"])
            self.has_opened = self.has_opened or self._stage == PREPARED
            self._label = str(fields.get("version", self._label))
            self._path = str(fields.get("path", self._path))
        elif kind == "output":
            self._outputs.append(tuple(np.array(each) for each in arrays))
            self._times_ms.append(round(float(fields["time_ms"]), 3))
        elif kind == "failed":
            self.verdict, self._note = FAILED, str(fields["error"])
        else:
            self.verdict = MATCH

    def died(self, finished: Finished) -> None:
        lines = finished.stderr.strip().splitlines()
        said = f"; its output: {lines[-1][:300]}" if lines else ""
        if finished.timed_out:
            self.verdict, self._note = STALLED, f"killed after its time limit{said}"
            return
        ended = finished.signal_name or f"exit status {finished.returncode}"
        self.verdict, self._note = CRASHED, f"the process ended with {ended}{said}"

    def outcome(self, time_s: float) -> Outcome:
        return Outcome(
            verdict=self.verdict or CRASHED,
            stage=self._stage,
            note=self._note,
            outputs=tuple(self._outputs),
            times_ms=tuple(self._times_ms),
            time_s=round(time_s, 3),
            library=self._label,
            library_path=self._path,
        )


def _let_exit(child: Conversation, steps: _Steps) -> None:
    """Wait for the process's own end: the library's destructors close the device."""
    finished = child.finish()
    if steps.verdict == MATCH and (finished.timed_out or finished.returncode):
        steps.died(finished)


def _hash_of_file(path: str) -> str:
    if "/" not in path and "\\" not in path:
        return ""
    try:
        return sha256_hex(read_bytes(Path(path), "library"))
    except InputError:
        return ""
