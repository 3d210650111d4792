# SPDX-License-Identifier: Apache-2.0
"""Measure `inspect` and `estimate` after start-up, relative to only reading the file.

python benchmarks/inspect_estimate.py MODEL_edgetpu.tflite [MODEL.tflite ...]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from edgekit.formats.tflite import read_model
from edgekit.inspect import inspect
from edgekit.opencompiler.estimate import estimate


def _median_ms(call: Callable[[Path], object], path: Path, runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call(path)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main() -> None:
    """Print milliseconds, and the ratio to reading the file, for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    for path in args.models:
        reading = _median_ms(read_model, path, args.runs)
        print(f"{path.name}: {path.stat().st_size:,} bytes, read in {reading:.1f} ms")
        calls: tuple[tuple[str, Callable[[Path], object]], ...] = (
            ("inspect", inspect),
            ("estimate", estimate),
        )
        for name, call in calls:
            took = _median_ms(call, path, args.runs)
            print(f"  {name:9} {took:6.1f} ms, {took / reading:.1f} times the reading")


if __name__ == "__main__":
    main()
