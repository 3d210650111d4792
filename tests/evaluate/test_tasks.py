# SPDX-License-Identifier: Apache-2.0
"""The labels decide the task: a wrong guess is not fatal, and every task can be set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from typer.testing import CliRunner

from edgekit.cli.main import build
from edgekit.errors import DataError
from edgekit.evaluate import evaluate, run

Make = Callable[..., bytes]


def _save(path: Path, x: Any, y: Any = None) -> Path:  # noqa: ANN401
    arrays = {"x": x} if y is None else {"x": x, "y": y}
    np.savez(str(path), **arrays)
    return path


def test_a_network_of_images_is_judged_by_targets_of_its_size(
    make_same: Make, tmp_path: Path
) -> None:
    """The output has the shape of a mask; the labels are real-valued images."""
    x = np.random.default_rng(1).random((20, 4, 4, 3)).astype(np.float32)
    result = evaluate(make_same((1, 4, 4, 3)), _save(tmp_path / "d.npz", x, x + 0.25))
    assert result.task == "regression"
    assert result.metrics["mae"] == pytest.approx(0.25, rel=1e-6)
    assert any("segmentation" in each and "--task" in each for each in result.warnings)


def test_if_no_task_fits_only_latency_is_measured(make_same: Make, tmp_path: Path) -> None:
    x = np.zeros((20, 4, 4, 3), np.float32)
    result = evaluate(make_same((1, 4, 4, 3)), _save(tmp_path / "d.npz", x, np.arange(20)))
    assert (result.task, dict(result.metrics), result.num_samples) == ("none", {}, 20)
    assert result.latency_ms["p50"] > 0
    (warning,) = [each for each in result.warnings if "--task" in each]
    assert "segmentation needs a folder of images with masks" in warning


def test_the_task_none_does_not_need_labels(make_linear: Make, tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", np.zeros((9, 4), np.float32))
    result = evaluate(make_linear(np.eye(4), (1, 4)), path, task="none")
    assert (result.task, result.num_samples, result.warnings) == ("none", 9, ())


def test_float_labels_that_are_whole_are_classes_of_a_classifier(
    make_linear: Make, tmp_path: Path
) -> None:
    y = np.array([3.0, 1.0, 0.0, 2.0])
    x = np.eye(4, dtype=np.float32)[y.astype(int)]
    result = evaluate(make_linear(np.eye(4), (1, 4)), _save(tmp_path / "d.npz", x, y))
    assert (result.task, result.metrics["top1"]) == ("classification", 1.0)


def test_real_labels_of_a_classifier_are_an_error(make_linear: Make, tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", np.zeros((4, 4), np.float32), [3.4, 1, 0, 2])
    for task in (None, "classification"):
        with pytest.raises(DataError, match="labels are") as caught:
            evaluate(make_linear(np.eye(4), (1, 4)), path, task=task)
        assert caught.value.fix


def _binary(middle: float) -> np.ndarray:
    return np.array([[middle + 0.4], [middle - 0.4], [middle + 0.1]], np.float32)


@pytest.mark.parametrize("form", ["probability", "logit"])
def test_one_score_names_one_of_two_classes(
    make_same: Make, make_linear: Make, tmp_path: Path, form: str
) -> None:
    """A dense layer without activation has its threshold at 0 (a logit), otherwise it is 0.5."""
    model = make_linear(np.eye(1), (1, 1)) if form == "logit" else make_same((1, 1))
    x = _binary(0.0 if form == "logit" else 0.5)
    result = evaluate(model, _save(tmp_path / "d.npz", x, [1, 0, 1]))
    assert (result.task, result.metrics["top1"]) == ("classification", 1.0)
    answers = run(model, list(x), labels=["no", "yes"]).answers
    assert [each.top[0].label for each in answers] == ["yes", "no", "yes"]
    second = 1 / (1 + np.exp(-0.4)) if form == "logit" else 0.9
    assert answers[0].top[0].score == pytest.approx(second)
    assert answers[0].top[1].score == pytest.approx(1 - second)


def test_one_score_without_names_stays_a_number(make_same: Make) -> None:
    (answer,) = run(make_same((1, 1)), [np.array([0.9], np.float32)]).answers
    assert answer.top == ()


def test_run_gives_the_values_of_a_regression(make_linear: Make) -> None:
    weights = np.array([[2.0, 0], [0, -3]])
    (answer,) = run(
        make_linear(weights, (1, 2)), [np.array([1, 2], np.float32)], task="regression"
    ).answers
    assert answer.values == (2.0, -6.0)


@pytest.mark.parametrize("task", ["regression", "multilabel", "none", "classification"])
def test_the_commands_take_every_task(make_linear: Make, tmp_path: Path, task: str) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(make_linear(np.eye(3), (1, 3)))
    y = {"regression": np.random.default_rng(0).random((8, 3)), "multilabel": np.eye(3)[[0] * 8]}
    path = _save(tmp_path / "d.npz", np.ones((8, 3), np.float32), y.get(task, np.zeros(8, int)))
    np.save(str(tmp_path / "x.npy"), np.ones(3, np.float32))
    for command in (
        ["evaluate", str(model), "--data", str(path)],
        ["run", str(model), str(tmp_path / "x.npy")],
    ):
        result = CliRunner().invoke(build(), [*command, "--task", task])
        assert result.exit_code == 0, result.output
        assert f"task       {task}" in result.output
