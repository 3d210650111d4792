# SPDX-License-Identifier: Apache-2.0
"""One input at a time: results, pictures, states."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import DataError, InputError, MissingExtraError, OutputError
from edgekit.evaluate import run
from edgekit.evaluate.inputs import VIDEO_SUFFIXES

Make = Callable[..., bytes]


def _image(path: Path, colour: tuple[int, int, int] = (255, 0, 0)) -> Path:
    Image.new("RGB", (40, 30), colour).save(str(path))
    return path


def test_a_classifier_names_its_classes(make_classifier: Make, tmp_path: Path) -> None:
    path = _image(tmp_path / "a.png", (0, 255, 0))
    result = run(make_classifier(), [path], labels=["red", "green", "blue"])
    assert result.task == "classification"
    (answer,) = result.answers
    assert [(each.index, each.label) for each in answer.top] == [
        (1, "green"),
        (0, "red"),
        (2, "blue"),
    ]
    with pytest.raises(DataError, match="2 labels for 3 classes"):
        run(make_classifier(), [path], labels=["red", "green"])


def test_a_folder_and_a_pattern_list_what_cannot_be_read(
    make_classifier: Make, tmp_path: Path
) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    for source in (tmp_path, tmp_path / "*.png"):
        result = run(make_classifier(), [source])
        assert [Path(each.source).name for each in result.answers] == ["a.png"]
        assert "b.png" in result.failed[0]
    with pytest.raises(DataError, match="cannot read the image"):
        run(make_classifier(), [tmp_path / "b.png"])
    with pytest.raises(InputError, match="no file matches"):
        run(make_classifier(), [tmp_path / "*.jpg"])
    with pytest.raises(InputError, match="does not exist"):
        run(make_classifier(), [tmp_path / "c.png"])


def test_pictures_are_drawn_one_a_file_without_overwriting(
    make_classifier: Make, tmp_path: Path
) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        _image(tmp_path / name / "a.png")
    inputs = [tmp_path / "x" / "a.png", tmp_path / "y" / "a.png"]
    result = run(make_classifier(), inputs, output=tmp_path / "out")
    names = [Path(each.picture).name for each in result.answers]
    assert names == ["a.png", "a-2.png"]
    with Image.open(str(tmp_path / "out" / "a.png")) as picture:
        assert min(picture.size) >= 240  # enlarged so that names can be read
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_folder_that_cannot_be_created_is_one_error(
    make_classifier: Make, tmp_path: Path
) -> None:
    path = _image(tmp_path / "a.png")
    with pytest.raises(OutputError, match="cannot create the folder"):
        run(make_classifier(), [path], output=path)


def test_a_mask_is_drawn_over_its_image(make_same: Make, tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :6, 0], image[:, 6:, 2] = 255, 255
    Image.fromarray(image).save(str(tmp_path / "a.png"))
    result = run(make_same((1, 8, 8, 3)), [tmp_path / "a.png"], output=tmp_path / "out")
    assert result.task == "segmentation"
    (answer,) = result.answers
    assert [(each.index, each.share) for each in answer.mask] == [(0, 0.75), (2, 0.25)]
    with Image.open(answer.picture) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels[-1, 0].tolist() != pixels[-1, -1].tolist()


def test_the_error_for_a_video_without_opencv_names_opencv(
    make_classifier: Make, tmp_path: Path
) -> None:
    try:
        import cv2  # noqa: F401, PLC0415
    except ModuleNotFoundError:
        path = tmp_path / f"a{min(VIDEO_SUFFIXES)}"
        path.write_bytes(b"")
        with pytest.raises(MissingExtraError, match="cv2"):
            run(make_classifier(), [path])


def test_a_model_with_states_gets_its_own_outputs(make_accumulator: Make) -> None:
    frames = [np.full((2, 2, 3), value, np.float32) for value in (1, 2, 4)]
    result = run(make_accumulator(), frames, task="none")
    assert [answer.outputs[0].mean for answer in result.answers] == [1, 3, 7]


@pytest.mark.corpus
def test_a_detector_with_states_runs_on_images(corpus: Path) -> None:
    model = corpus / "coral" / "traffic_model.tflite"
    frames = [corpus / "coral" / "traffic_0001.bmp", corpus / "coral" / "traffic_0002.bmp"]
    result = run(model, frames)
    assert all(answer.objects for answer in result.answers)


@pytest.mark.corpus
def test_every_kind_of_answer_is_drawn(corpus: Path, tmp_path: Path) -> None:
    coral, models = corpus / "coral", corpus / "compiled" / "google-coral__test_data"
    cases = [
        (coral / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite", "cat.bmp", "detection"),
        (
            models / "deeplabv3_mnv2_dm05_pascal_quant.tflite",
            "dog_segmentation.bmp",
            "segmentation",
        ),
        (models / "movenet_single_pose_lightning_ptq.tflite", "squat.bmp", "pose"),
    ]
    for model, image, task in cases:
        result = run(model, [coral / image], output=tmp_path)
        assert result.task == task
        with Image.open(result.answers[0].picture) as drawn, Image.open(
            str(coral / image)
        ) as original:
            size = (drawn.size[0] // original.size[0], drawn.size[1] // original.size[1])
            assert size[0] == size[1] >= 1
            small = drawn.resize(original.size, 0)
            assert np.asarray(small).tolist() != np.asarray(original.convert("RGB")).tolist()


@pytest.mark.corpus
def test_a_letterboxed_detection_is_at_the_same_place_as_without_letterbox(corpus: Path) -> None:
    model = corpus / "coral" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
    image = corpus / "coral" / "cat.bmp"
    boxes = []
    for mode in ("stretch", "pad", "letterbox"):
        how = f"mean=128,std=128,resize={mode}"
        (answer,) = run(model, [image], preprocess=how).answers
        cat = next(each for each in answer.objects if each.index == 16)
        boxes.append(np.array(cat.box_xyxy_px))
    for other in boxes[1:]:
        assert np.abs(other - boxes[0]).max() < 40  # of 512 pixels; the network's pixels are others


def test_the_results_on_a_video_are_drawn_as_a_video(make_classifier: Make, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(3):
        writer.write(np.full((48, 64, 3), (0, 0, 255), np.uint8))  # red, in OpenCV's order
    writer.release()
    result = run(make_classifier(), [path], task="classification", output=tmp_path / "out")
    assert [each.top[0].index for each in result.answers] == [0, 0, 0]
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["clip.mp4"]
    with pytest.raises(DataError, match="2 labels"):
        run(make_classifier(), [path], labels=["a", "b"], output=tmp_path / "out")
