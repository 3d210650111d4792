# SPDX-License-Identifier: Apache-2.0
"""The plain model that belongs to a compiled one: out of its bundle, or the file beside it."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import DeviceError, EdgeKitError
from edgekit.formats.darwinn.belongs import check_belongs
from edgekit.formats.model_file import PLAIN, ModelFile, read_model_file

_SUFFIX = "_edgetpu"  # what the compiler adds to the name


def plain_or_raise(error: EdgeKitError, file: ModelFile, *, wanted: bool) -> ModelFile:
    """The plain model that stands in for ``file``, which cannot run because of ``error``.

    Raises:
        EdgeKitError: ``error``, where the model is not compiled, nothing may or can stand in; its
            ``fix`` then says what could.
    """
    if not file.is_compiled:
        raise error
    if wanted:
        plain = find_plain(file)
        if plain is not None:
            return plain
    beside = plain_path(file.path)
    if isinstance(error, DeviceError) and not wanted and (beside or file.is_bundle):
        name = f"{beside.name}" if beside else "the plain model of the bundle"
        error.fix = f"{error.fix.rstrip('.')}; --fallback runs {name} on the CPU"
    raise error


def find_plain(compiled: ModelFile) -> ModelFile | None:
    """The model that ``compiled`` was made from, in its bundle or beside it; None if neither.

    Raises:
        BundleError: What is there is another model.
        ModelFormatError: It is damaged.
    """
    if compiled.is_bundle:
        return compiled.preferring(PLAIN)
    path = plain_path(compiled.path)
    if path is None:
        return None
    plain = read_model_file(path)
    check_belongs(plain.model, compiled.model, f"{compiled.path}, beside {path.name}")
    return plain


def plain_path(source: str) -> Path | None:
    """The file beside ``source`` with the name it had before the compiler; None if none is."""
    path = Path(source)
    if not source or not path.stem.endswith(_SUFFIX):
        return None
    plain = path.with_name(path.stem[: -len(_SUFFIX)] + path.suffix)
    return plain if plain.is_file() else None
