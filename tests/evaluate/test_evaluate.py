# SPDX-License-Identifier: Apache-2.0
"""Accuracy over a data set equals a count by hand, for every way to run the samples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.cli.evaluate import render
from edgekit.data.describe import with_notes
from edgekit.errors import DataError, UnsupportedModelError, UsageError
from edgekit.evaluate import EvaluateResult, evaluate
from edgekit.evaluate.batch import with_batch
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.formats.tflite_metadata import Notes
from edgekit.runtime import Runner


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(11)
    images = random.integers(0, 256, (700, 8, 8), np.uint8)
    path = tmp_path / "data.npz"
    np.savez(str(path), x=images, y=random.integers(0, 5, 700))
    return path


def _by_hand(model: Path, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """(answers, labels), one sample at a time."""
    with np.load(str(data)) as arrays, Runner(model) as runner:
        images, labels = arrays["x"], arrays["y"]
        real = (images.astype(np.float32) / np.float32(255)).reshape(-1, 1, 8, 8, 1)
        answers = [int(runner.predict(each)[0].argmax()) for each in real]
    return np.array(answers), labels


def test_the_accuracy_is_that_of_a_loop(int8_path: Path, data: Path) -> None:
    answers, labels = _by_hand(int8_path, data)
    result = evaluate(int8_path, data)
    assert result.num_samples == 700
    assert result.metrics["top1"] == (answers == labels).mean()
    assert "top5" not in result.metrics  # five classes: always right
    counted = {(t, a): n for t, a, n in result.confusion}
    for truth in range(5):
        for answer in range(5):
            expected = int(((labels == truth) & (answers == answer)).sum())
            assert counted.get((truth, answer), 0) == expected


def test_a_larger_batch_is_used_if_its_results_are_equal_and_samples_are_many(
    int8_path: Path, data: Path, tmp_path: Path
) -> None:
    with np.load(str(data)) as arrays:
        many = {name: arrays[name].repeat(20, axis=0) for name in ("x", "y")}
        few = {name: arrays[name][:150] for name in ("x", "y")}
    np.savez(str(tmp_path / "many.npz"), **many)
    np.savez(str(tmp_path / "few.npz"), **few)
    result = evaluate(int8_path, tmp_path / "many.npz")
    assert result.cpu_batch > 1
    assert result.metrics == evaluate(int8_path, data).metrics
    assert result.latency_samples >= 100
    assert evaluate(int8_path, tmp_path / "few.npz").cpu_batch == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(int8_path: Path, data: Path, workers: int) -> None:
    result = evaluate(int8_path, data, num_workers=workers)
    assert result.confusion == evaluate(int8_path, data).confusion
    assert result.num_workers == workers


def test_the_paired_difference_is_counted_sample_by_sample(
    int8_path: Path, float_path: Path, data: Path
) -> None:
    ours, labels = _by_hand(int8_path, data)
    theirs, _ = _by_hand(float_path, data)
    against = evaluate(int8_path, data, against=float_path).against
    assert against is not None
    assert against.agreement == (ours == theirs).mean()
    expected = (ours == labels).mean() - (theirs == labels).mean()
    assert against.difference["top1"] == pytest.approx(expected)
    low, high = against.difference_ci95["top1"]
    assert low < expected < high


def test_models_with_their_own_batch_work(int8_model: Model, tmp_path: Path, data: Path) -> None:
    copy = with_batch(int8_model, 3)
    assert copy is not None
    path = tmp_path / "three.tflite"
    path.write_bytes(write_model(copy))
    single = tmp_path / "one.tflite"
    single.write_bytes(write_model(int8_model))
    assert evaluate(path, data).confusion == evaluate(single, data).confusion


def test_some_samples_come_evenly_from_all_classes(int8_path: Path, data: Path) -> None:
    answers, labels = _by_hand(int8_path, data)
    by_class = np.argsort(labels, kind="stable")  # in the order of a folder of class folders
    with np.load(str(data)) as arrays:
        np.savez(str(data), x=arrays["x"][by_class], y=arrays["y"][by_class])
    result = evaluate(int8_path, data, num_samples=130)
    assert result.num_samples == 130
    counts = Counter(dict.fromkeys(np.unique(labels).tolist(), 0))
    right = 0
    for truth, answer, count in result.confusion:
        counts[truth] += count
        right += count if truth == answer else 0
        assert count <= int(((labels == truth) & (answers == answer)).sum())
    assert max(counts.values()) - min(counts.values()) <= 1
    assert result.metrics["top1"] == right / 130
    assert evaluate(int8_path, data, num_samples=130).confusion == result.confusion


def _folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("L", (8, 8), index * 40).save(
                str(tmp_path / "images" / name / f"{index}.png")
            )
    return tmp_path / "images"


def test_unreadable_images_are_counted_and_listed(int8_path: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "a" / "9.png").write_bytes(b"no image")
    result = evaluate(int8_path, folder)
    assert (result.num_samples, result.num_failed) == (6, 1)
    assert "9.png" in result.failed[0]


def _fails(model: Path, source: Any, **options: Any) -> DataError:  # noqa: ANN401
    with pytest.raises(DataError) as caught:
        evaluate(model, source, **options)
    return caught.value


def test_labels_that_are_not_classes_of_the_model_are_an_error(int8_path: Path) -> None:
    samples = [(np.zeros((8, 8, 1), np.float32), 5)]
    error = _fails(int8_path, samples)
    assert "label 5 is not one of the model's 5 classes" in error.what
    assert "--label-offset" in error.fix
    assert evaluate(int8_path, samples, label_offset=-1).num_samples == 1


def test_samples_without_labels_need_a_second_model(int8_path: Path) -> None:
    samples = [np.zeros((8, 8, 1), np.float32)] * 3
    error = _fails(int8_path, samples)
    assert "3 of 3 samples have no label" in error.what
    assert error.fix.startswith("let the program give pairs (sample, label); without any label")
    result = evaluate(int8_path, samples, against=int8_path)
    assert result.metrics == {}
    assert result.against is not None
    assert result.against.agreement == 1.0


def test_some_samples_without_label_are_an_error(int8_path: Path, float_path: Path) -> None:
    image = np.zeros((8, 8, 1), np.float32)
    error = _fails(int8_path, [(image, 1)] * 128 + [image], against=float_path)
    assert "1 of 129 samples have no label" in error.what


def test_data_without_samples_are_an_error(int8_path: Path) -> None:
    assert "there is no sample" in _fails(int8_path, []).what


def test_a_model_that_is_not_a_classifier_is_refused(int8_path: Path, tmp_path: Path) -> None:
    model = read_model(int8_path)
    from dataclasses import replace  # noqa: PLC0415

    graph = replace(model.main, outputs=(model.main.operators[1].outputs[0],))
    path = tmp_path / "maps.tflite"
    path.write_bytes(write_model(replace(model, subgraphs=(graph,))))
    with pytest.raises(UnsupportedModelError, match="not those of classification"):
        evaluate(path, [np.zeros((8, 8, 1), np.float32)], task="classification")


def test_a_model_that_answers_with_an_empty_output_is_an_error(tmp_path: Path) -> None:
    """The slice begins behind the last row, so that the runtime returns less than is declared."""
    half = Quantization((0.5,), (0,))
    corners = [(0, 7, 0, 0), (1, 9, 1, 1), (1, 1, 1, 1)]
    tensors = (
        Tensor("x", (1, 1, 1, 4), "INT8", 0, half),
        *(Tensor(f"c{k}", (4,), "INT32", k) for k in (1, 2, 3)),
        Tensor("y", (1, 1, 1, 2), "INT8", 0, half),
    )
    options = {"shrink_axis_mask": 1, "begin_mask": 1}
    cut = Operator("STRIDED_SLICE", 1, (0, 1, 2, 3), (4,), options, "StridedSliceOptions")
    buffers = (
        np.empty(0, np.uint8),
        *(np.array(each, np.int32).view(np.uint8) for each in corners),
    )
    model, data = tmp_path / "empty.tflite", tmp_path / "data.npz"
    model.write_bytes(write_model(Model((Subgraph(tensors, (0,), (4,), (cut,)),), buffers)))
    np.savez(str(data), x=np.zeros((3, 1, 1, 4), np.float32), y=np.zeros(3, np.int64))
    with pytest.raises(DataError, match="answers with an empty output"):
        evaluate(model, data)


@pytest.mark.parametrize("option", ["num_samples", "num_workers"])
def test_numbers_below_one_are_refused(int8_path: Path, data: Path, option: str) -> None:
    with pytest.raises(UsageError, match="is 0"):
        evaluate(int8_path, data, **{option: 0})  # type: ignore[arg-type] # one name or the other


def test_preprocessing_that_does_not_fit_the_input_causes_a_warning(
    int8_path: Path, tmp_path: Path
) -> None:
    def run(preprocess: str) -> EvaluateResult:
        # The offset decides which of the five classes the two folders are.
        return evaluate(int8_path, _images, preprocess=preprocess, label_offset=1)

    _images = _folder(tmp_path)
    assert run("unit").warnings == ()
    assert "saturates" in run("raw").warnings[0]
    assert "saturates" in run("tf").warnings[0]


def test_memory_does_not_grow_with_the_samples(int8_path: Path) -> None:
    """Peaks of Python's and numpy's memory over 2,000 and over 20,000 samples."""
    import tracemalloc  # noqa: PLC0415

    def samples(count: int) -> Any:  # noqa: ANN401
        image = np.zeros((8, 8, 1), np.float32)
        return lambda: ((image, 1) for _ in range(count))

    peaks = []
    for count in (2_000, 20_000):
        tracemalloc.start()
        evaluate(int8_path, samples(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 18,000 samples more would be 4.6 MB; how many are in memory at a time depends on timing.
    assert peaks[1] - peaks[0] < 1 << 20


def test_the_preprocessing_in_the_file_is_the_reason_even_if_it_is_the_default(
    int8_path: Path, data: Path, tmp_path: Path
) -> None:
    noted = tmp_path / "noted.tflite"
    noted.write_bytes(with_notes(int8_path.read_bytes(), Notes("unit")))
    assert evaluate(noted, data).preprocess_reason == "the model's file says so"


def test_real_numbers_are_reported_as_not_changed(int8_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "real.npz"
    random = np.random.default_rng(3)
    np.savez(str(path), x=random.random((20, 8, 8)).astype(np.float32), y=np.arange(20) % 5)
    result = evaluate(int8_path, path)
    assert (
        list(render(result))[2]
        == "preprocess none: the samples are real numbers, which are not changed"
    )
    np.savez(str(path), x=(random.random((20, 8, 8)) * 255).astype(np.uint8), y=np.arange(20) % 5)
    assert not list(render(evaluate(int8_path, path)))[2].startswith("preprocess none")
    np.savez(str(path), x=random.random((20, 8, 8)).astype(np.float32), y=np.arange(20) % 5)
    scaled = evaluate(int8_path, path, preprocess="tf")
    assert list(render(scaled))[2].startswith("preprocess tf,")


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (1.0, ""),
        (255.0, "of their values are outside it and saturate"),
        (1 / 255, "they use almost nothing of it"),
    ],
)
def test_real_numbers_of_another_scale_than_the_input_cause_a_warning(
    int8_path: Path, tmp_path: Path, scale: float, words: str
) -> None:
    path = tmp_path / "real.npz"
    pixels = np.random.default_rng(3).random((40, 8, 8)).astype(np.float32)
    np.savez(str(path), x=pixels * np.float32(scale), y=np.arange(40) % 5)
    warnings = evaluate(int8_path, path).warnings
    assert [words in each for each in warnings] == [True] * bool(words)
