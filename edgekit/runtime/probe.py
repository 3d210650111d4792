# SPDX-License-Identifier: Apache-2.0
"""Try an Edge TPU in a child process first: a crash or hang there is an error here."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any, Mapping

from edgekit.errors import DeviceError
from edgekit.files import sha256_hex
from edgekit.formats.libedgetpu import runtime_version_in
from edgekit.process import Conversation, Finished, python_child, python_environment
from edgekit.runtime.delegate import OpenRequest, package_version
from edgekit.runtime.hung import hung
from edgekit.runtime.probe_child import LOADED, OPENING, PREPARED, RAN, STARTED
from edgekit.versions import pair_verdict, working_pair

CHILD = "edgekit.runtime.probe_child"
# A USB Accelerator needs some seconds at its first use, to load its firmware and reconnect; a slow
# board needs some to start Python.
TIMEOUT_S = 60.0
# What the child did when it ended, by its last stage.
DOING = {
    "": "starting Python",
    STARTED: "loading libedgetpu",
    LOADED: "loading the interpreter",
    OPENING: "opening the device and preparing the model",
    PREPARED: "running the model",
    RAN: "closing the device",
}
# The stages after which the child calls the library, and with it the device.
_CALLS = (STARTED, OPENING, PREPARED, RAN)
_KNOWN_END = "2.11.1"
_KNOWN_PAIRS = (
    "Google's libedgetpu 16.0 works with tflite-runtime 2.5.0.post1 to 2.11.1, a rebuilt one "
    "(16.0tf2.17.1) up to its own release"
)


@dataclass(frozen=True)
class Probe:
    """What a child that ran the model reports about the library."""

    library_path: str
    library_version: str  # its build label
    package_version: str  # of the Debian package; "" if no package contains it

    @property
    def version(self) -> str:
        """The version to report: the package's, else the runtime version."""
        number = runtime_version_in(self.library_version)
        return self.package_version or (f"runtime {number}" if number else "of unknown version")


# What worked, by request and model; and what is now open in this process.
_TRIED: dict[tuple[OpenRequest, str], Probe] = {}
_HELD: list[Probe] = []


def probe(
    content: bytes,
    request: OpenRequest,
    wanted_runtime_version: int,
    versions: Mapping[str, str],
    timeout_s: float | None = None,
) -> Probe:
    """Run the compiled model ``content`` once in a child process.

    What worked once is not tried again in this process. While this process has an Edge TPU open,
    nothing is tried: the child could not open it.

    Args:
        content: The model's file.
        request: How to open it.
        wanted_runtime_version: The runtime version that the model needs.
        versions: The versions of the interpreter's package and others, for the error.
        timeout_s: How long each call into the library may take (loading it, opening the device and
            preparing the model, running it, closing it); None: 60 s together. Then the child is
            killed.

    Raises:
        DeviceError: The child crashed, did not respond or was refused; the error states at which
            step, with which versions, and which versions work.
    """
    if _HELD:
        return _HELD[-1]
    key = (request, sha256_hex(content))
    if key not in _TRIED:
        _TRIED[key] = _try(content, request, wanted_runtime_version, versions, timeout_s)
    return _TRIED[key]


def hold(probed: Probe) -> None:
    """Note that this process has an Edge TPU open."""
    _HELD.append(probed)


def release(probed: Probe, *, lost: bool = False) -> None:
    """Note that it is closed; a lost device is tried again at its next use."""
    if probed in _HELD:
        _HELD.remove(probed)
    if lost:
        _TRIED.clear()


def refusal(text: str, library: str, stage: str = PREPARED) -> DeviceError:
    """Return the error for a message of libedgetpu or the interpreter after ``stage``."""
    from edgekit.explain import explain  # noqa: PLC0415 - only where something failed

    known = explain(text).matches
    if not known:
        return DeviceError(
            f"the Edge TPU's library failed while {DOING[stage]}",
            where=library,
            why=text,
            fix="run edgekit doctor",
        )
    title = known[0].title[:1].lower() + known[0].title[1:]
    return DeviceError(title, where=library, why=f"{known[0].cause} ({text})", fix=known[0].fix)


def too_old(wanted: int, have: int, library: str) -> DeviceError:
    """Return the error for a model that needs a newer runtime than the library's."""
    return DeviceError(
        f"the model needs Edge TPU runtime {wanted}, libedgetpu here is runtime {have}",
        where=library,
        why="it was compiled for a newer runtime than the installed one",
        fix=f"compile it for this one (edgekit compile MODEL --min-runtime-version {have}), or "
        "install libedgetpu 16.0, which is runtime 14",
    )


def _try(
    content: bytes,
    request: OpenRequest,
    wanted: int,
    versions: Mapping[str, str],
    timeout_s: float | None,
) -> Probe:
    reported: dict[str, Any] = {}
    command = python_child(CHILD, json.dumps(asdict(request)), str(wanted))
    with Conversation(command, timeout_s=TIMEOUT_S, env=python_environment()) as child:
        with contextlib.suppress(OSError):  # it may end without reading all of it
            child.stdin.write(base64.b64encode(content))
            child.stdin.close()
        for line in child.stdout:
            reported.update(reports_in(line.decode(errors="replace")))
            if timeout_s is not None:
                is_call = reported.get("stage") in _CALLS
                child.set_timeout(timeout_s if is_call else TIMEOUT_S)
        finished = child.finish()
    path = str(reported.get("path", request.library))
    found = Probe(path, str(reported.get("version", "")), package_version(path))
    if reported.get("stage") == RAN and not finished.timed_out and not finished.returncode:
        return found
    if "too_old" in reported:
        raise too_old(wanted, int(reported["too_old"]), path)
    if "error" in reported:
        raise refusal(str(reported["error"]), path, str(reported.get("stage", "")))
    if finished.timed_out:
        doing = DOING[str(reported.get("stage", ""))]
        raise hung(doing, timeout_s or TIMEOUT_S, path, child)
    raise _death(reported, finished, found, request, versions)


def reports_in(stdout: str) -> dict[str, Any]:
    """Merge all JSON objects of the child's output; later values win, other lines are ignored."""
    reported: dict[str, Any] = {}
    for line in stdout.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            reported.update(document)
    return reported


def _death(
    reported: Mapping[str, Any],
    finished: Finished,
    found: Probe,
    request: OpenRequest,
    versions: Mapping[str, str],
) -> DeviceError:
    """Return the error for a child without a result: both versions, and a pair that works."""
    doing = DOING[str(reported.get("stage", ""))]
    how = finished.signal_name or f"exit status {finished.returncode}"
    ended = f"was ended by {how}" if finished.signal_name else f"ended with {how}"
    distribution, version = next(iter(versions.items()))
    python = tuple(sys.version_info[:3])
    verdict = pair_verdict(found.package_version, request.runtime, version, python)
    pair = f"libedgetpu {found.version} with {distribution} {version}: {verdict.why}"
    tail = "".join(f"; its output: {line}" for line in finished.stderr.strip().splitlines()[-1:])
    return DeviceError(
        f"the Edge TPU's library {ended} while {doing}",
        where=found.library_path,
        why=pair + ("" if _KNOWN_END in pair else f"; {_KNOWN_PAIRS}") + tail,
        fix=verdict.fix or working_pair(python),
    )
