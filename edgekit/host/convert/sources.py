# SPDX-License-Identifier: Apache-2.0
"""Find the format of SOURCE by its bytes, not by its name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import InputError, ModelFormatError, UsageError
from edgekit.files import HDF5_HEAD, ZIP_HEAD, PathLike, feed_digest
from edgekit.formats.model_file import ModelFile, holds_bundle, read_if_tflite
from edgekit.host.convert.shapes import parse_input_shapes
from edgekit.host.convert.torch_files import PICKLE, PROGRAM, torch_kind
from edgekit.host.convert.torch_objects import is_torch, save_program

_GIT_LFS = b"version https://git-lfs"
_FORMATS = (
    ".keras, .h5 or .hdf5, the folder of a SavedModel, a frozen .pb, an .onnx, an exported program "
    "of PyTorch (.pt2), or a float .tflite"
)
# Kind of source -> its name in messages.
SOURCE_KINDS = {
    "keras": "a Keras file",
    "saved_model": "a SavedModel",
    "frozen_graph": "a frozen graph",
    "tflite": "a .tflite file",
    "onnx": "an ONNX file",
    PROGRAM: "an exported program of PyTorch",
    PICKLE: "a pickled file of PyTorch",
}
_FOREIGN = ("onnx", PROGRAM, PICKLE)


@dataclass(frozen=True)
class SourceFile:
    """A model on disk."""

    path: Path
    kind: str  # a key of SOURCE_KINDS
    trusted: bool = False  # whether it comes from an object in this process
    file: ModelFile | None = None  # a .tflite

    @property
    def is_foreign(self) -> bool:
        """Whether a library other than TensorFlow reads it."""
        return self.kind in _FOREIGN

    def sha256(self) -> str:
        """The SHA-256 of the file; for a folder, of its files' names and contents in order."""
        if self.file is not None:
            return self.file.sha256
        digest = hashlib.sha256()
        if self.path.is_file():
            _feed(digest, self.path)
            return digest.hexdigest()
        for path in sorted(each for each in self.path.rglob("*") if each.is_file()):
            digest.update(path.relative_to(self.path).as_posix().encode() + b"\0")
            _feed(digest, path)
        return digest.hexdigest()


def find_source(path: PathLike) -> SourceFile:
    """Recognize a model file or folder.

    Raises:
        InputError: It is missing, unreadable or not a regular file.
        ModelFormatError: Its format is not one that `convert` takes.
    """
    place = Path(path)
    if place.is_dir():
        return SourceFile(_saved_model_folder(place), "saved_model")
    if os.path.exists(place) and not place.is_file():  # noqa: PTH110 - no error for odd names
        # This process and its child read it several times; a FIFO delivers its bytes only once.
        raise InputError(
            "the model is a pipe, a device or a socket",
            where=str(place),
            why="a model to convert is read more than once",
            fix="save it as a file first",
        )
    head, file = read_if_tflite(place)
    if file is not None:
        return SourceFile(place, "tflite", file=file)
    if place.name in ("saved_model.pb", "saved_model.pbtxt"):
        return SourceFile(place.parent, "saved_model")
    return SourceFile(place, _kind(head, place))


@contextlib.contextmanager
def saved_object(model: Any, shapes: Sequence[str] = ()) -> Iterator[SourceFile]:  # noqa: ANN401 - a model of Keras or PyTorch
    """Save a model object as a temporary file for the child.

    Args:
        model: A Keras model, or a module or exported program of PyTorch.
        shapes: ``--input-shape``, with which a module is exported.

    Raises:
        UsageError: It is something else, or a module without the shape of an input.
        InputError: It cannot be saved.
    """
    if is_torch(model):
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            path = Path(folder, "model.pt2")
            save_program(model, parse_input_shapes(shapes), path)
            yield SourceFile(path, PROGRAM, trusted=True)
        return
    if not (hasattr(model, "save") and hasattr(model, "get_config")):
        raise UsageError(
            f"{type(model).__name__} is neither a path nor a model of Keras or PyTorch",
            fix="give a path, a keras.Model, a torch.nn.Module or an exported program",
        )
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        yield _save(model, Path(folder))


def _save(model: Any, folder: Path) -> SourceFile:  # noqa: ANN401
    is_old = type(model).__module__.split(".")[0] in ("tf_keras", "tensorflow")
    try:
        # Hide Keras's list of exports and its warning that HDF5 is a legacy format.
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            if _has_foreign_code(model) and hasattr(model, "export"):
                # The child does not have these classes, so it gets the graph of their operations.
                path = folder / "model"
                model.export(str(path))
                return SourceFile(path, "saved_model", trusted=True)
            path = folder / ("model.h5" if is_old else "model.keras")
            model.save(str(path))
    except (OSError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"Keras cannot save the model: {error}", fix="build it and call it once on data"
        ) from error
    return SourceFile(path, "keras", trusted=True)


def _has_foreign_code(model: Any) -> bool:  # noqa: ANN401
    layers = getattr(model, "_flatten_layers", lambda: model.layers)()
    modules = (type(layer).__module__.split(".")[0] for layer in layers)
    return any(module not in ("keras", "tf_keras", "tensorflow") for module in modules)


def _saved_model_folder(place: Path) -> Path:
    if any((place / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        return place
    try:
        entries = sorted(entry.name for entry in place.iterdir())
    except OSError as error:
        raise InputError(f"cannot list the folder: {error.strerror}", where=str(place)) from error
    why = (
        f"it contains {', '.join(entries[:5])}{' ...' if entries[5:] else ''}"
        if entries
        else "it is empty"
    )
    raise ModelFormatError(
        "the folder is not a SavedModel: it does not contain saved_model.pb",
        where=str(place),
        why=why,
        fix=f"give {_FORMATS}",
    )


def _kind(head: bytes, place: Path) -> str:
    if holds_bundle(head):
        raise ModelFormatError(
            "this is a bundle: its model is already converted",
            where=str(place),
            fix="give the float model that it was made from",
        )
    suffix = place.suffix.lower()
    if (of_torch := torch_kind(head, place)) is not None:
        return of_torch
    if head.startswith((HDF5_HEAD, ZIP_HEAD)):
        return "keras"
    if head.startswith(_GIT_LFS):
        raise ModelFormatError(
            "this is a Git LFS pointer, not the model itself", where=str(place), fix="git lfs pull"
        )
    if suffix == ".onnx" and head:
        return "onnx"
    if suffix == ".pb":
        return "frozen_graph"
    known = {".keras": "a zip archive", ".h5": "HDF5", ".hdf5": "HDF5", ".tflite": "TFLite"}
    if not head:
        raise ModelFormatError("the file is empty", where=str(place), fix="copy the model again")
    if suffix in known:
        raise ModelFormatError(
            f"the file is damaged: a {suffix} file is {known[suffix]}, this one is not",
            where=str(place),
            why=f"it begins with {head[:8]!r}",
            fix="copy it again and compare sizes, or save the model again",
        )
    raise ModelFormatError(
        "this is not a model that edgekit can convert",
        where=str(place),
        fix=f"give {_FORMATS}",
    )


def _feed(digest: Any, path: Path) -> None:  # noqa: ANN401 - hashlib's type is private
    try:
        feed_digest(digest, path)
    except OSError as error:
        raise InputError(f"cannot read the model: {error.strerror}", where=str(path)) from error
