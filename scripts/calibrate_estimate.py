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
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.edgetpu.calibration import CALIBRATION_FILE
from edgekit.edgetpu.demand import Demand, demand_of_compiled
from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.files import write_text
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import Model, read_model
from edgekit.opencompiler.estimate import count_plain
from scripts.latency_fit import (
    FITTED,
    HOSTS,
    PRIORS,
    Fit,
    LeftOut,
    Row,
    accuracy,
    fit,
    leave_networks_out,
)
from scripts.published_networks import at_input_size, from_keras, keras_network

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
_SSD_SOURCE = "coral/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
# Latencies of networks that are not in the fit; source: coral.ai/docs/edgetpu/benchmarks, table 1.
_CHECKS = (
    ("densenet_121", "usb3", 20.0),
    ("densenet_121", "dev-board", 25.0),
    ("resnet_50", "usb3", 49.0),
    ("resnet_50", "dev-board", 56.0),
    ("resnet_152_v2", "usb3", 128.0),
    ("resnet_152_v2", "dev-board", 151.0),
    ("vgg16", "usb3", 296.0),
    ("vgg16", "dev-board", 343.0),
)
# Published name (its start, lower case) -> network. Names that fit several networks, and networks
# whose shapes are unknown, are left out and listed in the page.
_NETWORKS = (
    (r"mobilenet.v1.0\.25", "mobilenet_v1_0.25_128"),
    (r"mobilenet.v1( \(224x224\))?$|mobilenet_v1_1\.0_224_quant", "mobilenet_v1_1.0_224"),
    (r"mobilenet.v2( \(224x224\))?$|mobilenet_v2_1\.0_224_quant", "mobilenet_v2_1.0_224"),
    (r"inception.v1", "inception_v1"),
    (r"inception v3 299", "inception_v3"),
    (r"inception-resnet v2", "inception_resnet_v2"),
    (r"densenet", "densenet_121"),
    (r"resnet-50 v1", "resnet_50"),
    (r"resnet-50 v2", "resnet_50_v2"),
    (r"resnet-152 v2", "resnet_152_v2"),
    (r"vgg16", "vgg16"),
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
_HEAD = """# How accurate `edgekit estimate` is

Written by `scripts/calibrate_estimate.py`; do not edit. Every latency below was published by
others, who measured it on their hardware. An estimate is

    overhead + cycles of the busiest tile + bytes over the bus + host's work on outputs + CPU part

Cycles and bytes are counted in a program: that of a compiled file, or the one that edgekit's own
compiler makes of a plain model, of the operators that Google's compiler maps. If edgekit's compiler
refuses the model, they are computed by formulas, and the estimate says so.

The few factors in front of the counts are fitted to plain models and to compiled files together:
one for the chip, two for each bus, two for each host's CPU. Errors are relative, and those beyond
10 % have less and less influence, so that one odd latency does not distort the others. Each factor
has a prior, because some rest on two or three networks. The time of a multiply-accumulate on a CPU
is the median over networks that were measured without an Edge TPU. The CPU's elements are those of
the activations that its operators read or write.

For the errors, a network is left out of the fit with all its rows, and estimated from its plain
model. 90 % of such rows have an error within the interval around an estimate (with few rows, the
next larger error is its limit). "inside" counts left-out rows within an interval that was computed
without that row; "network apart" counts rows within an interval that was computed without any row
of their network, which is a hard test with so few networks. A device with rows of fewer than four
networks uses the errors of all devices.

| device | networks | rows (of) | median error | inside | network apart | interval |
|---|---|---|---|---|---|---|"""
_NUMBERS = """## The fitted numbers

| device | ms a run | ms a million cycles | ms a MB | ms a MB out | ns an element | ns a MAC |
|---|---|---|---|---|---|---|"""
_PRIORS = """### Priors

| number | prior | likely within | source |
|---|---|---|---|"""
_ROWS = """## Each row, estimated without its network

| network | device | published ms | estimate ms | error | of the compiled file | source |
|---|---|---|---|---|---|---|"""
_CHECKED = """## Networks that are not in the fit

Published in table 1 of coral.ai/docs/edgetpu/benchmarks; the networks are those of
keras.applications.

| network | device | published ms | estimate ms | error |
|---|---|---|---|---|"""
_DIFFERENCES = """## What is far off, and why

- inception_v1: published times are longer on every bus, by as much as 0.15 to 0.5 MB more on the
  bus would take. Its 6.9 MB of parameters fit on the chip with edgekit's compiler; the file that
  was measured is not available, and may have streamed some.
- deeplab_slim: Google's compiled file sends 9.8 MB of activations to the host and back in each
  inference; edgekit's program keeps them on the chip. deeplab_v3_0.5 has the same CPU operators on
  larger maps, and yet half of the published time: no factor fits both.
- ssd_mobilenet_v1: two sources published 6.5 and 10.0 ms for the same network and device, and
  edgekit's program has 0.72 MB of instructions, Google's file 0.21 MB.
- mobilenet_v1_0.25_128: edgekit's program needs a quarter of the instructions of Google's file;
  for so small a network these are a quarter of the time.
- densenet_121: which DenseNet was measured is not said; the program of the one of
  keras.applications has neither the cycles nor the bytes of the published time. edgekit's program
  keeps 5.3 of its 8.0 MB of parameters on the chip; if all were sent with each inference, the
  estimates would be 22.3 and 26.2 ms (published: 20 and 25). Google's compiler may do so: of a
  MobileNetV3Small of 4 MiB it keeps 0.6 MiB on the chip, leaves 0.5 MiB free and sends 3.45 MiB
  (google-coral/edgetpu, issue 572). Why is not known, so no rule of it is in the estimates.
- posenet_721x1281: an image that does not fit on the chip arrives in slices. Those of edgekit's
  program overlap, 20 MB in all; Google's compiled file receives 3.1 MB.
- posenet_481x641, vgg16, vgg19: edgekit's compiler cuts their large maps into slices that compute
  some rows twice."""
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


def _match(table: tuple[tuple[str, str], ...], text: str) -> str:
    return next((name for pattern, name in table if re.search(pattern, text.lower())), "")


class Demands:
    """The demand of each published network, as a plain model and as a compiled file."""

    def __init__(self, corpus: Path) -> None:
        self._corpus = corpus
        self._plain: dict[str, Demand] = {}
        self.notes: dict[str, str] = {}  # networks that the compiler refuses

    def of(self, network: str) -> Demand:
        """Return the demand of one inference of the plain model."""
        if network not in self._plain:
            counted = count_plain(self._source(network))
            self._plain[network] = counted.demand
            if counted.cost_from != "program":
                self.notes[network] = counted.note
        return self._plain[network]

    def of_compiled(self, network: str) -> Demand | None:
        """Return the demand of one inference of the compiled file; None if there is none."""
        if network in _FILES:
            return self._compiled(f"{_FILES[network]}_edgetpu.tflite")
        if network == "ssd_mobilenet_v1":
            parts = (f"{_SSD}_segment_{i}_of_2_edgetpu.tflite" for i in range(2))
            return _joined(*(self._compiled(part) for part in parts))
        return None

    def gmacs(self, network: str) -> float:
        """Return the thousand million multiply-accumulates of one inference."""
        model = self._source(network)
        indices = range(len(model.main.operators))
        return sum(count_macs(Operation(model, index)) for index in indices) / 1e9

    def _source(self, network: str) -> Model:
        if network in _FILES:
            return read_model(self._corpus / f"{_FILES[network]}.tflite")
        if network == "ssd_mobilenet_v1":
            return read_model(self._corpus / _SSD_SOURCE)
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


def read_rows(path: Path, demands: Demands) -> tuple[list[Row], list[str]]:
    """Return the published rows whose network is known, and the names of the others."""
    rows, others = [], []
    with path.open(newline="") as stream:
        for entry in csv.DictReader(stream):
            device = _match(_DEVICES, entry["device/host"])
            network = _match(_NETWORKS, entry["model"])
            if "[" in entry["model"] or device not in FITTED:
                continue  # training, or image resizing is part of the time; other hosts
            if not network or (network == "deeplab_v3_0.5" and _is_old_deeplab(entry, device)):
                others.append(f"{entry['model']} ({entry['device/host']})")
                continue
            latency_ms = float(entry["latency_ms"])
            both = demands.of(network), demands.of_compiled(network)
            rows.append(Row(network, device, latency_ms, entry["source"], *both))
    return rows, others


def _is_old_deeplab(entry: dict[str, str], device: str) -> bool:
    """Whether it is a DeepLab row on USB 3 without its width, which other rows state."""
    return device == "usb3" and "(513" in entry["model"]


def _contradicts(row: Row) -> bool:
    """Whether the bus cannot carry the network's parameters in the published time.

    Other bytes depend on the compiler, which is another one than that of the published times.
    """
    return row.demand.streamed_bytes > row.latency_ms * _LINE_RATE_BYTES_PER_MS


def read_cpu_rates(path: Path, demands: Demands) -> dict[str, float]:
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


def calibration(rows: list[Row], left_out: list[LeftOut], found: Fit) -> dict[str, dict[str, Any]]:
    """Return the document that edgekit reads: one entry per device."""
    document: dict[str, dict[str, Any]] = {}
    for device in ("usb3", "usb2", "pcie", "dev-board"):
        published = "dev-board" if device == "pcie" else device
        own = [row for row in rows if row.device == published]
        host = "desktop" if device == "pcie" else HOSTS[device]
        tails = [row for row in own if row.has_tail]
        document[device] = {
            "device": device,
            "host": _HOST_NAMES[device],
            "overhead_ms": round(found.numbers[f"overhead {published}"], 3),
            "ms_per_mcycle": round(found.numbers["cycles"], 3),
            "ms_per_mb": round(found.numbers[f"bus {published}"], 3),
            "ms_per_output_mb": round(found.numbers[f"outputs {host}"], 3),
            "cpu_ns_per_element": round(found.numbers[f"elements {host}"], 3),
            "cpu_ns_per_mac": round(found.cpu_ns_per_mac[host], 4),
            "mapped": accuracy(left_out, published, has_tail=False),
            "with_cpu": accuracy(left_out, published, has_tail=True),
            "max_cpu_share": round(max(_cpu_share(found, row) for row in tails), 2),
            "max_mcycles": round(max(row.demand.cycles for row in own) / 1e6, 2),
            "max_bus_mb": round(max(row.demand.bus_bytes for row in own) / 1e6, 1),
            "custom_opcodes": sorted(
                {name for row in rows for name in row.demand.cpu.custom_opcodes}
            ),
            "note": _NOTES.get(device, ""),
        }
    return document


def _cpu_share(found: Fit, row: Row) -> float:
    chip_ms = found.chip_and_bus_ms(row.device, row.demand)
    return 1 - chip_ms / found.predict(row.device, row.demand)


def main(latencies: Path, corpus: Path) -> None:
    """Fit, leave out, write both files."""
    demands = Demands(corpus)
    published, others = read_rows(latencies, demands)
    rows = [row for row in published if not _contradicts(row)]
    rates = read_cpu_rates(latencies, demands)
    left_out = leave_networks_out(rows, rates)
    found = fit(rows, rates)
    document = calibration(rows, left_out, found)
    # Boards that other scripts fit stay.
    others_fitted = json.loads(CALIBRATION_FILE.read_text("utf-8"))
    write_text(CALIBRATION_FILE, json.dumps({**others_fitted, **document}, indent=2) + "\n")
    known = {(row.network, row.device) for row in rows}
    checks = [
        LeftOut(row, found.predict(row.device, row.demand), None)
        for row in (
            Row(network, device, latency_ms, "", demands.of(network))
            for network, device, latency_ms in _CHECKS
            if (network, device) not in known
        )
    ]
    reasons = [_contradiction(row) for row in published if _contradicts(row)]
    reasons += [f"{name}: no file of this network, or several fit the name." for name in others]
    page = write_page(document, left_out, checks, reasons, demands.notes)
    write_text(_REPOSITORY / "docs" / "estimate-accuracy.md", page)


def _contradiction(row: Row) -> str:
    rate = row.demand.streamed_bytes / row.latency_ms / 1e3
    return (
        f"{row.network} on {row.device}: {row.latency_ms:g} ms would need {rate:.0f} MB/s, above "
        "the 500 MB/s of the bus."
    )


def write_page(
    document: dict[str, dict[str, Any]],
    left_out: list[LeftOut],
    checks: list[LeftOut],
    reasons: list[str],
    refused: dict[str, str],
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
    lines += ["", f"- pcie: {_NOTES['pcie']}.", f"- usb2: {_NOTES['usb2']}.", "", _PRIORS]
    lines += [
        f"| {name} | {each.value:g} | x {math.exp(each.spread):.2f} | {each.source} |"
        for name, each in PRIORS.items()
    ]
    lines += ["", _ROWS]
    lines += [
        f"| {each.row.network} | {each.row.device} | {each.row.latency_ms:g} | "
        f"{each.estimate_ms:.2f} | {_percent(each.estimate_ms, each.row)} | "
        f"{_percent(each.compiled_ms, each.row)} | {each.row.source.split(', footnote')[0]} |"
        for each in sorted(left_out, key=lambda each: (each.row.network, each.row.device))
    ]
    lines += ["", _CHECKED]
    lines += [
        f"| {each.row.network} | {each.row.device} | {each.row.latency_ms:g} | "
        f"{each.estimate_ms:.1f} | {_percent(each.estimate_ms, each.row)} |"
        for each in checks
    ]
    lines += ["", _DIFFERENCES, *(f"- {name}: by formulas; {refused[name]}." for name in refused)]
    lines += ["", "## Rows that are not in the fit", ""]
    lines += [f"- {reason}" for reason in reasons]
    lines.append(
        "- Raspberry Pi 4 with USB 3: the same networks took 1.5 to 2.0 times as long as on the "
        "x86-64 computer of the same source; an estimate for usb3 is for a desktop computer."
    )
    return "\n".join(lines) + "\n"


def _percent(estimate_ms: float | None, row: Row) -> str:
    return "" if estimate_ms is None else f"{estimate_ms / row.latency_ms - 1:+.0%}"


def _summary(left_out: list[LeftOut]) -> str:
    mapped = [each for each in left_out if not each.row.has_tail]
    errors = sorted(abs(math.expm1(each.log_error)) for each in mapped)
    compiled = [
        abs(each.compiled_ms / each.row.latency_ms - 1) for each in mapped if each.compiled_ms
    ]
    return (
        f"Over all devices, for the {len(mapped)} rows of networks that are all on the Edge TPU, "
        f"the median error is {float(np.median(errors)):.1%} and the largest {errors[-1]:.0%}. "
        f"For the {len(compiled)} of them with a file of Google's compiler, an estimate of that "
        f"file has a median error of {float(np.median(compiled)):.1%}."
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
