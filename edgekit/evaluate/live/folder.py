# SPDX-License-Identifier: Apache-2.0
"""A folder whose images are run as they appear, each when it is complete.

The folder is listed again and again: this works for disks, network shares and containers alike,
which inotify does not.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Tuple

from edgekit.data.image_files import is_image
from edgekit.data.images import MOST_IMAGE_BYTES, open_image
from edgekit.errors import InputError
from edgekit.evaluate.inputs import Item
from edgekit.evaluate.live.feed import SourceLostError
from edgekit.files import read_bytes
from edgekit.formats.damage import IMAGE_DAMAGE

if TYPE_CHECKING:
    import threading

_POLL_S = 0.2
_Stamp = Tuple[int, int, int]  # size, time of the last change, number of the file


class Folder:
    """The images of a folder, oldest first; sub-folders are left out."""

    skips = False
    is_moving = False
    fps = 0.0

    def __init__(self, path: Path, stall_s: float) -> None:
        """Take the folder.

        Args:
            path: The folder.
            stall_s: How long an image that cannot be read must stay unchanged to be given up.
        """
        self.name, self.stem, self._path = str(path), path.name, path
        self._stall_s = stall_s
        self._done: dict[str, _Stamp] = {}
        self._waiting: dict[str, tuple[_Stamp, float]] = {}

    def frames(self, stop: threading.Event) -> Iterator[Item]:
        """Yield the images that are there, and then each new or changed one; see `Feed`."""
        while not stop.is_set():
            found = self._listed()
            self._done = {name: self._done[name] for name in self._done if name in found}
            self._waiting = {name: self._waiting[name] for name in self._waiting if name in found}
            for name in sorted(found, key=lambda each: (found[each][1], each)):
                if stop.is_set():
                    return
                if self._done.get(name) == found[name]:
                    continue
                item = self._complete(name, found[name])
                if item is not None:
                    self._done[name] = found[name]
                    self._waiting.pop(name, None)
                    yield item
            stop.wait(_POLL_S)

    def _listed(self) -> dict[str, _Stamp]:
        found = {}
        try:
            entries = sorted(self._path.iterdir())
        except OSError as error:
            raise SourceLostError(
                f"cannot list the folder: {error.strerror}", where=self.name
            ) from error
        for entry in entries:
            try:
                if is_image(entry):
                    status = entry.stat()
                    found[entry.name] = (status.st_size, status.st_mtime_ns, status.st_ino)
            except OSError:  # noqa: PERF203 - it was removed meanwhile
                continue
        return found

    def _complete(self, name: str, stamp: _Stamp) -> Item | None:
        """Return an image that has not changed since the last look and can be read whole.

        One that cannot be read is returned too when it has not changed for ``stall_s``.
        """
        path, now = self._path / name, time.monotonic()
        before, since = self._waiting.get(name, (None, now))
        if before != stamp:
            self._waiting[name] = (stamp, now)
            return None
        try:
            content = read_bytes(path, "image", MOST_IMAGE_BYTES)
        except InputError:  # it was removed, or may not be read (yet)
            return Item(str(path), path) if now - since > self._stall_s else None
        if not _is_whole(content) and now - since <= self._stall_s:
            return None
        return Item(str(path), path, content=content)


def _is_whole(content: bytes) -> bool:
    try:
        with open_image(content) as image:
            image.load()
    except IMAGE_DAMAGE:
        return False
    return True
