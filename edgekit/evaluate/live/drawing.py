# SPDX-License-Identifier: Apache-2.0
"""What is drawn of live sources: a video, a picture of each frame, or the latest picture."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import Protocol

from edgekit.errors import OutputError
from edgekit.extras import require
from edgekit.files import make_folder, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from edgekit.evaluate.live.feed import Feed
    from edgekit.evaluate.live.options import LiveOptions

_QUALITY = 90
_FPS = 25.0  # of a video whose source does not state its own
_LONGEST_STILL_S = 2.0  # while a source is lost, its video does not go on for longer


class Canvas(Protocol):
    """Where the pictures of one source go."""

    def add(self, picture: Image.Image, index: int, name: str) -> str:
        """Write a picture and return the path of its file."""

    def close(self) -> None:
        """Finish what is written."""


def make_canvas(feed: Feed, stem: str, options: LiveOptions) -> Canvas | None:
    """Return where to draw; None without an output folder.

    Raises:
        OutputError: The folder cannot be made.
        MissingExtraError: A video is to be written, and OpenCV is not installed.
    """
    if options.output is None:
        return None
    folder = make_folder(options.output)
    draw = options.draw or ("video" if feed.is_moving else "pictures")
    if draw == "latest":
        return _Latest(folder / f"{stem}.jpg")
    if draw == "pictures":
        return _Pictures(folder, stem)
    require("cv2", extra="video", purpose="write a video")
    return _Film(folder, stem, feed)


class _Latest:
    """One file that always has the latest picture, complete."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, picture: Image.Image, index: int, name: str) -> str:  # noqa: ARG002 - see Canvas
        write_bytes(self._path, _jpeg(picture))
        return str(self._path)

    def close(self) -> None:
        pass


class _Pictures:
    """A file for each frame; of a folder's images, a.jpg is a.jpg and b.png is b.png.jpg."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder, self._stem = folder, stem

    def add(self, picture: Image.Image, index: int, name: str) -> str:
        file = name or f"{self._stem}-{index:06d}.jpg"
        path = self._folder / (file if file.endswith(".jpg") else f"{file}.jpg")
        write_bytes(path, _jpeg(picture))
        return str(path)

    def close(self) -> None:
        pass


class _Film:
    """A video, of a camera or stream in real time: a picture is shown until the next one comes.

    When the size of the pictures changes, another file begins.
    """

    def __init__(self, folder: Path, stem: str, feed: Feed) -> None:
        self._folder, self._stem, self._feed = folder, stem, feed
        self._writer: Any = None
        self._number, self._size = 0, (0, 0)
        self._path = self._part = folder
        self._fps, self._due_s = _FPS, 0.0
        self._last: np.ndarray | None = None

    def add(self, picture: Image.Image, index: int, name: str) -> str:  # noqa: ARG002 - see Canvas
        if self._writer is not None and picture.size != self._size:
            self.close()
        now_s = time.monotonic()
        if self._writer is None:
            self._open(picture.size)
            self._due_s = now_s
        self._due_s = max(self._due_s, now_s - _LONGEST_STILL_S)
        frame = np.ascontiguousarray(np.asarray(picture)[..., ::-1])
        if not self._feed.skips:  # each frame once
            self._writer.write(frame)
        while self._feed.skips and self._due_s <= now_s:
            # The picture of this moment is the last one before it.
            is_new = self._last is None or self._due_s + 1 / self._fps > now_s
            self._writer.write(frame if is_new else self._last)
            self._due_s += 1 / self._fps
        self._last = frame
        return str(self._path)

    def close(self) -> None:
        if self._writer is None:
            return
        self._writer.release()
        self._writer, self._last = None, None
        try:
            self._part.replace(self._path)
        except OSError as error:
            raise OutputError(
                f"cannot write the video: {error.strerror}", where=str(self._path)
            ) from error

    def _open(self, size: tuple[int, int]) -> None:
        cv2 = require("cv2", extra="video", purpose="write a video")
        self._number += 1
        stem = self._stem if self._number == 1 else f"{self._stem}-{self._number}"
        self._path = self._folder / f"{stem}.mp4"
        self._part = self._path.with_name(f".{stem}.part.mp4")
        self._fps, self._size = min(self._feed.fps or _FPS, 60.0), size
        code = cv2.VideoWriter_fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._part), code, self._fps, size)
        if not self._writer.isOpened():
            raise OutputError(
                "cannot write the video",
                where=str(self._path),
                fix="name a folder that can be written to (-o)",
            )


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()
