# SPDX-License-Identifier: Apache-2.0
"""Read the parts of a bundle from files or from another bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle.results import Document, of_these, results_in
from edgekit.errors import UnsupportedModelError
from edgekit.files import MOST_TEXT_BYTES, PathLike, read_bytes
from edgekit.formats.model_file import COMPILED, ModelFile, read_model_file
from edgekit.formats.tflite_metadata import Notes

# The compiler's names for the parts of a model that is spread over several Edge TPUs.
_SEGMENT = re.compile(r"_segment_\d+_of_\d+(_edgetpu)?$")


@dataclass(frozen=True)
class Given:
    """The parts before anything is written into them."""

    name: str
    plain: ModelFile
    compiled: ModelFile | None
    notes: Notes
    licence: bytes
    source_sha256: str
    origins: tuple[str, ...]  # hashes of both models, now and before changes
    results: tuple[Document, ...] = ()
    left_out: tuple[str, ...] = ()  # paths of results of another model
    was_signed: bool = False
    bundles: tuple[PathLike, ...] = ()  # of the files

    @property
    def licence_text(self) -> str:
        """The licence; bytes that are not UTF-8 are replaced."""
        return self.licence.decode("utf-8", "replace").strip()


def read_given(model: PathLike, compiled: PathLike | None, licence: PathLike | None) -> Given:
    """Read the files; missing parts come from ``model`` if that is a bundle.

    Raises:
        InputError: A file cannot be read.
        BundleError: A bundle is damaged.
        UnsupportedModelError: ``compiled`` is a segment, or a bundle without a compiled model.
    """
    source = read_model_file(model)
    old = source.bundle if source.is_bundle else None
    bundles: tuple[PathLike, ...] = () if old is None else (model,)
    program = source.preferring(COMPILED) if old is not None and old.compiled else None
    if compiled is not None:
        program = _read_compiled(compiled, model)
        bundles += (compiled,) if program.is_bundle else ()
    text = b"" if licence is None else read_bytes(licence, "licence", MOST_TEXT_BYTES)
    if licence is None and old is not None:
        text = b"".join(old.files[entry.path] for entry in old.manifest.files_with("licence"))
    origins = {each.sha256 for each in (source, program) if each is not None}
    if old is not None:
        origins.add(old.manifest.source_sha256)
        # Otherwise they may be the hashes of another one.
        if (program.content if program else None) == old.compiled:
            origins.update(old.manifest.origins)
    documents = results_in(old, str(model)) if old is not None else {}
    kept = of_these(documents, origins)
    return Given(
        name=Path(model).stem if old is None else old.manifest.name,
        plain=source,
        compiled=program,
        notes=source.notes,
        licence=text,
        source_sha256=source.sha256 if old is None else old.manifest.source_sha256,
        origins=tuple(sorted(origins)),
        results=tuple(kept.values()),
        left_out=tuple(path for path in documents if path not in kept),
        was_signed=old is not None and bool(old.signature),
        bundles=bundles,
    )


def _read_compiled(path: PathLike, model: PathLike) -> ModelFile:
    stem = Path(path).stem
    if _SEGMENT.search(stem) and stem != f"{Path(model).stem}_edgetpu":
        raise UnsupportedModelError(
            "this is one segment of a model for a pipeline of several Edge TPUs",
            where=str(path),
            why="a bundle contains a whole compiled model for one Edge TPU; edgekit does not run "
            "pipelines of several",
            fix="compile the model without --num-segments and give NAME_edgetpu.tflite",
        )
    return read_model_file(path, COMPILED)
