# SPDX-License-Identifier: Apache-2.0
"""What reads a model's outputs: a task's name, and a function from tensors to meaning."""

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
REGRESSION = "regression"  # outputs are real numbers, near those that are right
MULTILABEL = "multilabel"  # a score a class, each by itself: several may hold
NONE = "none"  # outputs are numbers and no more
TASKS = (CLASSIFICATION, MULTILABEL, DETECTION, SEGMENTATION, POSE, REGRESSION, NONE)
# Other words for a task: what people type, and what Ultralytics calls it.
_ALSO = {"raw": NONE, "detect": DETECTION, "classify": CLASSIFICATION}


def task_named(word: str) -> str:
    """The task that ``word`` names, which may be an alias; unknown words are returned."""
    return _ALSO.get(word, word)


def check_task(task: str) -> None:
    """Raise UsageError where ``task`` is none of `TASKS`."""
    if task not in TASKS:
        raise UsageError(f"no task {task!r}", fix=f"use one of {', '.join(TASKS)}")


@dataclass(frozen=True)
class Scores:
    """What a classifier answers."""

    scores: NDArray[Any]  # (classes,), real values
    threshold: float | None = None  # above which a class holds by itself, or one score is class 1
    is_logit: bool = False  # one score is a logit, not a probability


@dataclass(frozen=True)
class Values:
    """What a regression network answers."""

    values: NDArray[Any]  # (values,), real, of all outputs in their order


@dataclass(frozen=True)
class Mask:
    """What a segmentation network answers."""

    classes: NDArray[np.int64]  # (h, w), over the whole input of the network


Meaning = Union[Scores, Values, Detections, Mask, Poses, None]


@dataclass(frozen=True)
class Decoder:
    """How one model's outputs are read.

    ``decode`` takes the raw output tensors of one sample, in the interpreter's order, the leading 1
    included, and is safe to call from several threads.
    """

    task: str  # one of TASKS
    kind: str  # for people: "TFLite_Detection_PostProcess", "YOLOv8"
    why: str  # what it was recognized by
    num_classes: int  # 0 if unknown or none
    input_shape: tuple[int, int]  # (height, width) of the image input; (0, 0) without one
    decode: Callable[[Sequence[NDArray[Any]]], Meaning]
    doubts: tuple[str, ...] = ()  # why its answers may be worthless, each with what to do
    # Of the real outputs what holds answers; None where all of it does.
    counted: Callable[[Sequence[NDArray[Any]]], Sequence[NDArray[Any]]] | None = None
    score_threshold: float | None = None  # below it nothing is found, where the network has one
    unjudged: str = ""  # what an evaluation does not compare: "masks", "angles", "key points"
    is_guess: bool = False  # the user has not named the task


def raw_decoder(why: str, input_shape: tuple[int, int]) -> Decoder:
    """For a model whose outputs stay numbers, because of ``why``."""
    return Decoder(NONE, "raw tensors", why, 0, input_shape, lambda _raw: None)
