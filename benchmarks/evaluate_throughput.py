# SPDX-License-Identifier: Apache-2.0
"""Measure how evaluate uses the cores: ratios to one core and to a tutorial's loop.

    python benchmarks/evaluate_throughput.py MODEL FOLDER [REPEATS]

FOLDER contains images with a labels.csv or sub-folders; it is read REPEATS times (default 20), so
that the phase that measures latencies, one sample at a time, is a small part. The tutorial's loop
runs before, between and after the others, because the machine's speed drifts. All resize with
Pillow's bilinear filter, so that their pixels are equal; the last row has edgekit's default filter,
that of Keras. The processor's time is printed too: other programs on the machine change it less
than the clock's.
"""

from __future__ import annotations

import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
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


def main() -> None:
    """Measure and print."""
    model, folder = Path(sys.argv[1]), Path(sys.argv[2])
    repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    with Runner(model) as runner:
        specs = [InputSpec(info.name, info.shape) for info in runner.inputs]
    dataset = FolderDataset(folder, specs, Preprocess())
    files, labels = dataset.files, dataset.labels
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        large = Path(name)
        with (large / "labels.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("file", "label"))
            for _ in range(repeats):
                writer.writerows(zip((path.resolve() for path in files), labels, strict=True))
        loops = [tutorial_loop(model, files)]
        one_s, one_processor_s, top1 = edgekit_run(model, large, cores[:1])
        loops.append(tutorial_loop(model, files))
        all_s, all_processor_s, same = edgekit_run(model, large, cores)
        loops.append(tutorial_loop(model, files))
        default_s, default_processor_s, _ = edgekit_run(model, large, cores, None)
    tutorial_s, tutorial_processor_s = (
        statistics.mean(each) * repeats for each in zip(*loops, strict=True)
    )
    count = len(files) * repeats
    print(f"{count} images, {len(cores)} cores, top1 {top1:.2%} on one core, {same:.2%} on all")
    for what, clock_s, processor_s in (
        ("tutorial's loop", tutorial_s, tutorial_processor_s),
        ("one core", one_s, one_processor_s),
        ("all cores", all_s, all_processor_s),
        ("default filter", default_s, default_processor_s),
    ):
        each_ms, busy_ms = clock_s / count * 1e3, processor_s / count * 1e3
        print(f"{what:16} {each_ms:.2f} ms an image, {busy_ms:.2f} ms of the processor")
    print(f"all cores / one core: {one_s / all_s:.2f} times as fast")
    print(f"all cores / tutorial: {tutorial_s / all_s:.2f} times as fast")


if __name__ == "__main__":
    main()
