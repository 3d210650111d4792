# SPDX-License-Identifier: Apache-2.0
"""Real targets: errors by numpy's formulas, in the result, against another model, in compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgekit.cli.evaluate import render
from edgekit.errors import DataError
from edgekit.evaluate import compare, evaluate
from edgekit.evaluate.judge import Score, Verdict
from edgekit.evaluate.result_warnings import metric_findings

Make = Callable[..., bytes]

_RNG = np.random.default_rng(5)
_X = _RNG.normal(size=(300, 4)).astype(np.float32)
_W = np.array([[1.0, -2, 0.5, 3], [0.25, 0, 1, -1]], np.float32)
_Y = (_X @ _W.T + 7 + _RNG.normal(size=(300, 2))).astype(np.float32)


@pytest.fixture
def make_regressor(make_linear: Make) -> Callable[..., bytes]:
    """A network of `_W`'s first rows."""
    return lambda outputs: make_linear(_W[:outputs], (1, 4))


def _save(path: Path, y: np.ndarray) -> Path:
    np.savez(str(path), x=_X, y=y)
    return path


def _by_hand(answers: np.ndarray, y: np.ndarray) -> dict[str, float]:
    error = answers - y
    spread = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": float((1 - (error**2).sum(axis=0) / spread).mean()),
    }


def test_one_hot_rows_are_targets_if_regression_is_requested(
    make_regressor: Make, tmp_path: Path
) -> None:
    """Without a task they are classes."""
    y = np.eye(2, dtype=np.float32)[np.arange(300) % 2]
    data = _save(tmp_path / "d.npz", y)
    result = evaluate(make_regressor(2), data, task="regression", num_samples=300)
    assert dict(result.metrics) == pytest.approx(_by_hand(_X @ _W.T, y.astype(float)), rel=1e-5)
    assert evaluate(make_regressor(2), data).task == "classification"


@pytest.mark.parametrize("outputs", [1, 2])
def test_real_targets_make_the_task_regression(
    make_regressor: Make, tmp_path: Path, outputs: int
) -> None:
    y = _Y[:, :outputs]
    result = evaluate(make_regressor(outputs), _save(tmp_path / "d.npz", y))
    assert result.task == "regression"
    assert dict(result.metrics) == pytest.approx(
        _by_hand(_X @ _W[:outputs].T, y.astype(float)), rel=1e-5
    )
    assert list(result.per_class) == (["0", "1"] if outputs > 1 else [])
    for name, (low, high) in result.metrics_ci95.items():
        assert low < result.metrics[name] < high
    assert "real numbers" in result.recognized_by


def test_the_interval_covers_the_truth_in_about_95_of_100_runs(make_linear: Make) -> None:
    """The expected absolute error of a standard normal noise is the square root of 2 / pi."""
    model, rng, covered = (
        make_linear(np.eye(1, dtype=np.float32), (1, 1)),
        np.random.default_rng(1),
        0,
    )
    for _ in range(60):
        x = rng.normal(size=(200, 1)).astype(np.float32)
        samples = list(zip(x, (x[:, 0] + rng.normal(size=200)).tolist()))
        low, high = evaluate(model, samples, num_workers=1).metrics_ci95["mae"]
        covered += low < np.sqrt(2 / np.pi) < high
    assert covered >= 50  # of a binomial with 0.95: less than once in 10,000


def test_large_targets_do_not_cancel(make_regressor: Make, tmp_path: Path) -> None:
    """Targets near 1e6 with a spread of 1: with squares of the targets it would be lost."""
    y = _Y.astype(np.float64) + 1e6
    result = evaluate(make_regressor(2), _save(tmp_path / "d.npz", y))
    assert result.metrics["r2"] == pytest.approx(
        _by_hand((_X @ _W.T).astype(float), y)["r2"], rel=1e-6
    )


def test_a_target_that_never_changes_has_no_r2(make_regressor: Make, tmp_path: Path) -> None:
    result = evaluate(make_regressor(1), _save(tmp_path / "d.npz", np.full(300, 2.5)))
    assert set(result.metrics) == {"mae", "rmse"}


def test_whole_targets_above_1_are_not_classes_of_one_output(
    make_regressor: Make, tmp_path: Path
) -> None:
    y = np.rint(_Y[:, 0]).astype(int)
    result = evaluate(make_regressor(1), _save(tmp_path / "d.npz", y))
    assert result.task == "regression"
    assert result.metrics["mae"] == pytest.approx(np.abs(_X @ _W[0] - y).mean(), rel=1e-5)


def test_signs_are_the_two_classes_of_one_output(make_regressor: Make, tmp_path: Path) -> None:
    """A hinge loss takes -1 and 1."""
    y = np.where(_Y[:, 0] > 7, 1, -1)
    result = evaluate(make_regressor(1), _save(tmp_path / "d.npz", y))
    assert result.task == "classification"
    assert result.metrics["top1"] == pytest.approx(((_X @ _W[0] > 0) == (y > 0)).mean())


def test_the_task_can_be_set_if_labels_could_be_classes(
    make_regressor: Make, tmp_path: Path
) -> None:
    path = _save(tmp_path / "d.npz", (_Y[:, 0] > 7).astype(int))
    assert evaluate(make_regressor(1), path).task == "classification"
    assert evaluate(make_regressor(1), path, task="regression").task == "regression"


