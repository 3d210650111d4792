# SPDX-License-Identifier: Apache-2.0
"""TFLite model metadata: labels and normalization inside a .tflite file."""

from __future__ import annotations

from edgekit.formats.tflite_metadata.compiler_note import (
    IN_EMULATOR,
    NOT_VERIFIED,
    OPEN_COMPILER,
    PROGRAM_SHA256,
    CompilerNote,
    read_compiler_note,
    verified_programs,
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
    "PROGRAM_SHA256",
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
    "verified_programs",
    "write_compiler_note",
    "write_metadata",
]
