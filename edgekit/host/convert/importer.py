# SPDX-License-Identifier: Apache-2.0
"""The parent's side of reading ONNX and PyTorch: the child that makes a float .tflite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgekit.errors import MissingExtraError
from edgekit.host.convert.environments import installed_python
from edgekit.host.convert.shapes import RawInput
from edgekit.host.convert.sources import SourceFile
from edgekit.host.convert.torch_files import PICKLE, PROGRAM, untrusted
from edgekit.host.convert.worker_process import WorkerProcess, worker_command, worker_environment
from edgekit.process import Conversation

_TORCH = (
    "torch",
    "litert_torch",
    "litert-torch",
    "edgekit sources install torch makes an environment with it (2 GB and more), which convert "
    "then uses; or name one that has litert-torch: --converter-python PATH",
)
# Kind of source -> (its environment, the module that converts it, the library's name in messages,
# how to install it).
_LIBRARIES = {
    "onnx": (
        "onnx",
        "onnx2tf",
        "onnx2tf",
        "edgekit sources install onnx makes an environment with it (0.7 GB, needs Python 3.12), "
        "which convert then uses; or name one that has onnx2tf: --converter-python PATH",
    ),
    PROGRAM: _TORCH,
    PICKLE: _TORCH,
}


@dataclass(frozen=True)
class Opened:
    """The child's description of a source: ``properties`` are the metadata in the file."""

    loader: str
    inputs: tuple[RawInput, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...]
    properties: dict[str, str]


@dataclass(frozen=True)
class Operation:
    """An operation of the source, and where its result is in the float .tflite."""

    tensor: str  # its result, in the source
    name: str  # "Conv /stem/conv"
    in_tflite: str  # the name of the same tensor there; empty if that is unknown
    inputs: tuple[str, ...] = ()  # the tensors that it reads; empty if that is unknown


@dataclass(frozen=True)
class ImportedModel:
    """A float .tflite of a source; ``ranges`` are those that the source stores, by tensor."""

    content: bytes
    notes: tuple[str, ...]
    operations: tuple[Operation, ...]
    ranges: dict[str, tuple[float, float]]


class ImporterChild(WorkerProcess):
    """A process with the library that reads the source; a context manager."""

    def __init__(
        self, source: SourceFile, python: str | None, timeout_s: float | None, where: str
    ) -> None:
        """Start the process.

        Raises:
            MissingExtraError: This environment has no converter, and no other was given.
            EdgeKitError: It is a pickle of PyTorch that is not trusted.
        """
        if source.kind == PICKLE and not source.trusted:
            raise untrusted(source.path)
        environment, module, self.library, install = _LIBRARIES[source.kind]
        self.package = self.library
        self._source = source
        if python is None and find_spec(module) is None:
            python = installed_python(environment)
        if python is None and find_spec(module) is None:
            raise MissingExtraError(
                f"{self.library} is not installed; it reads {Path(where).name or where}",
                where=where,
                why="it is not in this environment, and --converter-python names no other",
                fix=install,
            )
        command = worker_command(python, "import")
        super().__init__(
            Conversation(command, timeout_s=timeout_s, env=worker_environment(python)), where
        )

    def __enter__(self) -> ImporterChild:
        return self

    def open(self, modules: Sequence[str] = ()) -> Opened:
        """Let the child read the file.

        Args:
            modules: The user's modules with classes that a pickle names.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        source = self._source
        path = str(source.path.resolve())
        self._send(
            "open",
            source=path,
            source_kind=source.kind,
            trusted=source.trusted,
            custom_objects=list(modules),
            folder=str(Path.cwd()),
        )
        fields = self._receive("opened").fields
        inputs = tuple(
            RawInput(
                each["name"],
                None if each["shape"] is None else tuple(each["shape"]),
                each["dtype"],
            )
            for each in fields["inputs"]
        )
        return Opened(
            fields["loader"],
            inputs,
            tuple(fields["outputs"]),
            tuple(fields["notes"]),
            fields["properties"],
        )

    def to_float(self, shapes: Sequence[Sequence[int]]) -> ImportedModel:
        """Let the child convert the network with inputs of these shapes.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        self._send("import", shapes=[list(shape) for shape in shapes])
        message = self._receive("imported")
        fields = message.fields
        return ImportedModel(
            self._content(message),
            tuple(fields["notes"]),
            tuple(
                Operation(tensor, name, there, tuple(read))
                for tensor, name, there, read in fields["operations"]
            ),
            {name: (low, high) for name, (low, high) in fields["ranges"].items()},
        )

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs of the source for one sample, in its own runtime and layout.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        self._send("answer", *inputs)
        return self._receive("answered").arrays

    def trace(self, names: Sequence[str], inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the values of tensors of the source for one sample.

        Raises:
            EdgeKitError: The child refuses, or its process ends.
        """
        self._send("trace", *inputs, names=list(names))
        return self._receive("traced").arrays
