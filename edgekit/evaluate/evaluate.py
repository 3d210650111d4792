# SPDX-License-Identifier: Apache-2.0
"""Evaluate a model on a data set, alone or against another model."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from edgekit.data import Dataset
from edgekit.data.dataset import identity_of, remarks_of
from edgekit.data.labels import label_file_warnings
from edgekit.errors import DataError, UnsupportedModelError, UsageError
from edgekit.evaluate.engine import Engine
from edgekit.evaluate.journal import Journal
from edgekit.evaluate.result import Comparison, EvaluateResult, set_options
from edgekit.evaluate.result_warnings import (
    box_warnings,
    folder_warnings,
    metric_findings,
    nan_warnings,
    range_warnings,
)
from edgekit.evaluate.setup import Evaluation, Settings, open_engines, set_up
from edgekit.evaluate.tally import Tally
from edgekit.evaluate.work import Outcome, run_all
from edgekit.files import read_bytes, sha256_hex
from edgekit.progress import Progress
from edgekit.runtime import RunnerOptions, judge_drift, latency_stats
from edgekit.tasks import CLASSIFICATION, MULTILABEL, NONE, REGRESSION

if TYPE_CHECKING:
    from edgekit.data import Preprocess
    from edgekit.evaluate.judge import Judge, Verdict
    from edgekit.evaluate.outputs import Agreement
    from edgekit.evaluate.shard import Pool
    from edgekit.evaluate.watch import OutputWatch
    from edgekit.files import PathLike
    from edgekit.formats.model_file import ModelSource

# How samples get labels, by the kind of data.
_LABEL_FILES = "sort images into sub-folders by class, or save labels as y in the .npz"
_HOW_TO_LABEL = {
    "array": "save the labels as y in the .npz",
    "folder": "sort the images into sub-folders by class",
    "python": "let the program give pairs (sample, label)",
}
# How outputs are read if the labels decide the task.
_KINDS = {
    CLASSIFICATION: "score a class",
    MULTILABEL: "score a class, each by itself",
    REGRESSION: "real values",
    NONE: "raw tensors",
}
_DEFAULTS = {"split": "test", "label_offset": 0, "kernels": "fast", "keep_state": False}
_NO_LATENCY = dict.fromkeys(("min", "mean", "p50", "p90", "p95", "p99", "std"), 0.0)


def evaluate(  # noqa: PLR0913 - public: its options are keywords
    model: ModelSource,
    data: Any,  # noqa: ANN401 - anything that open_dataset accepts
    *,
    against: ModelSource | None = None,
    task: str | None = None,
    preprocess: str | Preprocess | None = None,
    labels: PathLike | Sequence[str] | None = None,
    split: str = "test",
    num_samples: int | None = None,
    label_offset: int = 0,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    anchors: PathLike | None = None,
    device: str = "cpu",
    runtime: str | None = None,
    kernels: str = "fast",
    num_threads: int = 1,
    num_workers: int | None = None,
    keep_state: bool = False,
    fallback: bool = False,
    recover: bool = False,
    timeout_s: float | None = None,
    unproven: bool = False,
    options: RunnerOptions | None = None,
    journal: PathLike | None = None,
    resume: bool = False,
    strict: bool = False,
    part: str | None = None,
    progress: Progress | None = None,
    pool: Pool | None = None,
) -> EvaluateResult:
    """Evaluate a model over ``data``: how often it is right, or how far off it is.

    With ``against``, two models with the same inputs and outputs are compared, output by output,
    for any task: see ``against.quality`` of the result.

    The first samples run one at a time, to measure latencies; the others run on ``num_workers``
    interpreters, each with a thread that reads its own samples. Small networks run on a copy with a
    larger batch, after a check that its outputs are equal.

    Args:
        model: Path or content of a .tflite file or a bundle.
        data: Samples with labels: anything that `open_dataset` accepts. Detectors and pose networks
            need a COCO JSON, segmentation a folder of images with masks. With ``against`` the
            labels of classes may be missing; only the agreement is measured then.
        against: Another model whose inputs have the same shapes, often the float one.
        task: One of `edgekit.tasks.TASKS`: ``classification``, ``multilabel``, ``detection``,
            ``segmentation``, ``pose``, ``regression`` or ``none``; None guesses it from the outputs
            and the labels.
        preprocess: How pixels become the network's input; None uses what the model's file states,
            else what the input's quantization shows, else scales pixels to 0..1.
        labels: Names of the model's classes, or a text file with them; None uses those attached to
            the model. They match sub-folders and COCO's categories to classes.
        split: ``test`` or ``train``, of a file that contains both.
        num_samples: How many samples to use, spread over the data set: evenly over its classes if
            they are known before reading, else at an even stride; the first ones if the size of the
            data is unknown. None uses all.
        label_offset: Added to each label: 1 if the model has a background class before those of the
            data.
        score_threshold: Detections below it are left out; None is 0.001, or the threshold of the
            model's own post-processing. For a multi-label model, classes with a score above it
            count as true; None is 0.5 for probabilities, 0 for logits.
        iou_threshold: For detectors whose non-maximum suppression is done here.
        anchors: For raw SSD: an .npy, or a .tflite that contains them.
        device: See `Runner`; a model that is not compiled runs on the CPU.
        runtime: See `Runner`.
        kernels: See `Runner`.
        num_threads: The number of threads of one inference.
        num_workers: The number of parallel interpreters; None uses one per core. An Edge TPU has
            one.
        keep_state: The samples are a stream: the model's state (of an LSTM) is kept from one to the
            next, in one interpreter. Otherwise it is reset before each sample.
        fallback: See `Runner`.
        recover: See `Runner`.
        timeout_s: See `Runner`.
        unproven: See `Runner`.
        options: ``device`` to ``timeout_s`` as one value, instead of these keywords.
        journal: A file to write each batch's answers to.
        resume: Continue from the answers in ``journal``.
        strict: Stop at the first sample that cannot be read, instead of listing it.
        part: ``1/3`` uses the first third of the samples only, ``2/3`` the second, and so on.
        progress: Called with (samples done, number of all samples).
        pool: Other processes that do the work, see `edgekit.cluster`. The metrics are the same;
            latencies are those of the workers.

    Raises:
        DataError: There is no sample, no label, or a label that is not one of the model's classes.
        UnsupportedModelError: The model does not fit any of these tasks, or ``against`` has other
            inputs.
        UsageError: A number is out of range, or ``resume`` is set without ``journal``.
        MissingExtraError: COCO's metrics need pycocotools.
        EdgeKitError: As for `Runner`.
    """
    start = time.monotonic()
    _check_options(num_samples, num_workers, journal, resume=resume)
    if keep_state:
        _check_stream(resume=resume, is_shared=pool is not None)
    how = RunnerOptions.given(
        options,
        device=device,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
        fallback=fallback,
        recover=recover,
        timeout_s=timeout_s,
        unproven=unproven,
    )
    settings = Settings(
        task=task,
        labels=labels,
        split=split,
        num_samples=num_samples,
        label_offset=label_offset,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        anchors=anchors,
        runtime=how.runtime,
        kernels=how.kernels,
        keep_state=keep_state,
        part=part,
    )
    workers = num_workers or max(1, _num_cores() // how.num_threads)
    with contextlib.ExitStack() as stack:
        team = None
        if pool is not None:
            from edgekit.evaluate.team import Team  # noqa: PLC0415 - for a cluster only

            team = Team(pool, model, against, how)
            data = team.seen_there(data)
        engines = open_engines(
            stack,
            model,
            against,
            how,
            keep_state=keep_state,
            described=() if team is None else team.described,
        )
        evaluation = set_up(engines, data, preprocess, settings, workers, start, strict=strict)
        book = None
        if journal is not None:
            key = _journal_key(evaluation, how)
            book = stack.enter_context(Journal(journal, key, resume=resume))
        watch = _watch(evaluation)
        judge, plan = evaluation.chosen.judge, evaluation.plan
        if team is None:
            outcome = run_all(plan, engines, judge, book, progress, watch)
        else:
            outcome = team.run(evaluation, data, preprocess, book, progress, watch)
        _check_outcome(judge, outcome, plan.dataset, engines)
        result = _result(evaluation, outcome, watch.agreement() if watch is not None else None)
        if team is None:
            return result
        return replace(result, num_workers=team.num_slots, workers=team.records())


def _check_options(
    num_samples: int | None,
    num_workers: int | None,
    journal: PathLike | None,
    *,
    resume: bool,
) -> None:
    for option, number in (("--num-samples", num_samples), ("--num-workers", num_workers)):
        if number is not None and number < 1:
            raise UsageError(f"{option} is {number}", fix="give a number above zero")
    if resume and journal is None:
        raise UsageError("--resume without --journal", fix="name the journal to continue")


def _check_stream(*, resume: bool, is_shared: bool) -> None:
    """Refuse what samples that are a stream (``keep_state``) do not allow."""
    if resume:
        raise UsageError(
            "--resume with --keep-state",
            why="the journal contains answers, not the model's state",
            fix="start again without --resume, with another --journal",
        )
    if is_shared:
        raise UsageError(
            "--keep-state with --cluster",
            why="the samples of a stream depend on each other, so one worker must run all",
            fix="leave out one of the two",
        )


def _journal_key(evaluation: Evaluation, how: RunnerOptions) -> dict[str, Any]:
    """What must be equal for a run to continue: models, data, how they run and are judged."""
    settings, plan = evaluation.settings, evaluation.plan
    return {
        "models": [engine.prepared.sha256 for engine in evaluation.engines],
        "task": settings.task,
        "labels": str(settings.labels),
        "content of the labels": _content_hash(settings.labels),
        "content of the anchors": _content_hash(settings.anchors),
        "label_offset": settings.label_offset,
        "split": settings.split,
        "runtime": settings.runtime,
        "kernels": settings.kernels,
        **{name: str(value) for name, value in settings.decode.__dict__.items()},
        "data": plan.dataset.describe(),
        "samples": identity_of(plan.dataset, plan.total),
        "total": plan.total,
        "size": plan.size,
        "device": how.device,
        "num_threads": how.num_threads,
    }


def _content_hash(source: PathLike | Sequence[str] | None) -> str:
    """Return the hash of a file or a list of names: a journal must not continue with others."""
    if source is None:
        return ""
    if isinstance(source, (str, os.PathLike)):
        return sha256_hex(read_bytes(Path(source), "file"))
    return sha256_hex("\n".join(source).encode())


def _watch(evaluation: Evaluation) -> OutputWatch | None:
    if len(evaluation.engines) < 2:
        return None
    from edgekit.evaluate.watch import watch_outputs  # noqa: PLC0415 - for two models only

    plan, task = evaluation.plan, evaluation.chosen.task
    return watch_outputs(evaluation.engines, evaluation.decoders, task, plan.dataset, plan.total)


def _by_labels(
    engines: Sequence[Engine], verdict: Verdict, quality: Agreement | None
) -> tuple[Agreement | None, Sequence[str]]:
    """Return the agreement with what the labels show, and the warnings about both.

    Models whose outputs cannot be compared have no agreement, but may have metrics.
    """
    if len(engines) < 2:
        return None, ()
    # For two models only.
    from edgekit.evaluate.outputs import agreement_warnings, labels_warnings  # noqa: PLC0415
    from edgekit.evaluate.watch import judged_place  # noqa: PLC0415

    names = [each.prepared.source for each in engines]
    worse = metric_findings(verdict, names, judged_place(engines))
    if quality is None:
        return None, tuple(labels_warnings(worse))
    if verdict.difference:
        quality = quality.with_true_values().with_labels(worse)
    open_texts = (each.text for each in quality.unlike)
    return quality, (*agreement_warnings(quality), *open_texts)


def _result(evaluation: Evaluation, outcome: Outcome, quality: Agreement | None) -> EvaluateResult:
    engines, decoder, chosen = evaluation.engines, evaluation.decoders[0], evaluation.chosen
    plan, settings = evaluation.plan, evaluation.settings
    engine, dataset, judge = engines[0], plan.dataset, chosen.judge
    environment = engine.single.environment
    if environment.is_edge_tpu:
        thermal = judge_drift(environment.thermal, engine.times_s)
        environment = replace(environment, thermal=thermal)
    verdict = judge.verdict()
    score = verdict.scores[0]
    quality, compared = _by_labels(engines, verdict, quality)
    warnings = [
        *compared,
        *remarks_of(dataset),
        *decoder.warnings,
        *box_warnings(decoder),
        *_label_file_warnings(settings),
        *chosen.warnings,
        *nan_warnings(engines, outcome, judge.count),
        *evaluation.pixels.warnings,
        *range_warnings(engine.single, dataset),
        *folder_warnings(judge, dataset),
    ]
    return EvaluateResult(
        # The Runner has another file than the given one if the plain model runs instead.
        model=engine.single.source or engine.prepared.source,
        sha256=engine.single.sha256 if engine.single.source else engine.prepared.sha256,
        task=chosen.task,
        decoder=decoder.kind if chosen.task == decoder.task else _KINDS[chosen.task],
        recognized_by=chosen.why,
        data={**dataset.describe(), "fingerprint": outcome.fingerprint},
        num_samples=judge.count,
        num_failed=len(outcome.unreadable),
        failed=tuple(f"{each.source}: {each.reason}" for each in outcome.unreadable),
        metrics=score.metrics,
        metrics_ci95=score.metrics_ci95,
        per_class=score.per_class,
        left_out=score.left_out,
        num_classes=verdict.num_classes,
        confusion=verdict.confusion,
        against=None
        if len(engines) < 2
        else replace(_comparison(engines[1], verdict, outcome), quality=quality),
        # On the CPU only the first inferences are timed, before others run in parallel.
        latency_ms=latency_stats(engine.times_s) if engine.times_s else _NO_LATENCY,
        latency_samples=len(engine.times_s),
        environment=environment,
        num_workers=plan.workers,
        cpu_batch=engine.batch,
        time_s=time.monotonic() - evaluation.start,
        warnings=tuple(warnings),
        num_nan=outcome.num_nan(0),
        nan_samples=tuple(outcome.nan_samples(0)),
        threshold=chosen.threshold,
        asked=set_options(_DEFAULTS, **settings.__dict__),
        class_names=tuple(evaluation.names),
        preprocess_reason=evaluation.pixels.reason,
    )


def _comparison(other: Engine, verdict: Verdict, outcome: Outcome) -> Comparison:
    score = verdict.scores[1]
    return Comparison(
        model=other.prepared.source,
        sha256=other.prepared.sha256,
        metrics=score.metrics,
        metrics_ci95=score.metrics_ci95,
        agreement=verdict.agreement,
        difference=verdict.difference,
        difference_ci95=verdict.difference_ci95,
        per_class=score.per_class,
        left_out=score.left_out,
        num_nan=outcome.num_nan(1),
    )


def _label_file_warnings(settings: Settings) -> Iterator[str]:
    if isinstance(settings.labels, (str, Path)):
        yield from label_file_warnings(settings.labels)


def _check_outcome(
    judge: Judge, outcome: Outcome, dataset: Dataset, engines: Sequence[Engine]
) -> None:
    where = str(dataset.describe().get("source", ""))
    if not judge.count:
        bad = outcome.unreadable
        raise DataError(
            f"none of {len(bad)} samples can be read" if bad else "there is no sample",
            where=where,
            why=f"{bad[0].source}: {bad[0].reason}" if bad else "",
            fix="give data with --data",
        )
    for index, engine in enumerate(engines):
        if outcome.num_nan(index) == judge.count:
            raise UnsupportedModelError(
                f"the model answers each of the {judge.count} samples with NaN or infinity",
                where=engine.prepared.source,
                why="its weights may be NaN, or values may overflow",
                fix="look at the outputs with edgekit run, and check training and --preprocess",
            )
    if isinstance(judge, Tally) and judge.lacks_labels:
        raise DataError(
            f"{judge.count - judge.num_labelled} of {judge.count} samples have no label",
            where=where,
            why="; ".join(remarks_of(dataset)),
            fix=f"{_HOW_TO_LABEL.get(dataset.describe()['kind'], _LABEL_FILES)}; without any label "
            "use --against to measure the agreement of two models",
        )


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


__all__ = ["Comparison", "EvaluateResult", "evaluate"]
