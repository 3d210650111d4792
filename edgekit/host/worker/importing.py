# SPDX-License-Identifier: Apache-2.0
"""The child that reads networks of ONNX and PyTorch: makes a float .tflite, answers samples."""

from __future__ import annotations

import importlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from edgekit.host.worker.custom_objects import custom_objects
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.serving import Answer, serve
from edgekit.wire import Message, Wire, as_array

# A GPU is not needed, and nothing is downloaded.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "HF_HUB_OFFLINE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# Kind of source -> (module, the distributions that convert, the first of them named in messages).
_KINDS = {
    "onnx": ("edgekit.host.worker.onnx_source", ("onnx2tf", "onnx", "onnxruntime")),
    "torch": ("edgekit.host.worker.torch_source", ("litert-torch", "torch")),
    "torch_pickle": ("edgekit.host.worker.torch_pickle", ("litert-torch", "torch")),
}


class Imported:
    """A float .tflite made of a source.

    ``operations`` are (name of a tensor of the source, operation that computes it, name of the
    same tensor in the .tflite or "" if that is unknown, tensors that it reads), in the order of
    execution. ``ranges`` are those that the source stores, by tensor of the .tflite.
    """

    def __init__(
        self,
        content: bytes,
        notes: list[str],
        operations: list[tuple[str, str, str, list[str]]],
        ranges: dict[str, tuple[float, float]],
    ) -> None:
        self.content, self.notes = content, notes
        self.operations, self.ranges = operations, ranges


class ForeignSource(Protocol):
    """A network of another framework, loaded."""

    def describe(self) -> dict[str, Any]:
        """Return plain values for the parent; unknown dimensions are None."""

    def to_float(self, shapes: list[list[int]]) -> Imported:
        """Convert the network with inputs of these shapes."""

    def answer(self, arrays: list[Any]) -> list[Any]:
        """Return the outputs for one sample, in the source's own runtime."""

    def trace(self, names: list[str], arrays: list[Any]) -> dict[str, Any]:
        """Return the values of tensors of the source, by name."""


def main() -> None:
    """Serve the parent until it is done or has exited."""
    session = _Session()
    answers = {
        "open": session.open,
        "import": session.to_float,
        "answer": session.answer,
        "trace": session.trace,
    }
    serve(answers, session.greet, _ENVIRONMENT)


class _Session:
    """Requests about one source."""

    def __init__(self) -> None:
        self._source: ForeignSource | None = None

    def greet(self, wire: Wire, request: Message) -> None:
        """Send which packages convert, before the first request."""
        if request.kind == "open":
            wire.send("step", name="importing the converter")
            wire.send("hello", **_versions(request.fields["source_kind"]))

    def open(self, wire: Wire, request: Message) -> Answer:
        fields = request.fields
        module, packages = _KINDS[fields["source_kind"]]
        try:
            opener = importlib.import_module(module)
            opener.import_packages()
        except ImportError as error:
            raise _missing(packages[0], str(error)) from error
        wire.send("step", name="loading the model")
        if not fields["trusted"]:
            opener.refuse_code(fields["source"])
        custom_objects(fields["custom_objects"], fields["folder"])
        source: ForeignSource = opener.open_source(fields["source"])
        self._source = source
        return "opened", [], source.describe()

    def to_float(self, wire: Wire, request: Message) -> Answer:
        wire.send("step", name="converting the operations")
        made = self._required().to_float(request.fields["shapes"])
        fields = {"notes": made.notes, "ranges": made.ranges, "operations": made.operations}
        return "imported", [as_array(made.content)], fields

    def answer(self, wire: Wire, request: Message) -> Answer:
        wire.send("step", name="running the source")
        return "answered", self._required().answer(request.arrays), {}

    def trace(self, wire: Wire, request: Message) -> Answer:
        wire.send("step", name="running the source")
        values = self._required().trace(request.fields["names"], request.arrays)
        return "traced", list(values.values()), {}

    def _required(self) -> ForeignSource:
        if self._source is None:
            raise Refused("usage", "no source is open")
        return self._source


def _versions(kind: str) -> dict[str, str]:
    packages = _KINDS[kind][1]
    try:
        found = {package: version(package) for package in packages}
    except PackageNotFoundError as error:
        raise _missing(packages[0], f"{sys.executable} has no package {error.name}") from error
    return {"python": platform.python_version(), **found}


def _missing(package: str, why: str) -> Refused:
    return Refused(
        "tool.missing",
        f"{package} is not installed for {sys.executable}, or does not work there",
        why=why,
        fix=f"{sys.executable} -m pip install {package}; or name another interpreter: "
        "--converter-python",
    )
