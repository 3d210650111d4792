# SPDX-License-Identifier: Apache-2.0
"""Evaluation end to end on models made by hand: tasks, unreadable files, journal, resuming."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import DataError, OutputError, UnsupportedModelError, UsageError
from edgekit.evaluate import EvaluateResult, evaluate

Make = Callable[..., bytes]
_COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def _folder(path: Path, names: list[str] | None = None, each: int = 4) -> Path:
    """Create one sub-folder per colour; the classifier's class 0 is red, 1 green, 2 blue."""
    for name in names or list(_COLOURS):
        (path / name).mkdir(parents=True)
        for index in range(each):
            Image.new("RGB", (5 + index, 5), _COLOURS[name]).save(str(path / name / f"{index}.png"))
    return path


def _comparable(result: EvaluateResult) -> dict[str, Any]:
    """Return a result without its times."""
    document = result.to_dict()
    for name in ("time_s", "latency_ms", "latency_samples", "cpu_batch"):
        del document[name]
    return document


def test_folders_match_labels_by_name(make_classifier: Make, tmp_path: Path) -> None:
    data = _folder(tmp_path)
    in_order = evaluate(make_classifier(), data)
    assert in_order.metrics["top1"] == pytest.approx(1 / 3)  # blue is class 0 by its name
    by_name = evaluate(make_classifier(), data, labels=["Red", "green, lime", "blue"])
    assert by_name.metrics["top1"] == 1
    assert by_name.class_names == ("Red", "green, lime", "blue")
    assert in_order.class_names == ("blue", "green", "red")
    with pytest.raises(DataError, match="the folder 'green' is named like 0"):
        evaluate(make_classifier(), data, labels=["red", "lime", "blue"])


def test_folders_for_only_some_classes_cause_a_warning(
    make_classifier: Make, tmp_path: Path
) -> None:
    data = _folder(tmp_path / "names", ["green", "red"])
    (warning,) = evaluate(make_classifier(), data).warnings
    assert "2 sub-folders" in warning
    assert "--label-offset 1" in warning
    assert evaluate(make_classifier(), data).class_names == ()
    told = evaluate(make_classifier(), data, labels=["red", "green", "blue"], num_samples=8)
    assert told.warnings == ()
    assert told.asked == {"--num-samples": "8"}  # a command line cannot contain a list of names
    (tmp_path / "names").rename(tmp_path / "numbers")
    for number, name in ((0, "red"), (1, "green")):
        (tmp_path / "numbers" / name).rename(tmp_path / "numbers" / str(number))
    result = evaluate(make_classifier(), tmp_path / "numbers")
    assert (result.metrics["top1"], result.warnings) == (1, ())


def test_more_folders_than_classes_are_reported(make_classifier: Make, tmp_path: Path) -> None:
    data = _folder(tmp_path, ["blue", "green", "red"])
    (data / "red").rename(data / "reds")
    shutil.copytree(str(data / "green"), str(data / "unsorted"))
    with pytest.raises(DataError, match="have 4 class folders, the model has 3 classes") as caught:
        evaluate(make_classifier(), data)
    assert "unsorted" in caught.value.why
    assert "--label-offset" not in str(caught.value)
    for path in (data / "unsorted").iterdir():
        path.unlink()
    assert evaluate(make_classifier(), data).num_samples == 12


def test_more_numbered_folders_than_classes_are_reported(
    make_classifier: Make, tmp_path: Path
) -> None:
    data = _folder(tmp_path, ["red", "green", "blue"])
    for number, name in enumerate(("red", "green", "blue")):
        (data / name).rename(data / str(number))
    shutil.copytree(str(data / "1"), str(data / "3"))
    with pytest.raises(DataError, match="have 4 class folders, the model has 3 classes") as caught:
        evaluate(make_classifier(), data)
    assert "with the index that is its name: 0, 1, 2, 3" in caught.value.why
    shutil.rmtree(data / "3")
    assert evaluate(make_classifier(), data).num_samples == 12


