# SPDX-License-Identifier: Apache-2.0
"""Find the task of a model: by its operators, the shapes of its outputs, or its metadata."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, Callable, Optional

from edgekit.errors import UnsupportedModelError
from edgekit.runtime.base import MOST_TARGETS
from edgekit.tasks.case import PROBABILITIES, Case, DecodeOptions
from edgekit.tasks.decoder import (
    CLASSIFICATION,
    DETECTION,
    MULTILABEL,
    NONE,
    POSE,
    REGRESSION,
    SEGMENTATION,
    TASKS,
    Decoder,
    check_task,
    raw_decoder,
    task_named,
)
from edgekit.tasks.labels import ultralytics_task
from edgekit.tasks.recognizers import (
    class_decoder,
    label_decoder,
    mask_decoder,
    movenet_decoder,
    posenet_decoder,
    postprocess_decoder,
    value_decoder,
)

if TYPE_CHECKING:
    from edgekit.runtime import Runner
    from edgekit.tasks.prepare import Prepared

Recognizer = Callable[[Case], Optional[Decoder]]
# The tasks in Ultralytics' metadata; without metadata the outputs decide.
_ULTRALYTICS = {
    "": None,
    "detect": DETECTION,
    "segment": DETECTION,  # objects with masks
    "obb": DETECTION,
    "pose": POSE,
    "classify": CLASSIFICATION,
    "semantic": SEGMENTATION,
}


def choose_decoder(
    prepared: Prepared,
    runner: Runner,
    task: str | None = None,
    options: DecodeOptions | None = None,
) -> Decoder:
    """Return how to read the outputs of ``runner``, which runs ``prepared.runnable``.

    A wrong guess is not an error: if the outputs look like those of a known network but the values
    contradict it, return a decoder for raw tensors, with the reason.

    Args:
        prepared: The given model.
        runner: A Runner of that model.
        task: One of `TASKS`; None guesses.
        options: Thresholds and anchors.

    Raises:
        UsageError: There is no such task.
        UnsupportedModelError: The outputs cannot be those of ``task``.
        DataError: The anchors in ``options`` do not fit.
    """
    requested = None if task is None else task_named(task)
    if requested is not None:
        check_task(requested)
    case = Case(prepared, runner, options or DecodeOptions(), requested)
    if requested is None:
        return _guessed(case)
    found, refusals = _recognize(case, requested)
    if found is not None:
        return replace(found, why=f"--task {task}")
    if requested == NONE:
        return raw_decoder(f"--task {task}", case.input_shape)
    other, _ = _recognize(replace(case, task=None), None)
    if other is not None:
        refusals.append(f"they are those of {other.kind}, which is {other.task}: {other.why}")
    raise UnsupportedModelError(
        f"the model's outputs are not those of {requested}: their shapes are {case.shapes}",
        where=prepared.source,
        why="; ".join(refusals),
        fix="leave out --task to let edgekit guess the task",
    )


def values_if_unnamed(decoder: Decoder, prepared: Prepared, runner: Runner) -> Decoder:
    """Return a decoder of real values in place of a guessed classifier that may be a regression.

    Call it if no classes are named. A few numbers that are not probabilities may be the logits of a
    classifier or the values of a regression; a list of them is right for both.
    """
    case = Case(prepared, runner, DecodeOptions(), REGRESSION)
    is_certain = not decoder.is_guess or bool(prepared.notes.task or case.metadata)
    if decoder.task != CLASSIFICATION or is_certain or case.shapes[0][-1] > MOST_TARGETS:
        return decoder
    opcode = case.opcode_before(0)  # empty in a compiled model
    if opcode in PROBABILITIES or (not opcode and case.is_probability(0)):
        return decoder
    values = value_decoder(case)
    why = (
        f"{decoder.why}, which are not probabilities, and no classes are named (--task "
        "classification reads them as scores)"
    )
    return decoder if values is None else replace(values, why=why, is_guess=True)


def _guessed(case: Case) -> Decoder:
    """Choose by the task that the file states, if the outputs fit it; else by the outputs."""
    noted = case.prepared.notes.task
    if noted == NONE:
        return raw_decoder(f"its file states {noted}", case.input_shape)
    if noted in TASKS:
        found, _ = _recognize(replace(case, task=noted), noted)
        if found is not None:
            return replace(found, why=f"its file states {noted}; {found.why}", is_guess=True)
    stated = ultralytics_task(case.prepared.file)
    if stated not in _ULTRALYTICS:
        why = f"its metadata states that it is for {stated!r}, which edgekit does not decode"
        return raw_decoder(why, case.input_shape)
    found, refusals = _recognize(case, _ULTRALYTICS[stated])
    if found is not None:
        return replace(found, is_guess=True)
    reasons = [f"outputs of the shapes {case.shapes} fit no known task", *refusals]
    return raw_decoder("; ".join(reasons), case.input_shape)


def _recognize(case: Case, wanted: str | None) -> tuple[Decoder | None, list[str]]:
    """The decoder of the first recognizer that fits, and why earlier ones refused."""
    refusals: list[str] = []
    for tasks, recognizer in _RECOGNIZERS:
        if wanted is not None and wanted not in tasks:
            continue
        try:
            decoder = recognizer(case)
        except UnsupportedModelError as error:
            refusals.append(error.what)
            continue
        if decoder is not None and wanted in (None, decoder.task):
            return decoder, refusals
    return None, refusals


def _of_places(module: str, name: str) -> Recognizer:
    """Return a recognizer of outputs with values for many places, or of several outputs.

    Its module is imported when such outputs come: classifiers need none of them.
    """

    def recognize(case: Case) -> Decoder | None:
        if len(case.shapes) == 1 and len(case.shapes[0]) != 3:
            return None
        found: Recognizer = getattr(importlib.import_module(f"edgekit.tasks.{module}"), name)
        return found(case)

    return recognize


# In this order: first networks that an operator identifies, then those with typical shapes.
_RECOGNIZERS: tuple[tuple[tuple[str, ...], Recognizer], ...] = (
    ((POSE,), posenet_decoder),
    ((DETECTION,), postprocess_decoder),
    ((POSE,), movenet_decoder),
    ((DETECTION, POSE), _of_places("box_recognizers", "yolo_decoder")),
    ((DETECTION,), _of_places("stage_recognizers", "mediapipe_decoder")),
    ((DETECTION,), _of_places("stage_recognizers", "cascade_decoder")),
    ((DETECTION,), _of_places("box_recognizers", "ssd_decoder")),
    ((POSE,), _of_places("stage_recognizers", "landmark_decoder")),
    ((SEGMENTATION,), mask_decoder),
    ((CLASSIFICATION,), class_decoder),
    ((MULTILABEL,), label_decoder),
    ((REGRESSION,), value_decoder),
)
