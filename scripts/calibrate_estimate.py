# SPDX-License-Identifier: Apache-2.0
"""Fit the latency model to published latencies; write its numbers and its leave-one-out error.

    python -m scripts.calibrate_estimate LATENCY.csv CORPUS

LATENCY.csv has the columns model, device/host, latency_ms, source; CORPUS is the folder with
``compiled/truth.json``. Writes edgekit/edgetpu/calibration.json and docs/estimate-accuracy.md.
Needs the host extra (Keras) for the shapes of published networks without a file in the corpus.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls  # type: ignore[import-untyped]  # scipy has no types

from edgekit.edgetpu.calibration import CALIBRATION_FILE, error_quantile
from edgekit.edgetpu.demand import Demand, demand_of_compiled, demand_of_plain
from edgekit.edgetpu.limits import CPU
from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.edgetpu.support import judge_operators
from edgekit.files import write_text
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import Model, read_model
from scripts.published_networks import at_input_size, from_keras, keras_network

_COVERAGE = 0.9  # of the rows from which an interval is computed
_REPOSITORY = Path(__file__).resolve().parents[1]
_TEST_DATA = "compiled/google-coral__test_data/"
_SSD = _TEST_DATA + "ssd_mobilenet_v1_coco_quant_postprocess"
# Networks with a compiled file (and its source) in the corpus.
_FILES = {
    "mobilenet_v1_0.25_128": _TEST_DATA + "mobilenet_v1_0.25_128_quant",
    # The same network before its classifier, which is 1 % of the cycles.
    "mobilenet_v1_1.0_224": _TEST_DATA + "mobilenet_v1_1.0_224_quant_embedding_extractor",
    # The same network with 964 classes instead of 1,001.
    "mobilenet_v2_1.0_224": "compiled/google-coral__edgetpu/mobilenet_v2_1.0_224_inat_bird_quant",
    "posenet_353x481": _TEST_DATA + "posenet_mobilenet_v1_075_353_481_16_quant_decoder",
    "movenet_lightning": _TEST_DATA + "movenet_single_pose_lightning_ptq",
    "deeplab_v3_0.5": _TEST_DATA + "deeplabv3_mnv2_dm05_pascal_quant",
    "deeplab_slim": _TEST_DATA + "deeplab_mobilenet_edgetpu_slim_cityscapes_quant",
}
# Published name (its start, lower case) -> network. Names that fit several networks, and networks
# whose shapes are unknown, are left out and listed in the page.
_NETWORKS = (
    (r"mobilenet.v1.0\.25", "mobilenet_v1_0.25_128"),
    (r"mobilenet.v1( \(224x224\))?$|mobilenet_v1_1\.0_224_quant", "mobilenet_v1_1.0_224"),
    (r"mobilenet.v2( \(224x224\))?$|mobilenet_v2_1\.0_224_quant", "mobilenet_v2_1.0_224"),
    (r"inception.v1", "inception_v1"),
    (r"inception v3 299", "inception_v3"),
    (r"inception-resnet v2", "inception_resnet_v2"),
    (r"resnet-50 v2", "resnet_50_v2"),
    (r"vgg19", "vgg19"),
    (r"posenet mobilenet v1 353", "posenet_353x481"),
    (r"posenet mobilenet v1 481", "posenet_481x641"),
    (r"posenet mobilenet v1 721", "posenet_721x1281"),
    (r"mobilenet v1 ssd|ssd mobilenet v1|ssd_mobilenet_v1_coco", "ssd_mobilenet_v1"),
    (r"movenet\.singlepose\.lightning", "movenet_lightning"),
    (r"mobilenet v2 deeplab v3 0\.5", "deeplab_v3_0.5"),
    (r"deeplab v3 \(513", "deeplab_v3_0.5"),
    (r"edgetpu-deeplab-slim", "deeplab_slim"),
)
_DEVICES = (
    (r"raspberry pi 4", "usb3-arm"),
    (r"raspberry pi 3", "usb2"),
    (r"usb accelerator", "usb3"),
    (r"dev board", "dev-board"),
    (r"desktop cpu", "desktop-cpu"),
    (r"embedded cpu", "embedded-cpu"),
)
_FITTED = ("usb3", "usb2", "dev-board")
# The CPUs of the published rows: Coral's desktop, and Cortex-A53 in Dev Board and Raspberry Pi 3.
_HOSTS = {"usb3": "desktop", "usb2": "a53", "dev-board": "a53"}
_CPU_ROWS = {"desktop-cpu": "desktop", "embedded-cpu": "a53"}
# USB 3.0 (5 Gbit/s) and PCIe 2.0 x1 (5 GT/s) carry 8 bits in 10; no row can exceed this.
_LINE_RATE_BYTES_PER_MS = 500_000
# Only multiply-accumulates: the rest of these networks is little work for a CPU.
_CPU_NETWORKS = (
    "mobilenet_v1_1.0_224",
    "mobilenet_v2_1.0_224",
    "inception_v1",
    "vgg19",
    "resnet_50_v2",
    "inception_resnet_v2",
)
_ENOUGH_NETWORKS = 4
_HEAD = """# How accurate `edgekit estimate` is