def test_the_difference_to_another_model_is_paired(make_regressor: Make, tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", _Y[:, :1])
    result = evaluate(make_regressor(1), path, against=make_regressor(1))
    other = result.against
    assert other is not None
    assert other.difference == {"mae": 0, "rmse": 0, "r2": 0}
    assert other.difference_ci95["mae"] == (0, 0)


def test_workers_a_journal_and_iterables_change_nothing(
    make_regressor: Make, tmp_path: Path
) -> None:
    path = _save(tmp_path / "d.npz", _Y)
    plain = evaluate(make_regressor(2), path, num_workers=1)
    kept = evaluate(make_regressor(2), path, num_workers=2, journal=tmp_path / "j")
    again = evaluate(make_regressor(2), path, journal=tmp_path / "j", resume=True)
    listed = evaluate(make_regressor(2), list(zip(_X, _Y)))
    for each in (kept, again, listed):
        assert each.metrics == plain.metrics
        assert each.metrics_ci95 == plain.metrics_ci95


@pytest.mark.parametrize("y", [_Y[:, :1], np.repeat(_Y, 2, axis=1)])
def test_targets_that_do_not_fit_the_outputs_are_an_error(
    make_regressor: Make, tmp_path: Path, y: np.ndarray
) -> None:
    path = _save(tmp_path / "d.npz", y)
    for task in (None, "regression"):
        with pytest.raises(DataError, match="the model returns 2 values"):
            evaluate(make_regressor(2), path, task=task)


def test_smoothed_classes_are_an_error_with_a_fix(make_regressor: Make, tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", np.tile([0.9, 0.1], (300, 1)))
    with pytest.raises(DataError, match="rows of shares") as caught:
        evaluate(make_regressor(2), path)
    assert "--task regression" in caught.value.fix
    assert evaluate(make_regressor(2), path, task="regression").task == "regression"


def _document(model: bytes, path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(evaluate(model, path).to_json())
    return document


def test_compare_judges_an_error_by_its_rise(make_linear: Make, tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", _Y[:, 0] - 7)
    better, worse = (_document(make_linear(w * _W[:1], (1, 4)), path) for w in (1, 0.9))
    result = compare(better, worse, max_drop=1)
    assert result.passed is False
    assert "mae rose" in result.failures[0]
    assert compare(worse, better, max_drop=0.0).passed is True
    before, after = better["metrics"], worse["metrics"]
    rise = max(after[name] / before[name] - 1 for name in ("mae", "rmse"))
    assert compare(better, worse, max_drop=100 * (rise + 0.001)).passed is True
    mae = next(each for each in result.metrics if each.name == "mae")
    assert mae.paired
    assert mae.ci95 is not None
    assert mae.ci95[0] > 0


def test_an_error_that_labels_show_to_be_larger_decides_the_verdict(
    make_linear: Make, tmp_path: Path
) -> None:
    """The outputs agree (over 20 dB), but the other model's error is smaller than that."""
    y = (_X @ _W.T + _RNG.normal(scale=0.05, size=(300, 2))).astype(np.float32)
    data = _save(tmp_path / "d.npz", y)
    exact, off = make_linear(_W, (1, 4)), make_linear(_W + 0.05, (1, 4))
    result = evaluate(off, data, against=exact)
    assert result.against is not None
    assert result.against.quality is not None
    assert result.against.quality.verdict == "bad"
    assert {each.verdict for each in result.against.quality.outputs} == {"good"}
    text = "\n".join(render(result))
    assert "by labels  bad: mae is " in text
    assert "good" not in text
    (warning,) = [each for each in result.warnings if "against the labels" in each]
    assert "mae is " in warning
    assert "rmse is " in warning
    better = evaluate(exact, data, against=off)
    assert better.against is not None
    assert better.against.quality is not None
    assert better.against.quality.verdict == "good"
    assert not [each for each in better.warnings if "labels" in each]
    np.savez(tmp_path / "x.npz", x=_X)
    unlabelled = evaluate(off, tmp_path / "x.npz", against=exact)
    assert unlabelled.against is not None
    assert unlabelled.against.quality is not None
    assert unlabelled.against.quality.verdict == "not shown"
    (warning,) = [each for each in unlabelled.warnings if "as exact as" in each]
    assert "is not shown" in warning
    assert "next: measure both with data that have the true values as labels" in warning


def test_a_larger_error_does_not_matter_within_a_hundredth_of_the_deviation(
    make_linear: Make, tmp_path: Path
) -> None:
    data = _save(tmp_path / "d.npz", (_X @ _W.T).astype(np.float32))
    result = evaluate(make_linear(_W + 0.001, (1, 4)), data, against=make_linear(_W, (1, 4)))
    assert result.against is not None
    assert result.against.quality is not None
    assert result.against.difference["mae"] > 0
    assert result.against.quality.verdict == "good"


@pytest.mark.parametrize("judged", [0, 1])
def test_the_judged_model_may_be_either_of_two(judged: int) -> None:
    """Someone may give the float model first: the int8 one is judged all the same."""
    scores = [Score({"top1": share}, {}, {}) for share in (0.9, 0.8)]
    verdict = Verdict(
        tuple(scores if judged else scores[::-1]),
        agreement=None,
        difference={"top1": 0.1 if judged else -0.1},
        difference_ci95={"top1": (0.05, 0.15) if judged else (-0.15, -0.05)},
        num_classes=2,
    )
    (finding,) = metric_findings(verdict, ["a", "b"], judged)
    assert finding.level == "bad"
    assert finding.text == (
        f"top1 is 80.00%, with {'ba'[judged]} it is 90.00% "
        "(95 % interval of the difference -15.00 to -5.00)"
    )
    assert metric_findings(verdict, ["a", "b"], 1 - judged) == ()
