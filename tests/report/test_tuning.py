# SPDX-License-Identifier: Apache-2.0
"""The section about `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.report.charts import Point
from edgekit.report.evidence import gather
from edgekit.report.page import report
from edgekit.report.provenance import commands
from edgekit.report.tuning import tunings
from tests.report.conftest import write_json
from tests.report.test_page import read

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra report)")


def trial(number: int, step: str, value: float, latency_ms: float, mapped: int) -> dict[str, Any]:
    return {
        "number": number,
        "step": step,
        "score": {
            "measure": "top1",
            "value": value,
            "reference": 0.95,
            "drop": 100 * (0.95 - value),
            "snr_db": 20.0,
            "verdict": "good",
            "num_samples": 100,
        },
        "mapped": {"num_operators": 10, "num_mapped": mapped, "estimated_ms": latency_ms},
    }


@pytest.fixture
def document() -> dict[str, Any]:
    """A search of three trials, of which the last one made no model."""
    failed = {"number": 3, "step": "relu6", "score": None, "mapped": None, "problem": "no GELU"}
    trials = [trial(1, "defaults", 0.9, 1.0, 10), trial(2, "mse <b>", 0.94, 1.0, 10), failed]
    score = trials[1]["score"]
    return {
        "schema": "edgekit.tune/1",
        "source": "network.keras",
        "calibration": {"source": "cal"},
        "evaluation": {"source": "eval"},
        "asked": {"--max-drop": "1.0"},
        "recipe_file": "out.recipe.toml",
        "outcome": "met",
        "max_drop": 1.0,
        "best": 2,
        "num_search": 100,
        "num_report": 90,
        "trials": trials,
        "reported": [{"name": "tuned", "trial": 2, "score": score, "mapped": trials[1]["mapped"]}],
    }


def test_the_report_shows_every_trial_and_a_chart(
    run_folder: Path, document: dict[str, Any]
) -> None:
    write_json(run_folder / "tune.json", document)
    page = read(Path(report(run_folder).output))
    assert "tuning" in page.ids
    for text in ("network.keras: within the budget", "mse <b>", "no model: no GELU", "2 (best)"):
        assert text in page.text["page"]
    assert "top-1, %" in page.text["svg"]


def test_the_command_of_a_search_is_complete(tmp_path: Path, document: dict[str, Any]) -> None:
    write_json(tmp_path / "tune.json", document)
    (command,) = commands(gather(tmp_path))
    start = "edgekit tune network.keras --data cal --eval eval --max-drop 1.0 -o OUT.tflite"
    assert command.line.startswith(start)


def test_a_report_without_a_search_has_no_such_section(run_folder: Path) -> None:
    (run_folder / "tune.json").unlink(missing_ok=True)
    assert "tuning" not in read(Path(report(run_folder).output)).ids


def test_damaged_searches_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    body = {"schema": "edgekit.tune/1", "trials": [{"number": "x"}, 3, None], "reported": 5}
    write_json(tmp_path / "tune.json", body)
    (found,) = tunings(gather(tmp_path))
    assert found.chart == ""
    assert len(found.rows) == 3


def test_only_points_that_no_other_beats_are_on_the_frontier() -> None:
    best = Point("a", 1.0, 90.0, 1.0, is_best=True)
    slower = Point("b", 2.0, 90.0, 1.0, is_best=False)
    better = Point("c", 2.0, 95.0, 1.0, is_best=False)
    partly = Point("d", 0.5, 95.0, 0.5, is_best=False)
    assert best.beats(slower)
    assert better.beats(slower)
    assert not best.beats(better)
    assert not partly.beats(best)
    assert not best.beats(best)
    error = Point("e", 1.0, 90.0, 1.0, is_best=False, is_error=True)
    smaller = Point("f", 1.0, 80.0, 1.0, is_best=False, is_error=True)
    assert smaller.beats(error)
