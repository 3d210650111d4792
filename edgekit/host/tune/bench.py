# SPDX-License-Identifier: Apache-2.0
"""Make and score the model of a recipe, once: the journal has the trials of earlier runs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.data import Dataset, iter_batches
from edgekit.data.dataset import has_batch
from edgekit.data.spread import spread
from edgekit.debug import DebugOptions, debug_models
from edgekit.errors import (
    EdgeKitError,
    ExternalToolError,
    InputError,
    UnsupportedModelError,
    UsageError,
)
from edgekit.evaluate import EvaluateResult, evaluate
from edgekit.evaluate.journal import Journal
from edgekit.formats.model_file import ModelFile
from edgekit.host.convert.conversion import convert_trial
from edgekit.host.convert.improve.limits import limit_values
from edgekit.host.convert.improve.trial import wide_outputs
from edgekit.host.convert.recipe import PLAIN, Recipe
from edgekit.host.convert.result import ConvertResult
from edgekit.host.records import record_of
from edgekit.host.tune.network import Network
from edgekit.host.tune.options import TuneOptions
from edgekit.host.tune.result import Trial
from edgekit.host.tune.score import common_measure, score_of
from edgekit.progress import no_progress

_TRIAL, _WORST, _MEASURE = "trial", "worst", "measure"
_NUM_DEBUGGED = 16  # samples
_FEW = 8  # samples


@dataclass(frozen=True)
class Made:
    """A converted model in the bench's folder."""

    path: Path
    result: ConvertResult


@dataclass(frozen=True)
class Attempt:
    """What came of a recipe: a model and its evaluation on the search part, or an error."""

    converted: ConvertResult | None
    evaluated: EvaluateResult | None
    error: EdgeKitError | None
    time_s: float


class Attempts(Protocol):
    """Tries recipes: here, or on the workers of a cluster."""

    def expect(self, recipes: Iterable[Recipe]) -> None:
        """Prepare for ``recipes``, which will probably be tried next, in this order."""

    def attempt(self, recipe: Recipe) -> Attempt:
        """Try a recipe; see `Bench.attempt`."""

    def others(self) -> Iterator[tuple[Recipe, Attempt]]:
        """Yield, once, those that were expected and ended before it was their turn."""


@dataclass(frozen=True)
class _Worst:
    """An entry of the journal: the tensors of a model whose rounding costs most."""

    sha256: str  # of the model
    tensors: tuple[str, ...]


class Bench:
    """Converts one network by recipes, and scores the models on the search part of the data."""

    def __init__(
        self,
        network: Network,
        options: TuneOptions,
        calibration: Dataset,
        search: Dataset,
        folder: Path,
    ) -> None:
        """Prepare trials.

        Args:
            network: The float network.
            options: How to convert it.
            calibration: The calibration samples.
            search: The search part of the evaluation data.
            folder: For the models.
        """
        self._network, self._options, self._folder = network, options, folder
        self._calibration, self._search = calibration, search
        self._made: dict[Recipe, Made] = {}
        self._evaluated: dict[str, EvaluateResult] = {}  # by the model's hash
        few = spread(calibration, _FEW)
        self.wide = wide_outputs(network.reference, _batches(network.reference, few))

    def make(self, recipe: Recipe) -> Made:
        """Convert the network.

        Raises:
            EdgeKitError: As `convert`.
        """
        if recipe not in self._made:
            path = self._folder / f"{len(self._made)}.tflite"
            network = self._network
            options = self._options.convert_options(recipe, with_source=network.is_source)
            how = self._options.preprocess
            result = convert_trial(network.path, self._calibration, path, options, how)
            self._made[recipe] = Made(path, result)
        return self._made[recipe]

    def keep(self, recipe: Recipe, content: bytes, result: ConvertResult) -> None:
        """Take the model of ``recipe``, which another process made."""
        path = self._folder / f"{len(self._made)}.tflite"
        path.write_bytes(content)
        self._made[recipe] = Made(path, result)

    def attempt(self, recipe: Recipe) -> Attempt:
        """Make and evaluate the model of ``recipe``.

        Raises:
            UsageError: As `convert`.
            ExternalToolError: As `convert`.
        """
        start = time.monotonic()
        try:
            made = self.make(recipe)
            sha256 = made.result.sha256
            if sha256 not in self._evaluated:
                self._evaluated[sha256] = self.evaluated(made, self._search)
        except (UsageError, ExternalToolError):
            raise
        except EdgeKitError as error:
            return Attempt(None, None, error, time.monotonic() - start)
        return Attempt(made.result, self._evaluated[sha256], None, time.monotonic() - start)

    def expect(self, recipes: Iterable[Recipe]) -> None:
        """Do nothing: one recipe is tried after the other."""

    def others(self) -> Iterator[tuple[Recipe, Attempt]]:
        """Yield nothing."""
        yield from ()

    def evaluated(self, made: Made, dataset: Dataset) -> EvaluateResult:
        """Evaluate a model on ``dataset`` against the float network."""
        reference, labels = self._network.reference, self._options.labels
        if self.wide and any(each.name == "clip_logits" for each in made.result.improvements):
            reference = ModelFile.of(limit_values(reference.model, self.wide))
        return evaluate(made.path, dataset, against=reference, labels=labels)

    def worst_tensors(self, recipe: Recipe) -> list[str]:
        """Return the tensors of the float network, those first whose own error costs most.

        Empty if the two networks cannot be matched.
        """
        made = self.make(recipe)
        options = DebugOptions(num_samples=_NUM_DEBUGGED, source=str(self._network.path))
        try:
            found = debug_models(
                self._network.reference, made.path, self._search, options, no_progress
            )
        except UnsupportedModelError:
            return []
        measured = [each for each in found.operators if each.isolated_snr_db is not None]
        measured.sort(key=lambda each: each.isolated_snr_db or 0.0)
        return list(dict.fromkeys(each.float_name for each in measured if each.float_name))


