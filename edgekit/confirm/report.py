# SPDX-License-Identifier: Apache-2.0
"""The report of a run of the ladder: one JSON document for its owner to send in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Mapping

from edgekit.confirm.ladder import UNSEEN
from edgekit.errors import DeviceError, GateError
from edgekit.result import Result

# Verdicts of a rung.
MATCH, MISMATCH = "match", "mismatch"
STALLED = "stalled"  # a step took longer than its limit; its process was killed
CRASHED = "crashed"  # the library or the process ended
FAILED = "failed"  # the library reported an error
# How a run ended, besides the verdicts.
RUNNING, COMPLETE, INTERRUPTED = "running", "complete", "interrupted"
# What the device did afterwards.
RESPONDS, DOES_NOT_RESPOND, NOT_TRIED = "responds", "does not respond", "not tried"

EDGE_TPU, EMULATOR = "edgetpu", "emulator"


@dataclass(frozen=True)
class InputRun(Result):
    """One inference of a rung; hashes are SHA-256 of the raw bytes of tensors."""

    kind: str  # lowest, highest, random, lowest again
    sha256: str  # of the input
    expected_sha256: str  # of the emulator's output
    got_sha256: str  # of the device's output; empty if there is none
    time_ms: float | None  # of the inference; None if it did not end
    output: str = ""  # the device's raw output if it differs: zlib, in base64; empty if too large


@dataclass(frozen=True)
class RungRun(Result):
    """What a device did with one rung."""

    number: int  # from 1
    name: str  # of the network
    kind: str  # identical | seen | unseen
    program_sha256: str  # of the program for the chip
    model_sha256: str  # of the compiled model, which contains it
    new_forms: tuple[str, ...]  # unseen ones that no earlier rung has
    verdict: str  # match | mismatch | stalled | crashed | failed
    stage: str  # where it ended: opening the device and preparing the model, ...; empty for match
    note: str  # what the library or the process reported; empty for match
    time_s: float  # with the start of a process and the opening of the device
    inputs: tuple[InputRun, ...]  # in the order in which they ran


@dataclass(frozen=True)
class DeviceFacts(Result):
    """What ran the programs."""

    kind: str  # edgetpu | emulator
    word: str  # as it was asked for: auto, usb:0, ...
    hardware: tuple[str, ...]  # the Edge TPUs that the system lists: "usb 18d1:9302 at 2-1", ...
    library: str  # the build label of libedgetpu; empty for the emulator
    library_package: str  # the version of its Debian package; empty if there is none
    library_sha256: str  # of its file; empty if the file was not found
    runtime: str  # the interpreter: litert, tflite-runtime, ...
    versions: Mapping[str, str]  # of the interpreter, numpy, Python, kernel


@dataclass(frozen=True)
class ConfirmReport(Result):
    """One run of the ladder.

    The seal covers every other member. It shows that the document was damaged or edited; it does
    not show who wrote it. A signature shows that the owner of ``public_key`` did.
    """

    schema: ClassVar[str] = "edgekit.confirm/1"
    edgekit: str  # the version
    rules: str  # of the vocabulary
    date: str  # of the start, ISO 8601 in UTC
    system: str  # "Linux x86_64"
    device: DeviceFacts  # what ran the programs
    is_evidence: bool  # whether a chip ran the programs, not software
    timeout_s: float  # limit of each step after the opening
    num_rungs: int  # of the ladder that was asked for
    rungs: tuple[RungRun, ...]  # those that ran
    ended: str  # running | complete | interrupted | mismatch | stalled | crashed | failed
    afterwards: str  # the device after a rung that did not match: responds, does not respond
    public_key: str = ""  # Ed25519, hexadecimal; empty if it is not signed
    seal: str = ""  # SHA-256 of the document without seal and signature
    signature: str = ""  # Ed25519 of the same bytes, hexadecimal

    @property
    def num_matched(self) -> int:
        """The number of rungs whose outputs all equal the emulator's."""
        return sum(each.verdict == MATCH for each in self.rungs)

    @property
    def num_new_forms(self) -> int:
        """The number of unseen forms that matched rungs are the first to have."""
        matched = (each for each in self.rungs if each.verdict == MATCH and each.kind == UNSEEN)
        return sum(len(each.new_forms) for each in matched)

    @property
    def exit_status(self) -> int:
        """0 for a complete run, 4 after a mismatch, 6 if the device did not do its part."""
        if self.ended == MISMATCH:
            return GateError.exit_status
        return DeviceError.exit_status if self.ended in {STALLED, CRASHED, FAILED} else 0


def report_from(document: Mapping[str, Any]) -> ConfirmReport:
    """Return the report in a JSON object.

    Raises:
        ValueError: It is of another schema, or a member has a wrong type.
        KeyError: A member is missing.
        TypeError: A member has a wrong type.
    """
    if document["schema"] != ConfirmReport.schema:
        raise ValueError(f"its schema is {document['schema']}, expected {ConfirmReport.schema}")
    names = ("edgekit", "rules", "date", "system", "ended", "afterwards")
    return ConfirmReport(
        **{name: str(document[name]) for name in (*names, "public_key", "seal", "signature")},
        device=_device_from(document["device"]),
        is_evidence=document["is_evidence"] is True,
        timeout_s=float(document["timeout_s"]),
        num_rungs=int(document["num_rungs"]),
        rungs=tuple(_rung_from(each) for each in document["rungs"]),
    )


def _device_from(document: Mapping[str, Any]) -> DeviceFacts:
    names = ("kind", "word", "library", "library_package", "library_sha256", "runtime")
    return DeviceFacts(
        **{name: str(document[name]) for name in names},
        hardware=tuple(map(str, document["hardware"])),
        versions={str(name): str(value) for name, value in document["versions"].items()},
    )


def _rung_from(document: Mapping[str, Any]) -> RungRun:
    names = ("name", "kind", "program_sha256", "model_sha256", "verdict", "stage", "note")
    return RungRun(
        **{name: str(document[name]) for name in names},
        number=int(document["number"]),
        new_forms=tuple(map(str, document["new_forms"])),
        time_s=float(document["time_s"]),
        inputs=tuple(_input_from(each) for each in document["inputs"]),
    )


def _input_from(document: Mapping[str, Any]) -> InputRun:
    time_ms = document["time_ms"]
    names = ("kind", "sha256", "expected_sha256", "got_sha256", "output")
    return InputRun(
        **{name: str(document[name]) for name in names},
        time_ms=None if time_ms is None else float(time_ms),
    )
