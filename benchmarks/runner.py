# SPDX-License-Identifier: Apache-2.0
"""Measure what a Runner adds to importing numpy and the interpreter, and to a bare inference.

``python benchmarks/runner.py [MODEL...]``; without a model, TensorFlow creates two networks. It
also runs on a device. Bytecode is written first, as an installation does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgekit.runtime import Runner
from edgekit.runtime.interpreters import load_library

_LIMIT_MS, _LIMIT_MIB = 40.0, 10.0
_LIMIT_US, _LIMIT_SHARE = 10.0, 0.02
_START_UP = """
import json, sys, time
def resident_kib():
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("VmRSS"))
t0 = time.process_time()
import numpy
from importlib import import_module
import_module(sys.argv[1])
t1, m1 = time.process_time(), resident_kib()
import edgekit
from edgekit import Runner
t2, m2 = time.process_time(), resident_kib()
runner = Runner(sys.argv[2])
t3, m3 = time.process_time(), resident_kib()
bare = runner.load_ms / 1e3
print(json.dumps([t1 - t0, t2 - t1, t3 - t2 - bare, m2 - m1, m3 - m2]))
"""


def _start_up(model: Path, runs: int) -> None:
    module = load_library().module.__name__
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": cache}
        env["OPENBLAS_NUM_THREADS"] = "1"  # otherwise the start of its threads would be measured
        for _ in range(runs + 1):
            words = [sys.executable, "-c", _START_UP, module, str(model)]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, env=env)
            rows.append(json.loads(done.stdout))
    base, imported, opened, import_kib, open_kib = np.median(rows[1:], axis=0)
    print(
        f"import     edgekit and Runner {imported * 1e3:.1f} ms of the CPU's time, "
        f"{imported / base:.2f} times numpy's and {module}'s; {import_kib / 1024:.1f} MiB "
        f"(limits {_LIMIT_MS:.0f} ms, {_LIMIT_MIB:.0f} MiB)"
    )
    print(
        f"first      Runner {opened * 1e3:.1f} ms besides the interpreter's own, "
        f"{open_kib / 1024:.1f} MiB with it"
    )


def _time_s(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _inference(model: Path, rounds: int) -> None:
    with Runner(model) as runner:
        random = np.random.default_rng(1)
        raw = [random.integers(0, 100, each.shape).astype(each.dtype) for each in runner.inputs]
        library = load_library()
        bare = library.interpreter(
            model.read_bytes(),
            num_threads=1,
            experimental_op_resolver_type=library.resolver("AUTO"),
        )
        bare.allocate_tensors()
        inputs = [each["index"] for each in bare.get_input_details()]
        given = [(index, raw[place]) for place, index in enumerate(inputs)]
        outputs = [each["index"] for each in bare.get_output_details()]

        def by_hand() -> list[object]:
            for index, values in given:
                bare.set_tensor(index, values)
            bare.invoke()
            return [bare.get_tensor(index) for index in outputs]

        def by_runner() -> object:
            return runner.invoke(*raw)

        calls = rounds * max(3, int(0.05 / max(_time_s(by_hand) for _ in range(5))))
        # Alternate, so that other load on the machine affects both.
        times = [(_time_s(by_hand), _time_s(by_runner)) for _ in range(calls)]
    own, ours = np.median(times, axis=0)
    added_us = (ours - own) * 1e6
    limit_us = max(_LIMIT_US, own * 1e6 * _LIMIT_SHARE)
    print(
        f"{model.stem:10} bare inference {own * 1e6:.1f} us, Runner.invoke {ours / own:.3f} times; "
        f"it adds {added_us:.1f} us (limit {limit_us:.1f})"
    )


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = arguments.models
        if not models:
            from networks import convert_networks  # noqa: PLC0415 - needs TensorFlow

            models = list(convert_networks(Path(folder)).values())
        _start_up(models[0], arguments.rounds)
        for model in models:
            _inference(model, arguments.rounds)


if __name__ == "__main__":
    main()
