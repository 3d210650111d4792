# SPDX-License-Identifier: Apache-2.0
"""COCO JSON: images with boxes or key points."""

from __future__ import annotations

import copy
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from edgekit.data.coco_types import PARTS, check_document, checked_row, memory_of
from edgekit.data.dataset import Batch, InputSpec, Sample, Unreadable
from edgekit.data.folders import beside_read, identity_of, read_images
from edgekit.data.heif import unread_notes
from edgekit.data.preprocess import Preprocess
from edgekit.errors import DataError, InputError
from edgekit.files import open_input
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.formats.json_text import MOST_MEMORY_BYTES, JsonStream

_ANNOTATIONS = "annotations"  # COCO's folder of JSON files, beside the folders of images
_MOST_BYTES = 2 << 30  # COCO's training set has 448 million; the whole text is never in memory


class CocoDataset:
    """The images of a COCO JSON in the order of the file; each sample's target is its image's id.

    Images are beside the JSON, in a folder beside it, or in one beside its folder if that is called
    ``annotations`` (COCO's own ``annotations/instances_val2017.json`` with ``val2017/``).
    """

    def __init__(self, path: Path, inputs: Sequence[InputSpec], preprocess: Preprocess) -> None:
        if len(inputs) != 1:
            raise DataError(
                f"images fill one input, the model has {len(inputs)}",
                where=str(path),
                fix="give a model with one image input",
            )
        self.path, self._preprocess = path, preprocess
        self._shape = tuple(inputs[0].shape[1:])
        self.document = read_coco(path)
        self.unreadable: list[Unreadable] = []
        self._files = [file for _, file in coco_images(path, self.document)]
        self._ids = [image["id"] for image in self.document["images"]]
        self._sizes = [
            (image.get("width"), image.get("height")) for image in self.document["images"]
        ]

    @property
    def num_samples(self) -> int | None:
        """How many images the JSON lists."""
        return len(self._files)

    @property
    def categories(self) -> dict[int, str]:
        """Category id -> name, by id."""
        found = {int(each["id"]): str(each["name"]) for each in self.document["categories"]}
        return dict(sorted(found.items()))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The categories' names, by id."""
        return tuple(self.categories.values())

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The preprocessing's range."""
        return self._preprocess.promised_range

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks about all files: the pictures that need a plugin."""
        return unread_notes(self._files)

    @property
    def classes(self) -> Sequence[int] | None:
        """None: an image may show several."""
        return None

    def subset(self, indices: Sequence[int]) -> CocoDataset:
        """Return the images ``indices``, with all annotations."""
        chosen = copy.copy(self)
        chosen.unreadable = []
        chosen._files = [self._files[index] for index in indices]  # noqa: SLF001 - its own copy
        chosen._ids = [self._ids[index] for index in indices]  # noqa: SLF001 - its own copy
        return chosen

    def describe(self) -> dict[str, Any]:
        """Kind, source and preprocessing."""
        return {
            "kind": "coco",
            "source": str(self.path),
            "preprocess": str(self._preprocess),
            "num_annotations": len(self.document["annotations"]),
        }

    def identity(self, stop: int) -> int:
        """CRC-32 of the first ``stop`` images' names, sizes and ids, and of all annotations."""
        digest = identity_of(self._files[:stop], self._ids)
        for part in ("annotations", "categories"):
            for row in self.document[part]:  # one by one: the text of all may be large
                digest = zlib.crc32(json.dumps(row).encode(), digest)
        return digest

    def chunk(self, start: int, stop: int) -> Batch:
        """Images ``start`` to ``stop`` with their ids; safe to call from any thread."""
        sizes = self._sizes[start:stop]
        read = read_images(self._files[start:stop], self._shape, self._preprocess, sizes)
        ids = beside_read(read, self._files[start:stop], self._ids[start:stop])
        return replace(read, targets=tuple(ids))

    def __iter__(self) -> Iterator[Sample]:
        self.unreadable = []
        for index in range(len(self._files)):
            batch = self.chunk(index, index + 1)
            self.unreadable.extend(batch.unreadable)
            if batch.sources:
                yield Sample((np.asarray(batch.inputs[0])[0],), None, batch.sources[0])


def read_coco(path: Path) -> dict[str, Any]:
    """Return images, annotations and categories of a COCO JSON, with the fields that edgekit uses.

    It is read row by row: COCO's training set (448 MB, mostly polygons) then needs 0.6 GB of
    memory.

    Raises:
        DataError: It is not JSON, or lacks images, annotations, categories or one of their fields,
            a field has another type, or it would take too much memory.
        InputError: It cannot be read.
    """
    where = str(path)
    try:
        with open_input(path) as stream:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
            document = _read_parts(JsonStream(stream), where)
    except OSError as error:
        raise InputError(
            f"cannot read the data file: {error.strerror or error}",
            where=where,
            fix="check the path and its permissions",
        ) from error
    except JSON_DAMAGE as error:
        raise DataError(f"cannot read the JSON: {reason_of(error)}", where=where) from error
    check_document(document, where)
    if not document["images"]:
        raise DataError("the JSON lists no image", where=where)
    return document


def _read_parts(json_stream: JsonStream, where: str) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if json_stream.next_char() != "{":
        json_stream.skip()
        return document
    size = 0
    for part in json_stream.members():
        if part not in PARTS or json_stream.next_char() != "[":
            json_stream.skip()
            continue
        rows = document[part] = []
        for index, row in enumerate(json_stream.items()):
            rows.append(checked_row(part, index, row, where))
            size += memory_of(rows[-1])
            if size > MOST_MEMORY_BYTES:
                raise ValueError(f"its rows need more than {MOST_MEMORY_BYTES >> 20} MiB of memory")
    json_stream.end()
    return document


def coco_images(path: Path, document: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """Return each image's name in the JSON and its file here, in the order of the JSON.

    Raises:
        DataError: The folder of images is not found.
    """
    names = [str(image["file_name"]) for image in document["images"]]
    folder = _image_folder(path, names)
    return [(name, folder / name) for name in names]


def _image_folder(path: Path, names: Sequence[str]) -> Path:
    """Return the folder with the first image that exists."""
    beside = path.resolve().parent
    is_apart = beside.name == _ANNOTATIONS
    for parent in (beside, beside.parent) if is_apart else (beside,):
        try:
            folders = [parent, *sorted(each for each in parent.iterdir() if each.is_dir())]
        except OSError:
            continue
        for folder in folders:
            if any((folder / name).is_file() for name in names[:3]):
                return folder
    raise DataError(
        f"the images of the JSON are not found: {names[0]}",
        where=str(path),
        why="looked beside the JSON and in the folders there"
        + (" and beside its folder" if is_apart else ""),
        fix="put the folder of images beside the JSON",
    )
