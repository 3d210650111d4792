# SPDX-License-Identifier: Apache-2.0
"""The result of `convert`: where the model is, its properties, and its source."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgekit.evaluate.outputs import Agreement
from edgekit.formats.tflite import Model, Tensor
from edgekit.host.convert.improve.improve import Improvement
from edgekit.host.convert.labelled import LabelCheck
from edgekit.host.convert.outcome import Outcome
from edgekit.host.convert.source_check import SourceAgreement
from edgekit.host.convert.targets import TargetCheck
from edgekit.result import Result

# What shows whether the calibration samples are like the training data.
LABELS, STATISTICS, TRAINED_RANGES = "labels", "statistics", "trained ranges"


@dataclass(frozen=True)
class Endpoint(Result):
    """An input or output of the converted model: ``real = scale * (q - zero_point)``."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # "uint8"
    scale: float | None  # None: not quantized
    zero_point: int | None
    # Lowest and highest real value among the calibration samples; None for outputs.
    calibration_min: float | None = None
    calibration_max: float | None = None


@dataclass(frozen=True)
class ConvertResult(Result):
    """A finished conversion."""

    schema: ClassVar[str] = "edgekit.convert/1"
    source: str
    source_kind: str  # keras | saved_model | frozen_graph | tflite | onnx
    source_sha256: str
    loader: str  # the library that read the source: "keras 3.15.1"
    output: str
    sha256: str
    bytes: int
    float_bytes: int | None  # size of the float .tflite; None if there was none
    mode: str
    enforced: bool  # whether it was checked: integer-only, static, readable by compiler 16
    inputs: tuple[Endpoint, ...]
    outputs: tuple[Endpoint, ...]
    operators: dict[str, int]  # opcode -> count
    num_samples: int  # used for calibration
    data: dict[str, Any]  # kind, source and preprocessing of the calibration data
    agreement: Agreement | None  # with the float model, on ``num_judged`` samples
    versions: dict[str, str]
    time_s: float
    peak_rss_bytes: int  # of the process that needed most
    warnings: tuple[str, ...]
    preprocess: str = ""  # --preprocess text, as in the model's metadata; "" if it has none
    preprocess_reason: str = ""  # why this preprocessing was chosen
    labels: tuple[str, ...] = ()  # the class names in the model's metadata
    samples_per_class: dict[str, int] = field(default_factory=dict)  # used for calibration
    # The range of the preprocessing; None if the data are real numbers.
    promised_range: tuple[float, float] | None = None
    num_judged: int = 0  # samples that the agreement was measured on
    held_out: bool | None = None  # whether no judged sample calibrated; None without agreement
    # Whether the samples are like the training data, by the network's statistics of it, its answers
    # and the labels; None if nothing shows it.
    like_training: bool | None = None
    shown_by: str = ""  # what shows it: labels | statistics | trained ranges; empty: nothing
    measured_with: str = ""  # the commands that compare with the float model on other data
    label_check: LabelCheck | None = None  # None if the data have no classes of the network
    target_check: TargetCheck | None = None  # None if the data have no real targets of its outputs
    improvements: tuple[Improvement, ...] = ()  # changes before quantization that helped
    asked: dict[str, str] = field(default_factory=dict)  # other options that the user set
    # What maps, and what keeps the rest off the Edge TPU; None if ``mode`` is not int8.
    outcome: Outcome | None = None
    # The float model against the source in its own runtime (onnxruntime); None if not compared.
    source_agreement: SourceAgreement | None = None
    network: str = ""  # what the exporter noted: name, task, stride, classes; empty if nothing
    quantizer: str = ""  # edgekit | tensorflow; "" if ``mode`` does not quantize activations
    quantizer_reason: str = ""  # why --quantizer auto did not take edgekit's

    @property
    def ratio(self) -> float | None:
        """The float model's size over this one's."""
        return self.float_bytes / self.bytes if self.float_bytes else None

    def json_fields(self) -> dict[str, Any]:
        """The fields, and ``ratio``."""
        return {**super().json_fields(), "ratio": self.ratio}


def endpoints(
    model: Model, ranges: list[tuple[float, float]]
) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    """Return the inputs, with the calibration samples' range, and the outputs of ``model``."""
    graph = model.main
    padded = ranges or [(math.inf, -math.inf)] * len(graph.inputs)
    inputs = tuple(
        _endpoint(graph.tensors[index], low, high)
        for index, (low, high) in zip(graph.inputs, padded, strict=True)
    )
    return inputs, tuple(_endpoint(graph.tensors[index]) for index in graph.outputs)


def _endpoint(tensor: Tensor, low: float = math.inf, high: float = -math.inf) -> Endpoint:
    return Endpoint(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype.lower(),
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        calibration_min=low if math.isfinite(low) else None,
        calibration_max=high if math.isfinite(high) else None,
    )
