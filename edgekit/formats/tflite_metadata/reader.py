# SPDX-License-Identifier: Apache-2.0
"""Read the metadata of a .tflite file to `ModelMetadata`; everything is checked."""

from __future__ import annotations

import io
import zipfile
from typing import Callable, Mapping

import numpy as np

from edgekit.errors import ModelFormatError
from edgekit.formats.damage import ZIP_DAMAGE, reason_of
from edgekit.formats.darwinn.table import Table, root_table
from edgekit.formats.tflite import Model, read_model
from edgekit.formats.tflite_metadata.metadata import (
    AXIS_LABELS,
    COLOUR_SPACES,
    CONTENTS,
    IDENTIFIER,
    IMAGE,
    METADATA_NAME,
    NORMALIZATION_OPTIONS,
    VALUE_LABELS,
    LabelFile,
    ModelMetadata,
    Normalization,
    TensorMetadata,
)

# Limits of all files read together: label files, anchors, a vocabulary.
_MOST_BYTES = 16 << 20
_MOST_FILES = 4096


def read_metadata(content: bytes, model: Model | None = None) -> ModelMetadata | None:
    """Return the metadata in a .tflite file; None if there is none.

    Args:
        content: The content of the file, with the archive appended to the model.
        model: The model in it, if it was already read.

    Raises:
        ModelFormatError: The model, or its metadata, is damaged.
    """
    index = (model or read_model(content)).metadata.get(METADATA_NAME)
    if index is None:
        return None
    raw = memoryview((model or read_model(content)).buffers[index].tobytes())
    if bytes(raw[4:8]) != IDENTIFIER:
        raise ModelFormatError(
            f"the model's metadata begins with {bytes(raw[4:8])!r}, expected {IDENTIFIER!r}",
            where=METADATA_NAME,
        )
    try:
        return _model(root_table(raw, METADATA_NAME), read_files(content))
    except ModelFormatError as error:
        why = error.what.rpartition(": ")[2]
        raise ModelFormatError(
            f"the model's metadata is damaged: {why}",
            where=METADATA_NAME,
            fix="copy the file again, or give labels and preprocessing by hand",
        ) from error


def model_size(content: bytes) -> int:
    """Return how many bytes of a .tflite file are the model; the rest is the archive of files.

    Raises:
        ModelFormatError: The archive is damaged.
    """
    stream = io.BytesIO(content)
    if not zipfile.is_zipfile(stream):
        return len(content)
    try:
        with zipfile.ZipFile(stream) as archive:
            starts = [member.header_offset for member in archive.infolist()]
    except ZIP_DAMAGE as error:
        raise _damaged_files(error) from error
    return min(starts, default=len(content))


def _model(root: Table, files: Mapping[str, bytes]) -> ModelMetadata:
    subgraphs = root.tables(3)
    graph = subgraphs[0] if subgraphs else None
    return ModelMetadata(
        name=root.text(0),
        description=root.text(1),
        version=root.text(2),
        author=root.text(4),
        licence=root.text(5),
        inputs=tuple(map(_tensor, graph.tables(2))) if graph else (),
        outputs=tuple(map(_tensor, graph.tables(3))) if graph else (),
        min_parser_version=root.text(7),
        files=files,
    )


def _tensor(table: Table) -> TensorMetadata:
    content = table.table(3)
    kind = CONTENTS.get(content.scalar(0, "<B"), "") if content else ""
    properties = content.table(1) if content and kind == IMAGE else None
    units = [
        unit.table(1) for unit in table.tables(4) if unit.scalar(0, "<B") == NORMALIZATION_OPTIONS
    ]
    stats = table.table(5)
    return TensorMetadata(
        name=table.text(0),
        description=table.text(1),
        content=kind,
        colour_space=COLOUR_SPACES.get(properties.scalar(0, "<b"), "") if properties else "",
        normalization=_normalization(units[0]) if units and units[0] else None,
        label_files=tuple(
            LabelFile(file.text(0), file.scalar(2, "<b") == VALUE_LABELS, file.text(3))
            for file in table.tables(6)
            if file.scalar(2, "<b") in (AXIS_LABELS, VALUE_LABELS)
        ),
        max=_floats(stats, 0) if stats else (),
        min=_floats(stats, 1) if stats else (),
    )


def _normalization(table: Table) -> Normalization:
    return Normalization(_floats(table, 0), _floats(table, 1))


def _floats(table: Table, field: int) -> tuple[float, ...]:
    return tuple(table.array(field).view(np.float32).tolist())


def _damaged_files(error: BaseException) -> ModelFormatError:
    return ModelFormatError(
        f"the files after the model are damaged: {reason_of(error)}",
        why="a .tflite file can contain labels in a zip archive at its end",
        fix="copy the file again, or convert it again",
    )


def read_files(content: bytes, wanted: Callable[[str], bool] | None = None) -> Mapping[str, bytes]:
    """Return the files appended to a model as a zip archive; empty if there are none.

    Args:
        content: The content of the .tflite file.
        wanted: Whether to read a file of that name; None reads all.

    Raises:
        ModelFormatError: The archive is damaged, or has too many or too large files.
    """
    stream = io.BytesIO(content)
    if not zipfile.is_zipfile(stream):
        return {}
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            if len(members) > _MOST_FILES:
                raise ModelFormatError(
                    f"{len(members)} files after the model, at most {_MOST_FILES}"
                )
            chosen = [each for each in members if wanted is None or wanted(each.filename)]
            total = sum(member.file_size for member in chosen)
            if total > _MOST_BYTES:
                raise ModelFormatError(
                    f"the files after the model declare {total} bytes, at most {_MOST_BYTES}"
                )
            return {member.filename: _member(archive, member) for member in chosen}
    except ZIP_DAMAGE as error:
        raise _damaged_files(error) from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as stream:
        return stream.read(_MOST_BYTES)  # it ends at the size that it declares