def test_unreadable_images_are_counted_and_listed_and_strict_stops(
    make_classifier: Make, tmp_path: Path
) -> None:
    data = _folder(tmp_path)
    (data / "red" / "9.png").write_bytes(b"no image")
    result = evaluate(make_classifier(), data)
    assert (result.num_samples, result.num_failed) == (12, 1)
    reason = "cannot read the image: cannot identify image file"
    assert result.failed == (f"{data / 'red' / '9.png'}: {reason}",)
    with pytest.raises(DataError, match="cannot be read") as caught:
        evaluate(make_classifier(), data, strict=True)
    assert caught.value.where.endswith("9.png")


def test_labels_in_csv_are_class_indices(make_classifier: Make, tmp_path: Path) -> None:
    data = _folder(tmp_path)
    rows = [f"{name}/{i}.png,{2 - n}" for n, name in enumerate(_COLOURS) for i in range(4)]
    (data / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    assert evaluate(make_classifier(), data).metrics["top1"] == 1


def test_the_fingerprint_is_that_of_the_samples_not_of_their_place(
    make_classifier: Make, tmp_path: Path
) -> None:
    first = evaluate(make_classifier(), _folder(tmp_path / "a")).data["fingerprint"]
    again = evaluate(make_classifier(6), _folder(tmp_path / "b"), num_workers=1)
    assert again.data["fingerprint"] == first
    fewer = evaluate(make_classifier(), tmp_path / "a", num_samples=11)
    assert fewer.data["fingerprint"] != first
    assert fewer.num_samples == 11


def _arrays(count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.random((count, 4, 4, 3)).astype(np.float32), rng.integers(0, 3, count)


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    x, y = _arrays()
    np.savez(str(tmp_path / "data.npz"), x=x, y=y)
    return tmp_path / "data.npz"


def test_workers_and_batches_change_nothing(make_classifier: Make, npz: Path) -> None:
    one = _comparable(evaluate(make_classifier(), npz, num_workers=1))
    two = _comparable(evaluate(make_classifier(), npz, num_workers=2))
    x, y = _arrays()
    truth = x.mean(axis=(1, 2)).argmax(axis=1) == y
    assert one["metrics"]["top1"] == pytest.approx(truth.mean())
    for name in ("metrics", "confusion", "left_out", "data"):
        assert one[name] == two[name]
    assert one["left_out"]["top1"][3] == pytest.approx(
        np.delete(truth, np.arange(3, len(truth), 20)).mean()
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.62, 0.999])
def test_a_journal_truncated_anywhere_leads_to_the_same_result(
    make_classifier: Make, npz: Path, tmp_path: Path, share: float
) -> None:
    journal = tmp_path / "run.jsonl"
    model, other = make_classifier(), make_classifier(4, 3)
    whole = evaluate(model, npz, against=other, journal=journal)
    content = journal.read_bytes()
    head = content.index(b"\n") + 1
    journal.write_bytes(content[: head + int((len(content) - head) * share)])
    again = evaluate(model, npz, against=other, journal=journal, resume=True)
    assert _comparable(again) == _comparable(whole)
    assert evaluate(model, npz, against=other, journal=journal, resume=True).latency_ms


def test_a_journal_is_only_for_its_own_run(
    make_classifier: Make, npz: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "run.jsonl"
    evaluate(make_classifier(), npz, journal=journal)
    with pytest.raises(DataError, match="exists already"):
        evaluate(make_classifier(), npz, journal=journal)
    with pytest.raises(DataError, match="of another run: label_offset"):
        evaluate(make_classifier(), npz, journal=journal, resume=True, label_offset=1)
    journal.write_text("{}\n")
    with pytest.raises(DataError, match="not a journal"):
        evaluate(make_classifier(), npz, journal=journal, resume=True)
    with pytest.raises(OutputError, match="cannot write the journal"):
        evaluate(make_classifier(), npz, journal=tmp_path / "no" / "where.jsonl")
    with pytest.raises(UsageError, match="--resume without --journal"):
        evaluate(make_classifier(), npz, resume=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[:2] + lines[3:],
        lambda lines: lines[:2] + lines[1:],
        lambda lines: [*lines[:2], b"5\n", *lines[2:]],
        lambda lines: [*lines[:2], b"{}\n"],
        lambda lines: [lines[0], lines[1].replace(b'"count":', b'"count": '), *lines[2:]],
    ],
    ids=["lost", "doubled", "number", "empty", "edited"],
)
def test_a_damaged_journal_does_not_silently_change_the_result(
    make_classifier: Make, npz: Path, tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]]
) -> None:
    journal = tmp_path / "run.jsonl"
    model = make_classifier()
    evaluate(model, npz, journal=journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) > 3
    damaged = b"".join(damage(lines))
    journal.write_bytes(damaged)
    with pytest.raises(DataError, match=r"the journal is damaged: line [234] "):
        evaluate(model, npz, journal=journal, resume=True)
    assert journal.read_bytes() == damaged