Written by `scripts/calibrate_estimate.py`; do not edit. Every number below comes from latencies
that others published and measured on their hardware. An estimate is

    overhead + cycles of the busiest tile + bytes over the bus + host's work on outputs + CPU part

Cycles and bytes are counted: in a compiled file from its instructions and its transfer schedule,
in an int8 file with formulas that agree with compiled files. The few factors in front of them are
fitted (least absolute relative errors, none below zero): one for the chip, two for each bus, two
for each host's CPU. The time of a multiply-accumulate on a CPU is the median over networks that
were measured without an Edge TPU.

The CPU's elements are those of the activations that its operators read or write.

For the errors, a network is left out of the fit with all its rows. 90 % of such rows have an error
within the interval around an estimate (with few rows, the next larger error is its limit).
"inside" counts left-out rows within an interval that was computed without that row; "network apart"
counts rows within an interval that was computed without any row of their network, which is a hard
test with so few networks. A device with rows of fewer than four networks uses the errors of all
devices.

| device | networks | rows (of) | median error | inside | network apart | interval |
|---|---|---|---|---|---|---|"""
_NUMBERS = """## The fitted numbers

| device | ms a run | ms a million cycles | ms a MB | ms a MB out | ns an element | ns a MAC |
|---|---|---|---|---|---|---|"""
_ROWS = """## Each row, estimated without its network

