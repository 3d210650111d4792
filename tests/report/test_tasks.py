# SPDX-License-Identifier: Apache-2.0
"""Evaluations of tasks whose metrics are not shares, on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgekit.evaluate import evaluate
from edgekit.report.page import report

Make = Callable[..., bytes]


def _page(tmp_path: Path, model: bytes, y: np.ndarray) -> str:
    x = np.random.default_rng(1).random((80, 2)).astype(np.float32)
    (tmp_path / "m.tflite").write_bytes(model)
    np.savez(str(tmp_path / "d.npz"), x=x, y=y if y.dtype.kind != "f" else x + y)
    result = evaluate(tmp_path / "m.tflite", tmp_path / "d.npz", against=tmp_path / "m.tflite")
    (tmp_path / "evaluate.json").write_text(result.to_json())
    output = tmp_path / "page.html"
    report(tmp_path, output=output)
    return output.read_text(encoding="utf-8")


def test_errors_of_a_regression_are_in_the_targets_unit(make_delay: Make, tmp_path: Path) -> None:
    page = _page(tmp_path, make_delay(2), np.array([0.25, 0.75]))
    assert "mean absolute error" in page
    assert "0.5, was 0.5" in page
    assert "50.00 %" not in page
    assert "mean absolute error 0.75" in page.replace("\n", "")  # of the worse target


def test_multi_label_metrics_have_their_own_names(make_delay: Make, tmp_path: Path) -> None:
    y = np.random.default_rng(2).integers(0, 2, (80, 2))
    page = _page(tmp_path, make_delay(2), y)
    assert "F1, macro" in page
    assert "mAP 50:95" not in page
