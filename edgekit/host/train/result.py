# SPDX-License-Identifier: Apache-2.0
"""The result of `train`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.host.convert.result import ConvertResult
from edgekit.host.tune.score import Score
from edgekit.result import Result


@dataclass(frozen=True)
class Epoch(Result):
    """One pass over the training samples; epoch 0 is the model before training."""

    number: int
    loss: float | None  # mean over the samples; None of epoch 0
    score: Score  # of the int8 model on the evaluation samples
    time_s: float


@dataclass(frozen=True)
class TrainResult(Result):
    """A finished training."""

    schema: ClassVar[str] = "edgekit.train/1"
    source: str
    output: str  # the int8 model
    float_output: str  # the trained float network, with the ranges that `convert` takes from it
    checkpoint: str
    loss: str  # distill | labels | both
    plain: Score  # of the int8 model that convert makes without training
    epochs: tuple[Epoch, ...]  # of earlier runs too, if it was resumed
    best: int  # the number of the epoch whose model was written
    num_train: int  # samples
    num_eval: int
    stopped_early: bool
    convert: ConvertResult  # how ``output`` was made
    warnings: tuple[str, ...]
    time_s: float
