# SPDX-License-Identifier: Apache-2.0
"""The latency on an Edge TPU that is not present, as an interval with its known error.

`edgekit.opencompiler.estimate` chooses where the counts of a model come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from edgekit.edgetpu.activations import measure_activations
from edgekit.edgetpu.calibration import Calibration, read_calibration
from edgekit.edgetpu.chip import (
    ACTIVATION_BYTES,
    MIB,
    PARAMETER_CACHE_BYTES,
    PARAMETER_CACHE_LOW_BYTES,
)
from edgekit.edgetpu.demand import Demand, demand_of_plain
from edgekit.edgetpu.findings import file_issues
from edgekit.edgetpu.latency import (
    Parts,
    beyond_calibration,
    explain,
    latency_parts,
    pipeline_stage,
)
from edgekit.edgetpu.limits import CPU, TPU
from edgekit.edgetpu.published import PUBLISHED, Published
from edgekit.edgetpu.support import judge_operators
from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model
from edgekit.result import Result

_MAX_TPUS = 4
# Compiled networks with single tensors of 1.8 times the tiles' memory take as long as their cycles.
_LARGE_TENSOR = 2
# If an estimate is outside the calibrated range, its interval is wider by this factor.
_BEYOND = 2.0


@dataclass(frozen=True)
class Interval(Result):
    """The estimate, and the range of left-out latencies around such estimates."""

    low: float
    mid: float  # NaN: no latencies are published for this device; low is the least possible time
    high: float  # infinity if it is not known


@dataclass(frozen=True)
class PipelineEstimate(Result):
    """Throughput of ``num_tpus`` in a row if the model is cut into even segments."""

    num_tpus: int
    throughput_hz: float
    streamed_bytes: int


@dataclass(frozen=True)
class CalibrationNote(Result):
    """How accurate such estimates were on networks left out of the fit."""

    rows: int
    median_error: float
    coverage: float
    device: str  # the device of the rows; "all" if the device has too few rows
    kind: str  # "mapped": no operator on the CPU; "with_cpu"
    note: str = ""


@dataclass(frozen=True)
class Estimate(Result):
    """The time that one inference would take, and why."""

    schema: ClassVar[str] = "edgekit.estimate/1"
    model: str
    sha256: str
    kind: str  # plain | compiled
    cost_from: str  # program: counted in a compiled program | formulas: computed from shapes
    cost_note: str  # for a plain model: which program, or why formulas
    device: str
    host: str
    latency_ms: Interval
    first_inference_ms: float  # with the upload of parameters; of a bound also a bound
    parts_ms: Parts
    dominant: str  # a name in parts_ms
    why: str
    advice: str
    on_chip_bytes: int
    streamed_bytes: int
    crossing_layer: str  # the first that does not fit on the chip; empty if all fit, or not known
    bus_bytes: int
    tile_cycles: int
    num_cpu_operators: int
    cpu_operators: tuple[str, ...]
    pipeline: tuple[PipelineEstimate, ...]
    calibration: CalibrationNote
    beyond_calibration: tuple[str, ...]
    published: tuple[Published, ...] = ()  # all latencies published for a board with few of them


def estimated_ms(model: Model, device: str = "usb3") -> float | None:
    """Return the middle of the estimated latency of an int8 ``model``; None for a float one."""
    try:
        check_estimable(model, "")
    except UnsupportedModelError:
        return None
    demand = demand_by_formulas(model)
    return sum(latency_parts(demand, read_calibration(device)).values())


def check_estimable(model: Model, where: str) -> None:
    """Check that a model without an Edge TPU part could be compiled.

    Raises:
        UnsupportedModelError: It computes with real numbers only.
    """
    tensors = model.main.tensors
    if not any(tensor.dtype in ("INT8", "UINT8") and tensor.quantization for tensor in tensors):
        raise UnsupportedModelError(
            "the model computes with real numbers; the Edge TPU only with integers",
            where=where,
            fix="convert it first: edgekit convert SOURCE --data DATA -o OUT.tflite",
        )


@dataclass(frozen=True)
class Subject:
    """The file of an estimate, and where its counts come from."""

    model: str
    sha256: str
    kind: str
    cost_from: str
    cost_note: str = ""


def demand_by_formulas(model: Model) -> Demand:
    """Count an int8 model by formulas.

    Operators of which it is not known whether they map are counted as mapped: one wrong guess
    would move all later ones to the CPU.
    """
    mapped = [each.index for each in judge_operators(model) if each.verdict != CPU]
    return demand_of_plain(model, frozenset(mapped))[0]


def remarks_on(model: Model, demand: Demand) -> tuple[str, ...]:
    """Return a sentence for each reason why ``demand`` of a plain ``model`` may be wrong."""
    remarks = [
        f"edgetpu_compiler may refuse the file as it is: {issue.message}"
        for issue in file_issues(model)[:2]
        if issue.code != "model.dynamic_shape"  # open batches with the shape 1 were compiled
    ]
    if not demand.num_executables:
        remarks.append("no operator maps to the Edge TPU: this is only the CPU's time")
    return tuple(remarks)


def remarks_on_formulas(model: Model, demand: Demand) -> tuple[str, ...]:
    """Return a sentence for each reason why the formulas may be wrong for ``model``."""
    verdicts = judge_operators(model)
    mapped = [each.index for each in verdicts if each.verdict != CPU]
    num_unknown = sum(each.verdict not in (CPU, TPU) for each in verdicts)
    remarks = []
    if num_unknown:
        remarks.append(
            f"whether {num_unknown} operators map is not known; the estimate assumes that they do"
        )
    total_bytes = demand.cached_bytes + demand.streamed_bytes
    if total_bytes > PARAMETER_CACHE_LOW_BYTES and not demand.crossing_layer:
        remarks.append(
            f"{total_bytes / MIB:.1f} MiB of parameters are close to the chip's capacity "
            f"({PARAMETER_CACHE_LOW_BYTES / MIB:.0f} to {PARAMETER_CACHE_BYTES / MIB:.2f} MiB, by "
            "model): some may be streamed"
        )
    largest = measure_activations(model, mapped).largest_bytes
    if largest > _LARGE_TENSOR * ACTIVATION_BYTES:
        remarks.append(
            f"one tensor of {largest:,} bytes does not fit on the chip: the compiler cuts it into "
            "pieces or moves it over the bus, which the estimate does not include"
        )
    return tuple(remarks)


def estimate_demand(
    subject: Subject, demand: Demand, calibration: Calibration, remarks: tuple[str, ...] = ()
) -> Estimate:
    """Return the estimate of an inference with these counts.

    Args:
        subject: The file.
        demand: The counts of one inference.
        calibration: Of the device.
        remarks: Reasons why the counts may be wrong; they widen the interval.
    """
    parts = latency_parts(demand, calibration)
    mid = sum(parts.values())
    beyond = (*beyond_calibration(demand, parts, calibration), *remarks)
    kind = "with_cpu" if demand.cpu.opcodes else "mapped"
    accuracy = calibration.with_cpu if demand.cpu.opcodes else calibration.mapped
    spread = math.exp(accuracy.log_error * (_BEYOND if beyond else 1.0))
    interval = Interval(mid / spread, mid, mid * spread)
    if calibration.is_bound:
        interval, beyond = Interval(mid, math.nan, math.inf), remarks
    upload_ms = calibration.ms_per_mb * demand.upload_bytes / 1e6
    if demand.caching_instruction_bytes:
        upload_ms += calibration.overhead_ms
    dominant = max(parts, key=lambda name: parts[name])
    why, advice = explain(dominant, parts, demand)
    return Estimate(
        model=subject.model,
        sha256=subject.sha256,
        kind=subject.kind,
        cost_from=subject.cost_from,
        cost_note=subject.cost_note,
        device=calibration.device,
        host=calibration.host,
        latency_ms=interval,
        first_inference_ms=mid + upload_ms,
        parts_ms=parts,
        dominant=dominant,
        why=why,
        advice=advice,
        on_chip_bytes=demand.cached_bytes,
        streamed_bytes=demand.streamed_bytes,
        crossing_layer=demand.crossing_layer,
        bus_bytes=demand.bus_bytes,
        tile_cycles=demand.cycles,
        num_cpu_operators=len(demand.cpu.opcodes),
        cpu_operators=demand.cpu.opcodes,
        pipeline=tuple(
            PipelineEstimate(count, 1e3 / stage_ms, streamed)
            for count in range(1, 1 if calibration.device in PUBLISHED else _MAX_TPUS + 1)
            for stage_ms, streamed in [pipeline_stage(demand, parts, calibration, count)]
        ),
        calibration=CalibrationNote(
            accuracy.rows,
            accuracy.median_error,
            accuracy.coverage,
            accuracy.device,
            kind,
            calibration.note,
        ),
        beyond_calibration=beyond,
        published=PUBLISHED.get(calibration.device, ()),
    )