| network | device | published ms | estimate ms | error | source |
|---|---|---|---|---|---|"""
_HOST_NAMES = {
    "usb3": "desktop computer",
    "usb2": "Raspberry Pi 3",
    "pcie": "desktop computer",
    "dev-board": "Coral Dev Board",
}
_NOTES = {
    "usb2": "measured on a Raspberry Pi 3, whose Cortex-A53 also does the CPU's part",
    "pcie": "no latency was published for PCIe cards in a desktop computer: the bus is the Dev "
    "Board's, the CPU the desktop's; the error is that of the Dev Board's rows",
}
_ROBUST_ROUNDS = 50
_ROBUST_ERROR = 0.03  # relative errors below this count as squares, above it as themselves


@dataclass(frozen=True)
class Row:
    """One published latency and the demand of its network."""

    network: str
    device: str
    latency_ms: float
    source: str
    demand: Demand

    @property
    def has_tail(self) -> bool:
        """Whether a part runs on the CPU."""
        return bool(self.demand.cpu.opcodes)


@dataclass(frozen=True)
class Fit:
    """The numbers of the latency model: one chip, one bus per device, one CPU per host."""

    ms_per_mcycle: float
    overhead_ms: dict[str, float]  # by device
    ms_per_mb: dict[str, float]  # by device
    ms_per_output_mb: dict[str, float]  # by host
    cpu_ns_per_element: dict[str, float]  # by host

    def chip_and_bus_ms(self, row: Row) -> float:
        """Return the milliseconds of the Edge TPU's part, without the host's work on outputs."""
        return (
            self.overhead_ms[row.device]
            + self.ms_per_mcycle * row.demand.cycles / 1e6
            + self.ms_per_mb[row.device] * row.demand.bus_bytes / 1e6
        )

    def predict(self, row: Row, cpu_ns_per_mac: dict[str, float]) -> float:
        """Return the milliseconds of one inference."""
        host = _HOSTS[row.device]
        return (
            self.chip_and_bus_ms(row)
            + self.ms_per_output_mb[host] * row.demand.output_bytes / 1e6
            + self.cpu_ns_per_element[host] * row.demand.cpu.elements / 1e6
            + cpu_ns_per_mac[host] * row.demand.cpu.macs / 1e6
        )


def _match(table: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for pattern, name in table if re.search(pattern, text.lower())), "")


class _Demands:
    """The demand of each published network, from its compiled file if there is one."""

    def __init__(self, corpus: Path) -> None:
        self._corpus = corpus
        self._found: dict[str, Demand] = {}

    def of(self, network: str) -> Demand:
        """Return the demand of one inference."""
        if network not in self._found:
            self._found[network] = self._count(network)
        return self._found[network]

    def gmacs(self, network: str) -> float:
        """Return the thousand million multiply-accumulates of one inference."""
        model = self._source(network)
        indices = range(len(model.main.operators))
        return sum(count_macs(Operation(model, index)) for index in indices) / 1e9

    def _count(self, network: str) -> Demand:
        if network in _FILES:
            return self._compiled(f"{_FILES[network]}_edgetpu.tflite")
        if network == "ssd_mobilenet_v1":
            first, second = (
                self._compiled(f"{_SSD}_segment_{i}_of_2_edgetpu.tflite") for i in range(2)
            )
            return _joined(first, second)
        model = self._source(network)
        if network.startswith("posenet"):
            mapped = {each.index for each in judge_operators(model) if each.verdict != CPU}
        else:  # classifiers that, according to Coral, run completely on the Edge TPU
            mapped = set(range(len(model.main.operators)))
        return demand_of_plain(model, mapped, runtime=10)[0]

    def _source(self, network: str) -> Model:
        if network in _FILES:
            return read_model(self._corpus / f"{_FILES[network]}.tflite")
        if network.startswith("posenet"):
            height, width = (int(size) for size in network.split("_")[1].split("x"))
            source = read_model(self._corpus / f"{_FILES['posenet_353x481']}.tflite")
            return at_input_size(source, height, width)
        return from_keras(keras_network(network))

    def _compiled(self, path: str) -> Demand:
        model = read_model(self._corpus / path)
        return demand_of_compiled(model, read_packages(model))


def _joined(first: Demand, second: Demand) -> Demand:
    """Join two segments to the program they were cut from: no bytes move between them."""
    return replace(
        second,
        cycles=first.cycles + second.cycles,
        input_bytes=first.input_bytes,
        instruction_bytes=first.instruction_bytes + second.instruction_bytes,
        cached_bytes=first.cached_bytes + second.cached_bytes,
    )


def read_rows(path: Path, demands: _Demands) -> tuple[list[Row], list[str]]:
    """Return the published rows whose network is known, and the names of the others."""
    rows, others = [], []
    with path.open(newline="") as stream:
        for entry in csv.DictReader(stream):
            device = _match(_DEVICES, entry["device/host"])
            network = _match(_NETWORKS, entry["model"])
            if "[" in entry["model"] or device not in _FITTED:
                continue  # training, or image resizing is part of the time; other hosts
            if not network or (network == "deeplab_v3_0.5" and _is_old_deeplab(entry, device)):
                others.append(f"{entry['model']} ({entry['device/host']})")
                continue
            demand = demands.of(network)
            latency_ms = float(entry["latency_ms"])
            rows.append(Row(network, device, latency_ms, entry["source"], demand))
    return rows, others


def _is_old_deeplab(entry: dict[str, str], device: str) -> bool:
    """Whether it is a DeepLab row on USB 3 without its width, which other rows state."""
    return device == "usb3" and "(513" in entry["model"]


def _contradicts(row: Row) -> bool:
    """Whether the bus cannot carry the network's bytes in the published time."""
    return row.demand.bus_bytes > row.latency_ms * _LINE_RATE_BYTES_PER_MS


def _robust(
    features: list[dict[str, float]], wanted: list[float], scale: list[float]
) -> dict[str, float]:
    """Solve ``features @ x = wanted`` for the least absolute errors, x >= 0, weighted by scale."""
    names = sorted({name for each in features for name in each})
    matrix = np.array([[each.get(name, 0.0) for name in names] for each in features])
    target, sizes = np.array(wanted), np.array(scale)
    weights: NDArray[np.float64] = 1 / sizes
    solution = np.zeros(len(names))
    for _ in range(_ROBUST_ROUNDS):
        solution, _ = nnls(matrix * weights[:, None], target * weights)
        errors = np.abs(matrix @ solution - target) / sizes
        weights = 1 / sizes / np.sqrt(np.maximum(errors, _ROBUST_ERROR))
    return dict(zip(names, solution.tolist(), strict=True))


def _scales(rows: list[Row]) -> list[float]:
    """Return weights: errors are relative, and each network on each device counts once."""
    times = Counter((row.network, row.device) for row in rows)
    return [row.latency_ms * math.sqrt(times[row.network, row.device]) for row in rows]


