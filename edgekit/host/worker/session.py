# SPDX-License-Identifier: Apache-2.0
"""The child's side of a conversion: `to_float`, `calibrate` and `quantize`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from typing import Any

from edgekit.distribution import install_command
from edgekit.host.worker.fake_quant import TrainedRanges
from edgekit.host.worker.freeze import freeze
from edgekit.host.worker.frozen_graph import load_frozen_graph
from edgekit.host.worker.keras_file import load_keras
from edgekit.host.worker.library import import_tensorflow
from edgekit.host.worker.memory import bounded_memory
from edgekit.host.worker.network_start import first_steps
from edgekit.host.worker.quantize import calibrate, quantize
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.saved_model import load_saved_model
from edgekit.host.worker.serving import Answer, serve
from edgekit.host.worker.source import Function, Source
from edgekit.host.worker.to_float import to_float
from edgekit.host.worker.trained_statistics import compare_statistics
from edgekit.wire import Message, Wire, as_array

# A GPU is not needed, and Keras must use TensorFlow even if the user's default is another backend.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
_LOADERS = {
    "keras": lambda job: load_keras(
        job["source"],
        trust_source=job["trust_source"],
        modules=job["custom_objects"],
        folder=job["folder"],
    ),
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
    """Serve the parent until it is done or has exited."""
    networks = _Networks()
    answers = {
        "to_float": networks.to_float,
        "compare": networks.compare,
        "calibrate": _calibrate,
        "quantize": _quantize,
    }
    serve(answers, _greet, _ENVIRONMENT)


def _greet(wire: Wire, _request: Message) -> None:
    wire.send("step", name="importing TensorFlow")
    wire.send("hello", **_versions())


class _Networks:
    """Requests about a network: make it float, and compare samples with its training data."""

    def __init__(self) -> None:
        self._frozen: Function | None = None  # the last network

    def to_float(self, wire: Wire, request: Message) -> Answer:
        import tensorflow as tf  # noqa: PLC0415

        self._frozen = None
        wire.send("step", name="loading the model")
        keras = sys.modules.get("keras")
        if keras is not None:  # loaded for an earlier request, whose names it would continue
            keras.backend.clear_session()
        with bounded_memory(request.fields["source"]):
            source: Source = _LOADERS[request.fields["source_kind"]](request.fields)
        wire.send("loaded", **source.describe())
        shapes = _expect(wire, "shapes").fields["shapes"]
        static = [
            tf.TensorSpec(shape, spec.dtype, name=_identifier(spec.name, index))
            for index, (shape, spec) in enumerate(zip(shapes, source.inputs))  # noqa: B905
        ]
        wire.send("step", name="tracing the network")
        self._frozen, notes = freeze(source.trace(static))
        wire.send("step", name="converting the operations")
        trained = TrainedRanges(self._frozen)
        self._frozen = self._frozen if not trained else None  # its FakeQuant changes statistics
        content, ranges = trained.of_tensors(
            to_float(trained.function, dynamic=request.fields["dynamic"])
        )
        start = first_steps(trained.function)
        fields = {"notes": notes, "network_start": start, "ranges": ranges}
        return "float", [as_array(content)], fields

    def compare(self, wire: Wire, _request: Message) -> Answer:
        samples = list(_samples(wire, "comparing the samples with the training data"))
        names: list[str] = []
        compared: list[Any] = []
        if self._frozen is not None:
            names, compared = compare_statistics(self._frozen, samples)
        self._frozen = None  # it needs memory
        return "compared", compared, {"layers": names}


def _calibrate(wire: Wire, request: Message) -> Answer:
    content = calibrate(request.arrays[0].tobytes(), lambda: _samples(wire, "calibrating"))
    return "calibrated", [as_array(content)], {}


def _quantize(wire: Wire, request: Message) -> Answer:
    wire.send("step", name="quantizing")
    fields = request.fields
    calibrated = request.arrays[0].tobytes()
    content = quantize(calibrated, fields["io"], per_tensor_dense=fields["per_tensor_dense"])
    return "quantized", [as_array(content)], {}


def _samples(wire: Wire, step: str) -> Iterator[list[Any]]:
    wire.send("step", name=step)
    wire.send("samples")
    while True:
        message = wire.receive()
        if message is None:
            sys.exit(1)
        if message.kind == "end":
            break
        yield message.arrays


def _identifier(name: str, index: int) -> str:
    """Return a name that TensorFlow accepts for an argument."""
    text = "".join(c if c.isalnum() else "_" for c in name)
    return text if text[:1].isalpha() else f"input_{index}_{text}"


def _versions() -> dict[str, str]:
    try:
        tf = import_tensorflow()
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
        sys.exit(1)  # the parent has exited or stopped the conversion
    return message
