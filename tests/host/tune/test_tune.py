# SPDX-License-Identifier: Apache-2.0
"""`edgekit tune`: what is chosen, what is written, and that a stopped run continues."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli.main import main
from edgekit.errors import DataError, UsageError
from edgekit.files import sha256_hex
from edgekit.formats.tflite import read_model, write_model
from edgekit.host.convert import convert
from edgekit.host.tune import TuneResult, tune
from edgekit.host.tune.result import Trial
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]
SHAPE = (1, 6, 6, 3)


@pytest.fixture(scope="module")
def outliers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that squares, and labelled data of which a few calibration samples are too large.

    Their squares make the int8 model useless. Labels are the float network's answers.
    """
    g = FloatGraph(SHAPE, 3)
    x = g.conv(g.input, 8, 3)
    x = g.arithmetic("MUL", x, x)
    scores = g.dense(g.conv(x, 8, 1, "RELU"), 6)
    folder = tmp_path_factory.mktemp("outliers")
    source = folder / "float.tflite"
    source.write_bytes(write_model(g.model(scores)))
    samples = g.random.normal(size=(700, *SHAPE[1:])).astype(np.float32)
    with Runner(source) as runner:
        labels = np.array([runner.predict(each[None])[0].argmax() for each in samples])
    calibration = samples[:300].copy()
    calibration[7:300:25] *= 8
    np.savez(folder / "cal.npz", x=calibration)
    np.savez(folder / "eval.npz", x=samples[300:], y=labels[300:])
    np.savez(folder / "unlabelled.npz", x=samples[300:])
    return folder


def run(folder: Path, output: Path, **options: object) -> tuple[TuneResult, list[Trial]]:
    """Tune the network; return the result and the trials that were reported."""
    seen: list[Trial] = []
    given = {
        "data": folder / "cal.npz",
        "eval_data": folder / "eval.npz",
        "max_drop": 8.0,
        **options,
    }
    made = tune(
        folder / "float.tflite",
        output=output,
        on_trial=lambda trial, _best: seen.append(trial),
        **given,  # type: ignore[arg-type] # some of many options
    )
    return made, seen