def test_a_file_that_is_not_a_journal_is_not_changed(
    make_classifier: Make, npz: Path, tmp_path: Path
) -> None:
    """One line without an end looks like a journal that was cut off in its first."""
    path = tmp_path / "result.json"
    path.write_text("what took a week to measure")
    with pytest.raises(DataError, match="not a journal"):
        evaluate(make_classifier(), npz, journal=path, resume=True)
    assert path.read_text() == "what took a week to measure"


def test_a_journal_is_not_continued_with_changed_data(
    make_classifier: Make, npz: Path, tmp_path: Path
) -> None:
    journal, model = tmp_path / "run.jsonl", make_classifier()
    evaluate(model, npz, journal=journal)
    with np.load(str(npz)) as arrays:
        x, y = arrays["x"], arrays["y"]
    for changed in ({"x": x[::-1], "y": y}, {"x": x, "y": (y + 1) % 3}):
        np.savez(str(npz), **changed)
        with pytest.raises(DataError, match="another run: samples differ"):
            evaluate(model, npz, journal=journal, resume=True)


def test_a_journal_is_not_continued_with_other_files(make_classifier: Make, tmp_path: Path) -> None:
    journal, model = tmp_path / "run.jsonl", make_classifier()
    folder = _folder(tmp_path / "data")
    evaluate(model, folder, journal=journal)
    first = next(iter(sorted((folder / "red").iterdir())))
    first.rename(folder / "green" / "another.png")
    with pytest.raises(DataError, match="another run: samples differ"):
        evaluate(model, folder, journal=journal, resume=True)


_SLOW = """
import time
import numpy as np

def samples():
    rng = np.random.default_rng(4)
    for index in range(900):
        time.sleep(0.002)
        yield rng.random((4, 4, 3)).astype(np.float32), index % 3
"""


