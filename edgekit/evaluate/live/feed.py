# SPDX-License-Identifier: Apache-2.0
"""What all live sources have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

from typing_extensions import Protocol

from edgekit.errors import DataError

if TYPE_CHECKING:
    import threading

    from edgekit.evaluate.inputs import Item


class SourceLostError(DataError):
    """A live source cannot be opened, or gives no more frames; it may come back."""


class Feed(Protocol):
    """A live source, read by one thread.

    Attributes:
        name: As the user gave it, without a password.
        stem: The name of files about it, without a suffix.
        skips: Whether old frames are dropped when newer ones come.
        is_moving: Whether its frames are those of one moving picture, to be drawn as a video.
        fps: Its frames in a second; 0 if it is not known.
    """

    name: str
    stem: str
    skips: bool
    is_moving: bool
    fps: float

    def frames(self, stop: threading.Event) -> Iterator[Item]:
        """Open the source, yield its frames, and return at its end or soon after ``stop`` is set.

        Raises:
            SourceLostError: It cannot be opened, or it is lost.
        """
