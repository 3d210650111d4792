# SPDX-License-Identifier: Apache-2.0
"""Standard input is cut into images and frames, as ffmpeg and cameras write them."""

from __future__ import annotations

import io
import os
import threading
from typing import Iterator

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import UsageError
from edgekit.evaluate.inputs import Item
from edgekit.evaluate.live.options import LiveOptions
from edgekit.evaluate.live.pipe import Pipe

_RANDOM = np.random.default_rng(5)


def _encoded(kind: str, side: int = 40, **options: object) -> bytes:
    stream = io.BytesIO()
    pixels = _RANDOM.integers(0, 256, (side, side + 3, 3), np.uint8)
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def _read(content: bytes, raw: str | None = None, step: int = 0) -> list[Item]:
    """Return what a pipe yields into which ``content`` is written, ``step`` bytes at a time."""
    reader, writer = os.pipe()

    def write() -> None:
        with open(writer, "wb", buffering=0) as stream:  # noqa: PTH123 - a number
            size = step or max(1, len(content))
            for start in range(0, len(content), size):
                rest = content[start : start + size]
                while rest:
                    rest = rest[stream.write(rest) :]

    thread = threading.Thread(target=write)
    thread.start()
    try:
        return list(Pipe(reader, LiveOptions(raw_frames=raw).parse_raw()).frames(threading.Event()))
    finally:
        os.close(reader)
        thread.join()


def _contents(items: list[Item]) -> list[bytes | None]:
    return [each.content for each in items]


def _images() -> Iterator[list[bytes]]:
    yield [_encoded("JPEG"), _encoded("JPEG", progressive=True), _encoded("JPEG", quality=100)]
    yield [_encoded("PNG"), _encoded("PNG", side=7)]
    yield [_encoded("PPM"), _encoded("PPM", side=3)]
    # Restart markers are inside the data, a thumbnail is an image inside the image.
    yield [_encoded("JPEG", restart_marker_blocks=1), _encoded("JPEG")]
    yield [_with_thumbnail(), _encoded("JPEG")]


def _with_thumbnail() -> bytes:
    plain, inner = _encoded("JPEG"), _encoded("JPEG", side=9)
    segment = b"Exif\x00\x00" + inner
    return plain[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + plain[2:]


@pytest.mark.parametrize("images", list(_images()))
@pytest.mark.parametrize("step", [0, 1, 1000])
def test_images_follow_each_other(images: list[bytes], step: int) -> None:
    assert _contents(_read(b"".join(images), step=step)) == images


def test_headers_between_images_are_left_out() -> None:
    images = [_encoded("JPEG"), _encoded("JPEG")]
    parts = [b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + each + b"\r\n" for each in images]
    assert _contents(_read(b"".join(parts))) == images


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "GIF", "TIFF"])
def test_an_image_of_another_format_is_alone(kind: str) -> None:
    content = _encoded(kind)
    assert _contents(_read(content)) == [content]


def test_a_cut_image_does_not_hide_the_next_one() -> None:
    whole = _encoded("JPEG")
    found = _contents(_read(whole[: len(whole) // 2] + whole + whole))
    assert found[-2:] == [whole, whole]
    assert len(found) == 3


def test_every_beginning_of_a_stream_ends() -> None:
    stream = _encoded("JPEG", side=9) + _encoded("PNG", side=5)
    for size in range(0, len(stream), 3):
        found = b"".join(each or b"" for each in _contents(_read(stream[:size])))
        assert stream.startswith(found)
        assert size - len(found) < 8  # a part of the second image's signature


def test_bytes_that_are_no_image_are_one_frame() -> None:
    assert _contents(_read(b"nothing of the kind")) == [b"nothing of the kind"]
    assert _read(b"") == []


@pytest.mark.parametrize(("form", "channels"), [("rgb24", 3), ("bgr24", 3), ("gray", 1)])
def test_raw_frames_have_their_size(form: str, channels: int) -> None:
    frames = _RANDOM.integers(0, 256, (2, 4, 6, channels), np.uint8)
    found = _read(frames.tobytes(), raw=f"6x4:{form}", step=7)
    order = [2, 1, 0] if form == "bgr24" else [0, 1, 2] if channels == 3 else [0, 0, 0]
    assert [each.array.tolist() for each in found if each.array is not None] == [
        each[..., order].tolist() for each in frames
    ]


def test_a_raw_frame_that_is_cut_is_not_an_image() -> None:
    found = _read(bytes(6 * 4 * 3 + 5), raw="6x4")
    assert [each.array is None for each in found] == [False, True]
    assert found[1].content == bytes(5)


@pytest.mark.parametrize("form", ["", "6", "0x4", "6x4:", "6x4:yuv420p", "-1x4", "6x4:rgb24:"])
def test_other_forms_of_raw_frames_are_refused(form: str) -> None:
    with pytest.raises(UsageError, match="raw-frames"):
        LiveOptions(raw_frames=form).check()
