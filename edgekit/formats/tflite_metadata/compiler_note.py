# SPDX-License-Identifier: Apache-2.0
"""The note in a model that edgekit compiled: by which version, and how it was verified."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Mapping

from edgekit.errors import ModelFormatError
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.formats.json_text import parse_json
from edgekit.formats.tflite import Model, add_metadata
from edgekit.formats.tflite_metadata.metadata import COMPILER_NAME
from edgekit.formats.tflite_metadata.reader import model_size
from edgekit.formats.tflite_metadata.writer import keep_files
from edgekit.result import Result
from edgekit.version import __version__

OPEN_COMPILER = f"edgekit {__version__} open compiler"
IN_EMULATOR = "verified in the emulator, not on a chip"
NOT_VERIFIED = "not verified"
PROGRAM_SHA256 = "program_sha256"  # in a note's verification: `Package.sha256`


@dataclass(frozen=True)
class CompilerNote(Result):
    """What the compiler states about the program that it wrote; Google's writes nothing."""

    schema: ClassVar[str] = "edgekit.compiler-note/1"
    compiler: str  # its name and version
    verified: str  # where it was verified: one clause for people
    verification: Mapping[str, Any] = field(default_factory=dict)  # the record; values of JSON

    def __str__(self) -> str:
        return f"{self.compiler}; {self.verified}"


def write_compiler_note(content: bytes, note: CompilerNote) -> bytes:
    """Return the .tflite file ``content`` with ``note`` as one of its metadata.

    The same arguments give the same bytes. Other metadata and label files stay.

    Raises:
        ModelFormatError: ``content`` is not a model.
        UnsupportedModelError: The structure of the model does not allow additions.
    """
    entries = {COMPILER_NAME: note.to_json().encode()}
    return keep_files(content, add_metadata(content[: model_size(content)], entries))


def read_compiler_note(model: Model) -> CompilerNote | None:
    """Return the note in ``model``; None if another compiler wrote it.

    Raises:
        ModelFormatError: The note is damaged.
    """
    index = model.metadata.get(COMPILER_NAME)
    if index is None:
        return None
    try:
        document = parse_json(model.buffers[index].tobytes())
    except JSON_DAMAGE as error:
        raise _damaged(reason_of(error)) from error
    if not isinstance(document, dict) or document.get("schema") != CompilerNote.schema:
        raise _damaged(f"it is not a document of the schema {CompilerNote.schema}")
    compiler, verified = document.get("compiler"), document.get("verified")
    verification = document.get("verification")
    if not (isinstance(compiler, str) and isinstance(verified, str)):
        raise _damaged(f"compiler is {compiler!r} and verified is {verified!r}, expected texts")
    if not isinstance(verification, dict):
        raise _damaged(f"verification is {verification!r}, expected an object")
    return CompilerNote(compiler, verified, verification)


def verified_programs(model: Model) -> frozenset[str]:
    """Return the hashes of the programs that edgekit's compiler compared with their source.

    See `Package.sha256`. A program that was changed later has another hash.

    Raises:
        ModelFormatError: The note is damaged.
    """
    note = read_compiler_note(model)
    if note is None or note.verified != IN_EMULATOR:
        return frozenset()
    found = note.verification.get(PROGRAM_SHA256)
    return frozenset({found} if isinstance(found, str) else ())


def _damaged(why: str) -> ModelFormatError:
    return ModelFormatError(
        f"the compiler's note in the model is damaged: {why}",
        where=COMPILER_NAME,
        fix="copy the file again, or compile the model again",
    )
