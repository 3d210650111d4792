# SPDX-License-Identifier: Apache-2.0
"""Measure how evaluate uses the cores: ratios to one core and to a tutorial's loop.

    python benchmarks/evaluate_throughput.py MODEL FOLDER [REPEATS] [ROUNDS]

FOLDER contains images with a labels.csv or sub-folders; it is read REPEATS times (default 40), so
that the start and the phase that measures latencies, one sample at a time, are a small part. All
resize with Pillow's bilinear filter, so that their pixels are equal; the last row has edgekit's
default filter, that of Keras.

The machine's speed drifts, and other programs run on it. So in each of ROUNDS rounds (default 5)
the tutorial's loop runs before and after evaluate, and the ratio of a round is that of its own
times; the median over the rounds is printed with the lowest and the highest. The processor's times
are compared too: other programs change these less than the clock's.
"""

from __future__ import annotations

import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edgekit.data import InputSpec, Preprocess
from edgekit.data.fit_image import PILLOW_FILTERS
from edgekit.data.folders import FolderDataset
from edgekit.evaluate import evaluate
from edgekit.runtime import Runner
from edgekit.runtime.interpreters import load_library

_AS_PILLOW = "mean=128,std=128,filter=bilinear"  # as in the loop


def tutorial_loop(model: Path, files: list[Path]) -> tuple[float, float]:
    """Return the `spent` seconds of a tutorial's loop: open, resize, invoke, argmax."""
    interpreter = load_library(None).interpreter(model.read_bytes())
    interpreter.allocate_tensors()
    (detail,) = interpreter.get_input_details()
    output = interpreter.get_output_details()[0]["index"]
    _, height, width, _ = detail["shape"]
    scale, zero_point = detail["quantization"]
    start = spent()
    for path in files:
        image = (
            Image.open(str(path)).convert("RGB").resize((width, height), PILLOW_FILTERS["bilinear"])
        )
        real = (np.asarray(image, np.float32) - 128) / 128
        q = np.round(real / scale + zero_point).clip(0, 255).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], q[None])
        interpreter.invoke()
        interpreter.get_tensor(output).argmax()
    clock_s, processor_s = spent()
    return clock_s - start[0], processor_s - start[1]


def spent() -> tuple[float, float]:
    """Return the seconds of the clock, and of the processor in this process."""
    return time.perf_counter(), time.process_time()


def edgekit_run(
    model: Path, folder: Path, cores: Sequence[int], preprocess: str | None = _AS_PILLOW
) -> tuple[float, float, float]:
    """Return the `spent` seconds and the share of right answers, on ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores))
    try:
        start = spent()
        result = evaluate(model, folder, num_workers=len(cores), preprocess=preprocess)
        clock_s, processor_s = spent()
        return clock_s - start[0], processor_s - start[1], result.metrics["top1"]
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Round:
    """The seconds an image of one round: of the clock and of the processor."""

    loop: tuple[float, float]
    one: tuple[float, float]
    all: tuple[float, float]
    default: tuple[float, float]

    @classmethod
    def measured(
        cls, model: Path, files: list[Path], large: Path, count: int, cores: Sequence[int]
    ) -> Round:
        """Measure once; ``large`` has ``count`` images: ``files`` several times."""
        loops = [tutorial_loop(model, files)]
        both = edgekit_run(model, large, cores)
        loops.append(tutorial_loop(model, files))
        one = edgekit_run(model, large, cores[:1])
        default = edgekit_run(model, large, cores, None)
        if both[2] != one[2]:
            raise ValueError(f"top1 {both[2]:.2%} on all cores, {one[2]:.2%} on one")
        clock_s, processor_s = (sum(each) / len(files) / 2 for each in zip(*loops, strict=True))
        rest = [(clock / count, busy / count) for clock, busy, _ in (one, both, default)]
        return cls((clock_s, processor_s), *rest)


def main() -> None:
    """Measure and print."""
    model, folder = Path(sys.argv[1]), Path(sys.argv[2])
    repeats, rounds = (int(word) for word in (*sys.argv[3:5], *("40", "5")[len(sys.argv) - 3 :]))
    with Runner(model) as runner:
        specs = [InputSpec(info.name, info.shape) for info in runner.inputs]
    dataset = FolderDataset(folder, specs, Preprocess())
    files, labels = dataset.files, dataset.labels
    cores = sorted(os.sched_getaffinity(0))
    count = len(files) * repeats
    with tempfile.TemporaryDirectory() as name:
        large = Path(name)
        with (large / "labels.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("file", "label"))
            for _ in range(repeats):
                writer.writerows(zip((path.resolve() for path in files), labels, strict=True))
        found = [Round.measured(model, files, large, count, cores) for _ in range(rounds)]
    print(f"{count} images, {len(cores)} cores, {rounds} rounds: median (lowest to highest)")
    for what, chosen in (
        ("tutorial's loop", [each.loop for each in found]),
        ("one core", [each.one for each in found]),
        ("all cores", [each.all for each in found]),
        ("default filter", [each.default for each in found]),
    ):
        clock, busy = ([each[k] * 1e3 for each in chosen] for k in (0, 1))
        print(f"{what:16} {spread(clock)} ms an image, {spread(busy)} ms of the processor")
    print(f"all cores / one core: {spread([r.one[0] / r.all[0] for r in found])} times as fast")
    print(f"all cores / tutorial: {spread([r.loop[0] / r.all[0] for r in found])} times as fast")
    print(f"processor, tutorial / all cores: {spread([r.loop[1] / r.all[1] for r in found])}")
    busy_shares = [each.all[1] / each.all[0] / len(cores) for each in found]
    print(f"all cores, share of the time that they work: {spread(busy_shares)}")


def spread(values: Sequence[float]) -> str:
    """Return the median, the lowest and the highest of ``values``."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
