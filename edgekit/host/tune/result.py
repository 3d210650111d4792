# SPDX-License-Identifier: Apache-2.0
"""The result of `tune`: every trial, the winner, and what it reaches on unseen samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from edgekit.host.convert.outcome import Mapped
from edgekit.host.convert.recipe import Recipe
from edgekit.host.records import record_of
from edgekit.host.tune.score import Score
from edgekit.result import Result

MET, NOT_MET, NOTHING_BETTER = "met", "not_met", "nothing_better"


@dataclass(frozen=True)
class Trial(Result):
    """One recipe, and the score of its model."""

    number: int  # counted from 1
    recipe: Recipe
    step: str  # what was tried, in words
    score: Score | None  # on the search part; None if no model was made
    mapped: Mapped | None  # what maps, and the estimated latency
    sha256: str = ""  # of the model
    problem: str = ""  # why there is no model, or why it cannot win
    time_s: float = 0.0

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Trial:
        """Return the trial with these fields, as in a journal.

        Raises:
            ValueError: They are not those of a trial.
            InputError: The recipe cannot be used.
        """
        made = record_of(cls, values)
        return replace(made, recipe=Recipe.from_fields(dict(values["recipe"])))


@dataclass(frozen=True)
class Reported(Result):
    """A model on the report part of the evaluation data."""

    name: str  # plain | convert | tuned
    trial: int  # its number
    score: Score
    mapped: Mapped


@dataclass(frozen=True)
class TuneResult(Result):
    """The result of a search."""

    schema: ClassVar[str] = "edgekit.tune/1"
    source: str
    output: str | None  # the model; None if the budget is not met
    sha256: str  # of the best model
    recipe: Recipe  # the best one
    recipe_file: str
    # met; not_met: better than convert's defaults, but outside the budget; nothing_better: no trial
    # was better than convert's defaults, and these are outside the budget
    outcome: str
    max_drop: float  # the budget, in the unit of the score's drop
    best: int  # the number of the best trial
    trials: tuple[Trial, ...]
    reported: tuple[Reported, ...]  # plain conversion, convert's defaults, the best trial
    num_search: int  # samples that chose between the trials
    num_report: int  # samples of ``reported``: no trial saw them
    num_left_out: int  # evaluation samples that are in the calibration data too
    calibration: dict[str, Any]  # source of the data
    evaluation: dict[str, Any]
    journal: str
    time_s: float
    versions: dict[str, str]
    warnings: tuple[str, ...] = ()
    asked: dict[str, str] = field(default_factory=dict)  # options that the user set

    @property
    def is_met(self) -> bool:
        """Whether the budget is met."""
        return self.outcome == MET

    @property
    def winner(self) -> Trial:
        """The best trial."""
        return next(each for each in self.trials if each.number == self.best)

    def score_of(self, name: str) -> Score | None:
        """Return the score of a model on the report part; None if it was not measured."""
        return next((each.score for each in self.reported if each.name == name), None)
