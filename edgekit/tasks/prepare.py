# SPDX-License-Identifier: Apache-2.0
"""A model file, made ready for an interpreter that has no PosenetDecoderOp."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.files import PathLike, read_bytes, sha256_hex
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.tasks.posenet import PosenetOptions, without_decoder

if TYPE_CHECKING:
    from typing import Union

    ModelSource = Union[bytes, PathLike]


@dataclass(frozen=True)
class Prepared:
    """A model as it was given, and the bytes that an interpreter gets."""

    source: str  # a path, "" for bytes
    sha256: str  # of the file as given
    model: Model  # as given
    original: bytes
    content: bytes  # without PoseNet's decoder; else as given
    posenet: PosenetOptions | None = None  # of the decoder that was cut off


def prepare(model: ModelSource) -> Prepared:
    """Read ``model`` and cut off the operator that no interpreter runs but numpy can.

    Raises:
        ModelFormatError: It is no .tflite file, or a damaged one.
        InputError: The file cannot be read.
    """
    is_content = isinstance(model, (bytes, bytearray, memoryview))
    source = "" if is_content else str(model)
    content = bytes(model) if is_content else read_bytes(Path(source), "model")  # type: ignore[arg-type] # decided by is_content
    parsed = read_model(content) if is_content else read_model(Path(source))
    cut = without_decoder(parsed)
    digest = sha256_hex(content)
    if cut is None:
        return Prepared(source, digest, parsed, content, content)
    return Prepared(source, digest, parsed, content, write_model(cut[0]), cut[1])
