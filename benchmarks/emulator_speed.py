# SPDX-License-Identifier: Apache-2.0
"""Compare the speed of the emulator in two checkouts, in one run on one core.

    OPENBLAS_NUM_THREADS=1 python benchmarks/emulator_speed.py BEFORE AFTER MODEL_edgetpu.tflite...

Each measurement is made in a new Python, alternately from both folders, in processor time: other
load on the machine does not count. It prints the time to plan a program, the time of an inference
after the first two, both with their ratio, whether the outputs are equal, and the peak of memory.
Where numba is installed, an inference with AFTER's compiled code is measured too.
If the model that was compiled lies beside it (without ``_edgetpu`` in its name), the time of an
inference is also divided by that of TensorFlow Lite with XNNPACK on one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROUNDS = 3
_CODE = """
import hashlib, json, resource, sys, time
if not COMPILED:
    sys.modules["numba"] = None  # as if it were not installed
sys.path.insert(0, CHECKOUT)  # before what a .pth of the environment puts first
from pathlib import Path
from edgekit import __file__ as place
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.comparison import random_inputs
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model
package = read_packages(read_model(Path(MODEL).read_bytes()))[0].package
start = time.process_time()
chip = EdgeTpu(package)
planned = time.process_time() - start
inputs = random_inputs(chip.executable)
chip.invoke(inputs), chip.invoke(inputs)
times = []
for _ in range(RUNS):
    start = time.process_time()
    chip.invoke(inputs)
    times.append(time.process_time() - start)
output = hashlib.sha256(chip.state.output.tobytes()).hexdigest()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([place, planned * 1e3, min(times) * 1e3, output, peak]))
"""
_TFLITE = """
import time
import numpy as np
from edgekit import Runner
with Runner(MODEL, num_threads=1) as runner:
    raw = [np.zeros(each.shape, each.dtype) for each in runner.inputs]
    times = []
    for _ in range(RUNS + 2):
        start = time.process_time()
        runner.invoke(*raw)
        times.append(time.process_time() - start)
import json
print(json.dumps(min(times) * 1e3))
"""


def main() -> None:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    print(
        "model | plan ms, ratio | inference ms, ratio | compiled | equal | peak MiB | of XNNPACK's"
    )
    for model in options.models:
        print(_compare(options.before.resolve(), options.after.resolve(), model, options.runs))


def _compare(before: Path, after: Path, model: Path, runs: int) -> str:
    kinds = [(before, False), (after, False)]
    if importlib.util.find_spec("numba"):
        kinds.append((after, True))
        _python(_CODE, model, 1, after, compiled=True)  # the first run compiles
    found: dict[tuple[Path, bool], list[Any]] = {kind: [] for kind in kinds}
    for number in range(_ROUNDS):
        for checkout, compiled in kinds if number % 2 else reversed(kinds):
            place, *measured = _python(_CODE, model, runs, checkout, compiled=compiled)
            if checkout not in Path(place).parents:
                raise RuntimeError(f"{place} was measured, expected {checkout}")
            found[checkout, compiled].append(measured)
    (plan, run), (new_plan, new_run), *fast = (
        [min(each[k] for each in rows) for k in range(2)] for rows in found.values()
    )
    equal = len({each[2] for rows in found.values() for each in rows}) == 1
    peaks = [f"{max(each[3] for each in rows):.0f}" for rows in found.values()]
    compiled_ms = "".join(f" | {each:.1f}, {run / each:.2f}" for _, each in fast) or " | -"
    return (
        f"{model.name} | {plan:.0f} to {new_plan:.0f}, {plan / new_plan:.2f} | "
        f"{run:.1f} to {new_run:.1f}, {run / new_run:.2f}{compiled_ms} | {equal} | "
        f"{' to '.join(peaks)} | {_against_xnnpack(model, new_run, runs)}"
    )


def _against_xnnpack(model: Path, run_ms: float, runs: int) -> str:
    source = model.with_name(model.name.replace("_edgetpu", ""))
    if source == model or not source.exists():
        return "-"
    return f"{run_ms / float(_python(_TFLITE, source, runs)):.1f}"


def _python(
    code: str, model: Path, runs: int, checkout: Path | None = None, *, compiled: bool = False
) -> Any:  # noqa: ANN401
    given = f"MODEL = {str(model)!r}\nRUNS = {runs}\nCHECKOUT = {str(checkout)!r}\n"
    given += f"COMPILED = {compiled}\n"
    done = subprocess.run(
        [sys.executable, "-c", given + code],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
