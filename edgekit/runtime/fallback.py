# SPDX-License-Identifier: Apache-2.0
"""The plain model that belongs to a compiled one: from its bundle, or the file beside it."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import DeviceError, EdgeKitError
from edgekit.formats.darwinn.belongs import check_belongs
from edgekit.formats.model_file import PLAIN, ModelFile, read_model_file

_SUFFIX = "_edgetpu"  # what the compiler adds to the name


def plain_or_raise(error: EdgeKitError, file: ModelFile, *, wanted: bool) -> ModelFile:
    """Return the plain model to run instead of ``file``, which cannot run because of ``error``.

    Raises:
        EdgeKitError: ``error``, if the model is not compiled, or no plain model may be used or
            exists; its ``fix`` then names one that --fallback would run.
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
    """Return the model that ``compiled`` was compiled from, in its bundle or beside it, or None.

    Raises:
        BundleError: The model found there is another one.
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
    """Return the file beside ``source`` without ``_edgetpu`` in its name; None if it is missing."""
    path = Path(source)
    if not source or not path.stem.endswith(_SUFFIX):
        return None
    plain = path.with_name(path.stem[: -len(_SUFFIX)] + path.suffix)
    return plain if plain.is_file() else None
