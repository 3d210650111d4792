# SPDX-License-Identifier: Apache-2.0
"""``edgekit evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Optional, Tuple

import typer
from typing_extensions import Annotated

from edgekit.cli.clusters import open_pool
from edgekit.cli.metric_words import difference_text, is_share, metric_text
from edgekit.cli.options import (
    AnchorsOption,
    ClusterOption,
    DataOption,
    DeviceOption,
    DeviceTimeoutOption,
    FallbackOption,
    IouOption,
    KeepStateOption,
    KernelsOption,
    LabelsOption,
    ModelArgument,
    PreprocessOption,
    RecoverOption,
    RuntimeOption,
    SamplesOption,
    ScoreOption,
    TaskOption,
    ThreadsOption,
    UnprovenOption,
)
from edgekit.cli.output import JsonOption, emit, measured_on, note, progress, table, warn
from edgekit.errors import GateError, UsageError

if TYPE_CHECKING:
    from edgekit.evaluate import EvaluateResult
    from edgekit.progress import Progress

_LISTED = 5
_MANY = 10_000  # samples of a source of unknown length before a note is printed

AgainstOption = Annotated[
    Optional[Path],
    typer.Option(metavar="MODEL", help="Another model to compare with, often the float model."),
]
SplitOption = Annotated[
    str,
    typer.Option(metavar="NAME", help="The part to use (test or train) if the data contain both."),
]
LabelOffsetOption = Annotated[
    int, typer.Option(metavar="NUMBER", help="A number to add to each label of the data.")
]
WorkersOption = Annotated[
    Optional[int],
    typer.Option(
        metavar="COUNT", min=1, help="Number of parallel interpreters; by default one per core."
    ),
]
JournalOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE", help="Write the results of each batch to this file, as JSON lines."
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue from the results in the --journal file.")
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Stop at the first sample that cannot be read.")
]
PartOption = Annotated[
    Optional[str],
    typer.Option(metavar="I/N", help="Use only part I of N of the samples, for example 1/3."),
]
MinAgreementOption = Annotated[
    Optional[float],
    typer.Option(
        metavar="SHARE",
        help="A gate, with --against: exit with 4 if the model keeps a smaller share of the "
        "other model's answers (classes, objects, masks, scores); for example 0.95.",
    ),
]
MinSnrOption = Annotated[
    Optional[float],
    typer.Option(
        "--min-snr-db",
        metavar="DB",
        help="A gate, with --against: exit with 4 if an output's signal-to-noise ratio, about "
        "its mean, is lower than this many dB; for example 12.",
    ),
]


def evaluate(
    model: ModelArgument,
    data: DataOption,
    against: AgainstOption = None,
    task: TaskOption = None,
    preprocess: PreprocessOption = None,
    labels: LabelsOption = None,
    split: SplitOption = "test",
    num_samples: SamplesOption = None,
    label_offset: LabelOffsetOption = 0,
    score_threshold: ScoreOption = None,
    iou_threshold: IouOption = None,
    anchors: AnchorsOption = None,
    device: DeviceOption = "cpu",
    runtime: RuntimeOption = None,
    kernels: KernelsOption = "fast",
    num_threads: ThreadsOption = 1,
    num_workers: WorkersOption = None,
    keep_state: KeepStateOption = False,
    fallback: FallbackOption = False,
    recover: RecoverOption = False,
    timeout_sec: DeviceTimeoutOption = None,
    unproven: UnprovenOption = False,
    journal: JournalOption = None,
    resume: ResumeOption = False,
    strict: StrictOption = False,
    part: PartOption = None,
    cluster: ClusterOption = None,
    min_agreement: MinAgreementOption = None,
    min_snr_db: MinSnrOption = None,
    json: JsonOption = False,
) -> None:
    """Measure a model's accuracy and latency over a data set."""
    from edgekit.evaluate import evaluate as run_evaluate
    from edgekit.evaluate.gates import Gates

    gates = Gates(min_agreement, min_snr_db)
    if gates.names and against is None:
        raise UsageError(
            f"{' and '.join(gates.names)} without --against",
            fix="name the model to compare with: --against FLOAT.tflite",
        )
    with progress("evaluating") as on_progress, open_pool(cluster) as pool:
        result = run_evaluate(
            model,
            data,
            against=against,
            task=task,
            preprocess=preprocess,
            labels=labels,
            split=split,
            num_samples=num_samples,
            label_offset=label_offset,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            anchors=anchors,
            device=device,
            runtime=runtime,
            kernels=kernels,
            num_threads=num_threads,
            num_workers=num_workers,
            keep_state=keep_state,
            fallback=fallback,
            recover=recover,
            timeout_s=timeout_sec,
            unproven=unproven,
            journal=journal,
            resume=resume,
            strict=strict,
            part=part,
            progress=_with_note_on_length(on_progress),
            pool=pool,
        )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)
    quality = None if result.against is None else result.against.quality
    failures = [] if quality is None else list(gates.failures(quality))
    for failure in failures:
        note(f"not met: {failure}")
    if failures or (gates.names and quality is None):
        raise typer.Exit(GateError.exit_status)


