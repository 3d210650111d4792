# SPDX-License-Identifier: Apache-2.0
"""The options of live sources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import UsageError
from edgekit.evaluate.gallery import require_folder_name

if TYPE_CHECKING:
    from edgekit.files import PathLike

DRAWN = ("video", "pictures", "latest")
# Names as ffmpeg's -pix_fmt has them -> channels.
PIXEL_FORMATS = {"rgb24": 3, "bgr24": 3, "gray": 1}
_RAW = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})(?::([a-z0-9]+))?")


@dataclass(frozen=True)
class RawFrames:
    """The form of frames without headers: rows from the top, pixels interleaved, no padding."""

    width: int
    height: int
    pixel_format: str

    @property
    def num_bytes(self) -> int:
        """The size of one frame."""
        return self.width * self.height * PIXEL_FORMATS[self.pixel_format]


@dataclass(frozen=True)
class LiveOptions:
    """How live sources are read, and what is written."""

    watch: bool = False  # folders: run each image, then wait for new ones
    every_frame: bool | None = None  # False skips frames while the model is busy; None by source
    max_frames: int | None = None  # stop after so many answers
    stall_s: float = 10.0  # without a frame for so long, a camera or address is lost
    give_up_s: float | None = None  # a lost one is tried for so long; None: for ever
    raw_frames: str | None = None  # WIDTHxHEIGHT[:rgb24|bgr24|gray] of standard input
    output: PathLike | None = None  # a folder for what is drawn
    draw: str | None = None  # one of DRAWN; None by source

    def check(self) -> None:
        """Check the values.

        Raises:
            UsageError: One of them is not possible.
        """
        if self.draw is not None and self.output is None:
            raise UsageError("--draw needs a folder", fix="add -o FOLDER")
        if self.draw not in (None, *DRAWN):
            raise UsageError(f"--draw is {self.draw}", fix=f"use one of {', '.join(DRAWN)}")
        require_folder_name(self.output)
        self.parse_raw()

    def parse_raw(self) -> RawFrames | None:
        """Return the form of raw frames; None if standard input contains images.

        Raises:
            UsageError: ``raw_frames`` is not understood.
        """
        if self.raw_frames is None:
            return None
        found = _RAW.fullmatch(self.raw_frames)
        kind = (found.group(3) or "rgb24") if found else ""
        if found is None or kind not in PIXEL_FORMATS:
            raise UsageError(
                f"--raw-frames {self.raw_frames} is not understood",
                fix="give WIDTHxHEIGHT and rgb24, bgr24 or gray: --raw-frames 640x480:rgb24",
            )
        return RawFrames(int(found.group(1)), int(found.group(2)), kind)
