# SPDX-License-Identifier: Apache-2.0
"""The headline does not state more than the evidence shows."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from edgekit.cli.main import build
from edgekit.formats.tflite import Model, write_model
from edgekit.report.evidence import gather
from edgekit.report.page import report
from edgekit.report.provenance import commands
from edgekit.report.verdict import Verdict
from tests.report.conftest import write_json

_SHA = "a" * 64


def _check(mapped: int, macs: float) -> dict[str, Any]:
    blocker = {"index": mapped, "opcode": "TRANSPOSE"}
    return {
        "schema": "edgekit.check/1",
        "model": "m.tflite",
        "sha256": _SHA,
        "num_mapped": mapped,
        "num_operators": 10,
        "mapped_macs_share": macs,
        "blocker": blocker if mapped < 10 else None,
    }


def _evaluate(
    difference: float, interval: tuple[float, float], quality: str = "", metric: str = "top1"
) -> dict[str, Any]:
    against: dict[str, Any] = {
        "model": "float.tflite",
        "metrics": {metric: 0.9},
        "difference": {metric: difference},
        "difference_ci95": {metric: list(interval)},
    }
    if quality:
        finding = {"level": quality, "text": "scores: finds about half"}
        findings = [] if quality == "good" else [finding]
        output = {"verdict": quality, "findings": findings, "record": {"name": "scores"}}
        against["quality"] = {
            "verdict": quality,
            "num_samples": 50,
            "outputs": [output],
            "reference": "the float model",
        }
    return {
        "schema": "edgekit.evaluate/1",
        "model": "m.tflite",
        "sha256": _SHA,
        "metrics": {metric: 0.9 + difference},
        "num_samples": 50,
        "against": against,
    }


def _conversion(quality: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": "edgekit.convert/1",
        "output": "m.tflite",
        "sha256": _SHA,
        "agreement": quality,
    }


def _verdict(folder: Path, *documents: dict[str, Any]) -> Verdict:
    for number, document in enumerate(documents):
        write_json(folder / f"{number}.json", document)
    return report(folder).verdict


@pytest.mark.parametrize(
    ("difference", "interval", "said"),
    [
        (-0.002, (-0.006, 0.002), "as before"),
        (-0.02, (-0.08, 0.04), "cannot show whether that is a loss (up to 8.00 points)"),
        (0.0, (-0.04, 0.04), "cannot show"),
        (-0.03, (-0.04, -0.02), "3.00 points worse than before, which is more than chance"),
        (0.03, (0.02, 0.04), "3.00 points better than before"),
    ],
)
def test_the_headline_states_as_before_only_if_the_interval_shows_it(
    difference: float, interval: tuple[float, float], said: str, tmp_path: Path
) -> None:
    text = _verdict(tmp_path, _check(10, 1.0), _evaluate(difference, interval)).text
    assert said in text
    assert ("as before" in text) == (said == "as before")


def test_an_error_that_grows_is_worse(tmp_path: Path) -> None:
    evaluation = _evaluate(0.3, (0.2, 0.4), metric="mae")
    verdict = _verdict(tmp_path, _check(10, 1.0), evaluation)
    assert "Mean absolute error is 0.3 worse than before" in verdict.text
    assert verdict.level == "partly"
    assert [each.value for each in verdict.numbers][1] == "+0.3"


@pytest.mark.parametrize(
    ("mapped", "macs", "level"), [(10, 1.0, "good"), (9, 0.97, "partly"), (9, 0.3, "bad")]
)
def test_the_verdict_is_bad_if_most_of_the_work_stays_on_the_cpu(
    mapped: int, macs: float, level: str, tmp_path: Path
) -> None:
    verdict = _verdict(tmp_path, _check(mapped, macs))
    assert verdict.level == level
    assert ("stays on the CPU" in verdict.text) == (level == "bad")


@pytest.mark.parametrize(
    ("quality", "level"), [("good", "good"), ("doubtful", "partly"), ("bad", "bad")]
)
def test_answers_unlike_those_of_the_float_model_make_the_headline_bad(
    quality: str, level: str, tmp_path: Path
) -> None:
    evaluation = _evaluate(-0.001, (-0.005, 0.003), quality)
    verdict = _verdict(tmp_path, _check(10, 1.0), evaluation)
    assert verdict.level == level
    assert ("finds about half" in verdict.text) == (quality != "good")


def test_a_bad_conversion_alone_makes_the_verdict_bad(tmp_path: Path) -> None:
    quality = _evaluate(0, (0, 0), "bad")["against"]["quality"]
    assert _verdict(tmp_path, _check(10, 1.0), _conversion(quality)).level == "bad"


def test_a_conversion_on_samples_of_unknown_kind_measures_no_accuracy(tmp_path: Path) -> None:
    quality = {**_evaluate(0, (0, 0), "good")["against"]["quality"], "verdict": "not shown"}
    verdict = _verdict(tmp_path, _check(10, 1.0), _conversion(quality))
    assert "Its accuracy is not measured." in verdict.text
    assert verdict.numbers[1].evidence == "not measured"


def test_an_evaluation_on_the_calibration_data_shows_no_more_than_the_conversion(
    tmp_path: Path,
) -> None:
    good = _evaluate(0, (0, 0), "good")["against"]["quality"]
    conversion = {**_conversion({**good, "verdict": "not shown"}), "data": {"source": "photos"}}
    for source, is_shown in (("photos", False), ("others", True)):
        folder = tmp_path / source
        folder.mkdir()
        evaluation = {
            "schema": "edgekit.evaluate/1",
            "model": "m.tflite",
            "sha256": _SHA,
            "num_samples": 100,
            "metrics": {},
            "data": {"source": source},
            "against": {"model": "float.tflite", "quality": good},
        }
        verdict = _verdict(folder, _check(10, 1.0), conversion, evaluation)
        assert ("close to those of the float model" in verdict.text) == is_shown
        assert ("Its accuracy is not measured." in verdict.text) != is_shown


@pytest.mark.parametrize(("snr_db", "level"), [(20.0, "good"), (10.0, "partly"), (6.0, "bad")])
def test_an_error_that_debug_measured_is_in_the_headline(
    snr_db: float, level: str, tmp_path: Path
) -> None:
    found = {
        "schema": "edgekit.debug/1",
        "model": "m.tflite",
        "sha256": _SHA,
        "operators": [],
        "causes": [],
        "outputs": [{"name": "Identity", "snr_db": snr_db}],
    }
    verdict = _verdict(tmp_path, _check(10, 1.0), found)
    assert verdict.level == level
    assert ("The output Identity differs clearly" in verdict.text) == (level != "good")


def test_samples_unlike_the_training_data_are_named_in_the_headline(tmp_path: Path) -> None:
    text = "the samples are unlike the data that the network was trained on"
    quality = {
        **_evaluate(0, (0, 0), "good")["against"]["quality"],
        "verdict": "not shown",
        "unlike": [{"code": "quality.unlike_training", "level": "not shown", "text": text}],
    }
    verdict = _verdict(tmp_path, _check(10, 1.0), _conversion(quality))
    assert verdict.level == "partly"
    assert text in verdict.text


def test_commands_are_shown_only_if_they_run_as_printed(tmp_path: Path) -> None:
    """The command line itself parses each line; objects passed in Python do not have a line."""
    data = {"source": "photos", "preprocess": "unit"}
    array = {"source": "array", "kind": "python"}
    documents = [
        {"schema": "edgekit.evaluate/1", "model": "m.tflite", "data": data},
        {"schema": "edgekit.evaluate/1", "model": "m.tflite", "data": array},
        {"schema": "edgekit.evaluate/1", "model": "", "data": data},
        {
            "schema": "edgekit.convert/1",
            "source": "Keras model mine",
            "output": "m.tflite",
            "data": data,
            "num_samples": 3,
        },
        {
            "schema": "edgekit.convert/1",
            "source": "graph.pb",
            "output": "m.tflite",
            "mode": "int8",
            "data": data,
            "num_samples": 3,
            "asked": {"--inputs": "a,b", "--io": "int8"},
        },
    ]
    for number, document in enumerate(documents):
        write_json(tmp_path / f"{number}.json", document)
    found = commands(gather(tmp_path))
    lines = [each.line for each in found if each.line]
    assert len(lines) == 2
    assert "DATA" not in "".join(lines)
    assert sum("in Python" in each.note for each in found) == 3
    assert any("--inputs a,b --io int8" in line for line in lines)
    for line in lines:
        words = shlex.split(line.split(" --json >")[0])[1:]
        group = get_command(build())
        name, command, rest = group.resolve_command(None, words)  # type: ignore[attr-defined]
        command.make_context(name, rest, resilient_parsing=False)


def test_results_computed_for_the_page_are_not_written_to_files(
    tmp_path: Path, int8_model: Model
) -> None:
    (tmp_path / "m.tflite").write_bytes(write_model(int8_model))
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "edgekit check" in page
    assert "computed for this report'" not in page