def fit(rows: list[Row], cpu_ns_per_mac: dict[str, float]) -> Fit:
    """Fit chip and buses to the networks without CPU part, then the hosts to the others."""
    mapped = [row for row in rows if not row.has_tail]
    chip = _robust(
        [
            {
                "cycles": row.demand.cycles / 1e6,
                f"overhead {row.device}": 1.0,
                f"bus {row.device}": row.demand.bus_bytes / 1e6,
            }
            for row in mapped
        ],
        [row.latency_ms for row in mapped],
        _scales(mapped),
    )
    first = Fit(
        ms_per_mcycle=chip["cycles"],
        overhead_ms={each: chip.get(f"overhead {each}", 0.0) for each in _FITTED},
        ms_per_mb={each: chip[f"bus {each}"] for each in _FITTED},
        ms_per_output_mb={},
        cpu_ns_per_element={},
    )
    tails = [row for row in rows if row.has_tail]
    host = _robust(
        [
            {
                f"outputs {_HOSTS[row.device]}": row.demand.output_bytes / 1e6,
                f"elements {_HOSTS[row.device]}": row.demand.cpu.elements / 1e6,
            }
            for row in tails
        ],
        [
            row.latency_ms
            - first.chip_and_bus_ms(row)
            - cpu_ns_per_mac[_HOSTS[row.device]] * row.demand.cpu.macs / 1e6
            for row in tails
        ],
        _scales(tails),
    )
    hosts = sorted(set(_HOSTS.values()))
    return replace(
        first,
        ms_per_output_mb={each: host[f"outputs {each}"] for each in hosts},
        cpu_ns_per_element={each: host[f"elements {each}"] for each in hosts},
    )


def read_cpu_rates(path: Path, demands: _Demands) -> dict[str, float]:
    """Return the nanoseconds per multiply-accumulate of each CPU: the median over networks."""
    found = defaultdict(list)
    with path.open(newline="") as stream:
        for entry in csv.DictReader(stream):
            host = _CPU_ROWS.get(_match(_DEVICES, entry["device/host"]), "")
            network = _match(_NETWORKS, entry["model"])
            if host and network in _CPU_NETWORKS:
                found[host].append(float(entry["latency_ms"]) / demands.gmacs(network))
    # Milliseconds for a thousand million are picoseconds for one.
    return {host: float(np.median(rates)) / 1e3 for host, rates in found.items()}


@dataclass(frozen=True)
class LeftOut:
    """A row, estimated by a fit without its network."""

    row: Row
    estimate_ms: float

    @property
    def log_error(self) -> float:
        """Natural logarithm of estimate over published."""
        return math.log(self.estimate_ms / self.row.latency_ms)


def leave_networks_out(rows: list[Row], cpu_ns_per_mac: dict[str, float]) -> list[LeftOut]:
    """Estimate each network's rows from the rows of all other networks."""
    found = []
    for network in sorted({row.network for row in rows}):
        rest = fit([row for row in rows if row.network != network], cpu_ns_per_mac)
        found += [
            LeftOut(row, rest.predict(row, cpu_ns_per_mac))
            for row in rows
            if row.network == network
        ]
    return found


def accuracy(left_out: list[LeftOut], device: str, *, has_tail: bool) -> dict[str, Any]:
    """Return the errors of one kind of estimate; with few rows, also those of other devices."""
    kind = [each for each in left_out if each.row.has_tail == has_tail]
    own = [each for each in kind if each.row.device == device]
    enough = len({each.row.network for each in own}) >= _ENOUGH_NETWORKS
    basis = own if enough else kind
    errors = [each.log_error for each in basis]
    inside = sum(
        abs(each) <= error_quantile(errors[:i] + errors[i + 1 :], _COVERAGE)
        for i, each in enumerate(errors)
    )
    strict = sum(
        abs(each.log_error) <= error_quantile(_others(basis, each.row.network), _COVERAGE)
        for each in basis
    )
    return {
        "device": device if enough else "all",
        "rows": len(basis),
        "median_error": round(float(np.median([abs(math.expm1(each)) for each in errors])), 3),
        "coverage": round(inside / len(basis), 3),
        "strict_coverage": round(strict / len(basis), 3),
        "log_error": round(error_quantile(errors, _COVERAGE), 3),
    }


def _others(basis: list[LeftOut], network: str) -> list[float]:
    return [each.log_error for each in basis if each.row.network != network]


