# SPDX-License-Identifier: Apache-2.0
"""Each filter of --preprocess differs from its original by at most one step of 255."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable

import numpy as np
import PIL
import pytest
from PIL import Image, ImageOps

from edgekit.data import Preprocess, parse_preprocess
from edgekit.data.fit_image import PILLOW_FILTERS, fit_image
from edgekit.data.resample import RESAMPLERS, resample
from edgekit.errors import DataError, UsageError

# Smaller, larger, odd, one axis of each, one axis unchanged.
_SIZES = [(7, 5), (16, 11), (40, 61), (23, 97), (29, 20), (15, 37)]


def _photo(width: int = 29, height: int = 37, channels: int = 3) -> np.ndarray:
    """Smooth areas, edges and noise."""
    random = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    wave = 127 + 90 * np.sin(x / 4) * np.cos(y / 5)
    noise = random.integers(-30, 31, (height, width, channels))
    pixels = wave[..., None] + noise + 100 * ((x > 17) & (y < 12))[..., None]
    photo: np.ndarray = np.clip(pixels, 0, 255).astype(np.uint8)
    return photo


def _by_definition(
    pixels: np.ndarray, size: tuple[int, int], weight: Callable[[float, int, float, int], float]
) -> np.ndarray:
    """Sum over all input pixels, one output pixel at a time, in float64.

    ``weight(output index, input index, scale, number of inputs)`` is along one axis.
    """
    height, width = pixels.shape[:2]
    across = [[weight(o, i, width / size[0], width) for i in range(width)] for o in range(size[0])]
    down = [[weight(o, i, height / size[1], height) for i in range(height)] for o in range(size[1])]
    summed: np.ndarray = np.einsum(
        "oi,ijc,pj->opc", np.array(down), pixels.astype(float), np.array(across)
    )
    return summed.clip(0, 255)


def _linear(out: float, i: int, scale: float, count: int) -> float:
    centre = min(max((out + 0.5) * scale - 0.5, 0), count - 1)
    return max(0.0, 1 - abs(centre - i))


def _cubic_kernel(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def _cubic(out: float, i: int, scale: float, count: int) -> float:
    centre = (out + 0.5) * scale - 0.5
    return _cubic_kernel(centre - i) / sum(_cubic_kernel(centre - e) for e in range(count))


def _area(out: float, i: int, scale: float, count: int) -> float:
    del count
    return max(0.0, min(i + 1, (out + 1) * scale) - max(i, out * scale)) / scale


@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize(
    ("name", "weight"), [("tf-bilinear", _linear), ("tf-bicubic", _cubic), ("tf-area", _area)]
)
def test_each_filter_is_the_sum_that_defines_it(
    name: str, weight: Callable[[float, int, float, int], float], size: tuple[int, int]
) -> None:
    pixels = _photo()
    difference = np.abs(resample(pixels, size, name) - _by_definition(pixels, size, weight))
    assert difference.max() <= 1
    assert (difference <= 0.51).mean() > 0.95  # nearly all are the sum itself, rounded


@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_photo_is_resized_although_few_of_its_pixels_are_read(channels: int) -> None:
    pixels = _photo(400, 300, channels)
    expected = _by_definition(pixels, (9, 8), _linear)
    assert np.abs(resample(pixels, (9, 8), "tf-bilinear") - expected).max() <= 1


@pytest.mark.parametrize("name", RESAMPLERS)
def test_a_part_is_resized_like_a_whole_image_of_its_pixels(name: str) -> None:
    pixels = _photo()
    inner = np.ascontiguousarray(pixels[8:31, 5:25])
    part = resample(pixels, (40, 46), name, (5, 8, 20, 23))
    # Beyond the edge of the part are pixels of the image, but none beyond the whole image.
    apart = part.astype(int) - resample(inner, (40, 46), name)
    assert np.abs(apart[6:-6, 6:-6]).max() <= 1


@pytest.mark.parametrize("name", RESAMPLERS)
def test_an_image_of_the_right_size_is_not_changed(name: str) -> None:
    pixels = _photo()
    assert np.array_equal(resample(pixels, (29, 37), name), pixels)


def test_opencvs_area_interpolates_between_two_pixels_if_one_side_grows() -> None:
    """6 columns become 34: column 17 begins at 3, which another order of divisions misses."""
    row = np.array([0, 97, 194, 35, 132, 229], np.uint8)
    actual = resample(row[None, :, None].repeat(2, 0), (34, 1), "cv2-area")
    runs = [(0, 5), (32, 1), (97, 5), (162, 1), (194, 6), (35, 4), (67, 1), (132, 5), (197, 1)]
    # The result of cv2.resize of OpenCV 5.0.
    expected = [value for value, count in (*runs, (229, 5)) for _ in range(count)]
    assert np.abs(actual.ravel().astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", PILLOW_FILTERS)
def test_pillows_filters_are_pillows(name: str) -> None:
    image = Image.fromarray(_photo())
    stretched = fit_image(image, (13, 11), "stretch", name, None)
    assert np.array_equal(stretched, np.asarray(image.resize((13, 11), PILLOW_FILTERS[name])))
    cut = fit_image(image, (13, 11), "crop", name, None)
    expected = ImageOps.fit(image, (13, 11), PILLOW_FILTERS[name])
    assert np.array_equal(cut, np.asarray(expected))


@pytest.mark.parametrize(
    ("size", "are_columns_first"),
    [
        ((40, 20), True),  # wider and lower
        ((25, 28), True),  # 4 columns less, 9 rows less
        ((24, 28), False),  # of 5 columns less, twice as many are not below 9
        ((20, 50), False),
        ((40, 50), False),
    ],
)
def test_torchs_filters_of_images_order_the_passes_as_pillow_13(
    size: tuple[int, int], *, are_columns_first: bool
) -> None:
    """The same with every version of Pillow; a single axis is one pass in each version."""
    image = Image.fromarray(
        np.where(_photo() > 130, 255, 0).astype(np.uint8)
    )  # many values to clip
    middle = (image.width, size[1]) if are_columns_first else (size[0], image.height)
    number = PILLOW_FILTERS["bicubic"]
    expected = np.asarray(image.resize(middle, number).resize(size, number))
    assert np.array_equal(fit_image(image, size, "stretch", "torch-bicubic", None), expected)
    if int(PIL.__version__.split(".")[0]) >= 13:
        assert np.array_equal(expected, np.asarray(image.resize(size, number)))


def test_a_letterbox_may_be_black() -> None:
    image = Image.new("RGB", (50, 100), (255, 255, 255))
    pixels = fit_image(image, (64, 64), "letterbox", "tf-bilinear", 0)
    assert pixels[30, :, 0].tolist() == [0] * 16 + [255] * 32 + [0] * 16


def _preprocessed(pixels: np.ndarray, size: tuple[int, int], **how: Any) -> np.ndarray:  # noqa: ANN401
    return Preprocess(scale="raw", **how).array(pixels, (size[1], size[0], 3))


@pytest.mark.host
@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("method", ["bilinear", "nearest", "bicubic", "area"])
def test_tensorflows_filters_are_tensorflows(method: str, size: tuple[int, int]) -> None:
    import tensorflow as tf  # noqa: PLC0415

    pixels = _photo()
    expected = np.clip(tf.image.resize(pixels, size[::-1], method=method).numpy(), 0, 255)
    difference = np.abs(_preprocessed(pixels, size, filter=f"tf-{method}") - expected)
    assert difference.max() <= 1
    assert (difference <= 0.51).mean() > 0.95


@pytest.mark.host
@pytest.mark.parametrize("size", [(13, 31), (31, 13), (29, 30), (8, 8), (64, 48), (10, 37)])
@pytest.mark.parametrize("shape", [(37, 29), (28, 41), (30, 30)])
@pytest.mark.parametrize(
    ("mode", "option"),
    [("keras-crop", "crop_to_aspect_ratio"), ("keras-pad", "pad_to_aspect_ratio")],
)
def test_aspect_ratios_are_kept_as_keras_keeps_them(
    mode: str, option: str, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    import keras  # noqa: PLC0415

    pixels = _photo(shape[1], shape[0])
    layer = keras.layers.Resizing(size[1], size[0], "bilinear", **{option: True})
    expected = np.asarray(layer(pixels.astype(np.float32)))
    actual = _preprocessed(pixels, size, resize=mode)
    assert np.abs(actual - expected).max() <= 1


@pytest.mark.host
@pytest.mark.parametrize("size", [(13, 31), (31, 13), (29, 30), (8, 8), (64, 48), (10, 37)])
@pytest.mark.parametrize("shape", [(37, 29), (28, 41), (30, 30), (14, 90)])
def test_tf_pad_is_resize_with_pad(shape: tuple[int, int], size: tuple[int, int]) -> None:
    import tensorflow as tf  # noqa: PLC0415

    pixels = _photo(shape[1], shape[0])
    expected = tf.image.resize_with_pad(pixels, size[1], size[0]).numpy()
    assert np.abs(_preprocessed(pixels, size, resize="tf-pad") - expected).max() <= 1


@pytest.mark.host
@pytest.mark.parametrize(
    ("mode", "option"),
    [("keras-crop", "crop_to_aspect_ratio"), ("tf-pad", "pad_to_aspect_ratio")],
)
def test_a_folder_is_read_as_keras_reads_it(tmp_path: Path, mode: str, option: str) -> None:
    import keras  # noqa: PLC0415

    (tmp_path / "a").mkdir()
    photos = [_photo(*size) for size in ((29, 37), (41, 28), (30, 30), (97, 13))]
    for index, photo in enumerate(photos):
        Image.fromarray(photo).save(str(tmp_path / "a" / f"{index}.png"))
    data = keras.utils.image_dataset_from_directory(
        str(tmp_path), image_size=(17, 24), shuffle=False, verbose=False, **{option: True}
    )
    ((expected, _),) = list(data)
    for pixels, wanted in zip(photos, expected.numpy()):
        assert np.abs(_preprocessed(pixels, (24, 17), resize=mode) - wanted).max() <= 1


def _antialiased(kernel: Callable[[float], float]) -> Callable[[float, int, float, int], float]:
    def weight(out: float, i: int, scale: float, count: int) -> float:
        width = max(scale, 1)
        centre = (out + 0.5) * scale - 0.5
        return kernel((i - centre) / width) / sum(
            kernel((e - centre) / width) for e in range(count)
        )

    return weight


_KERNELS = {"bilinear": lambda x: max(0.0, 1 - abs(x)), "bicubic": _cubic_kernel}


@pytest.mark.parametrize("mode", sorted(_KERNELS))
@pytest.mark.parametrize("size", _SIZES)
def test_torchs_filters_of_tensors_are_the_sums_that_define_them(
    size: tuple[int, int], mode: str
) -> None:
    pixels, weight = _photo(), _antialiased(_KERNELS[mode])
    expected = _by_definition(pixels, size, weight)
    # Two taps a side are summed in whole numbers, which lose a few hundredths of a step.
    assert np.abs(resample(pixels, size, f"torch-tensor-{mode}") - expected).max() <= 0.6
    # Of bytes the columns come first, and are cut to whole steps of 0..255.
    inner = _by_definition(pixels, (size[0], 37), weight)
    expected = _by_definition(np.floor(inner + 0.5), size, weight)
    assert np.abs(resample(pixels, size, f"torch-v2-{mode}") - expected).max() <= 2


@pytest.mark.parametrize(
    ("size", "into", "shorter", "inner", "offset"),
    [
        ((500, 375), (224, 224), None, (341, 256), (58, 16)),  # of 117 halves to even: 58
        ((375, 500), (224, 224), 232, (232, 309), (4, 42)),  # 85 / 2 is 42.5
        ((100, 100), (224, 160), 200, (200, 200), (-12, 20)),  # bars of 12
    ],
)
def test_torch_crop_is_resize_and_centercrop(
    size: tuple[int, int],
    into: tuple[int, int],
    shorter: int | None,
    inner: tuple[int, int],
    offset: tuple[int, int],
) -> None:
    image = Image.fromarray(_photo(*size))
    resized = np.asarray(image.resize(inner, PILLOW_FILTERS["bilinear"]))
    left, top = offset
    expected = np.zeros((into[1], into[0], 3), np.uint8)
    part = resized[max(0, top) :, max(0, left) :][: into[1], : into[0]]
    expected[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]] = part
    words = "raw,resize=torch-crop" + (f",shorter={shorter}" if shorter else "")
    how = parse_preprocess(words)
    assert how.filter == "torch-bilinear"
    assert parse_preprocess(str(how)) == how
    assert np.array_equal(how.array(np.asarray(image), expected.shape), expected)
    placement = how.place(size, expected.shape)
    assert (placement.offset_x, placement.offset_y) == (-left, -top)


@pytest.mark.parametrize("words", ["shorter=256", "resize=torch-crop,shorter=0", "shorter=x"])
def test_shorter_is_a_number_of_pixels_of_torch_crop(words: str) -> None:
    with pytest.raises(UsageError):
        parse_preprocess(words)


def test_torch_crop_refuses_an_image_that_becomes_too_large() -> None:
    with pytest.raises(DataError, match="too narrow"):
        parse_preprocess("resize=torch-crop").place((1, 60000), (224, 224, 3))


def test_the_default_filter_is_that_of_keras() -> None:
    pixels = _photo()
    expected = _by_definition(pixels, (7, 5), _linear)
    assert np.abs(_preprocessed(pixels, (7, 5)) - expected).max() <= 1
    smoothed = _preprocessed(pixels, (7, 5), filter="bilinear")
    assert math.sqrt(((smoothed - expected) ** 2).mean()) > 10


@pytest.mark.parametrize("size", [(40, 16), (40, 61), (1300, 120), (17, 90)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bilinear_is_the_same_on_every_machine(size: tuple[int, int], channels: int) -> None:
    """Sums of 13 bits along rows, rounded to 3, and of 10 bits along columns: integers, no ties.

    The widest image does not fit into one block.
    """
    pixels = _photo(61, 75, channels)
    left, right, across = _two_taps(61, size[0], 13)
    upper, lower, down = _two_taps(75, size[1], 10)
    wide = pixels.astype(np.int64)
    sums = (wide[:, left] << 13) + (wide[:, right] - wide[:, left]) * across[:, None]
    kept = (sums + (1 << 9)) >> 10
    total = (kept[upper] << 10) + (kept[lower] - kept[upper]) * down[:, None, None]
    expected = (total + (1 << 12)) >> 13
    np.testing.assert_array_equal(resample(pixels, size, "tf-bilinear"), expected)


def _two_taps(count: int, num_out: int, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = np.float32(np.float32(count) / np.float32(num_out))
    centre = (np.arange(num_out, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(centre)
    weight = np.rint((centre - below) * np.float32(1 << bits)).astype(np.int64)
    low, high = (np.clip(each, 0, count - 1).astype(int) for each in (below, np.ceil(centre)))
    return low, high, weight
