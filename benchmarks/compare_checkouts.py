# SPDX-License-Identifier: Apache-2.0
"""Compare two checkouts of edgekit in one run, to find what became slower.

``python benchmarks/compare_checkouts.py BEFORE AFTER`` runs each measurement in a new Python,
alternately from both folders, and prints the smallest CPU time, the smallest elapsed time, and
their ratios. Other load on the machine affects both checkouts and only makes runs slower.
``--model``, ``--data`` and ``--source`` name your own files; without them TensorFlow creates some.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_LIMIT = 1.03
# Each prints [path of the imported edgekit, CPU seconds, elapsed seconds].
_HEAD = """
import json, sys, time, resource
sys.path.insert(0, CHECKOUT)  # before what a .pth of the environment puts first
def spent():
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in each), time.perf_counter()
def say(start, end, count=1):
    from edgekit import __file__ as place
    print(json.dumps([place, *[(e - s) / count for s, e in zip(start, end)]]))
"""
_IMPORT = """
start = spent()
import edgekit
edgekit.Runner
say(start, spent())
"""
_HELP = """
start = spent()
import contextlib, io
from edgekit.cli.main import main
try:
    with contextlib.redirect_stdout(io.StringIO()):
        main(["--help"])
except SystemExit:
    pass
say(start, spent())
"""
_OPEN = """
from edgekit import Runner
Runner(MODEL).close()
start = spent()
for _ in range(20):
    Runner(MODEL).close()
say(start, spent(), 20)
"""
_INVOKE = """
import numpy as np
from edgekit import Runner
with Runner(MODEL) as runner:
    raw = [np.zeros(each.shape, each.dtype) for each in runner.inputs]
    runner.invoke(*raw)
    start = spent()
    for _ in range(300):
        runner.invoke(*raw)
    say(start, spent(), 300)
"""
# With the import: a checkout may import the same modules in either line.
_EVALUATE = """
start = spent()
import edgekit
edgekit.evaluate(MODEL, DATA)
say(start, spent())
"""
_CONVERT = """
import edgekit, os, tempfile
with tempfile.TemporaryDirectory() as folder:
    start = spent()
    edgekit.convert(SOURCE, data=DATA, output=os.path.join(folder, "out.tflite"))
    say(start, spent())
"""
_MEASUREMENTS = {
    "import": (_IMPORT, 1),
    "help": (_HELP, 1),
    "Runner": (_OPEN, 1),
    "invoke": (_INVOKE, 1),
    "evaluate": (_EVALUATE, 1),
    "convert": (_CONVERT, 4),  # divides the number of runs, because one takes seconds
}


@dataclass(frozen=True)
class Files:
    """The files for the measurements."""

    model: Path
    data: Path
    source: Path


def _made(folder: Path) -> Files:
    """Create a network, its .tflite and samples of its input."""
    import tensorflow as tf  # noqa: PLC0415 - only where no files are given

    from edgekit import convert  # noqa: PLC0415

    tf.keras.utils.set_random_seed(1)
    network = tf.keras.applications.MobileNetV2((96, 96, 3), 0.35, weights=None, classes=10)
    files = Files(folder / "net.tflite", folder / "data.npz", folder / "net.keras")
    network.save(files.source)
    random = np.random.default_rng(1)
    samples = random.random((400, 96, 96, 3), np.float32)
    np.savez(files.data, x=samples, y=random.integers(0, 10, 400))
    convert(files.source, data=files.data, output=files.model)
    return files


def _once(checkout: Path, code: str, files: Files) -> list[float]:
    names = {
        "CHECKOUT": str(checkout),
        "MODEL": str(files.model),
        "DATA": str(files.data),
        "SOURCE": str(files.source),
    }
    given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    done = subprocess.run(
        [sys.executable, "-c", given + _HEAD + code],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(checkout), "OPENBLAS_NUM_THREADS": "1"},
    )
    place, *times = json.loads(done.stdout.splitlines()[-1])
    if checkout not in Path(place).parents:
        raise RuntimeError(f"{place} was measured, expected {checkout}")
    return [float(each) for each in times]


def compare(checkouts: tuple[Path, Path], files: Files, runs: int, names: list[str]) -> None:
    """Print one line per measurement: both times and their ratio."""
    print(f"{'':10} {'before':>12} {'after':>12} {'processor':>10} {'clock':>7}")
    for name in names:
        code, fewer = _MEASUREMENTS[name]
        for checkout in checkouts:
            _once(checkout, code, files)  # fill the bytecode and file caches
        rows = []
        for index in range(max(2, runs // fewer)):
            order = checkouts if index % 2 else checkouts[::-1]
            times = {place: _once(place, code, files) for place in order}
            rows.append([times[place] for place in checkouts])
        before, after = np.min(rows, axis=0)
        processor, clock = after / before
        mark = "" if processor <= _LIMIT else f"  more than {_LIMIT:.2f}"
        print(
            f"{name:10} {before[0] * 1e3:9.3f} ms {after[0] * 1e3:9.3f} ms "
            f"{processor:10.3f} {clock:7.3f}{mark}"
        )


def main() -> None:
    """Compare two checkouts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--only", nargs="+", choices=list(_MEASUREMENTS), default=None)
    for name in ("model", "data", "source"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.model and given.data and given.source:
            files = Files(given.model, given.data, given.source)
        else:
            files = _made(Path(folder))
        checkouts = (given.before.resolve(), given.after.resolve())
        for checkout in checkouts:  # or a changed file would be compiled in each start
            compileall.compile_dir(checkout / "edgekit", quiet=2)
        compare(checkouts, files, given.runs, given.only or list(_MEASUREMENTS))


if __name__ == "__main__":
    main()
