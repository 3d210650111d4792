# SPDX-License-Identifier: Apache-2.0
"""One conversion, from hello to done, as the parent asks for it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from typing import Any

from edgekit.distribution import install_command
from edgekit.host.worker.freeze import freeze
from edgekit.host.worker.frozen_graph import load_frozen_graph
from edgekit.host.worker.keras_file import load_keras
from edgekit.host.worker.memory import bounded_memory
from edgekit.host.worker.network_start import first_steps
from edgekit.host.worker.quantize import quantize
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.saved_model import load_saved_model
from edgekit.host.worker.source import Source
from edgekit.host.worker.tflite_file import quantize_flatbuffer
from edgekit.host.worker.wire import Message, Wire, as_array

# A GPU would only be in the way, and Keras must run on TensorFlow whatever the user's default is.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
_LOADERS = {
    "keras": lambda job: load_keras(job["source"], trust_source=job["trust_source"]),
    "saved_model": lambda job: load_saved_model(
        job["source"], signature=job["signature"], trust_source=job["trust_source"]
    ),
    "frozen_graph": lambda job: load_frozen_graph(
        job["source"],
        inputs=job["inputs"],
        outputs=job["outputs"],
        trust_source=job["trust_source"],
    ),
}


def main() -> None:
    """Talk to the parent until the model is converted, refused, or the parent is gone."""
    _end_with_parent()
    os.environ.update(_ENVIRONMENT)
    wire = _claim_pipes()
    try:
        _convert(wire)
    except Refused as refused:
        wire.send("refused", **vars(refused))
    except BrokenPipeError:
        sys.exit(1)  # nobody is left to tell


def _convert(wire: Wire) -> None:
    job = _expect(wire, "job")
    wire.send("step", name="importing TensorFlow")
    wire.send("hello", **_versions())
    is_tflite = job.fields["source_kind"] == "tflite"
    content = (_convert_tflite if is_tflite else _convert_tensorflow)(wire, job)
    wire.send("done", as_array(content), peak_rss_bytes=_peak_rss_bytes())


def _convert_tflite(wire: Wire, job: Message) -> bytes:
    content, mode, io = job.arrays[0].tobytes(), job.fields["mode"], job.fields["io"]
    return quantize_flatbuffer(content, mode, io, lambda: _samples(wire))


def _convert_tensorflow(wire: Wire, job: Message) -> bytes:
    import tensorflow as tf  # noqa: PLC0415

    wire.send("step", name="loading the model")
    with bounded_memory(job.fields["source"]):
        source: Source = _LOADERS[job.fields["source_kind"]](job.fields)
    wire.send("loaded", **source.describe())
    shapes = _expect(wire, "shapes").fields["shapes"]
    static = [
        tf.TensorSpec(shape, spec.dtype, name=_identifier(spec.name, index))
        for index, (shape, spec) in enumerate(zip(shapes, source.inputs))  # noqa: B905
    ]
    wire.send("step", name="tracing the network")
    frozen, notes = freeze(source.trace(static))
    for note in notes:
        wire.send("note", text=note)
    wire.send("network_start", steps=first_steps(frozen))
    wire.send("step", name="converting the operations")

    def on_float(content: bytes) -> bytes:
        wire.send("float", as_array(content))
        return _expect(wire, "float").arrays[0].tobytes()

    mode, io = job.fields["mode"], job.fields["io"]
    return quantize(frozen, mode, io, lambda: _samples(wire), on_float)


def _samples(wire: Wire) -> Iterator[list[Any]]:
    wire.send("step", name="calibrating")
    wire.send("calibrate")
    while True:
        message = wire.receive()
        if message is None:
            sys.exit(1)
        if message.kind == "end":
            break
        yield message.arrays
    wire.send("step", name="quantizing")


def _identifier(name: str, index: int) -> str:
    """A name that TensorFlow takes for an argument."""
    text = "".join(c if c.isalnum() else "_" for c in name)
    return text if text[:1].isalpha() else f"input_{index}_{text}"


def _versions() -> dict[str, str]:
    try:
        import tensorflow as tf  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Refused(
            "tool.missing",
            f"{error.name} is not installed for {sys.executable}",
            why="it is needed to convert",
            fix=f"{install_command('host')}; or name another interpreter: --converter-python",
        ) from error
    return {"python": platform.python_version(), "tensorflow": str(tf.__version__)}


def _expect(wire: Wire, kind: str) -> Message:
    message = wire.receive()
    if message is None or message.kind != kind:
        sys.exit(1)  # the parent is gone or gave up
    return message


def _claim_pipes() -> Wire:
    """Keep the real stdout for messages and send everything that is printed to stderr."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return Wire(sys.stdin.buffer, channel)


def _end_with_parent() -> None:
    """Ask Linux to end this process when the parent dies, however it dies."""
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415
    import signal  # noqa: PLC0415

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _peak_rss_bytes() -> int:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
