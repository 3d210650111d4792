# SPDX-License-Identifier: Apache-2.0
"""Boxes and key points are at the right place in the photo, with every kind of resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data import parse_preprocess
from edgekit.data.describe import describe
from edgekit.evaluate import run
from edgekit.formats.tflite import read_model
from edgekit.formats.tflite_metadata import ModelMetadata, write_metadata

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Callable, Sequence

    from edgekit.evaluate import RunResult

    Make = Callable[..., bytes]

_SIDE = 128
_PHOTO = (640, 480)  # width, height
_BOX = np.array([[200, 120], [300, 220]])
_POINTS = np.array([[230, 150], [270, 150], [250, 170], [250, 195], [205, 160], [295, 160]])
# A photo of 640 x 480 in 128 x 128: pixels of the input for one of the photo, and where its left
# upper corner comes to lie. 640 / 5 is 128, 480 / 5 is 96; of 480 * 4 / 15 = 128 the width is
# 170 2/3, of which 21 1/3 are cut off on either side.
_PLACES = {
    "letterbox": (1 / 5, (0, 16)),
    "letterbox,fill=0": (1 / 5, (0, 16)),
    "pad": (1 / 5, (0, 0)),
    "crop": (4 / 15, (-64 / 3, 0)),
    "stretch": ((1 / 5, 4 / 15), (0, 0)),
}


_NEAR = (-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1)  # of a line that is two pixels wide, enlarged


@pytest.fixture
def make_detector(make_constant: Make) -> Make:
    """MediaPipe's short range face detector; one of its anchors finds one face."""

    def make(box: np.ndarray, points: np.ndarray) -> bytes:
        """``box`` (2 corners) and ``points`` in pixels of the input."""
        centre = box.mean(axis=0)
        column, row = (centre // 8).astype(int)
        index = 2 * (row * 16 + column)  # two anchors at each place of the grid
        anchor = np.array([(column + 0.5) * 8, (row + 0.5) * 8])
        regressors, logits = np.zeros((1, 896, 16)), np.full((1, 896, 1), -20.0)
        pairs = [centre - anchor, box[1] - box[0], *(points - anchor)]
        regressors[0, index], logits[0, index] = np.concatenate(pairs), 3
        return make_constant((1, _SIDE, _SIDE, 3), [regressors, logits])

    return make


def _only_face(result: RunResult) -> Any:  # noqa: ANN401
    (answer,) = result.answers
    (face,) = answer.objects
    return face


@pytest.mark.parametrize("resize", sorted(_PLACES))
def test_the_box_of_a_face_is_mapped_back_to_the_photo(
    make_detector: Make, tmp_path: Path, resize: str
) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", _PHOTO).save(str(path))
    scale, offset = _PLACES[resize]
    model = make_detector(*(each * scale + np.array(offset) for each in (_BOX, _POINTS)))
    face = _only_face(run(model, [path], preprocess=f"unit,resize={resize}"))
    np.testing.assert_allclose(face.box_xyxy_px, _BOX.ravel(), atol=1e-3)
    np.testing.assert_allclose([(p.x_px, p.y_px) for p in face.keypoints], _POINTS, atol=1e-3)


def _colour_at(picture: Image.Image, xy: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """Return the colour at ``xy`` of a picture of an image of ``size``, perhaps enlarged."""
    factor = picture.width // size[0]
    assert picture.size == (size[0] * factor, size[1] * factor)
    return np.array(picture.convert("RGB").getpixel((int(xy[0] * factor), int(xy[1] * factor))))


@pytest.mark.parametrize(
    ("exif", "size", "red_xy"),
    [("apply", (96, 128), (90, 6)), ("ignore", (128, 96), (6, 6))],
)
@pytest.mark.parametrize(("form", "suffix"), [("JPEG", "jpg"), ("WEBP", "webp"), ("TIFF", "tif")])
def test_a_photo_that_is_stored_sideways_is_drawn_with_its_box(
    make_detector: Make,
    tmp_path: Path,
    exif: str,
    size: tuple[int, int],
    red_xy: tuple[int, int],
    form: str,
    suffix: str,
) -> None:
    """Orientation 6: the upper left corner is the upper right one of the upright photo."""
    stored = np.full((96, 128, 3), 60, np.uint8)
    stored[:16, :16] = (255, 0, 0)
    tags = Image.Exif()
    tags[0x0112] = 6
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(stored).save(str(path), form, exif=tags, quality=95)
    left, top, right, bottom = box = (20, 40, 60, 80)
    scale = np.array([_SIDE / size[0], _SIDE / size[1]])
    corners = np.array(box).reshape(2, 2) * scale
    model = make_detector(corners, np.repeat(corners.mean(axis=0)[None], 6, axis=0))
    result = run(model, [path], preprocess=f"unit,exif={exif}", output=tmp_path / "drawn")
    assert _only_face(result).box_xyxy_px == pytest.approx(box, abs=1e-3)
    with Image.open(str(result.answers[0].picture)) as picture:
        red = _colour_at(picture, red_xy, size)
        assert red[0] > 200
        assert red[1:].max() < 60
        x, y = (left + right) / 2, (top + bottom) / 2
        lines = [[(left + k, y + 10) for k in _NEAR], [(right + k, y) for k in _NEAR]]
        lines.append([(x, bottom + k) for k in _NEAR])
        for near in lines:
            changes = [np.abs(_colour_at(picture, xy, size) - 60).max() for xy in near]
            assert max(changes) > 60
        for beside in ((left - 8, y + 10), (right + 8, y), (x, bottom + 8), (x, y + 12)):
            assert np.abs(_colour_at(picture, beside, size) - 60).max() < 12


def test_mediapipes_detectors_get_the_letterbox_of_mediapipe(
    make_detector: Make, make_constant: Make, tmp_path: Path
) -> None:
    """Faces: -1..1; palms (seven key points): 0..1; a normalization in the file has priority."""
    path = tmp_path / "photo.png"
    Image.new("RGB", _PHOTO).save(str(path))
    scale, offset = _PLACES["letterbox"]
    model = make_detector(*(each * scale + np.array(offset) for each in (_BOX, _POINTS)))
    result = run(model, [path])
    form = "resize=letterbox,filter=tf-bilinear,colour=rgb,fill=0"
    assert result.preprocess == f"tf,{form}"
    np.testing.assert_allclose(_only_face(result).box_xyxy_px, _BOX.ravel(), atol=1e-3)
    parsed = read_model(model)
    known = ModelMetadata(files={})
    how = parse_preprocess("mean=120,std=60")
    wanted = describe(parsed, known, name="m", labels=(), how=how, licence="")
    assert run(write_metadata(model, wanted, ""), [path]).preprocess == f"mean=120,std=60,{form}"
    assert run(write_metadata(model, wanted, "raw,resize=pad"), [path]).preprocess.startswith(
        "raw,resize=pad"
    )
    palms = make_constant((1, 192, 192, 3), [np.zeros((1, 2016, 18)), np.full((1, 2016, 1), -20.0)])
    assert run(palms, [path]).preprocess == f"unit,{form}"
