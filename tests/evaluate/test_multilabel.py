# SPDX-License-Identifier: Apache-2.0
"""Several classes per sample: average precision and F1 by their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.evaluate import evaluate, run
from edgekit.evaluate.multilabel import average_precision

Make = Callable[..., bytes]

_RNG = np.random.default_rng(2)
_X = np.round(_RNG.random((400, 5)), 1).astype(np.float32)  # tenths: many equal scores
_Y = (_RNG.random((400, 5)) < 0.2 + 0.6 * _X).astype(np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Multi-hot rows for a network whose scores are its inputs."""
    np.savez(str(tmp_path / "d.npz"), x=_X, y=_Y)
    return tmp_path / "d.npz"


def _slow_ap(truth: np.ndarray, scores: np.ndarray) -> float:
    """By the definition: at each distinct score precision times the gain of recall."""
    total, before = 0.0, 0.0
    for score in sorted(set(scores.tolist()), reverse=True):
        said = scores >= score
        recall = truth[said].sum() / truth.sum()
        total += truth[said].mean() * (recall - before)
        before = recall
    return total


def _slow_f1(truth: np.ndarray, said: np.ndarray) -> float:
    hits = int((truth & said).sum())
    precision, recall = hits / said.sum(), hits / truth.sum()
    return float(2 * precision * recall / (precision + recall))


def test_average_precision_counts_equal_scores_together() -> None:
    for column in range(5):
        truth, scores = _Y[:, column].astype(bool), _X[:, column].astype(float)
        assert average_precision(truth, scores) == pytest.approx(_slow_ap(truth, scores))
    # scikit-learn's example: average_precision_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).
    known = average_precision(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
    assert known == pytest.approx(0.8333333)


@pytest.mark.parametrize("threshold", [None, 0.25])
def test_multi_hot_rows_are_judged_class_by_class(
    make_same: Make, data: Path, threshold: float | None
) -> None:
    result = evaluate(make_same((1, 5)), data, score_threshold=threshold)
    truth, said = _Y.astype(bool), _X.astype(float) > (threshold or 0.5)
    f1 = [_slow_f1(truth[:, i], said[:, i]) for i in range(5)]
    assert result.task == "multilabel"
    assert dict(result.metrics) == pytest.approx(
        {
            "map": np.mean([_slow_ap(truth[:, i], _X[:, i]) for i in range(5)]),
            "f1_micro": _slow_f1(truth.ravel(), said.ravel()),
            "f1_macro": np.mean(f1),
        }
    )
    assert [each["f1"] for each in result.per_class.values()] == pytest.approx(f1)
    assert result.threshold == (threshold or 0.5)
    for name, (low, high) in result.metrics_ci95.items():
        assert low < result.metrics[name] < high


def test_logits_have_their_threshold_at_zero(make_linear: Make, tmp_path: Path) -> None:
    """A dense layer without activation returns logits; results are those of probabilities."""
    logits = 2 * _X - 1
    np.savez(str(tmp_path / "d.npz"), x=logits, y=_Y)
    result = evaluate(make_linear(np.eye(5, dtype=np.float32), (1, 5)), tmp_path / "d.npz")
    said = logits > 0
    assert result.threshold == 0
    assert result.metrics["f1_micro"] == pytest.approx(
        _slow_f1(_Y.astype(bool).ravel(), said.ravel())
    )


def test_a_journal_and_another_model_change_nothing(
    make_same: Make, data: Path, tmp_path: Path
) -> None:
    first = evaluate(make_same((1, 5)), data, journal=tmp_path / "j")
    again = evaluate(make_same((1, 5)), data, journal=tmp_path / "j", resume=True)
    assert again.metrics == first.metrics
    other = evaluate(make_same((1, 5)), data, against=make_same((1, 5))).against
    assert other is not None
    assert other.agreement == 1
    assert set(other.difference.values()) == {0}


def test_classes_can_be_judged_as_multi_label(make_same: Make, tmp_path: Path) -> None:
    np.savez(str(tmp_path / "d.npz"), x=_X, y=_X.argmax(1))
    assert evaluate(make_same((1, 5)), tmp_path / "d.npz").task == "classification"
    result = evaluate(make_same((1, 5)), tmp_path / "d.npz", task="multilabel")
    assert result.task == "multilabel"


@pytest.mark.parametrize("y", [_Y[:, :4], _Y + 0.5, np.full(400, 9)])
def test_other_labels_are_refused(make_same: Make, tmp_path: Path, y: np.ndarray) -> None:
    np.savez(str(tmp_path / "d.npz"), x=_X, y=y)
    with pytest.raises(DataError, match="not rows of 0 and 1 for 5 classes"):
        evaluate(make_same((1, 5)), tmp_path / "d.npz", task="multilabel")


def test_run_names_the_classes_that_are_true(make_same: Make) -> None:
    answer = run(
        make_same((1, 5)),
        [np.array([0.9, 0.1, 0.5, 0.75, 0.25], np.float32)],
        task="multilabel",
        labels=list("abcde"),
    )
    assert answer.task == "multilabel"
    assert [each.label for each in answer.answers[0].top] == ["a", "d"]
