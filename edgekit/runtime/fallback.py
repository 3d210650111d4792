# SPDX-License-Identifier: Apache-2.0
"""The plain model that belongs to a compiled one: out of its bundle, or the file beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import DeviceError, EdgeKitError
from edgekit.files import read_bytes
from edgekit.formats.bundle import is_bundle, read_bundle
from edgekit.formats.darwinn.belongs import check_belongs
from edgekit.formats.tflite import Model, read_model
from edgekit.runtime.select import compiled_operator

_SUFFIX = "_edgetpu"  # what the compiler adds to the name


@dataclass(frozen=True)
class PlainModel:
    """A model that any CPU runs."""

    content: bytes
    model: Model
    source: str  # the file


def plain_or_raise(
    error: EdgeKitError, given: bytes, source: str, model: Model, *, wanted: bool
) -> PlainModel:
    """The plain model that stands in for ``model``, which cannot run because of ``error``.

    Raises:
        EdgeKitError: ``error``, where the model is not compiled, nothing may or can stand in; its
            ``fix`` then says what could.
    """
    if not compiled_operator(model):
        raise error
    if wanted:
        plain = find_plain(given, source, model)
        if plain is not None:
            return plain
    beside = plain_path(source)
    if isinstance(error, DeviceError) and not wanted and (beside or is_bundle(given)):
        name = f"{beside.name}" if beside else "the plain model of the bundle"
        error.fix = f"{error.fix.rstrip('.')}; --fallback runs {name} on the CPU"
    raise error


def find_plain(given: bytes, source: str, compiled: Model) -> PlainModel | None:
    """The model that ``compiled`` was made from; None if it is not at hand.

    Args:
        given: The content of the file: a bundle, or the compiled model.
        source: The path of the file; "" where there is only content.
        compiled: The compiled model, read.

    Raises:
        BundleError: What is at hand is another model.
        ModelFormatError: It is damaged.
    """
    if is_bundle(given):
        content = read_bundle(given, source).model
        return PlainModel(content, read_model(content, where=source), source)
    path = plain_path(source)
    if path is None:
        return None
    content = read_bytes(path, "plain model")
    plain = read_model(content, where=str(path))
    check_belongs(plain, compiled, f"{source}, beside {path.name}")
    return PlainModel(content, plain, str(path))


def plain_path(source: str) -> Path | None:
    """The file beside ``source`` with the name it had before the compiler; None if none is."""
    path = Path(source)
    if not source or not path.stem.endswith(_SUFFIX):
        return None
    plain = path.with_name(path.stem[: -len(_SUFFIX)] + path.suffix)
    return plain if plain.is_file() else None