@pytest.fixture(scope="module")
def tuned(outliers: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    return run(outliers, tmp_path_factory.mktemp("tuned") / "out.tflite")[0]


def test_a_network_that_loses_by_outliers_comes_within_the_budget(tuned: TuneResult) -> None:
    before, after = tuned.score_of("convert"), tuned.score_of("tuned")
    assert before is not None
    assert after is not None
    assert before.measure == after.measure == "top1"
    assert before.drop > 20
    assert after.drop <= 8
    assert tuned.outcome == "met"
    assert tuned.output is not None
    assert sha256_hex(Path(tuned.output).read_bytes()) == tuned.sha256


def test_the_recipe_repeats_the_model_to_the_same_bytes(
    tuned: TuneResult, outliers: Path, tmp_path: Path
) -> None:
    again = convert(
        outliers / "float.tflite",
        data=outliers / "cal.npz",
        output=tmp_path / "again.tflite",
        recipe=tuned.recipe_file,
    )
    assert again.sha256 == tuned.sha256


def test_no_sample_is_in_two_parts(tuned: TuneResult) -> None:
    assert (tuned.num_search, tuned.num_report, tuned.num_left_out) == (200, 200, 0)


def test_a_stopped_run_continues_and_tries_nothing_twice(outliers: Path, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(trial: Trial, _best: Trial) -> None:
        if trial.number == 3:
            raise StoppedError

    output, options = tmp_path / "out.tflite", {"data": outliers / "cal.npz", "max_drop": 0.0}
    with pytest.raises(StoppedError):
        tune(
            outliers / "float.tflite",
            output=output,
            eval_data=outliers / "eval.npz",
            on_trial=stop,
            max_trials=6,
            **options,  # type: ignore[arg-type]
        )
    journal = output.with_suffix(".journal.jsonl")
    with journal.open("ab") as stream:  # as if the process had been killed while it wrote
        stream.write(b'{"trial":{"num')
    lines = journal.read_text().splitlines()
    result, seen = run(outliers, output, max_trials=6, max_drop=0.0)
    assert journal.read_text().splitlines()[: len(lines) - 1] == lines[:-1]
    assert len(seen) == len(result.trials) <= 6
    entries = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    recipes = [json.dumps(each["trial"]["recipe"]) for each in entries if "trial" in each]
    assert len(set(recipes)) == len(recipes) == len(result.trials)
    content = journal.read_bytes()
    again, _ = run(outliers, output, max_trials=6, max_drop=0.0)
    assert journal.read_bytes() == content
    assert again.sha256 == result.sha256


def test_a_journal_of_another_run_is_refused(outliers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.tflite"
    run(outliers, output, max_trials=1)
    with pytest.raises(DataError, match="journal is that of another run: evaluation differ"):
        run(outliers, output, max_trials=1, eval_data=outliers / "unlabelled.npz")


def test_without_labels_the_answers_of_the_float_model_count(
    outliers: Path, tmp_path: Path
) -> None:
    made, _ = run(
        outliers, tmp_path / "out.tflite", eval_data=outliers / "unlabelled.npz", max_trials=2
    )
    assert made.trials[0].score is not None
    assert made.trials[0].score.measure in {"agreement", "snr_db"}


def test_a_budget_that_cannot_be_met_is_status_4_and_leaves_the_recipe(
    outliers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.tflite"
    words = ["tune", str(outliers / "float.tflite"), "--data", str(outliers / "cal.npz")]
    words += ["--eval", str(outliers / "eval.npz"), "--max-drop", "0", "--max-trials", "2"]
    with pytest.raises(SystemExit) as caught:
        main([*words, "-o", str(output)])
    assert caught.value.code == 4
    out = capsys.readouterr().out
    assert "not met" in out
    assert "--recipe" in out
    assert not output.exists()
    assert output.with_suffix(".recipe.toml").exists()


def test_a_network_that_is_good_already_is_not_searched(outliers: Path, tmp_path: Path) -> None:
    made, _ = run(outliers, tmp_path / "out.tflite", max_drop=100.0)
    assert made.outcome == "met"
    assert [each.step for each in made.trials] == ["convert's defaults", "plain conversion"]


def test_evaluation_samples_that_calibrate_are_left_out(outliers: Path, tmp_path: Path) -> None:
    with np.load(outliers / "eval.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    np.savez(tmp_path / "cal.npz", x=x[:100])
    made, _ = run(outliers, tmp_path / "out.tflite", data=tmp_path / "cal.npz", max_trials=1)
    assert (made.num_search, made.num_report, made.num_left_out) == (150, 150, 100)
    np.savez(tmp_path / "all.npz", x=x, y=y)
    with pytest.raises(DataError, match="0 samples are too few"):
        run(outliers, tmp_path / "b.tflite", data=tmp_path / "all.npz")


def test_layers_that_do_not_map_are_replaced_if_the_model_stays_good(tmp_path: Path) -> None:
    g = FloatGraph(SHAPE, 4)
    x = _normalized(g, g.conv(g.input, 16, 3))
    (tmp_path / "float.tflite").write_bytes(write_model(g.model(g.conv(x, 8))))
    for name in ("cal", "eval"):
        samples = g.random.normal(size=(120, *SHAPE[1:])).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=samples)
    made, _ = run(tmp_path, tmp_path / "out.tflite", max_drop=20.0, max_trials=4)
    first, winner = made.trials[0].mapped, made.winner.mapped
    assert made.recipe.replace_activations == "mappable"
    assert first is not None
    assert winner is not None
    assert first.num_mapped < first.num_operators
    assert winner.num_mapped == winner.num_operators


def _normalized(g: FloatGraph, x: int) -> int:
    """Normalize over the channels: x / sqrt(mean(x * x) + 0.001)."""
    shape = g.shape(x)
    row = (*shape[:-1], 1)
    axis = g.constant(np.array([3]))
    squares = g.arithmetic("MUL", x, x)
    mean = g.add("MEAN", (squares, axis), row, {"keep_dims": True}, "ReducerOptions")
    added = g.arithmetic("ADD", mean, g.constant(np.array([1e-3], np.float32)))
    root = g.add("RSQRT", (added,), row)
    return g.arithmetic("MUL", x, root)


def test_a_network_that_cannot_be_converted_is_tried_with_other_activations(
    tmp_path: Path,
) -> None:
    g = FloatGraph(SHAPE, 4)
    x = g.add("GELU", (g.conv(g.input, 8, 3),), (1, 6, 6, 8), {"approximate": False}, "GeluOptions")
    (tmp_path / "float.tflite").write_bytes(write_model(g.model(g.dense(x, 6))))
    for name in ("cal", "eval"):
        samples = g.random.normal(size=(120, *SHAPE[1:])).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=samples)
    made, _ = run(tmp_path, tmp_path / "out.tflite", max_drop=20.0, max_trials=4)
    assert "GELU" in made.trials[0].problem
    assert made.recipe.replace_activations


def test_the_range_of_an_input_that_faults_made_wide_gets_narrower(tmp_path: Path) -> None:
    """One of 20 calibration samples is 100 times larger, and the network is linear."""
    g = FloatGraph(SHAPE, 4)
    (tmp_path / "float.tflite").write_bytes(write_model(g.model(g.conv(g.input, 4, 3))))
    samples = g.random.normal(size=(2, 200, *SHAPE[1:])).astype(np.float32)
    samples[0, ::20] *= 100
    np.savez(tmp_path / "cal.npz", x=samples[0])
    np.savez(tmp_path / "eval.npz", x=samples[1])
    made, _ = run(tmp_path, tmp_path / "out.tflite", max_drop=0.0, max_trials=30)
    name = read_model(tmp_path / "float.tflite").main.tensors[g.input].name
    assert dict(made.recipe.tensors)[name].startswith("percentile:99")
    before, after = made.score_of("convert"), made.score_of("tuned")
    assert before is not None
    assert after is not None
    assert after.snr_db > before.snr_db + 10


def test_models_with_joined_and_with_separate_outputs_are_measured_alike(tmp_path: Path) -> None:
    """Boxes in pixels and probabilities are joined; `convert` takes them apart, plain does not."""
    g = FloatGraph(SHAPE, 4)
    x = g.conv(g.input, 8, 3, "RELU")
    boxes = g.conv(x, 4)
    g.scale(g.operators[-1].inputs[1], np.full(8, 100.0))
    scores = g.simple("LOGISTIC", g.conv(x, 6))
    shapes = (g.reshape(boxes, (1, 36, 4)), g.reshape(scores, (1, 36, 6)))
    joined = g.add(
        "CONCATENATION",
        shapes,
        (1, 36, 10),
        {"axis": 2, "fused_activation_function": "NONE"},
        "ConcatenationOptions",
    )
    (tmp_path / "float.tflite").write_bytes(write_model(g.model(joined)))
    for name in ("cal", "eval"):
        samples = g.random.normal(size=(120, *SHAPE[1:])).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=samples)
    made, _ = run(tmp_path, tmp_path / "out.tflite", max_drop=0.0, max_trials=3)
    assert len(read_model(tmp_path / "out.tflite").main.outputs) == 2
    scores_of = [each.score for each in made.trials if each.score is not None]
    assert len({each.measure for each in (*scores_of, *(r.score for r in made.reported))}) == 1
    plain, convert_score = made.score_of("plain"), made.score_of("convert")
    assert plain is not None
    assert convert_score is not None
    assert convert_score.is_better_than(plain)


def test_a_negative_budget_is_refused(outliers: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--max-drop is -1"):
        run(outliers, tmp_path / "out.tflite", max_drop=-1.0)


@pytest.mark.slow
def test_the_tensors_that_cost_most_get_ranges_of_their_own(outliers: Path, tmp_path: Path) -> None:
    """The squares are the tensor whose range a few samples set."""
    made, _ = run(outliers, tmp_path / "out.tflite", max_drop=0.0, max_trials=40)
    lines = (tmp_path / "out.journal.jsonl").read_text().splitlines()
    worst = [json.loads(line)["worst"]["tensors"] for line in lines if "worst" in json.loads(line)]
    own = [name for each in made.trials for name, _ in each.recipe.tensors]
    assert worst[0][0] in own
    again, _ = run(outliers, tmp_path / "out.tflite", max_drop=0.0, max_trials=40)
    assert again.sha256 == made.sha256
    assert (tmp_path / "out.journal.jsonl").read_text().splitlines() == lines
