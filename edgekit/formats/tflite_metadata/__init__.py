# SPDX-License-Identifier: Apache-2.0
"""TFLite model metadata: labels and normalization inside a .tflite file."""

from __future__ import annotations

from edgekit.formats.tflite_metadata.compiler_note import (
    IN_EMULATOR,
    NOT_VERIFIED,
    OPEN_COMPILER,
    CompilerNote,
    read_compiler_note,
    write_compiler_note,
)
from edgekit.formats.tflite_metadata.metadata import (
    LabelFile,
    ModelMetadata,
    Normalization,
    TensorMetadata,
)
from edgekit.formats.tflite_metadata.notes import Notes, read_notes
from edgekit.formats.tflite_metadata.reader import read_files, read_metadata
from edgekit.formats.tflite_metadata.writer import keep_files, write_metadata

__all__ = [
    "IN_EMULATOR",
    "NOT_VERIFIED",
    "OPEN_COMPILER",
    "CompilerNote",
    "LabelFile",
    "ModelMetadata",
    "Normalization",
    "Notes",
    "TensorMetadata",
    "keep_files",
    "read_compiler_note",
    "read_files",
    "read_metadata",
    "read_notes",
    "write_compiler_note",
    "write_metadata",
]
