# SPDX-License-Identifier: Apache-2.0
"""Cameras (V4L2) and addresses (RTSP, HTTP), read with OpenCV."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from edgekit.evaluate.inputs import Item
from edgekit.evaluate.live.diagnose import why_not_an_address
from edgekit.evaluate.live.feed import SourceLostError
from edgekit.extras import require

if TYPE_CHECKING:
    import threading

_PURPOSE = "read a camera or a stream"
_NEARLY = 0.9  # OpenCV's clock is not this one
_ENDING_FRAMES = 2  # a file's count of frames may be a little too high


def check_library() -> None:
    """Load OpenCV, without messages of its own on stderr.

    Raises:
        MissingExtraError: It is not installed.
    """
    # Its variables, read when it is loaded or opens a stream: edgekit reports what fails.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2 = require("cv2", extra="video", purpose=_PURPOSE)
    if hasattr(cv2, "setLogLevel"):  # it may have been loaded before
        cv2.setLogLevel(0)


class Camera:
    """A camera of this computer, by its device file."""

    skips = True
    is_moving = True
    fps = 0.0

    def __init__(self, path: str) -> None:
        """Take the camera ``path``, such as ``/dev/video0``."""
        self.name, self.stem = path, Path(path).name

    def frames(self, stop: threading.Event) -> Iterator[Item]:
        """Yield the camera's frames; see `Feed`."""
        cv2 = require("cv2", extra="video", purpose=_PURPOSE)
        self._check_device()
        video = cv2.VideoCapture(self.name, cv2.CAP_V4L2)
        try:
            if not video.isOpened():
                raise SourceLostError(
                    "cannot read the camera",
                    where=self.name,
                    why="another program uses it, or it gives no pictures",
                    fix=f"v4l2-ctl --device {self.name} --all",
                )
            self.fps = _fps(cv2, video)
            yield from _pictures(video, self.name, stop)
        finally:
            video.release()
        if not stop.is_set():
            raise SourceLostError("the camera gives no more frames", where=self.name)

    def _check_device(self) -> None:
        if not Path(self.name).exists():
            others = ", ".join(map(str, sorted(Path("/dev").glob("video*"))))
            raise SourceLostError(
                "there is no such camera",
                where=self.name,
                why=f"there are {others}" if others else "this computer has no /dev/video*",
                fix="plug it in, or name another one",
            )
        if not os.access(self.name, os.R_OK | os.W_OK):
            raise SourceLostError(
                "this user may not read the camera",
                where=self.name,
                fix="sudo usermod --append --groups video $USER, then log in again",
            )


class Address:
    """A stream or a video at an RTSP or HTTP address."""

    is_moving = True

    def __init__(self, address: str, name: str, stem: str, stall_s: float) -> None:
        """Take the address.

        Args:
            address: With user and password, if any.
            name: See `Feed`.
            stem: See `Feed`.
            stall_s: After so long without an answer or a frame it is lost.
        """
        self._address, self.name, self.stem, self._stall_s = address, name, stem, stall_s
        self.fps, self.skips = 0.0, True

    def frames(self, stop: threading.Event) -> Iterator[Item]:
        """Yield the stream's frames; see `Feed`. A video that states its length ends there."""
        cv2 = require("cv2", extra="video", purpose=_PURPOSE)
        video = self._opened(cv2)
        count, last_s = 0, time.monotonic()
        try:
            self.fps = _fps(cv2, video)
            length = max(0.0, video.get(cv2.CAP_PROP_FRAME_COUNT))
            self.skips = not length  # a video file waits for the model
            for count, item in enumerate(_pictures(video, self.name, stop), 1):  # noqa: B007 - used below
                yield item
                last_s = time.monotonic()  # the model may have taken long
        finally:
            video.release()
        if stop.is_set() or (length and count >= length - _ENDING_FRAMES):
            return
        what = "the stream ended"
        if time.monotonic() - last_s > self._stall_s * _NEARLY:
            what = f"the stream gave no frame for {self._stall_s:g} s"
        elif length:
            what = f"the video is cut: {count} of {length:.0f} frames came"
        raise SourceLostError(what, where=self.name)

    def _opened(self, cv2: Any) -> Any:  # noqa: ANN401 - OpenCV has no types
        video = cv2.VideoCapture()
        parameters = []
        for name in ("CAP_PROP_OPEN_TIMEOUT_MSEC", "CAP_PROP_READ_TIMEOUT_MSEC"):
            if hasattr(cv2, name):  # OpenCV 4.5.2; older ones wait for 30 s
                parameters += [getattr(cv2, name), int(self._stall_s * 1000)]
        given = (parameters,) if parameters else ()
        if not video.open(self._address, cv2.CAP_FFMPEG, *given):
            video.release()
            raise SourceLostError(
                "cannot read a stream at the address",
                where=self.name,
                why=why_not_an_address(self._address, self._stall_s),
                fix="ffplay ADDRESS shows whether another program can read it",
            )
        return video


def _pictures(video: Any, name: str, stop: threading.Event) -> Iterator[Item]:  # noqa: ANN401 - OpenCV has no types
    while not stop.is_set():
        is_read, frame = video.read()
        if not is_read:
            return
        pixels = frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)
        yield Item(name, array=np.ascontiguousarray(pixels[..., ::-1]), is_frame=True)


def _fps(cv2: Any, video: Any) -> float:  # noqa: ANN401 - OpenCV has no types
    fps = float(video.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps <= 240 else 0.0