def test_a_killed_run_continues_to_the_identical_result(
    make_classifier: Make, tmp_path: Path
) -> None:
    (tmp_path / "slow_samples.py").write_text(_SLOW)
    (tmp_path / "m.tflite").write_bytes(make_classifier())
    words = [sys.executable, "-m", "edgekit", "evaluate", "m.tflite", "--json"]
    words += ["--data", "slow_samples:samples"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    options: dict[str, Any] = {"cwd": str(tmp_path), "env": environment}
    options["stdout"] = options["stderr"] = subprocess.PIPE
    whole = json.loads(subprocess.run(words, check=True, **options).stdout)
    words += ["--journal", "run.jsonl"]
    journal = tmp_path / "run.jsonl"
    process = subprocess.Popen(words, **options)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= 4:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = journal.read_bytes().count(b"\n")
    again = json.loads(subprocess.run([*words, "--resume"], check=True, **options).stdout)
    assert journal.read_bytes().count(b"\n") > before
    for name in ("metrics", "metrics_ci95", "confusion", "left_out", "data", "num_samples"):
        assert again[name] == whole[name]


def test_masks_are_judged_pixel_by_pixel(make_same: Make, tmp_path: Path) -> None:
    """The network's output is its input: the class of a pixel is its largest colour."""
    rng = np.random.default_rng(1)
    counts = np.zeros((3, 3), int)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index in range(5):
        answer = rng.integers(0, 3, (8, 8))
        truth = np.where(rng.random((8, 8)) < 0.8, answer, rng.integers(0, 3, (8, 8)))
        np.add.at(counts, (truth[1:].ravel(), answer[1:].ravel()), 1)
        truth[0] = 255  # ignored
        pixels = (np.eye(3)[answer] * 255).astype(np.uint8)
        Image.fromarray(pixels).save(str(tmp_path / "images" / f"{index}.png"))
        Image.fromarray(truth.astype(np.uint8)).save(str(tmp_path / "masks" / f"{index}.png"))
    result = evaluate(make_same((1, 8, 8, 3)), tmp_path)
    assert (result.task, result.num_samples) == ("segmentation", 5)
    right = np.diag(counts)
    ious = right / (counts.sum(0) + counts.sum(1) - right)
    assert result.metrics["miou"] == pytest.approx(ious.mean())
    assert result.metrics["pixel_accuracy"] == pytest.approx(right.sum() / counts.sum())
    assert [result.per_class[str(i)]["iou"] for i in range(3)] == pytest.approx(ious.tolist())
    low, high = result.metrics_ci95["miou"]
    assert low < result.metrics["miou"] < high


def test_data_of_another_task_is_refused(make_classifier: Make, make_same: Make, npz: Path) -> None:
    with pytest.raises(DataError, match="segmentation is evaluated on a folder"):
        evaluate(make_same((1, 4, 4, 3)), npz, task="segmentation")
    with pytest.raises(UnsupportedModelError, match="not those of detection"):
        evaluate(make_classifier(), npz, task="detection")
    with pytest.raises(UsageError, match="no task 'sorting'"):
        evaluate(make_classifier(), npz, task="sorting")


@pytest.mark.corpus
def test_a_detector_on_coco_gives_pycocotools_numbers(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    model = corpus / "coral" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
    data = corpus / "coco" / "instances_val2017_64.json"
    journal = tmp_path / "run.jsonl"
    whole = evaluate(model, data, num_samples=24, journal=journal, kernels="fast")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    again = evaluate(model, data, num_samples=24, journal=journal, resume=True)
    assert _comparable(again) == _comparable(whole)
    assert whole.task == "detection"
    assert 0.1 < whole.metrics["map"] < 0.6
    labels = corpus / "coral" / "coco_labels.txt"
    assert evaluate(model, data, num_samples=24, labels=labels).metrics == whole.metrics


@pytest.mark.corpus
def test_a_pose_network_is_judged_by_key_points(corpus: Path, tmp_path: Path) -> None:
    """The truth is Google's reference key points; numpy decodes nearly the same."""
    pytest.importorskip("pycocotools")
    name = "posenet_mobilenet_v1_075_353_481_16_quant_decoder"
    with (corpus / "coral" / f"{name}_reference.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    people: dict[str, list[float]] = {}
    for row in rows:
        point = [float(row["keypoint_x"]) * 640, float(row["keypoint_y"]) * 480, 2]
        people.setdefault(row["pose_id"], []).extend(point)
    annotations = [
        {
            "id": i + 1,
            "image_id": 1,
            "category_id": 1,
            "keypoints": points,
            "bbox": [200, 100, 120, 300],
        }
        for i, points in enumerate(people.values())
    ]
    document = {
        "images": [{"id": 1, "file_name": "posenet_test_image.bmp"}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    image = (corpus / "coral" / "posenet_test_image.bmp").read_bytes()
    (tmp_path / "posenet_test_image.bmp").write_bytes(image)
    (tmp_path / "people.json").write_text(json.dumps(document))
    model = corpus / "compiled" / "google-coral__test_data" / f"{name}.tflite"
    result = evaluate(model, tmp_path / "people.json")
    assert (result.task, result.decoder) == ("pose", "PoseNet")
    assert result.metrics["oks"] > 0.98
    assert result.metrics["oks_map"] == pytest.approx(1)


def test_a_part_is_a_stretch_of_the_samples(make_classifier: Make, npz: Path) -> None:
    whole = evaluate(make_classifier(), npz)
    parts = [evaluate(make_classifier(), npz, part=f"{i}/3") for i in (1, 2, 3)]
    counts = [each.num_samples for each in parts]
    assert counts == [1000, 1000, 1000]
    right = sum(each.metrics["top1"] * each.num_samples for each in parts)
    assert right == pytest.approx(whole.metrics["top1"] * whole.num_samples)
    for part in ("0/3", "4/3", "third"):
        with pytest.raises(UsageError, match="--part is"):
            evaluate(make_classifier(), npz, part=part)
    with pytest.raises(DataError, match="3000 samples in 4000 parts"):
        evaluate(make_classifier(), npz, part="1/4000")
