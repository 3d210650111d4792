# SPDX-License-Identifier: Apache-2.0
"""Decoders of a model's outputs: a task, and a function from tensors to their meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Sequence, Union

import numpy as np

from edgekit.errors import UsageError
from edgekit.tasks.boxes import Detections
from edgekit.tasks.pose import Poses

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSIFICATION, DETECTION, SEGMENTATION, POSE = (
    "classification",
    "detection",
    "segmentation",
    "pose",
)
REGRESSION = "regression"  # outputs are real numbers, close to true targets
MULTILABEL = "multilabel"  # one score per class: several classes may be true
NONE = "none"  # outputs are only numbers
TASKS = (CLASSIFICATION, MULTILABEL, DETECTION, SEGMENTATION, POSE, REGRESSION, NONE)
# Other words for a task, such as those of Ultralytics.
_ALSO = {"raw": NONE, "detect": DETECTION, "classify": CLASSIFICATION}


def task_named(word: str) -> str:
    """Return the task of ``word``, which may be an alias; return an unknown word unchanged."""
    return _ALSO.get(word, word)


def check_task(task: str) -> None:
    """Raise UsageError if ``task`` is not in `TASKS`."""
    if task not in TASKS:
        raise UsageError(f"no task {task!r}", fix=f"use one of {', '.join(TASKS)}")


@dataclass(frozen=True)
class Scores:
    """The answer of a classifier."""

    scores: NDArray[Any]  # (classes,), real values
    threshold: float | None = None  # a score above it means a true class; a single score: class 1
    is_logit: bool = False  # one score is a logit, not a probability


@dataclass(frozen=True)
class Values:
    """The answer of a regression network."""

    values: NDArray[Any]  # (values,), real, of all outputs in their order


@dataclass(frozen=True)
class Mask:
    """The answer of a segmentation network."""

    classes: NDArray[np.int64]  # (h, w), over the whole input of the network


Meaning = Union[Scores, Values, Detections, Mask, Poses, None]


@dataclass(frozen=True)
class Decoder:
    """How to read one model's outputs.

    ``decode`` takes the raw output tensors of one sample, in the interpreter's order, with the
    leading dimension of 1. Several threads can call it.
    """

    task: str  # one of TASKS
    kind: str  # as text: "TFLite_Detection_PostProcess", "YOLOv8"
    why: str  # how it was recognized
    num_classes: int  # 0 if unknown or none
    input_shape: tuple[int, int]  # (height, width) of the image input; (0, 0) without one
    decode: Callable[[Sequence[NDArray[Any]]], Meaning]
    warnings: tuple[str, ...] = ()  # why its answers may be useless, each with what to do
    # Returns the part of the real outputs that contains answers; None if all of them do.
    counted: Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]] | None = None
    score_threshold: float | None = None  # of the network itself, if it has one
    unjudged: str = ""  # what an evaluation does not compare: "masks", "angles", "key points"
    is_guess: bool = False  # the user has not named the task


def raw_decoder(why: str, input_shape: tuple[int, int]) -> Decoder:
    """Return a decoder that leaves the outputs as numbers, because of ``why``."""
    return Decoder(NONE, "raw tensors", why, 0, input_shape, lambda _raw: None)