def _with_note_on_length(on_progress: Progress) -> Progress:
    """Return ``on_progress`` with a note, once, that a source of unknown length has not ended."""
    is_noted = False

    def report(done: int, total: int | None) -> None:
        nonlocal is_noted
        if total is None and done >= _MANY and not is_noted:
            is_noted = True
            note(
                f"{done:,} samples, and the data have not ended: if they never end, press Ctrl-C "
                "and give --num-samples COUNT to use the first COUNT"
            )
        on_progress(done, total)

    return report


def render(result: EvaluateResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    from edgekit.data import NORMALIZED, REAL_NUMBERS
    from edgekit.evaluate.outputs import describe_agreement
    from edgekit.runtime.quality import worst

    yield f"task       {result.task}, {result.decoder}: {result.recognized_by}"
    data = result.data
    yield f"samples    {result.num_samples:,} of {data['source']}"
    is_real = result.preprocess_reason in {NORMALIZED, REAL_NUMBERS}
    how = "" if is_real else f"{data['preprocess']}: "
    yield f"preprocess {how}{result.preprocess_reason}"
    if result.num_failed:
        yield f"failed     {result.num_failed}: {'; '.join(result.failed[:_LISTED])}" + (
            f" and {result.num_failed - _LISTED} more" if result.num_failed > _LISTED else ""
        )
    for name, value in result.metrics.items():
        between = _interval(name, result.metrics_ci95.get(name))
        yield f"{name:10} {metric_text(name, value)}{between and f'  ({between})'}"
    if result.threshold is not None:
        yield f"threshold  {result.threshold:g}: a class counts as present above it"
    if result.per_class:
        yield _per_class(result)
    other = result.against
    if other is not None:
        same = "" if other.agreement is None else f": same answer on {other.agreement:.2%}"
        yield f"against    {other.model}{same}"
        if other.quality is not None:
            worse = other.quality.by_labels
            if worse:
                level = worst([each.level for each in worse])
                yield f"by labels  {level}: {'; '.join(each.text for each in worse)}"
            yield from describe_agreement(other.quality)
        for name, value in other.difference.items():
            there = metric_text(name, other.metrics[name])
            difference = difference_text(name, value) + (" points" if is_share(name) else "")
            between = _interval(name, other.difference_ci95.get(name), difference_text)
            yield f"{name:10} {there} there; difference {difference}{between and f' ({between})'}"
    latency = result.latency_ms
    names = ("p50", "p90", "p99")
    yield (
        "latency    "
        + ", ".join(f"{name} {latency[name]:.3f}" for name in names)
        + f" ms without preprocessing ({result.latency_samples} single inferences)"
    )
    yield from measured_on(result)
    if result.workers:
        yield _workers(result)


def _workers(result: EvaluateResult) -> str:
    rows = [
        (
            each.worker,
            each.device,
            each.num_samples,
            each.num_shards,
            f"{each.busy_s:.2f}",
            "" if each.p50_ms is None else f"{each.p50_ms:.3f}",
        )
        for each in result.workers
    ]
    return table(("worker", "device", "samples", "shards", "busy s", "p50 ms"), rows)


def _interval(
    name: str,
    interval: Optional[Tuple[float, float]],
    text: Callable[[str, float], str] = metric_text,
) -> str:
    """Return a metric's interval as text; empty if it does not have one."""
    if interval is None:
        return ""
    return f"95 % interval {text(name, interval[0])} to {text(name, interval[1])}"


def _per_class(result: EvaluateResult) -> str:
    names = list(dict.fromkeys(name for each in result.per_class.values() for name in each))
    rows = [
        (label, *(metric_text(name, values[name]) if name in values else "" for name in names))
        for label, values in result.per_class.items()
    ]
    return table(("target" if result.task == "regression" else "class", *names), rows)
