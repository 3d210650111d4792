# SPDX-License-Identifier: Apache-2.0
"""Folders of images, and how pixels become a network's input."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data import InputSpec, Preprocess, open_dataset, parse_preprocess
from edgekit.errors import DataError, UsageError

_RGB = (InputSpec("x", (1, 4, 6, 3)),)


def _save(path: Path, colour: object = (255, 0, 0), size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(str(path))  # type: ignore[arg-type] # a tuple of ints


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/1.png", "cat/2.jpg"):
        _save(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    dataset = open_dataset(tmp_path, inputs=_RGB)
    assert dataset.class_names == ("cat", "dog")
    assert [sample.label for sample in dataset] == [0, 0, 1]
    assert dataset.num_samples == 3


def test_unreadable_images_are_listed_and_not_silently_skipped(tmp_path: Path) -> None:
    _save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    dataset = open_dataset(tmp_path, inputs=_RGB)
    assert len(list(dataset)) == 1
    (problem,) = dataset.unreadable
    assert problem.source.endswith("b.png")
    assert "cannot read the image" in problem.reason


def test_a_truncated_jpeg_is_unreadable(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(str(tmp_path / "a.jpg"))
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    dataset = open_dataset(tmp_path, inputs=_RGB)
    assert list(dataset) == []
    assert len(dataset.unreadable) == 1


def _save_csv(folder: Path, content: bytes) -> None:
    for name in ("a.png", "b.png"):
        _save(folder / name)
    (folder / "labels.csv").write_bytes(content)


def test_labels_csv_of_a_spreadsheet_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    _save_csv(tmp_path, b"\xef\xbb\xbffile,label\r\na.png,17\r\nb.png,3\r\n")
    assert [each.label for each in open_dataset(tmp_path, inputs=_RGB)] == [17, 3]


def test_labels_csv_may_have_too_many_cells(tmp_path: Path) -> None:
    _save_csv(tmp_path, b"file,label\na.png,17,a remark\nb.png,3\n")
    assert [each.label for each in open_dataset(tmp_path, inputs=_RGB)] == [17, 3]


def test_a_file_listed_twice_keeps_both_labels(tmp_path: Path) -> None:
    _save_csv(tmp_path, b"file,label\na.png,17\nmissing.png,5\na.png,3\n")
    batch = open_dataset(tmp_path, inputs=_RGB).chunk(0, 3)  # type: ignore[attr-defined] # a folder has it
    assert batch.labels == [17, 3]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("file,label\na.png,17\nb.png,3\n".encode("utf-16"), "cannot read labels.csv"),
        (b"file,label,name\na.png,17,caf\xe9\nb.png,3,x\n", "cannot read labels.csv"),
        (b"file,label\na.png,99999999999999999999\nb.png,3\n", "no file and class in each row"),
        ("file,label\na.png,\u00b2\nb.png,3\n".encode(), "no file and class in each row"),
        (b"file,label\na.png\nb.png,3\n", "no file and class in each row"),
    ],
    ids=["utf-16", "latin-1", "large", "superscript", "short"],
)
def test_a_labels_csv_that_cannot_be_read_is_an_error(
    tmp_path: Path, content: bytes, what: str
) -> None:
    _save_csv(tmp_path, content)
    with pytest.raises(DataError, match=what):
        open_dataset(tmp_path, inputs=_RGB)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_grey_values_of_16_bits_are_their_upper_8(tmp_path: Path, suffix: str) -> None:
    grey = np.arange(0, 65536, 65536 // 24, dtype=np.int32)[:24].reshape(4, 6)
    path = tmp_path / f"a.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 6 4 65535\n" + grey.astype(">u2").tobytes())
    else:
        Image.fromarray(grey.astype(np.uint16)).save(str(path))
    pixels = Preprocess().pixels(path, (4, 6, 3))
    assert np.array_equal(pixels, np.repeat((grey >> 8)[..., None], 3, axis=2))
    assert np.array_equal(Preprocess().pixels(path, (4, 6, 1))[..., 0], grey >> 8)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_of_32_bits_are_an_error_because_white_is_unknown(
    tmp_path: Path, dtype: type[np.generic]
) -> None:
    Image.fromarray(np.full((4, 6), 0.5).astype(dtype)).save(str(tmp_path / "a.tif"))
    with pytest.raises(DataError, match="32 bits"):
        Preprocess().pixels(tmp_path / "a.tif", (4, 6, 3))


def test_labels_csv_has_priority_over_folders(tmp_path: Path) -> None:
    _save(tmp_path / "k" / "a.png")
    (tmp_path / "labels.csv").write_text("file,class_index,label\nk/a.png,17,tench\n")
    assert [sample.label for sample in open_dataset(tmp_path, inputs=_RGB)] == [17]


def test_an_empty_folder_and_a_mixed_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no image"):
        open_dataset(tmp_path, inputs=_RGB)
    _save(tmp_path / "a.png")
    _save(tmp_path / "k" / "b.png")
    with pytest.raises(DataError, match="1 images beside 1 sub-folders"):
        open_dataset(tmp_path, inputs=_RGB)


def test_a_grey_input_in_pytorchs_order_is_filled_from_images(tmp_path: Path) -> None:
    """(1, height, width) has the values of (height, width, 1) in the same order."""
    grey = np.random.default_rng(1).integers(0, 256, (9, 11)).astype(np.uint8)
    Image.fromarray(grey).save(str(tmp_path / "a.png"))
    (sample,) = open_dataset(tmp_path, inputs=[InputSpec("x", (1, 1, 9, 11))])
    assert sample.inputs[0].shape == (1, 9, 11)
    np.testing.assert_allclose(sample.inputs[0][0], grey / 255, rtol=1e-6)


def test_an_input_that_is_not_an_image_is_refused_with_the_reason(tmp_path: Path) -> None:
    _save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"shape \(7,\) cannot be filled from an image"):
        list(open_dataset(tmp_path, inputs=[InputSpec("x", (1, 7))]))


@pytest.mark.parametrize(
    ("text", "lowest", "highest"),
    [
        ("raw", 0, 255),
        ("unit", 0, 1),
        ("tf", -1, 1),
        ("mean=127.5,std=127.5", -1, 1),
        ("mean=0/0/100,std=1/1/2", -50, 255),
    ],
)
def test_each_scale_reaches_exactly_its_declared_range(
    text: str, lowest: float, highest: float
) -> None:
    how = parse_preprocess(text)
    assert how.promised_range == (lowest, highest)
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    real = how.scale_pixels(pixels)
    assert real.dtype == np.float32
    assert (real.min(), real.max()) == (lowest, highest)


@pytest.mark.parametrize(
    "text", ["unitt", "resize=squeeze", "mean=x", "mean=1/2", "std=0", "unit,mean=1", "filter="]
)
def test_unknown_words_are_refused_and_the_known_ones_listed(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_preprocess(text)
    assert caught.value.fix


def test_the_text_form_is_complete_and_can_be_parsed_again() -> None:
    how = parse_preprocess("mean=1/2/3,std=4,resize=pad,filter=nearest,colour=bgr")
    assert parse_preprocess(str(how)) == how
    assert parse_preprocess(str(Preprocess())) == Preprocess()


def test_bgr_swaps_the_channels(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", (255, 0, 0))
    (sample,) = open_dataset(tmp_path, inputs=_RGB, preprocess="raw,colour=bgr")
    assert sample.inputs[0][0, 0].tolist() == [0, 0, 255]


def test_padding_keeps_the_aspect_ratio_and_fills_right_and_below(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", (255, 255, 255), size=(10, 10))
    (sample,) = open_dataset(tmp_path, inputs=_RGB, preprocess="raw,resize=pad")
    assert sample.inputs[0][:, :4].min() == 255
    assert sample.inputs[0][:, 4:].max() == 0


def test_cropping_cuts_the_middle(tmp_path: Path) -> None:
    image = np.zeros((4, 12, 3), np.uint8)
    image[:, 3:9] = 255
    Image.fromarray(image).save(str(tmp_path / "a.png"))
    (sample,) = open_dataset(tmp_path, inputs=_RGB, preprocess="raw,resize=crop")
    assert sample.inputs[0].min() == 255


def test_grey_inputs_accept_colour_images(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", (10, 10, 10))
    (sample,) = open_dataset(tmp_path, inputs=[InputSpec("x", (1, 4, 6, 1))], preprocess="raw")
    assert np.unique(sample.inputs[0]).tolist() == [10]


def test_an_image_of_too_many_pixels_is_a_data_error(tmp_path: Path) -> None:
    """Its header states 900 million pixels; decoding them would take 2.7 GB."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "BMP")
    content = bytearray(stream.getvalue())
    content[18:26] = struct.pack("<ii", 30_000, 30_000)
    path = tmp_path / "bomb.bmp"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot read the image"):
        parse_preprocess("unit").image(path, (8, 8, 3))
