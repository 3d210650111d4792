# SPDX-License-Identifier: Apache-2.0
"""The place of an image in the input, and the mapping back to the image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgekit.data import Preprocess
from edgekit.data.fit_image import RESIZES
from edgekit.data.placement import place
from edgekit.data.preprocess import fit_default

_SIZE = st.integers(1, 2000)


@given(_SIZE, _SIZE, st.sampled_from(RESIZES), st.floats(0, 1), st.floats(0, 1))
def test_a_point_is_mapped_back_to_its_place(
    width: int, height: int, mode: str, x: float, y: float
) -> None:
    placement = place((width, height), (320, 192), mode)
    px = np.array([x * width, y * height])
    scale = np.array([placement.scale_x, placement.scale_y])
    offset = np.array([placement.offset_x, placement.offset_y])
    share = (px * scale + offset) / [320, 192]
    np.testing.assert_allclose(placement.to_image(share), px, atol=1e-6 * max(width, height))


@pytest.mark.parametrize("mode", RESIZES)
@pytest.mark.parametrize("size", [(640, 427), (427, 640), (320, 192)])
def test_a_marked_spot_in_the_pixels_is_mapped_back(mode: str, size: tuple[int, int]) -> None:
    """A white square in the middle: its centre in the input maps back to its centre."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    centre = (size[0] // 2 + 20, size[1] // 2 - 10)
    image[centre[1] - 8 : centre[1] + 8, centre[0] - 8 : centre[0] + 8] = 255
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    pixels, placement = Preprocess(resize=mode).place_pixels(stream.getvalue(), (192, 320, 3))
    rows, columns = np.nonzero(pixels[..., 0] > 140)
    share = np.array([(columns.mean() + 0.5) / 320, (rows.mean() + 0.5) / 192])
    np.testing.assert_allclose(placement.to_image(share), centre, atol=2)


def test_pad_is_black_on_the_right_and_letterbox_grey_on_both_sides() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (50, 100), (255, 255, 255)).save(stream, "PNG")
    padded = Preprocess(resize="pad").pixels(stream.getvalue(), (64, 64, 3))
    boxed = Preprocess(resize="letterbox").pixels(stream.getvalue(), (64, 64, 3))
    assert padded[30, :, 0].tolist() == [255] * 32 + [0] * 32
    assert boxed[30, :, 0].tolist() == [114] * 16 + [255] * 32 + [114] * 16


@pytest.mark.parametrize(("rows", "filled"), [(929, 127), (930, 128), (427, 128)])
def test_pad_rounds_down_as_pycorals_set_resized_input(rows: int, filled: int) -> None:
    stream = io.BytesIO()
    Image.new("L", (rows // 2, rows), 255).save(stream, "PNG")
    padded = Preprocess(resize="pad").pixels(stream.getvalue(), (128, 128, 1))
    assert int(rows * (128 / rows)) == filled
    assert np.count_nonzero(padded[:, 0, 0]) == filled


@pytest.mark.parametrize(
    ("rows", "filled", "top"), [(426, 106, 27), (430, 108, 26), (427, 107, 26), (640, 160, 0)]
)
def test_letterbox_rounds_halves_to_even_as_ultralytics(rows: int, filled: int, top: int) -> None:
    """426 rows at a quarter are 106.5."""
    stream = io.BytesIO()
    Image.new("L", (640, rows), 255).save(stream, "PNG")
    pixels, placement = Preprocess(resize="letterbox").place_pixels(
        stream.getvalue(), (160, 160, 1)
    )
    assert np.count_nonzero(pixels[:, 0, 0] == 255) == placement.inner_height == filled
    assert np.argmax(pixels[:, 0, 0] == 255) == placement.offset_y == top


@pytest.mark.parametrize(
    ("real_range", "dtype", "wanted"),
    [
        ((0.0, 1.0), "uint8", "unit"),
        ((-1.0, 127 / 128), "uint8", "mean=128,std=128"),
        ((-0.9961, 1.0039), "uint8", "tf"),
        ((0.0, 255.0), "uint8", "raw"),
        (None, "uint8", "raw"),
        (None, "float32", "unit"),
        ((-2.1, 2.6), "int8", "unit"),
    ],
)
def test_the_default_scale_is_the_one_that_fills_the_input(
    real_range: tuple[float, float] | None, dtype: str, wanted: str
) -> None:
    how = fit_default(Preprocess(is_default=True), real_range, dtype)
    assert str(how).startswith(wanted + ",")
    named = Preprocess("raw")
    assert fit_default(named, real_range, dtype) is named