def _batches(model: ModelFile, dataset: Dataset) -> Iterator[list[NDArray[Any]]]:
    """Yield some samples as arrays in the shapes of the inputs of ``model``; whole batches only."""
    shapes = [model.model.main.tensors[index].shape for index in model.model.main.inputs]
    size = shapes[0][0] if shapes[0] and has_batch(shapes) else 1
    for batch in itertools.islice(iter_batches(dataset, size), _FEW):
        if len(batch.sources) == size:
            pairs = zip(batch.inputs, shapes, strict=True)
            yield [np.asarray(values).reshape(shape) for values, shape in pairs]


class Trials:
    """The trials of a run; each recipe is tried once."""

    def __init__(self, bench: Bench, attempts: Attempts, journal: Journal) -> None:
        """Start or continue a run.

        Args:
            bench: Has the models.
            attempts: Makes and evaluates the models of recipes.
            journal: Open; holds the trials of the run so far.
        """
        self._bench, self._attempts, self._journal = bench, attempts, journal
        try:
            known = [Trial.from_fields(each[_TRIAL]) for each in journal.entries if _TRIAL in each]
            worst = [record_of(_Worst, each[_WORST]) for each in journal.entries if _WORST in each]
        except (ValueError, InputError) as error:
            raise journal.damaged(str(error)) from error
        self._known = {each.recipe: each for each in known}
        self._worst = {each.sha256: list(each.tensors) for each in worst}
        self._first: dict[Recipe, Attempt] = {}  # those that chose the measure
        self.measure = self._common_measure()
        self.done: list[Trial] = []

    def expect(self, recipes: Iterable[Recipe]) -> None:
        """Say which recipes will probably be tried next, in their order."""
        done = {each.recipe for each in self.done}
        tried = {*done, *self._known, *self._first}
        self._attempts.expect(each for each in recipes if each not in tried)

    def run(self, recipe: Recipe, step: str) -> Trial:
        """Return the trial of ``recipe``, from the journal or newly made."""
        earlier = next((each for each in self.done if each.recipe == recipe), None)
        if earlier is not None:
            return earlier
        number = len(self.done) + 1
        known = self._known.pop(recipe, None)
        if known is None:
            attempt = self._first.pop(recipe, None) or self._attempts.attempt(recipe)
            known = self._noted(recipe, step, number, attempt)
            for other, early in self._attempts.others():
                self._known[other] = self._noted(other, "", 0, early)
        trial = replace(known, number=number, step=step)
        self.done.append(trial)
        return trial

    def _common_measure(self) -> str:
        """Return what models can be measured by whose outputs are divided in different ways."""
        known = next((e[_MEASURE] for e in self._journal.entries if _MEASURE in e), None)
        if known is not None:
            return str(known)
        recipes = (Recipe(), PLAIN)
        self._attempts.expect(recipes)
        self._first = {each: self._attempts.attempt(each) for each in recipes}
        measure = common_measure([e.evaluated for e in self._first.values() if e.evaluated])
        self._journal.write({_MEASURE: measure})
        return measure

    def worst_tensors(self, trial: Trial, most: int) -> list[str]:
        """Return the tensors whose rounding costs most at the outputs, by their names in float."""
        if trial.sha256 not in self._worst:
            found = self._bench.worst_tensors(trial.recipe)
            self._worst[trial.sha256] = found
            self._journal.write({_WORST: {"sha256": trial.sha256, "tensors": found}})
        return self._worst[trial.sha256][:most]

    def _noted(self, recipe: Recipe, step: str, number: int, attempt: Attempt) -> Trial:
        """Return the trial of an attempt, which is in the journal then."""
        trial = self._trial(Trial(number, recipe, step, None, None), attempt)
        self._journal.write({_TRIAL: trial.to_dict()})
        return trial

    def _trial(self, trial: Trial, attempt: Attempt) -> Trial:
        """Return ``trial`` with the score of an attempt, or why there is none."""
        error, made = attempt.error, attempt.converted
        trial = replace(trial, time_s=round(attempt.time_s, 3))
        try:
            if error is None and made is not None and attempt.evaluated is not None:
                score = score_of(attempt.evaluated, self.measure)
                mapped = None if made.outcome is None else made.outcome.now
                return replace(trial, score=score, mapped=mapped, sha256=made.sha256)
        except EdgeKitError as no_score:
            error = no_score
        if error is None:
            return trial
        first = error.why.split("\n")[0]
        return replace(trial, problem=f"{error.what}{': ' * bool(first)}{first}")
