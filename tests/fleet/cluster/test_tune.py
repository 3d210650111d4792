# SPDX-License-Identifier: Apache-2.0
"""``edgekit tune --cluster``: trials in real worker processes on this computer."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import ExternalToolError
from edgekit.host.tune import TuneResult, tune
from edgekit.host.tune.result import Trial
from tests.fleet.cluster.samples import DeadlyRows, other_versions, process_and_folder
from tests.host.tune.test_tune import outliers, run

pytest.importorskip("distributed", reason="Dask is not installed (the extra cluster)")

from edgekit.fleet.cluster import ClusterPool, cluster

__all__ = ["outliers"]

pytestmark = [pytest.mark.host, pytest.mark.slow]
_OPTIONS = {"max_trials": 9, "max_drop": 0.0}


@pytest.fixture(scope="module")
def pool() -> Iterator[ClusterPool]:
    """Two worker processes."""
    with cluster("local:2") as found:
        yield found


def _found(result: TuneResult) -> tuple[Any, ...]:
    """Return what must not depend on where the trials ran."""
    trials = tuple(replace(each, time_s=0.0) for each in result.trials)
    return trials, result.best, result.recipe, result.sha256, result.reported, result.outcome


@pytest.fixture(scope="module")
def alone(outliers: Path, tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    return run(outliers, tmp_path_factory.mktemp("alone") / "out.tflite", **_OPTIONS)[0]


def _recipes(journal: Path) -> list[str]:
    entries = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    return [json.dumps(each["trial"]["recipe"]) for each in entries if "trial" in each]


def test_the_trials_and_the_winner_are_those_of_one_process(
    alone: TuneResult, outliers: Path, pool: ClusterPool, tmp_path: Path
) -> None:
    shared, _ = run(outliers, tmp_path / "out.tflite", pool=pool, **_OPTIONS)
    assert _found(shared) == _found(alone)
    recipes = _recipes(tmp_path / "out.journal.jsonl")
    assert len(set(recipes)) == len(recipes) >= len(shared.trials)


def test_a_killed_worker_s_trial_is_done_by_another_and_a_stopped_run_goes_on(
    alone: TuneResult, outliers: Path, pool: ClusterPool, tmp_path: Path
) -> None:
    class StoppedError(Exception):
        pass

    folders: list[Path] = []  # of the killed worker

    def disturb(trial: Trial, _best: Trial) -> None:
        if trial.number == 2:
            process, folder = next(iter(pool.connection.client.run(process_and_folder).values()))
            folders.extend(Path(folder).glob("edgekit-*"))
            os.kill(process, signal.SIGKILL)
        if trial.number == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        tune(
            outliers / "float.tflite",
            data=outliers / "cal.npz",
            eval_data=outliers / "eval.npz",
            output=tmp_path / "out.tflite",
            max_trials=9,
            max_drop=0.0,
            on_trial=disturb,
            pool=pool,
        )
    before = _recipes(tmp_path / "out.journal.jsonl")
    assert len(before) >= 5
    again, _ = run(outliers, tmp_path / "out.tflite", pool=pool, **_OPTIONS)
    assert _found(again) == _found(alone)
    recipes = _recipes(tmp_path / "out.journal.jsonl")
    assert recipes[: len(before)] == before
    assert len(set(recipes)) == len(recipes)
    assert folders
    assert not any(each.exists() for each in folders)  # its successor removes them


def test_a_recipe_that_kills_its_workers_is_a_trial_without_a_score(
    outliers: Path, pool: ClusterPool, tmp_path: Path
) -> None:
    # A row that only the recipe with 300 samples reads.
    samples = DeadlyRows(np.load(outliers / "cal.npz")["x"], deadly=102)
    result, seen = run(
        outliers,
        tmp_path / "out.tflite",
        data=samples,
        pool=pool,
        max_trials=14,
        max_drop=0.0,
    )
    dead = [each for each in result.trials if each.problem]
    assert {each.recipe.num_samples for each in dead} == {300}
    assert all("the worker's process ended" in each.problem for each in dead)
    assert len(result.trials) > len(dead)
    assert [each.problem for each in seen] == [each.problem for each in result.trials]


def test_samples_of_a_program_are_sent_to_the_workers(
    outliers: Path, pool: ClusterPool, tmp_path: Path
) -> None:
    known = {name: np.load(outliers / f"{name}.npz") for name in ("cal", "eval")}
    labels = known["eval"]["y"].tolist()
    given = {
        "data": lambda: iter(known["cal"]["x"]),
        "eval_data": list(zip(known["eval"]["x"], labels, strict=True)),
        "max_trials": 4,
        "max_drop": 0.0,
    }
    here, _ = run(outliers, tmp_path / "here.tflite", **given)
    there, _ = run(outliers, tmp_path / "there.tflite", pool=pool, **given)
    assert _found(there) == _found(here)


def test_a_worker_with_other_packages_is_refused(pool: ClusterPool) -> None:
    with pytest.raises(ExternalToolError, match=r"worker \w+ differs .*: numpy") as caught:
        pool.require(other_versions, lambda names: f"install {' and '.join(names)}")
    assert (caught.value.why, caught.value.fix) == ("numpy 1 there, 2 here", "install numpy")
