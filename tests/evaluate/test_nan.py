# SPDX-License-Identifier: Apache-2.0
"""NaN and infinity are never right, for any task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import DataError, UnsupportedModelError
from edgekit.evaluate import compare, evaluate, run
from edgekit.evaluate.finite import bad_rows
from edgekit.runtime import Runner

Make = Callable[..., bytes]

_CLASSES = 6
_HUGE = np.float32(3e38)


def _data(path: Path, bad: list[int], count: int = 60, y: Any = None) -> Path:  # noqa: ANN401
    """Return one-hot inputs; those in ``bad`` overflow in a network that doubles them."""
    labels = np.arange(count) % _CLASSES
    x = np.eye(_CLASSES, dtype=np.float32)[labels]
    x[bad] *= _HUGE
    np.savez(str(path), x=x, y=labels if y is None else y)
    return path


@pytest.fixture
def doubling(make_linear: Make) -> bytes:
    """Each score is twice its input."""
    return make_linear(2 * np.eye(_CLASSES, dtype=np.float32), (1, _CLASSES))


def test_rows_are_checked_one_by_one() -> None:
    values = np.ones((4, 3), np.float32)
    values[1, 2], values[3, 0] = np.nan, -np.inf
    assert bad_rows([values, np.ones((4, 2), np.uint8)]).tolist() == [False, True, False, True]
    large = np.full((2, 3), _HUGE)  # whose sum overflows
    assert not bad_rows([large]).any()


def test_values_that_do_not_count_may_be_nan() -> None:
    """Behind the last object a detector's output contains arbitrary memory."""
    values = np.array([[1, np.nan], [np.nan, 1]], np.float32)
    first = bad_rows([values], lambda outputs: [outputs[0][:, :1]])
    assert first.tolist() == [False, True]


def test_run_does_not_name_a_class_for_an_answer_of_infinity(doubling: bytes) -> None:
    sample = np.eye(_CLASSES, dtype=np.float32)[0]
    result = run(doubling, [sample, sample * _HUGE])
    assert [len(answer.top) for answer in result.answers] == [5, 0]
    assert any("NaN or infinity" in each for each in result.warnings)


def test_a_classifier_is_wrong_on_samples_that_overflow(doubling: bytes, tmp_path: Path) -> None:
    bad = [3, 17, 40]
    result = evaluate(doubling, _data(tmp_path / "d.npz", bad), against=doubling)
    assert result.metrics["top1"] == pytest.approx(57 / 60)
    assert result.num_nan == len(result.nan_samples) == 3
    assert result.nan_samples[0].endswith("[3]")
    assert any("NaN or infinity" in each and "[17]" in each for each in result.warnings)
    assert sum(count for *_, count in result.confusion) == 57
    assert result.against is not None
    assert result.against.num_nan == 3
    assert result.against.agreement == pytest.approx(57 / 60)


def test_a_journal_stores_them(doubling: bytes, tmp_path: Path) -> None:
    path = _data(tmp_path / "d.npz", [3, 17])
    evaluate(doubling, path, journal=tmp_path / "j")
    again = evaluate(doubling, path, journal=tmp_path / "j", resume=True)
    assert again.num_nan == 2
    assert again.metrics["top1"] == pytest.approx(58 / 60)


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel", "none"])
def test_a_model_with_only_such_answers_is_an_error(
    doubling: bytes, tmp_path: Path, task: str
) -> None:
    y = {"regression": np.ones((60, _CLASSES)) / 3, "multilabel": np.ones((60, _CLASSES))}.get(task)
    path = _data(tmp_path / "d.npz", list(range(60)), y=y)
    with pytest.raises(UnsupportedModelError, match="each of the 60 samples with NaN"):
        evaluate(doubling, path, task=task)


def test_regression_leaves_them_out_and_reports_it(doubling: bytes, tmp_path: Path) -> None:
    y = np.eye(_CLASSES, dtype=np.float32)[np.arange(60) % _CLASSES] * 1.5
    result = evaluate(doubling, _data(tmp_path / "d.npz", [5], y=y))
    assert (result.task, result.num_nan) == ("regression", 1)
    assert result.metrics["mae"] == pytest.approx(0.5 / _CLASSES)


def test_no_class_of_such_a_multi_label_answer_is_true(doubling: bytes, tmp_path: Path) -> None:
    y = np.eye(_CLASSES, dtype=np.uint8)[np.arange(60) % _CLASSES]
    result = evaluate(doubling, _data(tmp_path / "d.npz", [5], y=y), task="multilabel")
    assert result.num_nan == 1
    assert result.metrics["f1_micro"] == pytest.approx(2 * 59 / (59 + 60))


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_mask_of_infinity_is_wrong_everywhere(make_same: Make, tmp_path: Path) -> None:
    """The network's output is its input; white pixels overflow in the preprocessing."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, level in enumerate((0, 255, 0, 0)):
        image = Image.new("RGB", (8, 8), (level,) * 3)
        image.save(str(tmp_path / "images" / f"{number}.png"))
        Image.new("L", (8, 8)).save(str(tmp_path / "masks" / f"{number}.png"))
    result = evaluate(make_same((1, 8, 8, 3)), tmp_path, preprocess="mean=0,std=1e-37")
    assert (result.task, result.num_nan) == ("segmentation", 1)
    assert result.metrics["pixel_accuracy"] == pytest.approx(0.75)
    assert result.metrics["miou"] == pytest.approx(0.75)


def test_they_do_not_pass_any_gate(doubling: bytes, tmp_path: Path) -> None:
    path = _data(tmp_path / "d.npz", [3])
    document = json.loads(evaluate(doubling, path).to_json())
    result = compare(document, document, max_drop=50)
    assert result.passed is False
    assert "NaN" in result.failures[0]


@pytest.mark.parametrize(
    "bad", [3, 150]
)  # one of the samples that are timed one by one, and one of a later batch
def test_the_sample_with_nan_is_named(int8_path: Path, tmp_path: Path, bad: int) -> None:
    with Runner(int8_path) as runner:
        shape = runner.inputs[0].shape[1:]
    x = np.random.default_rng(3).random((200, *shape)).astype(np.float32)
    x[bad].flat[0] = np.nan
    np.savez(tmp_path / "d.npz", x=x, y=np.zeros(200, int))
    with pytest.raises(DataError) as caught:
        evaluate(int8_path, tmp_path / "d.npz", task="classification")
    assert f"d.npz[{bad}], input" in caught.value.where
    assert "leave the sample out" in caught.value.fix
