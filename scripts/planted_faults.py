# SPDX-License-Identifier: Apache-2.0
"""Plant random faults into int8 models, and count how often `edgekit debug` names them first.

python scripts/planted_faults.py FOLDER [--count 100] [--seed 1] [--minutes 60] [--page]

FOLDER keeps the networks between runs. The networks are float models of the corpus
(EDGEKIT_CORPUS) and some that are built and trained here, on crops of the corpus's photographs. A
planting draws a network, a kind of fault, a place and a strength. It is drawn again if the int8
model loses less than 1 dB by it. With --page, docs/debug-accuracy.md is written. It needs
TensorFlow.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.debug import DebugOptions, DebugResult, debug_models
from edgekit.debug.causes import layer_name
from edgekit.debug.matching import WEIGHTED
from edgekit.debug.ranges import FIXED_RANGE
from edgekit.formats.tflite import Model, write_model
from edgekit.host.convert.child import ConverterChild, kept_converters
from edgekit.runtime.trial import skip_trials
from scripts.planted_networks import Network, networks

Array = NDArray[Any]
PAGE = Path(__file__).resolve().parents[1] / "docs" / "debug-accuracy.md"
_NUM_CALIBRATED, _NUM_DEBUGGED = 50, 40
_LEAST_LOSS_DB = 1.0
_MOST_DRAWS = 12
_GOAL = 0.95


@dataclass(frozen=True)
class Fault:
    """What was planted."""

    kind: str
    text: str
    content: bytes  # of the int8 model
    names: frozenset[str] = frozenset()  # tensors of the float network where it is
    kinds: frozenset[str] = frozenset()  # of the cause that names it


@dataclass
class Row:
    """One planting and what became of it."""

    network: str
    fault: Fault
    loss_db: float
    found: str  # the first cause
    is_right: bool
    place: int = 0  # among the causes; 0 if it is not there
    time_s: float = 0.0


@dataclass
class Workshop:
    """Makes int8 models of one network, with and without faults."""

    network: Network
    child: ConverterChild
    draw: random.Random
    calibrated: bytes = b""
    healthy: DebugResult | None = None
    _cache: dict[str, bytes] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the healthy int8 model and measure it."""
        content = write_model(self.network.model)
        self.calibrated = self.calibrate(content, self.network.samples)
        self.healthy = self.debug(self.quantize(self.calibrated))

    def calibrate(self, content: bytes, samples: Array) -> bytes:
        """Return a float model with the ranges of some samples."""
        chosen = samples[:: max(len(samples) // _NUM_CALIBRATED, 1)][:_NUM_CALIBRATED]
        return self.child.calibrate(content, lambda: ([each[None]] for each in chosen))

    def quantize(self, calibrated: bytes) -> bytes:
        """Return the int8 model of a calibrated one."""
        return self.child.quantize(calibrated, io="int8")

    def debug(self, content: bytes) -> DebugResult:
        """Compare with the float network, on samples that did not calibrate."""
        samples = self.network.held_out
        chosen = samples[:: max(len(samples) // _NUM_DEBUGGED, 1)][:_NUM_DEBUGGED]
        options = DebugOptions(num_samples=_NUM_DEBUGGED)
        network = write_model(self.network.model)
        return debug_models(network, content, list(chosen), options, lambda _done, _total: None)


# Kinds of faults: each plants one at random.


def _weighted(model: Model) -> list[int]:
    return [i for i, op in enumerate(model.main.operators) if op.opcode in WEIGHTED]


def _changed_weights(model: Model, operator: int, change: Callable[[Array], Array]) -> Model:
    tensor = model.main.tensors[model.main.operators[operator].inputs[1]]
    values = np.asarray(model.data(tensor), np.float32)
    buffers = list(model.buffers)
    buffers[tensor.buffer] = np.frombuffer(change(values).astype("<f4").tobytes(), np.uint8)
    return replace(model, buffers=tuple(buffers))


def _behind(model: Model, operator: int) -> frozenset[str]:
    """The tensors that an operator computes, alone with operators without weights after it."""
    graph = model.main
    index = graph.operators[operator].outputs[0]
    names = []
    while True:
        names.append(graph.tensors[index].name)
        readers = [op for op in graph.operators if index in op.inputs]
        if len(readers) != 1 or readers[0].opcode in WEIGHTED:
            return frozenset(names)
        others = [
            i
            for i in readers[0].inputs
            if i != index and not model.buffers[graph.tensors[i].buffer].size
        ]
        if others:
            return frozenset(names)
        index = readers[0].outputs[0]


def _with_weights(shop: Workshop, kind: str, text: str, change: Callable[[Array], Array]) -> Fault:
    """Change the weights of one layer, before or after calibration."""
    model = shop.network.model
    operator = shop.draw.choice(_weighted(model))
    label = f"{model.main.operators[operator].opcode} {operator}"
    names = _behind(model, operator)
    if shop.draw.random() < 0.5:
        changed = write_model(_changed_weights(model, operator, change))
        calibrated = shop.calibrate(changed, shop.network.samples)
        when = "before calibration"
    else:
        calibrated = _with_buffer(shop.calibrated, model, operator, change)
        when = "after calibration"
    text = f"{text} of {label}, {when}"
    return Fault(kind, text, shop.quantize(calibrated), names, frozenset(("weights",)))


def scaled_weights(shop: Workshop) -> Fault:
    """All weights of one layer times a factor."""
    factor = shop.draw.choice((shop.draw.uniform(0.3, 0.75), shop.draw.uniform(1.4, 4.0)))
    return _with_weights(shop, "weights scaled", f"x {factor:.2f}", lambda values: values * factor)


def noised_weights(shop: Workshop) -> Fault:
    """Normal noise on the weights of one layer."""
    share = shop.draw.uniform(0.15, 0.8)
    generator = np.random.default_rng(shop.draw.randrange(1 << 30))

    def change(values: Array) -> Array:
        return values + generator.normal(0, share * float(values.std()), values.shape)

    return _with_weights(shop, "weights noised", f"noise of {share:.0%}", change)


def _with_range(shop: Workshop, kind: str, factor: float, kinds: Sequence[str]) -> Fault:
    """Multiply the calibrated range of one activation."""
    graph = shop.network.model.main
    table = _table(shop.calibrated)
    named = {each.name.decode(): each for each in table.subgraphs[0].tensors}
    fixed = {i for op in graph.operators if op.opcode in FIXED_RANGE for i in op.outputs}
    made = [
        graph.tensors[i].name
        for op in graph.operators
        for i in op.outputs
        if i not in fixed and _has_range(named[graph.tensors[i].name])
    ]
    name = shop.draw.choice(made)
    quantization = named[name].quantization
    quantization.min = [float(each) * factor for each in quantization.min]
    quantization.max = [float(each) * factor for each in quantization.max]
    content = shop.quantize(_packed(table))
    text = f"range of {layer_name(name)} x {factor:.2f}"
    return Fault(kind, text, content, frozenset((name,)), frozenset(kinds))


def _has_range(tensor: Any) -> bool:  # noqa: ANN401 - generated classes have no types
    found = tensor.quantization
    if found is None or found.min is None or found.max is None or len(found.min) != 1:
        return False
    return bool(found.max[0] > found.min[0])


def _table(content: bytes) -> Any:  # noqa: ANN401
    """Return a calibrated model as the schema's objects: it has ranges and no scales."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def _packed(table: Any) -> bytes:  # noqa: ANN401
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(table.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _with_buffer(
    calibrated: bytes, model: Model, operator: int, change: Callable[[Array], Array]
) -> bytes:
    """Change the weights of an operator in a calibrated model."""
    tensor = model.main.tensors[model.main.operators[operator].inputs[1]]
    table = _table(calibrated)
    ours = next(each for each in table.subgraphs[0].tensors if each.name.decode() == tensor.name)
    values = change(np.asarray(model.data(tensor), np.float32))
    table.buffers[ours.buffer].data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    return _packed(table)


def blown_range(shop: Workshop) -> Fault:
    """One range, 4 to 20 times as wide."""
    return _with_range(shop, "range blown up", shop.draw.uniform(4, 20), ("wide_range",))


def cut_range(shop: Workshop) -> Fault:
    """One range, 0.15 to 0.6 times as wide."""
    return _with_range(shop, "range cut", shop.draw.uniform(0.15, 0.6), ("saturation",))


def other_pixels(shop: Workshop) -> Fault:
    """Calibration with pixels of 0..1 in place of -1..1, or the other way round."""
    network = shop.network
    samples = network.samples
    changed = (samples + 1) / 2 if network.pixels == "tf" else samples * 2 - 1
    name = "unit" if network.pixels == "tf" else "tf"
    return _calibrated(shop, "other pixels", f"{name} for {network.pixels}", changed, "preprocess")


def other_colours(shop: Workshop) -> Fault:
    """Calibration with BGR in place of RGB."""
    samples = shop.network.samples[..., ::-1]
    return _calibrated(shop, "BGR for RGB", "other colours", samples, "preprocess")


def unlike_samples(shop: Workshop) -> Fault:
    """Calibration with samples of another kind."""
    low = -1.0 if shop.network.pixels == "tf" else 0.0
    samples, draw = shop.network.samples, shop.draw
    generator = np.random.default_rng(draw.randrange(1 << 30))
    name = draw.choice(("dark", "faint", "noise", "flat"))
    width = 1.0 - low
    if name == "dark":
        changed = low + (samples - low) * draw.uniform(0.1, 0.35)
    elif name == "faint":
        middle = samples.mean()
        changed = middle + (samples - middle) * draw.uniform(0.1, 0.35)
    elif name == "noise":
        changed = low + width * generator.random(samples.shape)
    else:
        shape = (len(samples), *(1 for _ in samples.shape[1:-1]), samples.shape[-1])
        changed = np.broadcast_to(low + width * generator.random(shape), samples.shape)
    return _calibrated(shop, "unlike samples", name, changed, "calibration")


def _calibrated(shop: Workshop, kind: str, text: str, samples: Array, cause: str) -> Fault:
    content = write_model(shop.network.model)
    chosen = shop.draw.sample(range(len(samples)), min(_NUM_CALIBRATED, len(samples)))
    calibrated = shop.calibrate(content, np.ascontiguousarray(samples[chosen], np.float32))
    return Fault(kind, text, shop.quantize(calibrated), frozenset(), frozenset((cause,)))


_KINDS = (
    scaled_weights,
    noised_weights,
    blown_range,
    cut_range,
    other_pixels,
    other_colours,
    unlike_samples,
)


def kinds_for(network: Network) -> list[Callable[[Workshop], Fault]]:
    """Return the kinds of faults that a network can have."""
    left_out: set[object] = set()
    if not network.pixels:
        left_out |= {other_pixels, other_colours, unlike_samples}
    if network.samples.shape[-1] != 3:
        left_out.add(other_colours)
    return [kind for kind in _KINDS if kind not in left_out]


def judge(result: DebugResult, fault: Fault) -> int:
    """Return the place of the planted fault among the causes, from 1; 0 if it is not there."""
    rows = {row.index: row for row in result.operators}
    scales = {row.scale for row in result.operators if row.float_name in fault.names}
    for place, cause in enumerate(result.causes, 1):
        if cause.kind not in fault.kinds:
            continue
        if not fault.names:
            if fault.kind == "other pixels" and f"with {fault.text.split()[0]};" not in cause.text:
                continue
            if fault.kind == "BGR for RGB" and "colours" not in cause.text:
                continue
            return place
        row = rows.get(cause.index if cause.index is not None else -2)
        if row is None:
            continue
        shares_scale = not fault.kind.startswith("weights") and row.scale in scales
        if row.float_name in fault.names or shares_scale:
            return place
    return 0


def plant(shop: Workshop, kind: Callable[[Workshop], Fault]) -> tuple[Row | None, int]:
    """Plant one fault that costs accuracy; return its row, and how many were drawn."""
    healthy = shop.healthy.snr_db if shop.healthy else None
    for number in range(1, _MOST_DRAWS + 1):
        fault = kind(shop)
        start = time.monotonic()
        result = shop.debug(fault.content)
        loss = (healthy or 0.0) - (result.snr_db or 0.0)
        if loss < _LEAST_LOSS_DB:
            continue
        first = result.causes[0]
        where = "" if first.index is None else f" at {first.opcode} {first.name}"
        place = judge(result, fault)
        row = Row(
            shop.network.name,
            fault,
            loss,
            f"{first.kind}{where}: {first.text}",
            place == 1,
            place,
            time.monotonic() - start,
        )
        return row, number
    return None, _MOST_DRAWS


def run(given: argparse.Namespace) -> tuple[list[Row], int]:
    """Plant faults; return the rows, and how many were drawn without a loss."""
    folder, count, seed, wanted = given.folder, given.count, given.seed, given.network
    end = time.monotonic() + 60 * given.minutes
    draw = random.Random(seed)  # noqa: S311 - nothing secret
    skip_trials()  # a crash ends the run, which is as good here, and faster
    rows: list[Row] = []
    without_loss = 0
    corpus = Path(os.environ["EDGEKIT_CORPUS"])
    with contextlib.ExitStack() as stack:
        stack.enter_context(kept_converters())
        child = stack.enter_context(ConverterChild(None, None, "a planted network"))
        shops = [
            Workshop(network, child, draw)
            for network in networks(folder, corpus)
            if not wanted or network.name in wanted
        ]
        for shop in shops:
            shop.prepare()
            healthy = shop.healthy
            if healthy is not None:
                first = healthy.causes[0]
                print(
                    f"{shop.network.name}: healthy {healthy.snr_db or 0:.1f} dB, "
                    f"{first.kind} {first.name} {first.share:.0%}",
                    flush=True,
                )
        pairs = list(_pairs(shops))
        while len(rows) < count and time.monotonic() < end:
            shop, kind = pairs[len(rows) % len(pairs)]
            row, drawn = plant(shop, kind)
            if row is None:
                pairs.remove((shop, kind))
                print(f"{shop.network.name}: {kind.__name__} never costs 1 dB")
                continue
            without_loss += drawn - 1
            rows.append(row)
            mark = "ok  " if row.is_right else f"MISS {row.place}"
            print(
                f"{len(rows):3d} {mark} {row.network} {row.fault.kind}: {row.fault.text}, "
                f"-{row.loss_db:.1f} dB, {row.time_s:.1f} s -> {row.found[:150]}"
                + ("" if row.is_right else f" {sorted(row.fault.names)}"),
                flush=True,
            )
    return rows, without_loss


def _pairs(shops: Sequence[Workshop]) -> Iterator[tuple[Workshop, Callable[[Workshop], Fault]]]:
    """Yield the kinds in turn, each with the networks in turn."""
    longest = 4 * max(len(shops), len(_KINDS))
    for turn in range(longest):
        for number, kind in enumerate(_KINDS):
            able = [shop for shop in shops if kind in kinds_for(shop.network)]
            if able:
                yield able[(turn + number) % len(able)], kind


def page(rows: Sequence[Row], without_loss: int, seed: int) -> str:
    """Return the page in Markdown."""
    right = sum(row.is_right for row in rows)
    kinds = Counter(row.fault.kind for row in rows)
    by_kind = Counter(row.fault.kind for row in rows if row.is_right)
    nets = Counter(row.network for row in rows)
    by_net = Counter(row.network for row in rows if row.is_right)
    lines = [
        "<!-- generated by scripts/planted_faults.py; do not edit -->",
        "",
        "# How often `edgekit debug` names the cause",
        "",
        f"{len(rows)} random faults were planted into int8 models (seed {seed}). `edgekit debug` "
        f"named **{right} of {len(rows)} ({right / len(rows):.0%})** as the first cause: the right "
        "kind at the right operator, or the right preprocessing. "
        f"{without_loss} more plantings cost less than {_LEAST_LOSS_DB:g} dB at the outputs, and "
        "were drawn again.",
        "",
        f"Calibration used {_NUM_CALIBRATED} samples, `debug` {_NUM_DEBUGGED} others. Weights are "
        "changed before calibration (so that all later ranges are those of the wrong weights) or "
        "after it. Ranges are changed in the calibrated model, before TensorFlow quantizes it.",
        "",
        "| fault | planted | named first |",
        "| --- | --- | --- |",
        *(f"| {kind} | {number} | {by_kind[kind]} |" for kind, number in sorted(kinds.items())),
        "",
        "| network | planted | named first |",
        "| --- | --- | --- |",
        *(f"| {name} | {number} | {by_net[name]} |" for name, number in sorted(nets.items())),
        "",
        "## Misses",
        "",
    ]
    misses = [row for row in rows if not row.is_right]
    lines += [
        f"- {row.network}, {row.fault.kind}: {row.fault.text}, a loss of {row.loss_db:.1f} dB. "
        f"Named: {row.found}. The planted fault is "
        + (f"cause {row.place}." if row.place else "not among the causes.")
        for row in misses
    ]
    if not misses:
        lines.append("None.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Plant, count, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this time")
    parser.add_argument("--network", action="append", default=[])
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    rows, without_loss = run(given)
    right = sum(row.is_right for row in rows)
    print(f"{right} of {len(rows)} named first; {without_loss} more cost less than 1 dB")
    if given.page:
        PAGE.write_text(page(rows, without_loss, given.seed), encoding="utf-8")
    sys.exit(0 if right >= _GOAL * len(rows) else 1)


if __name__ == "__main__":
    main()
