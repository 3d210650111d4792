# SPDX-License-Identifier: Apache-2.0
"""Two results side by side, and the gates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image

from edgekit.cli.main import main
from edgekit.data.describe import with_notes
from edgekit.errors import InputError, UsageError
from edgekit.evaluate import compare, evaluate
from edgekit.evaluate.metrics import drop_points
from edgekit.formats.tflite_metadata import Notes

Make = Callable[..., bytes]


@pytest.fixture
def results(make_linear: Make, tmp_path: Path) -> list[dict[str, Any]]:
    """A good model, one that is sometimes wrong, and the good one on fewer samples."""
    rng = np.random.default_rng(9)
    x = rng.random((400, 2, 2, 3)).astype(np.float32)
    good = rng.normal(size=(3, 12))
    bad = good + rng.normal(size=(3, 12)) * 0.2
    y = (x.reshape(400, -1) @ good.T).argmax(axis=1)
    np.savez(str(tmp_path / "data.npz"), x=x, y=y)
    models = [make_linear(each, (1, 2, 2, 3)) for each in (good, bad)]
    found = [evaluate(model, tmp_path / "data.npz").to_dict() for model in models]
    found.append(evaluate(models[0], tmp_path / "data.npz", num_samples=300).to_dict())
    return found


def test_equal_results_do_not_differ_and_keep_an_interval(results: list[dict[str, Any]]) -> None:
    result = compare(results[0], results[0], max_drop=0.0)
    assert result.comparable
    assert result.passed is True
    (metric,) = result.metrics
    assert metric.difference == 0
    assert metric.paired
    assert metric.ci95 is not None
    assert metric.ci95[0] < 0 < metric.ci95[1]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("metrics", float("nan")),
        ("metrics", "0.4"),
        ("metrics", None),
        ("metrics", 10**400),
        ("latency_ms", float("nan")),
        ("latency_ms", "1"),
        ("left_out", 5),
        ("left_out", ["a", "b"]),
        ("metrics_ci95", [1]),
    ],
)
def test_a_damaged_number_does_not_pass_a_gate(
    results: list[dict[str, Any]], tmp_path: Path, part: str, value: object
) -> None:
    name = "p95" if part == "latency_ms" else "top1"
    results[1][part] = {**results[1][part], name: value}
    path = tmp_path / "b.json"
    path.write_text(json.dumps(results[1]))
    with pytest.raises(InputError, match="damaged") as caught:
        compare(results[0], path, max_drop=100, max_p95_ms=1e6)
    assert f"{part}.{name}" in caught.value.why


def test_a_metric_missing_in_the_second_result_fails_the_gate(
    results: list[dict[str, Any]],
) -> None:
    more = json.loads(json.dumps(results[0]))
    more["metrics"]["top5"] = 1.0
    assert compare(more, results[0], max_drop=50).failures == (
        "--max-drop 50: the second result has no top5",
    )
    assert compare(results[0], more, max_drop=50).passed is True


def test_a_drop_is_paired_and_judged(results: list[dict[str, Any]]) -> None:
    result = compare(results[0], results[1], max_drop=1)
    (metric,) = result.metrics
    assert metric.difference < -0.01
    assert metric.ci95 is not None
    assert metric.ci95[0] < metric.difference < metric.ci95[1] <= 0.0
    assert result.passed is False
    points = -100 * metric.difference
    assert result.failures[0].startswith(f"--max-drop 1: top1 dropped by {points:.2f} points, from")
    assert compare(results[0], results[1], max_drop=50).passed is True
    assert compare(results[1], results[0], max_drop=0.0).passed is True


def test_other_data_are_reported_and_fail_the_gate(results: list[dict[str, Any]]) -> None:
    result = compare(results[0], results[2], max_drop=50)
    assert not result.comparable
    assert any("different data" in text for text in result.obstacles)
    assert not result.metrics
    assert result.passed is False


def test_another_preprocessing_is_an_obstacle_and_another_device_a_note(
    results: list[dict[str, Any]],
) -> None:
    other = json.loads(json.dumps(results[0]))
    other["device"] = "usb"
    noted = compare(results[0], other)
    assert noted.comparable
    assert "different device: cpu and usb" in noted.notes
    assert noted.passed is None
    other["data"]["preprocess"] = "tf"
    assert not compare(results[0], other).comparable


def test_models_that_each_got_their_own_pixels_can_be_compared(
    make_classifier: Make, tmp_path: Path
) -> None:
    for name, colour in (("a", (255, 0, 0)), ("b", (0, 255, 0)), ("c", (0, 0, 255))):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (5, 5), colour).save(str(tmp_path / "data" / name / "x.png"))
    documents = []
    for how in ("unit", "tf,resize=letterbox"):
        model = with_notes(make_classifier(), Notes(preprocess=how, labels=()))
        documents.append(evaluate(model, tmp_path / "data").to_dict())
    result = compare(*documents, max_drop=100)
    assert result.comparable
    assert result.passed is True
    assert [each for each in result.notes if each.startswith("different preprocessing: ")]
    asked = evaluate(make_classifier(), tmp_path / "data", preprocess="tf").to_dict()
    assert not compare(documents[0], asked).comparable


def test_the_tail_of_the_latency_is_judged(results: list[dict[str, Any]]) -> None:
    p95 = results[1]["latency_ms"]["p95"]
    assert compare(results[0], results[1], max_p95_ms=p95 * 2).passed is True
    slow = compare(results[0], results[1], max_p95_ms=p95 / 2)
    assert slow.passed is False
    assert "p95 is" in slow.failures[0]


def test_the_command_ends_with_4_if_a_gate_is_not_met(
    results: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, document in zip("ab", results):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    words = ["compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    for extra, status in (([], 0), (["--max-drop", "1"], 4), (["--max-drop", "90"], 0)):
        with pytest.raises(SystemExit) as caught:
            main([*words, *extra, "--json"])
        assert caught.value.code == status
        assert json.loads(capsys.readouterr().out)["schema"] == "edgekit.compare/1"
    with pytest.raises(SystemExit):
        main(words)
    text = capsys.readouterr().out
    assert "comparable yes" in text
    assert "points, paired" in text


def test_the_error_for_a_result_with_a_missing_part_names_the_part(
    results: list[dict[str, Any]],
) -> None:
    for part in ("metrics", "data", "latency_ms"):
        broken = {name: value for name, value in results[0].items() if name != part}
        with pytest.raises(InputError) as caught:
            compare(results[0], broken)
        assert caught.value.why == f"it has no {part}"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": "edgekit.evaluate/1"}'])
def test_a_file_that_is_not_a_result_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        compare(path, path)
    assert str(path) in caught.value.where


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.0999])
def test_a_budget_that_must_be_a_share_is_refused_with_its_points(
    results: list[dict[str, Any]], budget: float
) -> None:
    """A budget in points and the share that was once accepted differ by a factor of 100."""
    with pytest.raises(UsageError, match=f"--max-drop is {budget:g}") as caught:
        compare(results[0], results[1], max_drop=budget)
    assert f"--max-drop {100 * budget:g};" in caught.value.fix


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf")])
def test_a_budget_is_a_number_of_points(results: list[dict[str, Any]], budget: float) -> None:
    with pytest.raises(UsageError, match="--max-drop"):
        compare(results[0], results[1], max_drop=budget)


def test_an_error_of_zero_that_stays_is_not_a_drop() -> None:
    assert drop_points("mae", 0.0, 0.0) == 0
    assert str(drop_points("top1", 0.0, 0.9)) == "0.0"  # not -0.0, which people would read
    assert drop_points("mae", 0.1, 0.0) == float("inf")
    assert drop_points("mae", 0.1, 0.4) == pytest.approx(25)
    assert drop_points("top1", -0.02, 0.4) == pytest.approx(2)
