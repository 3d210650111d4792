# SPDX-License-Identifier: Apache-2.0
"""`edgekit.tune`: search a recipe within an accuracy budget, and prove it on unseen samples."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit import files
from edgekit.data import Dataset, Preprocess
from edgekit.data.dataset import identity_of
from edgekit.evaluate.journal import Journal
from edgekit.evaluate.shard import seen_there
from edgekit.host.convert.child import kept_converters
from edgekit.host.convert.conversion import convert
from edgekit.host.convert.enforce import NotEdgeTpuModelError
from edgekit.host.convert.options import shape_words
from edgekit.host.convert.recipe import PLAIN
from edgekit.host.tune.bench import Attempts, Bench, Trials
from edgekit.host.tune.crew import Crew, Workers
from edgekit.host.tune.kept import kept
from edgekit.host.tune.kit import given, kit_of
from edgekit.host.tune.network import float_network
from edgekit.host.tune.options import TuneOptions
from edgekit.host.tune.parts import divide, open_data
from edgekit.host.tune.result import MET, NOT_MET, NOTHING_BETTER, Reported, Trial, TuneResult
from edgekit.host.tune.score import score_of
from edgekit.host.tune.search import Search, Space
from edgekit.version import __version__

# Called after each trial with it and the best so far.
OnTrial = Callable[[Trial, Trial], None]


def tune(  # noqa: PLR0913 - public: its options are keywords
    source: Any,  # noqa: ANN401 - anything that convert takes
    *,
    data: Any,  # noqa: ANN401 - anything that open_dataset takes
    eval_data: Any,  # noqa: ANN401 - as data
    output: files.PathLike,
    max_drop: float = 0.5,
    max_trials: int = 100,
    recipe: files.PathLike | None = None,
    journal: files.PathLike | None = None,
    preprocess: str | Preprocess | None = None,
    labels: files.PathLike | Sequence[str] | None = None,
    io: str = "uint8",
    batch_size: int = 1,
    input_shape: str | Sequence[str] | Sequence[int] | None = None,
    signature: str | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    converter_python: files.PathLike | None = None,
    trust_source: bool = False,
    on_trial: OnTrial | None = None,
    pool: Workers | None = None,
) -> TuneResult:
    """Search how to convert a network so that its int8 model stays within an accuracy budget.

    Recipes (ranges of calibration, number of samples, changes before quantization) are tried one
    after the other, until one is within the budget or none is better any more. Each model is scored
    on one half of ``eval_data``; the result is measured on the other half, which no trial saw.

    ``output`` is written only if the budget is met there; the recipe of the best trial always.
    Every trial is in ``journal``: a run that was stopped continues, and tries nothing twice.

    Args:
        source: Anything that `convert` takes.
        data: Calibration samples: anything that `open_dataset` takes.
        eval_data: Samples to score with. Those that are calibration samples too are left
            out. With labels the metric is that of `evaluate`; without them, how many of the float
            model's answers stay the same, or the signal-to-noise ratio of the outputs.
        output: The .tflite to write.
        max_drop: The budget: how much worse than the float model, in percentage points of the
            metric (of an error: in percent). A ratio in dB has no points: it must be good by the
            verdict of `convert`.
        max_trials: How many recipes to try at most.
        recipe: Where to write the best recipe, for ``convert(recipe=...)``; None is ``output`` with
            the suffix ``.recipe.toml``.
        journal: The journal's file; None is ``output`` with the suffix ``.journal.jsonl``.
        preprocess: As for `convert`.
        labels: As for `convert`.
        io: As for `convert`.
        batch_size: As for `convert`.
        input_shape: As for `convert`.
        signature: As for `convert`.
        inputs: As for `convert`.
        outputs: As for `convert`.
        converter_python: As for `convert`.
        trust_source: As for `convert`.
        on_trial: Called after each trial with it and the best one so far.
        pool: The workers of a cluster that do the trials, see `edgekit.cluster`. The result is the
            same; workers need the same packages.

    Raises:
        UnsupportedModelError: No recipe makes a model.
        DataError: The samples cannot be used, or there are too few; the journal is of another run.
        OutputError: A file cannot be written.
        ExternalToolError: TensorFlow is missing, crashed or was killed; or a worker of ``pool`` has
            other packages.
        UsageError: The arguments contradict each other or the model.
    """
    options = TuneOptions(
        max_drop=max_drop,
        max_trials=max_trials,
        preprocess=preprocess,
        labels=labels,
        io=io,
        batch_size=batch_size,
        input_shape=shape_words(input_shape),
        signature=signature,
        inputs=tuple(inputs or ()),
        outputs=tuple(outputs or ()),
        converter_python=converter_python,
        trust_source=trust_source,
    )
    target = Path(output)
    places = _Places(
        target,
        target.with_suffix(".recipe.toml") if recipe is None else Path(recipe),
        target.with_suffix(".journal.jsonl") if journal is None else Path(journal),
    )
    for path in (places.output, places.recipe):
        files.check_writable(path)
        files.refuse_overwriting(
            path, source if isinstance(source, (str, Path)) else "", data, eval_data
        )
    with kept_converters(), tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        return _Run(source, data, eval_data, options, places, Path(folder), pool).result(
            on_trial or (lambda _trial, _best: None)
        )


@dataclass(frozen=True)
class _Places:
    """The files of a run."""

    output: Path
    recipe: Path
    journal: Path


class _Run:
    """The state of one run, from the source to the result."""

    def __init__(
        self,
        source: Any,  # noqa: ANN401
        data: Any,  # noqa: ANN401
        evaluation: Any,  # noqa: ANN401
        options: TuneOptions,
        places: _Places,
        folder: Path,
        pool: Workers | None,
    ) -> None:
        self._start = time.monotonic()
        self._source, self._data, self._options, self._places = source, data, options, places
        self._where = str(source) if isinstance(source, (str, Path)) else f"model {source.name}"
        self._folder = folder
        self._network = float_network(source, options, folder)
        how = self._preprocess()
        self._calibration = open_data(data, self._network.reference, how, "train")
        self._evaluation = open_data(evaluation, self._network.reference, how, "test")
        self._parts = divide(self._evaluation, self._calibration)
        self._bench_options = replace(options, preprocess=how)
        self._bench = Bench(
            self._network,
            self._bench_options,
            kept(self._calibration),
            self._parts.search,
            folder,
        )
        self._given = (data, evaluation)
        self._pool = pool

    @contextlib.contextmanager
    def _attempts(self) -> Iterator[Attempts]:
        """Yield what tries recipes: this process, or the workers of a cluster."""
        if self._pool is None:
            yield self._bench
            return
        shares = self._pool.shares_folder
        data, evaluation = (seen_there(each, shares_folder=shares) for each in self._given)
        kit = kit_of(
            self._network,
            self._bench_options,
            given(self._calibration, data, "train"),
            given(self._evaluation, evaluation, "test", self._parts.search_indices),
        )
        with contextlib.closing(Crew(self._pool, kit, self._bench)) as crew:
            yield crew

    def _preprocess(self) -> str | Preprocess | None:
        """Return how pixels become the input: as requested, else as `convert` finds it."""
        if self._options.preprocess is not None:
            return self._options.preprocess
        try:
            found = convert(
                self._source,
                data=self._data,
                output=self._folder / "default.tflite",
                **self._options.keywords(),
            )
        except NotEdgeTpuModelError:
            return None  # of the network with other activations, it is the default
        return found.preprocess or None

    def result(self, on_trial: OnTrial) -> TuneResult:
        """Search, report and write."""
        options = self._options
        with (
            Journal(self._places.journal, self._key(), resume=True) as journal,
            self._attempts() as attempts,
        ):
            trials = Trials(self._bench, attempts, journal)
            space = Space(
                self._calibration.num_samples, bool(self._bench.wide), self._open_inputs()
            )
            search = Search(trials, space, options.max_drop, options.max_trials, on_trial)
            base, best = search.run()
        made = self._folder / "best.tflite"
        final = convert(
            self._source,
            data=self._data,
            output=made,
            recipe=best.recipe,
            **options.keywords(),
        )
        reported = tuple(self._reported(trials, base, best, made))
        score = reported[-1].score
        is_met = score.meets(options.max_drop)
        files.write_text(self._places.recipe, best.recipe.to_toml())
        if is_met:
            files.write_bytes(self._places.output, made.read_bytes())
        outcome = NOTHING_BETTER if best is base else NOT_MET
        return TuneResult(
            source=self._where,
            output=str(self._places.output) if is_met else None,
            sha256=final.sha256,
            recipe=best.recipe,
            recipe_file=str(self._places.recipe),
            outcome=MET if is_met else outcome,
            max_drop=options.max_drop,
            best=best.number,
            trials=tuple(trials.done),
            reported=reported,
            num_search=self._parts.num_search,
            num_report=self._parts.num_report,
            num_left_out=self._parts.num_left_out,
            calibration=self._calibration.describe(),
            evaluation=self._evaluation.describe(),
            journal=str(self._places.journal),
            time_s=time.monotonic() - self._start,
            versions=final.versions,
            warnings=final.warnings,
            asked=options.asked(),
        )

    def _open_inputs(self) -> tuple[str, ...]:
        """Return the names of the inputs; none if the preprocessing states their range."""
        if self._calibration.promised_range is not None:
            return ()
        graph = self._network.reference.model.main
        return tuple(graph.tensors[index].name for index in graph.inputs)

    def _reported(self, trials: Trials, base: Trial, best: Trial, path: Path) -> list[Reported]:
        """Measure the plain model, convert's, and the one at ``path`` on the report part."""
        plain = next((each for each in trials.done if each.recipe == PLAIN), None)
        found = []
        for name, trial in (("plain", plain), ("convert", base), ("tuned", best)):
            if trial is None or trial.score is None or trial.mapped is None:
                continue
            made = self._bench.make(trial.recipe)
            if name == "tuned":
                made = replace(made, path=path)  # the file itself, made from the source
            evaluated = self._bench.evaluated(made, self._parts.report)
            score = score_of(evaluated, trials.measure)
            found.append(Reported(name, trial.number, score, trial.mapped))
        return found

    def _key(self) -> dict[str, Any]:
        """Return what must be equal for a journal to be continued."""
        return {
            "edgekit": __version__,
            "network": self._network.reference.sha256,
            "options": self._options.key(),
            "calibration": _identity(self._calibration),
            "evaluation": _identity(self._evaluation),
            "samples": [self._parts.num_search, self._parts.num_report],
        }


def _identity(dataset: Dataset) -> dict[str, Any]:
    found = dict(dataset.describe())
    identity = identity_of(dataset, dataset.num_samples)
    return found if identity is None else {**found, "identity": identity}
