# SPDX-License-Identifier: Apache-2.0
"""Convert the demand of an inference to milliseconds, part by part, and to advice."""

from __future__ import annotations

from collections import Counter
from typing import Mapping

from edgekit.edgetpu.calibration import Calibration
from edgekit.edgetpu.chip import PARAMETER_CACHE_BYTES
from edgekit.edgetpu.demand import Demand

Parts = Mapping[str, float]
_MB = 1e6
_MIB = 1 << 20
_SHARE_MARGIN = 0.02
_WORDS = {
    "compute": "the arithmetic of the tiles",
    "transfer": "moving instructions, inputs and outputs over the bus",
    "streaming": "parameters that do not fit on the chip, sent with every inference",
    "cpu": "the operators left to the CPU",
    "outputs": "the host's work on outputs in the device's layout",
    "overhead": "starting a run",
}


def latency_parts(demand: Demand, calibration: Calibration) -> dict[str, float]:
    """Return the milliseconds of each part of one inference; their sum is the estimate."""
    moved = demand.bus_bytes - demand.streamed_bytes
    cpu_ns = (
        demand.cpu.elements * calibration.cpu_ns_per_element
        + demand.cpu.macs * calibration.cpu_ns_per_mac
    )
    return {
        "compute": calibration.ms_per_mcycle * demand.cycles / 1e6,
        "transfer": calibration.ms_per_mb * moved / _MB,
        "streaming": calibration.ms_per_mb * demand.streamed_bytes / _MB,
        "cpu": cpu_ns / 1e6,
        "outputs": calibration.ms_per_output_mb * demand.output_bytes / _MB,
        "overhead": calibration.overhead_ms * demand.num_executables,
    }


def beyond_calibration(demand: Demand, parts: Parts, calibration: Calibration) -> tuple[str, ...]:
    """Return a sentence for each way in which the model is outside the calibrated range."""
    total = sum(parts.values()) or 1.0
    share = (parts["cpu"] + parts["outputs"]) / total
    unknown = sorted(set(demand.cpu.custom_opcodes) - set(calibration.custom_opcodes))
    checks = (
        (
            share > calibration.max_cpu_share + _SHARE_MARGIN,
            f"a long CPU tail: {share:.0%} of the time, calibrated up to "
            f"{calibration.max_cpu_share:.0%}",
        ),
        (
            demand.cycles / 1e6 > 1.1 * calibration.max_mcycles,
            f"{demand.cycles / 1e6:.1f} million cycles, calibrated up to "
            f"{calibration.max_mcycles:.1f}",
        ),
        (
            demand.bus_bytes / _MB > 1.1 * calibration.max_bus_mb,
            f"{demand.bus_bytes / _MB:.1f} MB over the bus, calibrated up to "
            f"{calibration.max_bus_mb:.1f}",
        ),
        (
            demand.scratch_bytes > 0,
            f"activations spilled: {demand.scratch_bytes / _MB:.1f} MB go to the host's memory and "
            "back in each inference; one calibrated network does so",
        ),
        (
            demand.num_executables > 1,
            f"{demand.num_executables} Edge TPU parts in one file: all calibrated networks have 1",
        ),
        (
            bool(unknown),
            f"the CPU time of {', '.join(unknown)} does not follow from its shapes",
        ),
    )
    return tuple(sentence for applies, sentence in checks if applies)


def explain(dominant: str, parts: Parts, demand: Demand) -> tuple[str, str]:
    """Return why the inference takes its time and what would help: one sentence each."""
    total = sum(parts.values()) or 1.0
    why = f"{parts[dominant] / total:.0%} of the time is {_WORDS[dominant]}"
    return why, _advice(dominant, demand)


def pipeline_stage(
    demand: Demand, parts: Parts, calibration: Calibration, num_tpus: int
) -> tuple[float, int]:
    """Return the slowest stage's milliseconds for ``num_tpus`` even segments, and streamed bytes.

    Each further chip adds its parameter cache. The CPU's part is a separate stage. Inputs and
    outputs of a segment are assumed to be as large as the model's.
    """
    total_bytes = demand.cached_bytes + demand.streamed_bytes
    room = max(demand.cached_bytes, PARAMETER_CACHE_BYTES) * (num_tpus - 1) + demand.cached_bytes
    streamed = max(0, total_bytes - room) if num_tpus > 1 else demand.streamed_bytes
    instruction_ms = calibration.ms_per_mb * demand.instruction_bytes / _MB
    chip_ms = (
        parts["overhead"]
        + (parts["compute"] + instruction_ms) / num_tpus
        + parts["transfer"]
        - instruction_ms
        + calibration.ms_per_mb * streamed / num_tpus / _MB
    )
    host_ms = parts["cpu"] + parts["outputs"]
    one_after_the_other = chip_ms + host_ms
    return (one_after_the_other if num_tpus == 1 else max(chip_ms, host_ms)), streamed


def _advice(dominant: str, demand: Demand) -> str:
    most = Counter(demand.cpu.opcodes).most_common(3)
    names = ", ".join(f"{count} {name}" if count > 1 else name for name, count in most)
    return {
        "compute": "a smaller input or fewer channels; depthwise convolutions use only one in 64 "
        "multipliers, so a plain one with few channels can be faster",
        "transfer": "a smaller input, smaller outputs, fewer operators (instructions are sent with "
        "every inference)",
        "streaming": f"{demand.streamed_bytes / _MIB:.1f} MiB fewer parameters, or segments for "
        "several Edge TPUs: edgekit compile --num-segments N",
        "cpu": f"take these off the CPU or out of the model: {names} (edgekit check shows why they "
        "do not map)",
        "outputs": "smaller outputs: fewer classes or a coarser map, enlarged by the program that "
        "uses it",
        "overhead": "several models in one, or more work for each run: the chip itself is hardly "
        "busy",
    }[dominant]
