# SPDX-License-Identifier: Apache-2.0
"""For docs/emulator.md: every layer alone in TensorFlow Lite, and the effect of differences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.layers import multipliers_of
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.formats.tflite.part import with_operators
from edgekit.runtime import Runner
from scripts.layers_alone import Alone, Run, layers_alone

_KINDS = (
    ("convolutions", ("CONV_2D", "DEPTHWISE_CONV_2D")),
    ("dense layers", ("FULLY_CONNECTED",)),
    ("additions", ("ADD",)),
    ("multiplications", ("MUL",)),
    ("average pools", ("AVERAGE_POOL_2D",)),
    ("maximum pools", ("MAX_POOL_2D",)),
    ("means", ("MEAN",)),
    ("logistic functions", ("LOGISTIC",)),
    ("QUANTIZE", ("QUANTIZE",)),
)
# An average pool and a softmax after exact layers: the effect of rounding halves, on more images.
_POOLED, _NUM_IMAGES = "google-coral__test_data/mobilenet_v1_0.25_128_quant", 20


@dataclass(frozen=True)
class Difference:
    """The comparison of two sets of values."""

    equal: int
    total: int
    largest: int

    def __str__(self) -> str:
        if not self.total:
            return "-"
        share = (
            f"{self.equal:,} of {self.total:,}" if self.equal != self.total else f"{self.total:,}"
        )
        return f"{share}, {self.largest}" if self.largest else f"all {share}"

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.equal + other.equal,
            self.total + other.total,
            max(self.largest, other.largest),
        )


@dataclass
class Kind:
    """The layers of one kind, each alone, of every compared source."""

    layers: int = 0
    values: int = 0
    differing: int = 0
    predicted: int = 0
    largest: int = 0
    by_reference: int = 0

    def add(self, fast: Alone, reference: Alone) -> None:
        """Count one layer."""
        self.layers += 1
        self.values += fast.ours.size
        self.differing += fast.num_differing
        self.predicted += fast.num_predicted
        self.largest = max(self.largest, fast.largest, reference.largest)
        self.by_reference += reference.num_differing


@dataclass
class Layers:
    """The results for all layers alone."""

    kinds: dict[str, Kind] = field(default_factory=lambda: defaultdict(Kind))
    done: set[str] = field(default_factory=set)  # sha256 of sources
    spread: str = ""  # the largest share of an output that differs because of convolutions alone
    share: float = 0.0


def count_layers(
    layers: Layers,
    label: str,
    chip: EdgeTpu,
    part: Model,
    values: dict[str, Any],
    outputs: Difference,
) -> None:
    """Count every layer of ``part`` alone, once per source."""
    key = label.split(":")[1].split("_cocompiled", maxsplit=1)[0]
    if key in layers.done:
        return
    layers.done.add(key)
    ran = [
        list(layers_alone(part, values, runner_of(kernels), multipliers_of(chip)))
        for kernels in ("fast", "reference")
    ]
    differing = [each for each in ran[0] if each.num_differing]
    for fast, reference in zip(*ran, strict=True):
        layers.kinds[fast.opcode].add(fast, reference)
    share = 1 - outputs.equal / max(outputs.total, 1)
    are_convolutions = differing and all("CONV_2D" in each.opcode for each in differing)
    if are_convolutions and share > layers.share:
        layers.share = share
        layers.spread = (
            f"in {label} {sum(each.num_differing for each in differing)} values of all "
            f"layers alone differ, the first in operator {differing[0].index}, and at the end "
            f"{outputs.total - outputs.equal:,} of {outputs.total:,}"
        )


def runner_of(kernels: str) -> Run:
    """Return the function that runs a layer in TensorFlow Lite."""

    def run(model: Model, values: Sequence[Any]) -> Any:  # noqa: ANN401
        with Runner(write_model(model), kernels=kernels) as runner:
            (result,) = runner.invoke(*values)
            return result

    return run


def pooled(compiled: Path) -> str:
    """Return the effect of halves in an average pool after a softmax, as the end of a sentence."""
    source = read_model((compiled / f"{_POOLED}.tflite").read_bytes())
    chip = EdgeTpu(
        read_packages(read_model((compiled / f"{_POOLED}_edgetpu.tflite").read_bytes()))[0].package
    )
    (layer,), random = chip.executable.input_layers, np.random.default_rng(0)
    run, counts = runner_of("fast"), [Difference(0, 0, 0)] * 3
    for _ in range(_NUM_IMAGES):
        image = random.integers(0, 256, (layer.y_dim, layer.x_dim, layer.z_dim)).astype(np.uint8)
        values: dict[str, Any] = {
            layer.name: image.reshape(source.main.tensors[source.main.inputs[0]].shape)
        }
        *_, pool = (
            each
            for each in layers_alone(source, values, run, multipliers_of(chip))
            if each.opcode == "AVERAGE_POOL_2D"
        )
        (mine,) = chip.invoke({layer.name: image}).values()
        tail = with_operators(source, pool.index + 1, len(source.main.operators))
        shape = source.main.tensors[tail.main.inputs[0]].shape
        pairs = (
            (pool.ours, pool.theirs),
            (mine, run(source, list(values.values()))),
            (mine, run(tail, [pool.ours.reshape(shape)])),
        )
        counts = [
            each + against({"": ours}, {"": theirs})
            for each, (ours, theirs) in zip(counts, pairs, strict=True)
        ]
    pools, whole, given = counts
    return (
        f"{pools.total - pools.equal} of {pools.total:,} values of {Path(_POOLED).name} "
        f"({_NUM_IMAGES} images); behind the softmax {whole.total - whole.equal} of "
        f"{whole.total:,} differ, by up to {whole.largest} steps of 255, and if the last two "
        f"layers get the Edge TPU's average, {given.total - given.equal} differ, by up to "
        f"{given.largest}"
    )


def against(outputs: dict[str, Any], others: dict[str, Any]) -> Difference:
    """Compare tensors by name, without those that ``others`` lack."""
    equal = total = largest = 0
    for name, values in outputs.items():
        if name not in others:
            return Difference(0, 0, 0)
        mine = values.reshape(-1).view(np.uint8).astype(int)
        other = others[name].reshape(-1).view(np.uint8).astype(int)
        if values.dtype == np.int8:
            mine, other = mine ^ 0x80, other ^ 0x80
        equal += int((mine == other).sum())
        total += mine.size
        largest = max(largest, int(np.abs(mine - other).max()))
    return Difference(equal, total, largest)


def layers_table(layers: Layers) -> str:
    """Return a table of the layers of all sources by kind."""
    head = ("layers", "number", "values", "as TensorFlow Lite's fast kernels", "predicted",
            "as its reference kernels", "largest difference")  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for name, opcodes in _KINDS:
        there = [layers.kinds[opcode] for opcode in opcodes if opcode in layers.kinds]
        if not there:
            continue
        values = sum(each.values for each in there)
        differing = sum(each.differing for each in there)
        by_reference = sum(each.by_reference for each in there)
        predicted = sum(each.predicted for each in there)
        rows.append(
            (
                name,
                str(sum(each.layers for each in there)),
                f"{values:,}",
                f"{differing:,} differ",
                "all" if predicted == values else f"{predicted:,}" if predicted else "-",
                f"{by_reference:,} differ",
                str(max(each.largest for each in there)),
            )
        )
    return table_of(head, rows)


def table_of(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
