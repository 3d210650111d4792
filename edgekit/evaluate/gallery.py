# SPDX-License-Identifier: Apache-2.0
"""The folder that ``run -o`` draws into: a picture for each image, a video for each video."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.data.image_files import IMAGE_SUFFIXES
from edgekit.errors import OutputError, UsageError
from edgekit.evaluate.inputs import VIDEO_SUFFIXES
from edgekit.evaluate.pictures import draw
from edgekit.extras import require
from edgekit.files import refuse_overwriting, replacing

if TYPE_CHECKING:
    from PIL import Image

    from edgekit.evaluate.answers import Answer
    from edgekit.evaluate.inputs import Item, Reading
    from edgekit.files import PathLike
    from edgekit.tasks import Meaning

_SUFFIX, _VIDEO_SUFFIX = ".png", ".mp4"
_DEFAULT_FPS = 25.0


def require_folder_name(output: PathLike | None) -> None:
    """Check that the name of the folder is not that of a picture or a video.

    Raises:
        UsageError: It ends like one, and nothing has that name.
    """
    suffix = "" if output is None else Path(output).suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not Path(str(output)).exists():
        raise UsageError(
            f"the output is a folder, and {output} ends like a file",
            why="each drawn picture or video gets the name of its input",
            fix=f"-o {shlex.quote(str(Path(str(output)).with_suffix('')))}",
        )


class Gallery:
    """Draws answers into a folder; does nothing without one. A context manager.

    Files appear when they are complete; if the block raises, an incomplete video is removed.
    """

    def __init__(self, folder: Path | None, inputs: Sequence[object] = ()) -> None:
        self._folder, self._inputs = folder, inputs
        self._names: set[str] = set()
        self._video: _Video | None = None

    def add(self, item: Item, answer: Answer, meaning: Meaning, reading: Reading) -> str:
        """Draw an answer and return the path of the picture; empty if nothing was drawn.

        Raises:
            OutputError: It cannot be written.
        """
        if self._folder is None or reading.open_picture is None:
            return ""
        picture = draw(reading.open_picture(), answer, meaning, reading.placement)
        if item.video is not None:
            return self._add_frame(self._folder, item.video, picture)
        path = self._folder / self._name(Path(item.name).stem, _SUFFIX)
        refuse_overwriting(path, item.path, *self._inputs)
        with replacing(path) as temporary:
            picture.save(str(temporary), "PNG")
        return str(path)

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._video is not None:
            self._video.close(keep=kind is None)

    def _add_frame(self, folder: Path, source: Path, picture: Image.Image) -> str:
        if self._video is None or self._video.source != source:
            if self._video is not None:
                self._video.close(keep=True)
            path = folder / self._name(source.stem, _VIDEO_SUFFIX)
            refuse_overwriting(path, source, *self._inputs)
            self._video = _Video(source, path, picture.size)
        self._video.write(picture)
        return str(self._video.path)

    def _name(self, stem: str, suffix: str) -> str:
        """A file name that this run has not used yet."""
        name, number = stem + suffix, 2
        while name in self._names:
            name, number = f"{stem}-{number}{suffix}", number + 1
        self._names.add(name)
        return name


class _Video:
    """A video file that is being written, under another name until it is complete."""

    def __init__(self, source: Path, path: Path, size: tuple[int, int]) -> None:
        cv2 = require("cv2", extra="video", purpose="write a video")
        self.source, self.path = source, path
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        capture = cv2.VideoCapture(str(source))
        fps = capture.get(cv2.CAP_PROP_FPS) or _DEFAULT_FPS
        capture.release()
        code = cv2.VideoWriter_fourcc(*"mp4v")
        self._writer: Any = cv2.VideoWriter(str(self._part), code, fps, size)
        if not self._writer.isOpened():
            raise OutputError(
                "cannot write the video",
                where=str(path),
                fix="name a folder that can be written to (-o)",
            )

    def write(self, picture: Image.Image) -> None:
        """Append a frame."""
        self._writer.write(np.ascontiguousarray(np.asarray(picture)[..., ::-1]))

    def close(self, *, keep: bool) -> None:
        """Finish the file and give it its name, or remove it."""
        self._writer.release()
        try:
            if keep:
                self._part.replace(self.path)
            else:
                self._part.unlink()
        except OSError as error:
            raise OutputError(
                f"cannot write the video: {error.strerror}", where=str(self.path)
            ) from error
