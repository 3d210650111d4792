# SPDX-License-Identifier: Apache-2.0
"""Compare the latency of `edgekit benchmark` with a bare invoke loop; measure the start-up."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from networks import convert_networks

from edgekit import benchmark


def _bare_p50_ms(model: Path, runs: int) -> float:
    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    random = np.random.default_rng(1)
    interpreter.set_tensor(detail["index"], random.integers(0, 256, detail["shape"], np.uint8))
    times = []
    for index in range(runs + 6):
        start = time.perf_counter()
        interpreter.invoke()
        if index >= 6:
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def _start_up_s(*words: str) -> float:
    times = []
    for _ in range(10):
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print both times and their ratio; rounds alternate, and their medians are compared."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    python, ours = _start_up_s("-c", "pass"), _start_up_s("-m", "edgekit", "--help")
    print(f"start-up   edgekit --help {ours * 1e3:.0f} ms, Python alone {python * 1e3:.0f} ms")
    with tempfile.TemporaryDirectory() as name:
        for network, model in convert_networks(Path(name)).items():
            runs = 2000 if network == "mnist" else 60
            bare, reported = [], []
            for _ in range(rounds):
                bare.append(_bare_p50_ms(model, runs))
                result = benchmark(model, num_runs=runs)
                reported.append(result.latency_ms["p50"])
            ratio = statistics.median(reported) / statistics.median(bare)
            print(
                f"{network:10} bare invoke p50 {statistics.median(bare):.4f} ms, reported "
                f"{statistics.median(reported):.4f} ms: {ratio:.3f} times"
            )


if __name__ == "__main__":
    main()
