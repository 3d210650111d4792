# SPDX-License-Identifier: Apache-2.0
"""What an evaluation says, as the document ``edgekit.evaluate/2``."""

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
    """The other model on the same samples; differences are this model's value less its."""

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
    quality: Agreement | None = None  # output by output, on samples from all over the data


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
    # Shares: top1, top5; map, map50; miou; oks; f1_micro, f1_macro. Of regression mae and rmse in
    # the unit of the targets, and r2. Empty without labels.
    metrics: Mapping[str, float]
    metrics_ci95: Mapping[str, tuple[float, float]]
    per_class: Mapping[str, Mapping[str, float]]  # name -> metric -> value
    left_out: Mapping[str, tuple[float, ...]]  # metrics without each twentieth of the samples
    num_classes: int
    confusion: tuple[tuple[int, int, int], ...]  # (true class, answer, count) where count > 0
    against: Comparison | None
    latency_ms: Mapping[str, float]  # of one inference at a time, preprocessing apart
    latency_samples: int
    environment: Environment
    num_workers: int
    cpu_batch: int  # samples an inference once latencies were measured; outputs proved equal
    time_s: float
    warnings: tuple[str, ...]
    asked: Mapping[str, str] = field(default_factory=dict)  # as `asked_for`
    class_names: tuple[str, ...] = ()  # of ``num_classes`` classes; empty where nothing names them
    num_nan: int = 0  # samples answered with NaN or infinity; never right
    nan_samples: tuple[str, ...] = ()  # the first of them
    threshold: float | None = None  # of multilabel: above it a class holds
    preprocess_reason: str = ""  # why the data were preprocessed as ``data`` says


def asked_for(defaults: Mapping[str, Any], **options: Any) -> dict[str, str]:  # noqa: ANN401
    """The options that were set, as on the command line: ``--labels`` -> the file's path.

    Args:
        defaults: Of those options whose default is not None.
        options: By their names in Python; what has no text (arrays, lists of names) is left out.
            True is a flag with the empty text, False the flag ``--no-``.
    """
    return {
        ("--no-" if value is False else "--") + name.replace("_", "-"): _text(value)
        for name, value in options.items()
        if isinstance(value, (str, Path, int, float)) and value != defaults.get(name)
    }


def _text(value: str | Path | float) -> str:
    return "" if isinstance(value, bool) else str(value)
