# SPDX-License-Identifier: Apache-2.0
"""Standard input: images one after the other (an MJPEG stream), or raw frames."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Iterator, Pattern

import numpy as np

from edgekit.data.images import MOST_IMAGE_BYTES
from edgekit.evaluate.inputs import Item
from edgekit.evaluate.live.options import PIXEL_FORMATS

if TYPE_CHECKING:
    import threading

    from edgekit.evaluate.live.options import RawFrames

_CHUNK_BYTES = 1 << 16
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_BEGINNING = re.compile(re.escape(_JPEG) + b"|" + re.escape(_PNG))
# In entropy-coded data, FF 00 is a byte and FF D0 to D7 are restarts (T.81, B.1.1.5 and B.2.1).
_MARKER = re.compile(b"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # JPEG's markers without a length (T.81, B.1.1.3)
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_PNM_BYTES = {b"P5": 1, b"P6": 3}  # a pixel of 8 bits
_LONGEST_HEADER = 4096


class Pipe:
    """Images or frames that another program writes into standard input.

    JPEG, PNG, PGM and PPM images follow each other, also with other bytes between them, such as
    the headers of ``multipart/x-mixed-replace``. Any other image must be the only one.
    """

    name, stem = "-", "stdin"
    skips = False
    fps = 0.0

    def __init__(self, number: int, raw: RawFrames | None = None) -> None:
        """Take the pipe.

        Args:
            number: Its file descriptor.
            raw: The form of the frames; None: images.
        """
        self._bytes, self._raw = _Bytes(number), raw
        self.is_moving = raw is not None

    def frames(self, stop: threading.Event) -> Iterator[Item]:
        """Yield the frames; see `Feed`."""
        found = self._images() if self._raw is None else self._frames(self._raw)
        for item in found:
            if stop.is_set():
                return
            yield item

    def _frames(self, raw: RawFrames) -> Iterator[Item]:
        while self._bytes.has(1):
            if not self._bytes.has(raw.num_bytes):
                # Not an image: counted and named as a frame that cannot be read.
                yield Item("-", content=self._bytes.take(raw.num_bytes))
                return
            flat = np.frombuffer(self._bytes.take(raw.num_bytes), np.uint8)
            pixels = flat.reshape(raw.height, raw.width, PIXEL_FORMATS[raw.pixel_format])
            if raw.pixel_format == "bgr24":
                pixels = pixels[..., ::-1]
            yield Item("-", array=_as_rgb(pixels), is_frame=True)

    def _images(self) -> Iterator[Item]:
        data, count = self._bytes, 0
        while data.has(1):
            size = self._next_size()
            if size:
                count += 1
                yield Item("-", content=data.take(size))
            elif not count or len(data) > MOST_IMAGE_BYTES:
                # An image of another format, or nothing that can be read.
                yield Item("-", content=data.take(len(data)))
            else:
                data.take(len(data))

    def _next_size(self) -> int:
        """Move to the next image and return its size in bytes; 0 if there is none.

        Without one, all bytes stay.
        """
        data = self._bytes
        if data.has(2) and data.peek(2) in _PNM_BYTES:
            size = _pnm_size(data)
            if size:
                return size
        start = data.search(_BEGINNING)
        if start < 0:
            return 0
        data.take(start)
        return _png_size(data) if data.peek(1) == _PNG[:1] else _jpeg_size(data)


class _Bytes:
    """What a pipe gave and was not taken yet: at most one image and a chunk."""

    def __init__(self, number: int) -> None:
        self._number, self._data, self._is_open = number, bytearray(), True

    def __len__(self) -> int:
        return len(self._data)

    def has(self, count: int) -> bool:
        """Read until there are ``count`` bytes; return False at the end of the pipe."""
        while len(self._data) < count and self._is_open:
            part = os.read(self._number, _CHUNK_BYTES)
            self._is_open = bool(part)
            self._data += part
        return len(self._data) >= count

    def peek(self, count: int, start: int = 0) -> bytes:
        return bytes(self._data[start : start + count])

    def take(self, count: int) -> bytes:
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    def search(self, pattern: Pattern[bytes], start: int = 0) -> int:
        """Return where ``pattern`` begins; -1 at the end of the pipe, or after too many bytes."""
        while True:
            found = pattern.search(self._data, start)
            if found is not None:
                return found.start()
            if len(self._data) > MOST_IMAGE_BYTES or not self.has(len(self._data) + 1):
                return -1
            start = max(start, len(self._data) - _CHUNK_BYTES - len(_PNG))


def _jpeg_size(data: _Bytes) -> int:
    """Return the size of the JPEG image at the start; a damaged one ends where the next one begins.

    Source:
        ITU-T T.81, B.1: markers, segments with a length, entropy-coded data.
    """
    place = 2
    while place <= MOST_IMAGE_BYTES and data.has(place + 2):
        first, marker = data.peek(2, place)
        if first != _JPEG[0] or marker == _START:
            break
        if marker == _END:
            return place + 2
        if marker in _ALONE or marker == _JPEG[0]:
            place += 1 if marker == _JPEG[0] else 2
        elif not data.has(place + 4):
            break
        else:
            place += 2 + int.from_bytes(data.peek(2, place + 2), "big")
            if marker == _SCAN:
                found = data.search(_MARKER, place)
                place = len(data) if found < 0 else found
    following = data.search(_BEGINNING, 2)
    return min(len(data), MOST_IMAGE_BYTES) if following < 0 else following


def _png_size(data: _Bytes) -> int:
    """Return the size of the PNG image at the start (PNG specification, 5.3: chunks)."""
    place = len(_PNG)
    while place <= MOST_IMAGE_BYTES and data.has(place + 8):
        length, kind = int.from_bytes(data.peek(4, place), "big"), data.peek(4, place + 4)
        place += 12 + length
        if kind == b"IEND":
            return place if data.has(place) else len(data)
    return min(len(data), MOST_IMAGE_BYTES)


def _pnm_size(data: _Bytes) -> int:
    """Return the size of the PGM or PPM image at the start; 0 if it has another form."""
    fields: list[int] = []
    place = 2
    while len(fields) < 3:
        word = b""
        while data.has(place + 1) and place < _LONGEST_HEADER:
            byte = data.peek(1, place)
            place += 1
            if byte == b"#" and not word:
                while data.has(place + 1) and data.peek(1, place) != b"\n":
                    place += 1
            elif byte.isspace():
                if word:
                    break
            else:
                word += byte
        if not word.isdigit():
            return 0
        fields.append(int(word))
    width, height, most = fields
    size = place + width * height * _PNM_BYTES[data.peek(2)] * (1 if most < 256 else 2)
    return size if size <= MOST_IMAGE_BYTES and data.has(size) else 0


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
