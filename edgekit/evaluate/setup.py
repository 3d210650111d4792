# SPDX-License-Identifier: Apache-2.0
"""Set up an evaluation: load the models, open the data, choose decoders and judge."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Sequence

from edgekit.data import (
    NORMALIZED,
    REAL_NUMBERS,
    Dataset,
    InputSpec,
    open_dataset,
    parse_preprocess,
    preprocess_for,
    preprocess_reason,
)
from edgekit.data.arrays import ArrayDataset
from edgekit.data.dataset import sample_specs
from edgekit.data.spread import spread, subset
from edgekit.errors import DataError, UnsupportedModelError, UsageError
from edgekit.evaluate.choose import Case, Chosen, choose_judge
from edgekit.evaluate.decoders import same_decoders
from edgekit.evaluate.engine import Engine
from edgekit.evaluate.work import Plan, chunk_size
from edgekit.formats.model_file import read_model_file
from edgekit.runtime import RunnerOptions
from edgekit.runtime.described import DescribedRunner, Description, Invoke
from edgekit.runtime.native_output import chatter_logged
from edgekit.runtime.select import suited_device
from edgekit.tasks import (
    MULTILABEL,
    REGRESSION,
    SEGMENTATION,
    DecodeOptions,
    Decoder,
    fit_labels,
    label_order_warning,
    model_labels,
    other_pixels_warning,
    prepare,
    preprocess_warning,
    task_named,
)

if TYPE_CHECKING:
    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.formats.model_file import ModelSource

# mAP also counts detections with low scores.
_LEAST_SCORE = 0.001


@dataclass(frozen=True)
class Settings:
    """The options, besides models and data, that affect the answers; a result repeats them."""

    task: str | None = None
    labels: PathLike | Sequence[str] | None = None
    split: str = "test"
    num_samples: int | None = None
    label_offset: int = 0
    score_threshold: float | None = None
    iou_threshold: float | None = None
    anchors: PathLike | None = None
    runtime: str | None = None
    kernels: str = "fast"
    keep_state: bool = False
    part: str | None = None  # "1/3": the first third of the samples

    @property
    def decode(self) -> DecodeOptions:
        """How outputs are read."""
        is_ranked = self.task is None or task_named(self.task) != MULTILABEL
        least = self.score_threshold
        if least is None and is_ranked:
            least = _LEAST_SCORE
        return DecodeOptions(least, self.iou_threshold, self.anchors)


@dataclass(frozen=True)
class PixelUse:
    """Why the pixels are preprocessed in this way, and the warning if the model contradicts it."""

    reason: str
    warnings: tuple[str, ...]  # contradictions with the network, its file or the other model


@dataclass(frozen=True)
class Evaluation:
    """Models, data and judge, ready to run."""

    engines: Sequence[Engine]
    decoders: Sequence[Decoder]
    chosen: Chosen
    names: Sequence[str]  # of the model's classes
    plan: Plan
    settings: Settings
    start: float
    pixels: PixelUse


def open_engines(
    stack: contextlib.ExitStack,
    model: ModelSource,
    against: ModelSource | None,
    how: RunnerOptions,
    *,
    keep_state: bool,
    described: Sequence[tuple[Description, Invoke]] = (),
) -> list[Engine]:
    """Load the model, and the one that it is compared with, which runs where it can.

    If other processes have loaded them, ``described`` says what they found, and how they are run.
    """
    places: list[tuple[ModelSource, str]] = [(model, how.device)]
    if against is not None:
        other = read_model_file(against)
        places.append((other, suited_device(other, how.device)))
    engines = []
    for index, (each, place) in enumerate(places):
        prepared, options = prepare(each, place), replace(how, device=place)
        single = None
        if described:
            single = DescribedRunner(prepared.runnable, options, *described[index])
        engines.append(
            stack.enter_context(Engine(prepared, options, keep_state=keep_state, single=single))
        )
    _check_same_inputs(engines)
    return engines


def set_up(
    engines: Sequence[Engine],
    data: Any,  # noqa: ANN401 - anything that open_dataset accepts
    preprocess: str | Preprocess | None,
    settings: Settings,
    workers: int,
    start: float,
    *,
    strict: bool,
) -> Evaluation:
    """Open the data and choose the judge."""
    prepared, runners = zip(*((engine.prepared, engine.single) for engine in engines))
    decoders = same_decoders(prepared, runners, settings.task, settings.decode)
    how, reason = _preprocess(preprocess, engines)
    dataset = _dataset(_open(data, engines, decoders[0], how, settings.split), settings)
    names = _class_names(engines[0], decoders[0], settings)
    chosen = choose_judge(
        Case(
            engines,
            decoders,
            dataset,
            names,
            settings.task,
            settings.labels is not None,
            settings.label_offset,
            settings.score_threshold,
        )
    )
    if engines[0].single.environment.is_edge_tpu or settings.keep_state:
        workers = 1
    counted = [decoder.counted for decoder in decoders]
    plan = Plan(dataset, settings.num_samples, workers, strict, chunk_size(engines), counted)
    is_real = isinstance(dataset, ArrayDataset) and not dataset.has_pixels and how.is_default
    warning = preprocess_warning(preprocess, prepared[0])
    if not warning and not is_real:
        warning = other_pixels_warning(how, prepared)
    given = names if settings.labels is not None else ()
    order = label_order_warning(given, model_labels(prepared[0], decoders[0].num_classes))
    if is_real:
        reason = NORMALIZED if engines[0].single.normalizes(0) else REAL_NUMBERS
    pixels = PixelUse(reason, tuple(text for text in (warning, order) if text))
    shown = names or _folder_names(dataset, decoders[0], settings)
    return Evaluation(engines, decoders, chosen, shown, plan, settings, start, pixels)


def _dataset(opened: Dataset, settings: Settings) -> Dataset:
    """Return the samples to use, in the form that the task needs."""
    if settings.num_samples is None and getattr(opened, "is_endless", False):
        raise DataError(
            "the data have no end", where="a tf.data.Dataset", fix="give --num-samples COUNT"
        )
    if settings.task == REGRESSION and isinstance(opened, ArrayDataset):
        opened = opened.with_rows()
    chosen = spread(opened, settings.num_samples)
    return chosen if settings.part is None else _part(chosen, settings.part)


def _part(dataset: Dataset, part: str) -> Dataset:
    """Return a part of the samples: ``2/3`` is the second of three.

    Raises:
        UsageError: It is not of this form.
        DataError: The number of samples is unknown, or there are fewer samples than parts.
    """
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", part)
    number, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= parts:
        raise UsageError(f"--part is {part!r}", fix="give 1/3 for the first of three parts")
    total = dataset.num_samples
    if total is None or total < parts:
        raise DataError(
            f"{total or 'an unknown number of'} samples in {parts} parts",
            where=str(dataset.describe().get("source", "")),
            fix="give data whose number is known, with a sample for each part",
        )
    return subset(dataset, range((number - 1) * total // parts, number * total // parts))


def task_of(
    model: ModelSource,
    data: Any,  # noqa: ANN401 - anything that open_dataset accepts
    num_samples: int | None = None,
) -> str:
    """Return the task by which an evaluation judges a model, from its outputs and all labels.

    Raises:
        EdgeKitError: As for `edgekit.evaluate.evaluate`.
    """
    with contextlib.ExitStack() as stack:
        engines = open_engines(stack, model, None, RunnerOptions(), keep_state=False)
        settings = Settings(num_samples=num_samples)
        return set_up(engines, data, None, settings, 1, 0.0, strict=False).chosen.task


def _folder_names(dataset: Dataset, decoder: Decoder, settings: Settings) -> Sequence[str]:
    """Return the names of the sub-folders, in their order, if there is one for each class."""
    is_each = len(dataset.class_names) == decoder.num_classes and not settings.label_offset
    return dataset.class_names if is_each else ()


def _preprocess(
    asked: str | Preprocess | None, engines: Sequence[Engine]
) -> tuple[Preprocess, str]:
    """Return how the inputs are preprocessed, and why: the first model with information decides."""
    default = parse_preprocess(asked)
    for engine in engines:
        info, prepared = engine.single.inputs[0], engine.prepared
        how = preprocess_for(asked, prepared.notes.preprocess, info.real_range, info.dtype)
        if prepared.preprocess_reason or how != default:
            return how, preprocess_reason(asked, prepared.preprocess_reason, info.real_range)
    return default, preprocess_reason(asked, "", None)


def _open(
    data: Any,  # noqa: ANN401 - anything that open_dataset accepts
    engines: Sequence[Engine],
    decoder: Decoder,
    how: Preprocess,
    split: str,
) -> Dataset:
    infos = sample_specs([InputSpec(each.name, each.shape) for each in engines[0].single.inputs])
    specs = [InputSpec(each.name, (1, *each.shape[1:])) for each in infos]
    masks = decoder.task == SEGMENTATION
    try:
        with chatter_logged():  # a program that yields samples may import TensorFlow
            return open_dataset(data, inputs=specs, preprocess=how, split=split, masks=masks)
    except DataError:
        if not masks or len(engines) == 1:
            raise
        # Two models can be compared without true masks.
        return open_dataset(data, inputs=specs, preprocess=how, split=split)


def _class_names(engine: Engine, decoder: Decoder, settings: Settings) -> Sequence[str]:
    """Return the names given with ``labels``, else those attached to the model."""
    names = fit_labels(settings.labels, decoder.num_classes)
    return names or model_labels(engine.prepared, decoder.num_classes)


def _check_same_inputs(engines: Sequence[Engine]) -> None:
    shapes = [[info.shape[1:] for info in engine.single.inputs] for engine in engines]
    if shapes[0] != shapes[-1]:
        raise UnsupportedModelError(
            f"the two models have different inputs: {shapes[0]} and {shapes[-1]}",
            where=engines[-1].prepared.source,
            fix="--against takes the same network before or after conversion",
        )