def calibration(
    rows: list[Row], left_out: list[LeftOut], numbers: Fit, rates: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Return the document that edgekit reads: one entry per device."""
    document: dict[str, dict[str, Any]] = {}
    for device in ("usb3", "usb2", "pcie", "dev-board"):
        published = "dev-board" if device == "pcie" else device
        own = [row for row in rows if row.device == published]
        host = "desktop" if device == "pcie" else _HOSTS[device]
        tails = [row for row in own if row.has_tail]
        document[device] = {
            "device": device,
            "host": _HOST_NAMES[device],
            "overhead_ms": round(numbers.overhead_ms[published], 3),
            "ms_per_mcycle": round(numbers.ms_per_mcycle, 3),
            "ms_per_mb": round(numbers.ms_per_mb[published], 3),
            "ms_per_output_mb": round(numbers.ms_per_output_mb[host], 3),
            "cpu_ns_per_element": round(numbers.cpu_ns_per_element[host], 3),
            "cpu_ns_per_mac": round(rates[host], 4),
            "mapped": accuracy(left_out, published, has_tail=False),
            "with_cpu": accuracy(left_out, published, has_tail=True),
            "max_cpu_share": round(
                max(
                    1 - numbers.chip_and_bus_ms(row) / numbers.predict(row, rates) for row in tails
                ),
                2,
            ),
            "max_mcycles": round(max(row.demand.cycles for row in own) / 1e6, 2),
            "max_bus_mb": round(max(row.demand.bus_bytes for row in own) / 1e6, 1),
            "custom_opcodes": sorted(
                {name for row in rows for name in row.demand.cpu.custom_opcodes}
            ),
            "note": _NOTES.get(device, ""),
        }
    return document


def main(latencies: Path, corpus: Path) -> None:
    """Fit, leave out, write both files."""
    demands = _Demands(corpus)
    published, others = read_rows(latencies, demands)
    rows = [row for row in published if not _contradicts(row)]
    rates = read_cpu_rates(latencies, demands)
    left_out = leave_networks_out(rows, rates)
    numbers = fit(rows, rates)
    document = calibration(rows, left_out, numbers, rates)
    write_text(CALIBRATION_FILE, json.dumps(document, indent=2) + "\n")
    contradicting = [row for row in published if _contradicts(row)]
    page = write_page(document, left_out, contradicting, others)
    write_text(_REPOSITORY / "docs" / "estimate-accuracy.md", page)


def write_page(
    document: dict[str, dict[str, Any]],
    left_out: list[LeftOut],
    contradicting: list[Row],
    others: list[str],
) -> str:
    """docs/estimate-accuracy.md."""
    lines = [_HEAD]
    for device, entry in document.items():
        if device == "pcie":
            continue
        for kind, words in (("mapped", "all on the Edge TPU"), ("with_cpu", "with a CPU part")):
            found = entry[kind]
            spread = math.exp(found["log_error"])
            lines.append(
                f"| {device} | {words} | {found['rows']} ({found['device']}) | "
                f"{found['median_error']:.1%} | {found['coverage']:.0%} | "
                f"{found['strict_coverage']:.0%} | x {spread:.2f} |"
            )
    lines += ["", _summary(left_out), "", _NUMBERS]
    lines += [
        f"| {device} | {entry['overhead_ms']} | {entry['ms_per_mcycle']} | {entry['ms_per_mb']} | "
        f"{entry['ms_per_output_mb']} | {entry['cpu_ns_per_element']} | {entry['cpu_ns_per_mac']} |"
        for device, entry in document.items()
    ]
    lines += ["", f"- pcie: {_NOTES['pcie']}.", f"- usb2: {_NOTES['usb2']}.", "", _ROWS]
    lines += [
        f"| {each.row.network} | {each.row.device} | {each.row.latency_ms:g} | "
        f"{each.estimate_ms:.2f} | {math.expm1(each.log_error):+.0%} | "
        f"{each.row.source.split(', footnote')[0]} |"
        for each in sorted(left_out, key=lambda each: (each.row.network, each.row.device))
    ]
    lines += ["", "## Rows that are not in the fit", ""]
    lines += [
        f"- {row.network} on {row.device}: {row.latency_ms:g} ms would need "
        f"{row.demand.bus_bytes / row.latency_ms / 1e3:.0f} MB/s, above the 500 MB/s of the bus."
        for row in contradicting
    ]
    lines += [f"- {name}: no file of this network, or several fit the name." for name in others]
    lines.append(
        "- Raspberry Pi 4 with USB 3: the same networks took 1.5 to 2.0 times as long as on the "
        "x86-64 computer of the same source; an estimate for usb3 is for a desktop computer."
    )
    return "\n".join(lines) + "\n"


def _summary(left_out: list[LeftOut]) -> str:
    mapped = [each for each in left_out if not each.row.has_tail]
    errors = sorted(abs(math.expm1(each.log_error)) for each in mapped)
    return (
        f"Over all devices, for the {len(mapped)} rows of networks that are all on the Edge TPU, "
        f"the median error is {float(np.median(errors)):.1%} and the largest {errors[-1]:.0%}."
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
