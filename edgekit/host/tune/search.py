# SPDX-License-Identifier: Apache-2.0
"""Choose the recipes to try: each step alone, then the helpful ones together.

The choice depends only on the scores, so that a run that continues from its journal takes the same
way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from edgekit.errors import EdgeKitError, UnsupportedModelError
from edgekit.host.convert.improve.improve import IMPROVEMENTS
from edgekit.host.convert.outcome import Mapped
from edgekit.host.convert.recipe import PLAIN, Recipe
from edgekit.host.tune.bench import Trials
from edgekit.host.tune.result import Trial

_SAMPLES = "samples:95"
_RANGES = ("percentile:99.99", "percentile:99.9", "percentile:99", _SAMPLES, "mse", "entropy")
# For single tensors; a rule for all may be undone for one of them.
_OWN_RANGES = ("percentile:99.9", _SAMPLES, "mse", "entropy", "percentile:99", "minmax")
_INPUT_RANGES = (_SAMPLES, "percentile:99", "percentile:99.9")
_MOST_TENSORS = 6
_NUM_SAMPLES = (300, 32, 1000)
_REPLACEMENTS = ("mappable", "relu6")
_WITHOUT_FOLD = tuple(each for each in IMPROVEMENTS if each != "fold")


@dataclass(frozen=True)
class Step:
    """A change of a recipe."""

    text: str
    change: Callable[[Recipe], Recipe | None]  # None: it makes no sense for the recipe


@dataclass(frozen=True)
class Space:
    """Which steps make sense for a network and its data."""

    num_available: int | None  # calibration samples; None if unknown
    has_wide_logits: bool
    open_inputs: tuple[str, ...] = ()  # inputs whose range only the samples show

    def steps(self) -> Iterator[Step]:
        """Yield the steps, those that help most often first."""
        if self.has_wide_logits:
            yield Step("clip logits", lambda recipe: replace(recipe, clip_logits=True))
        if self.open_inputs:
            yield Step("normalized inputs", lambda recipe: replace(recipe, normalize_inputs=True))
        for rule in _RANGES:
            yield Step(f"ranges {rule}", lambda recipe, r=rule: replace(recipe, ranges=r))  # type: ignore[misc] # bound now
        if self.open_inputs:  # odd samples are odd in every tensor
            yield Step(
                f"ranges and inputs {_SAMPLES}",
                lambda recipe: self._with_inputs(replace(recipe, ranges=_SAMPLES), _SAMPLES),
            )
            for rule in _INPUT_RANGES:
                yield Step(f"inputs {rule}", lambda recipe, r=rule: self._with_inputs(recipe, r))  # type: ignore[misc] # bound now
        for count in self._counts():
            yield Step(f"{count} samples", lambda recipe, n=count: replace(recipe, num_samples=n))  # type: ignore[misc] # bound now
        for text, names in (("all improvements", IMPROVEMENTS), ("no folding", _WITHOUT_FOLD)):
            yield Step(text, lambda recipe, n=names: replace(recipe, improvements=n))  # type: ignore[misc] # bound now
        yield Step("rounded weights", lambda recipe: replace(recipe, round_weights=True))
        yield Step("corrected biases", lambda recipe: replace(recipe, correct_biases=True))
        yield Step("split channels", lambda recipe: replace(recipe, split_channels=True))
        if self.num_available is None or self.num_available >= 2 * Recipe().num_samples:
            yield Step("other samples", lambda recipe: replace(recipe, sample_set=1))

    def _with_inputs(self, recipe: Recipe, rule: str) -> Recipe:
        return _with_own(recipe, tuple((name, rule) for name in self.open_inputs))

    def _counts(self) -> list[int]:
        """Return the numbers of calibration samples to try."""
        most = self.num_available
        counts = [each if most is None else min(each, most) for each in _NUM_SAMPLES]
        usual = Recipe().num_samples if most is None else min(Recipe().num_samples, most)
        return [each for each in dict.fromkeys(counts) if each != usual]


class Search:
    """A greedy search that stops when the budget is met."""

    def __init__(
        self,
        trials: Trials,
        space: Space,
        max_drop: float,
        max_trials: int,
        on_trial: Callable[[Trial, Trial], None],
    ) -> None:
        """Prepare a search.

        Args:
            trials: Runs the trials.
            space: The steps to try.
            max_drop: The budget.
            max_trials: How many trials at most, besides those of convert's own recipes.
            on_trial: Called after each trial with it and the best so far.
        """
        self._trials, self._space = trials, space
        self._max_drop, self._most, self._on_trial = max_drop, max_trials, on_trial
        self._best: Trial | None = None
        self._base: Trial | None = None  # the first one with a model

    def run(self) -> tuple[Trial, Trial]:
        """Return the trial with convert's defaults (or the nearest to them), and the best trial.

        Raises:
            UnsupportedModelError: No recipe makes a model.
        """
        first, base = self._first()
        steps = list(self._space.steps())
        self._trials.expect([PLAIN, *self._recipes(steps, base.recipe)])
        self._try(PLAIN, "plain conversion")
        gains = [
            (step, trial.score)
            for step, trial in self._try_each(steps, lambda: base.recipe)
            if trial.score is not None and base.score is not None
        ]
        # Those that helped most come first; each is added to the best recipe so far.
        gains.sort(key=lambda each: (each[1].drop, -each[1].snr_db))
        while not self._is_over:
            before = self.best
            added = [replace(s, text=f"{s.text}, with the best so far") for s, _score in gains]
            for _ in self._try_each(added, lambda: self.best.recipe):
                pass
            self._try_tensors()
            if self.best is before:
                break
        return first, self.best

    def _try_each(
        self, steps: Sequence[Step], start: Callable[[], Recipe]
    ) -> Iterator[tuple[Step, Trial]]:
        """Try the steps one after the other, each from ``start()``, until the search is over."""
        for place, step in enumerate(steps):
            if self._is_over:
                return
            recipe = step.change(start())
            if recipe is not None:
                left = self._most - len(self._trials.done)
                self._trials.expect(self._recipes(steps[place:], start())[:left])
                yield step, self._try(recipe, step.text)

    @staticmethod
    def _recipes(steps: Sequence[Step], start: Recipe) -> list[Recipe]:
        return [each for each in (step.change(start) for step in steps) if each is not None]

    def _try_tensors(self) -> None:
        """Try other ranges for the tensors whose rounding costs most, one after the other."""
        if self._is_over:
            return
        names = self._trials.worst_tensors(self.best, _MOST_TENSORS)
        steps = [self._own_range(name, rule) for name in names for rule in _OWN_RANGES]
        for _ in self._try_each(steps, lambda: self.best.recipe):
            pass

    def _own_range(self, name: str, rule: str) -> Step:
        """Return the step that changes the range of one tensor."""

        def change(recipe: Recipe) -> Recipe | None:
            is_other = rule != recipe.ranges or name in self._space.open_inputs
            return _with_own(recipe, ((name, rule),)) if is_other else None

        return Step(f"range of {name} by {rule}, with the best so far", change)

    @property
    def best(self) -> Trial:
        """The best trial so far."""
        if self._best is None:
            raise UnsupportedModelError("no trial made a model")
        return self._best

    @property
    def _is_over(self) -> bool:
        score = self.best.score
        is_met = score is not None and score.surely_meets(self._max_drop)
        return is_met or len(self._trials.done) >= self._most

    def _first(self) -> tuple[Trial, Trial]:
        """Return the trial with convert's defaults, and the one to start from.

        They are the same unless the defaults make no model, or unless more of the network maps with
        other activations, and it is within the budget or as good as with the defaults. If the
        defaults make no model, both are the first one that does.
        """
        first = self._try(Recipe(), "convert's defaults")
        base = first
        for form in _REPLACEMENTS:
            if first.score is not None and not self._lacks(first):
                break
            trial = self._try(Recipe(replace_activations=form), f"activations {form}")
            if self._is_preferred(trial, base):
                base = self._base = self._best = trial
        if base.score is None:
            raise self._failure(first)
        return (base if first.score is None else first), base

    def _lacks(self, trial: Trial) -> bool:
        """Whether a part of the model does not map."""
        return trial.mapped is not None and trial.mapped.num_mapped < trial.mapped.num_operators

    def _is_preferred(self, trial: Trial, base: Trial) -> bool:
        """Whether more of a model maps and it is good enough, or there was no model before."""
        if trial.score is None or trial.mapped is None:
            return False
        if base.score is None or base.mapped is None:
            return True
        is_good = trial.score.meets(self._max_drop) or not base.score.is_better_than(trial.score)
        return (
            is_good
            and _maps_as_much(trial.mapped, base.mapped)
            and (not _maps_as_much(base.mapped, trial.mapped))
        )

    def _failure(self, trial: Trial) -> EdgeKitError:
        return UnsupportedModelError(
            f"no recipe makes a model; with convert's defaults: {trial.problem}",
            fix="edgekit convert says what to change in the network",
        )

    def _try(self, recipe: Recipe, step: str) -> Trial:
        trial = self._trials.run(recipe, step)
        if self._base is None and trial.score is not None:
            self._base = trial
        if self._is_allowed(trial) and self._wins(trial):
            self._best = trial
        self._on_trial(trial, self._best or trial)
        return trial

    def _wins(self, trial: Trial) -> bool:
        if self._best is None or self._best.score is None:
            return True
        return trial.score is not None and trial.score.is_better_than(self._best.score)

    def _is_allowed(self, trial: Trial) -> bool:
        """Whether as much of the model maps as of the first one."""
        if trial.score is None or trial.mapped is None:
            return False
        base = None if self._base is None else self._base.mapped
        if base is None:
            return True
        return _maps_as_much(trial.mapped, base)


def _with_own(recipe: Recipe, own: tuple[tuple[str, str], ...]) -> Recipe:
    """Return ``recipe`` with rules of their own for some more tensors."""
    names = {name for name, _ in own}
    others = tuple(each for each in recipe.tensors if each[0] not in names)
    return replace(recipe, tensors=(*others, *own))


def _maps_as_much(one: Mapped, other: Mapped) -> bool:
    """Whether at least as much of the work maps, and no more operators are left to the CPU."""
    left, others = (each.num_operators - each.num_mapped for each in (one, other))
    return left <= others and (one.macs_share or 0.0) >= (other.macs_share or 0.0)
