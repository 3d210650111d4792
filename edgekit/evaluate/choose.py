# SPDX-License-Identifier: Apache-2.0
"""Choose the judge: by the requested task, else by the outputs and the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.data import CocoDataset, Dataset, MaskDataset
from edgekit.data.dataset import labels_of
from edgekit.data.label_kinds import (
    CLASSES,
    MULTI_HOT,
    ONE_HOT,
    TARGETS,
    UNLABELLED,
    kind_of,
)
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.evaluate.class_names import (
    check_num_folders,
    check_same_order,
    folders_of,
    label_map,
    order_warnings,
)
from edgekit.evaluate.no_judge import NoJudge
from edgekit.evaluate.tally import Head, Tally
from edgekit.tasks import (
    CLASSIFICATION,
    DETECTION,
    MULTILABEL,
    NONE,
    POSE,
    REGRESSION,
    SEGMENTATION,
    Decoder,
    model_labels,
    values_if_unnamed,
)
from edgekit.tasks.classification import binary_threshold, ends_in_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.evaluate.engine import Engine
    from edgekit.evaluate.judge import Judge

_WANTED = {
    SEGMENTATION: "a folder of images with masks",
    DETECTION: "a COCO JSON",
    POSE: "a COCO JSON with key points",
}

_OF_SIGNS = {-1: 0, 1: 1}  # label -> class

_SOFTMAX = (
    "the model ends in SOFTMAX: its scores sum to 1, so if several classes are true, few or none "
    "of their scores are above the threshold; train it with a sigmoid per class, or give "
    "--score-threshold"
)


@dataclass(frozen=True)
class Case:
    """The input for the choice of a judge: one or two models on the same samples."""

    engines: Sequence[Engine]
    decoders: Sequence[Decoder]
    dataset: Dataset
    names: Sequence[str]  # of the model's classes; may be empty
    requested: str | None  # the task that the user named
    has_given_names: bool  # the user named the classes, so folders must match them
    label_offset: int
    score_threshold: float | None

    @property
    def source(self) -> str:
        """The source of the data."""
        return str(self.dataset.describe().get("source", ""))

    @property
    def num_values(self) -> int:
        """The number of values in all outputs of the first model for one sample."""
        outputs = self.engines[0].single.outputs
        return sum(int(np.prod(info.shape[1:], dtype=np.int64)) for info in outputs)


@dataclass(frozen=True)
class Chosen:
    """A judge, and the reasons and warnings of the choice."""

    task: str
    judge: Judge
    why: str  # the task
    warnings: tuple[str, ...] = ()
    threshold: float | None = None  # of a multi-label model: scores above it count as true


def choose_judge(case: Case) -> Chosen:
    """Return the judge of ``case``; if labels and outputs contradict each other, the labels decide.

    Raises:
        DataError: The data do not fit the requested task, or the labels fit no task.
        UnsupportedModelError: The two models are for different tasks.
    """
    task, why, warnings = _task(case)
    if task in (CLASSIFICATION, MULTILABEL, REGRESSION, NONE):
        return _of_labels(case, task, why, warnings)
    tasks = [decoder.task for decoder in case.decoders]
    if any(each != task for each in tasks):
        raise UnsupportedModelError(
            f"the two models are for different tasks: {', '.join(tasks)}",
            where=case.engines[-1].prepared.source,
            fix="--against takes the same network before or after conversion",
        )
    return Chosen(task, _of_files(case, task), why)


def _task(case: Case) -> tuple[str, str, tuple[str, ...]]:
    """Return the task, how it was recognized, and warnings."""
    guess = case.decoders[0]
    if case.requested or _has_truth(guess.task, case.dataset):
        return guess.task, guess.why, ()
    if isinstance(case.dataset, (CocoDataset, MaskDataset)):
        return _unjudged(case, "the data are images with boxes, key points or masks")
    labels = labels_of(case.dataset)
    kind = kind_of(labels)
    values, width = (
        case.num_values,
        0 if labels is None else labels.reshape(len(labels), -1).shape[1],
    )
    why = f"{guess.why}; the labels are {kind}" + (f", {width} per sample" if width > 1 else "")
    if guess.task == CLASSIFICATION:
        if kind == UNLABELLED:
            engine = case.engines[0]
            values_of = (
                guess if case.names else values_if_unnamed(guess, engine.prepared, engine.single)
            )
            # Without labels or names, nothing shows that a few numbers are class scores.
            return (NONE if values_of is not guess else CLASSIFICATION), values_of.why, ()
        if kind == CLASSES and values == 1 and not case.label_offset and not case.names:
            # One output means two classes, or a number.
            is_binary = labels is not None and bool(np.isin(labels, (0, 1)).all())
            is_binary = is_binary or _are_signs(labels)
            return (CLASSIFICATION, guess.why, ()) if is_binary else (REGRESSION, why, ())
        if kind == CLASSES or (kind == ONE_HOT and width == values):
            return CLASSIFICATION, guess.why, ()
        if kind == MULTI_HOT and width == values:
            return MULTILABEL, why, ()
        if kind == TARGETS and width == values:
            return REGRESSION, why, ()
        raise _no_fit(case, kind, width)
    is_mask = guess.task == SEGMENTATION and labels is not None and labels.dtype.kind != "f"
    is_target = kind == TARGETS or (kind == CLASSES and values == 1)
    if width == values and is_target and not is_mask:
        warnings = () if guess.task == NONE else (_refuted(guess, "judged as regression"),)
        return REGRESSION, why, warnings
    return _unjudged(
        case, "there are no labels" if kind == UNLABELLED else f"the labels are {kind}"
    )


def _are_signs(labels: NDArray[Any] | None) -> bool:
    """Whether labels are -1 and 1, as for a hinge loss: two classes of one output."""
    return labels is not None and set(np.unique(labels).tolist()) == set(_OF_SIGNS)


def _has_truth(task: str, dataset: Dataset) -> bool:
    is_coco = task in (DETECTION, POSE) and isinstance(dataset, CocoDataset)
    return is_coco or (task == SEGMENTATION and isinstance(dataset, MaskDataset))


def _unjudged(case: Case, what: str) -> tuple[str, str, tuple[str, ...]]:
    guess = case.decoders[0]
    instead = "compared output by output" if len(case.engines) > 1 else "only latency was measured"
    warning = f"{_refuted(guess, instead)}: {what}"
    wanted = _WANTED.get(guess.task)
    return NONE, guess.why, (warning + (f", {guess.task} needs {wanted}" if wanted else ""),)


def _refuted(guess: Decoder, instead: str) -> str:
    what = "no known task" if guess.task == NONE else f"{guess.task}, {guess.kind}"
    return f"the outputs look like {what} ({guess.why}); {instead}; --task sets another"


def _no_fit(case: Case, kind: str, width: int) -> DataError:
    values = case.num_values
    if width == values:
        fix = "save the index of the true class as y, or give --task regression"
    else:
        fix = f"save a class index, or {values} numbers, for each sample"
    return DataError(
        f"the labels are {kind} of {width} per sample, the model returns {values} values",
        where=case.source,
        why=f"the model looks like {case.decoders[0].task} ({case.decoders[0].why}), and no task "
        "has such labels",
        fix=fix,
    )


def _of_labels(case: Case, task: str, why: str, warnings: tuple[str, ...]) -> Chosen:
    runners = [engine.single for engine in case.engines]
    if task == NONE:
        return Chosen(task, NoJudge(len(runners)), why, warnings)
    if task == REGRESSION:
        from edgekit.evaluate.regression import RegressionJudge  # noqa: PLC0415 - seldom used

        return Chosen(task, RegressionJudge(runners, case.names), why, warnings)
    heads = [Head(engine.single, engine.prepared.source) for engine in case.engines]
    _check_same_classes(case, heads)
    if task == CLASSIFICATION:
        must_match = case.has_given_names
        folders = folders_of(case.dataset)
        found = label_map(folders, case.names, must_match=must_match)
        if found is None:
            classes = case.decoders[0].num_classes
            check_num_folders(folders, classes, case.label_offset)
        order = tuple(order_warnings(folders, case.names, found))
        if case.num_values == 1 and _are_signs(labels_of(case.dataset)):
            found = dict(_OF_SIGNS)
        return Chosen(task, Tally(heads, case.label_offset, found), why, (*warnings, *order))
    from edgekit.evaluate.multilabel import MultilabelJudge  # noqa: PLC0415 - seldom used

    given = case.score_threshold
    thresholds = [
        binary_threshold(each.model, each.outputs[0]) if given is None else given
        for each in runners
    ]
    judge = MultilabelJudge(runners, thresholds, case.names)
    if ends_in_softmax(runners[0].model, runners[0].outputs[0]):
        warnings = (*warnings, _SOFTMAX)
    return Chosen(task, judge, why, warnings, thresholds[0])


def _check_same_classes(case: Case, heads: Sequence[Head]) -> None:
    """Raise UnsupportedModelError if class i of one model is not class i of the other."""
    other = case.engines[-1].prepared
    counts = [head.num_classes for head in heads]
    if counts[0] != counts[-1]:
        raise UnsupportedModelError(
            f"the two models have {counts[0]} and {counts[-1]} classes",
            where=other.source,
            why="answers are compared by class index; a background class is the usual cause",
            fix="--against takes the same network before or after conversion",
        )
    if len(heads) > 1 and not case.has_given_names:
        check_same_order(case.names, model_labels(other, counts[-1]), other.source)


def _of_files(case: Case, task: str) -> Judge:
    from edgekit.evaluate import coco_judge  # noqa: PLC0415 - for these data sets only
    from edgekit.evaluate.mask_judge import MaskJudge  # noqa: PLC0415

    dataset, decoders = case.dataset, case.decoders
    if task == SEGMENTATION and isinstance(dataset, MaskDataset):
        return MaskJudge(decoders, case.names)
    if task == DETECTION and isinstance(dataset, CocoDataset):
        classes = decoders[0].num_classes
        categories = coco_judge.categories_of_classes(
            dataset, classes, case.names, case.label_offset
        )
        return coco_judge.CocoJudge(decoders, dataset, categories, coco_judge.BOXES)
    if task == POSE and isinstance(dataset, CocoDataset):
        categories = coco_judge.person_category(dataset)
        return coco_judge.CocoJudge(decoders, dataset, categories, coco_judge.KEYPOINTS)
    if len(case.engines) > 1:
        return NoJudge(len(case.engines))  # their answers are compared with each other
    raise DataError(
        f"{task} is evaluated on {_WANTED[task]}",
        where=case.source,
        why=f"the model {case.engines[0].prepared.source or 'given'} is for {task}: "
        f"{decoders[0].why}",
        fix="give such data, or name another --task",
    )
