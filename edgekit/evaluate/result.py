# SPDX-License-Identifier: Apache-2.0
"""The result of an evaluation, the document ``edgekit.evaluate/2``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Mapping

from edgekit.result import Result
from edgekit.runtime import Environment, MeasuredResult

if TYPE_CHECKING:
    from edgekit.evaluate.outputs import Agreement


@dataclass(frozen=True)
class Comparison(Result):
    """The other model on the same samples; differences are this model's minus the other's."""

    model: str
    sha256: str
    metrics: Mapping[str, float]
    metrics_ci95: Mapping[str, tuple[float, float]]
    agreement: float | None  # share of samples (pixels) with the same answer; None for detectors
    difference: Mapping[str, float]
    difference_ci95: Mapping[str, tuple[float, float]]  # paired
    per_class: Mapping[str, Mapping[str, float]]
    left_out: Mapping[str, tuple[float, ...]]
    num_nan: int = 0  # samples that it answers with NaN or infinity; never right
    quality: Agreement | None = None  # output by output, on samples spread over the data


@dataclass(frozen=True)
class WorkerRecord(Result):
    """What one worker of a cluster did."""

    worker: str  # its name
    device: str
    num_samples: int
    num_shards: int
    busy_s: float  # reading samples and running the models
    p50_ms: float | None  # the median of its own single inferences


@dataclass(frozen=True)
class EvaluateResult(MeasuredResult):
    """A model's accuracy and latency over a data set."""

    schema: ClassVar[str] = "edgekit.evaluate/2"
    model: str
    sha256: str
    task: str
    decoder: str  # how the outputs were read: "TFLite_Detection_PostProcess", "YOLOv8"
    recognized_by: str  # why this task
    data: Mapping[str, Any]  # kind, source, preprocess, fingerprint of the samples
    num_samples: int
    num_failed: int  # samples that could not be read
    failed: tuple[str, ...]  # each of them, with the reason
    # Shares: top1, top5; map, map50; miou; oks; f1_micro, f1_macro. For regression mae and rmse in
    # the unit of the targets, and r2. Empty without labels.
    metrics: Mapping[str, float]
    metrics_ci95: Mapping[str, tuple[float, float]]
    per_class: Mapping[str, Mapping[str, float]]  # name -> metric -> value
    left_out: Mapping[str, tuple[float, ...]]  # metrics without each twentieth of the samples
    num_classes: int
    confusion: tuple[tuple[int, int, int], ...]  # (true class, answer, count) where count > 0
    against: Comparison | None
    latency_ms: Mapping[str, float]  # of one inference at a time, without preprocessing
    latency_samples: int
    environment: Environment
    num_workers: int
    cpu_batch: int  # samples per inference after latencies were measured; outputs were equal
    time_s: float
    warnings: tuple[str, ...]
    # The options that were set, as on the command line: option -> its value as text.
    asked: Mapping[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()  # of ``num_classes`` classes; empty if unknown
    num_nan: int = 0  # samples answered with NaN or infinity; never right
    nan_samples: tuple[str, ...] = ()  # the first of them
    threshold: float | None = None  # of multilabel: scores above it count as true
    preprocess_reason: str = ""  # why the data were preprocessed as in ``data``
    workers: tuple[WorkerRecord, ...] = ()  # of a cluster; empty if this process did all


def set_options(defaults: Mapping[str, Any], **options: Any) -> dict[str, str]:  # noqa: ANN401
    """Return the options that were set, as on the command line: ``--labels`` -> the file's path.

    Args:
        defaults: The defaults of those options whose default is not None.
        options: Values by their names in Python; arrays and lists of names are left out. True
            becomes the flag with an empty text, False the flag ``--no-``.
    """
    return {
        ("--no-" if value is False else "--") + name.replace("_", "-"): _text(value)
        for name, value in options.items()
        if isinstance(value, (str, Path, int, float)) and value != defaults.get(name)
    }


def _text(value: str | Path | float) -> str:
    return "" if isinstance(value, bool) else str(value)
