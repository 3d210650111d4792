# SPDX-License-Identifier: Apache-2.0
"""Measure how much faster the emulator is than its throw-away prototype.

    export OPENBLAS_NUM_THREADS=1
    python benchmarks/emulator.py --prototype FOLDER MODEL_edgetpu.tflite...

FOLDER (or EDGEKIT_PROTOTYPE) contains the prototype's modules; they are imported from there. Both
run in this process, one after the other, on one core. "From nothing" is the time from a compiled
file in memory to the first output, including filling the parameter cache; "an inference" is the
time of each further one, for which the emulator keeps its plan and the prototype keeps nothing.
The figures are ratios of one run on this machine.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.chip.emulator import EdgeTpu
from edgekit.formats.darwinn import DataType, Layer, read_packages
from edgekit.formats.tflite import read_model

_RUNS = 5
_ONE_CORE = "OPENBLAS_NUM_THREADS"


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prototype", default=os.environ.get("EDGEKIT_PROTOTYPE", ""))
    parser.add_argument("models", nargs="+", type=Path)
    options = parser.parse_args()
    if os.environ.get(_ONE_CORE) != "1":
        parser.error(f"set {_ONE_CORE}=1: numpy reads it when it loads")
    if not Path(options.prototype, "emu.py").is_file():
        parser.error("--prototype or EDGEKIT_PROTOTYPE must name the prototype's folder")
    sys.path.insert(0, options.prototype)
    emu, fbx = importlib.import_module("emu"), importlib.import_module("fbx")
    print("model: from nothing, prototype s / emulator s = ratio; an inference, the same; equal")
    for path in options.models:
        print(_compare(path, emu, fbx), flush=True)


def _compare(path: Path, emu: Any, fbx: Any) -> str:  # noqa: ANN401 - modules without types
    package = read_packages(read_model(path.read_bytes()))[0].package
    random = np.random.default_rng(0)
    values = {layer.name: _values(layer, random) for layer in package.inference.input_layers}
    start = time.perf_counter()
    chip = EdgeTpu(read_packages(read_model(path.read_bytes()))[0].package)
    chip.invoke(values)
    first_s = time.perf_counter() - start
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        chip.invoke(values)
        times.append(time.perf_counter() - start)
    later_s = float(np.median(times))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    their_first_s, theirs_s, other = _prototype(path, values, emu, fbx)
    return (
        f"{path.name}: {their_first_s:.2f} / {first_s:.2f} = {their_first_s / first_s:.1f}; "
        f"{theirs_s:.2f} / {later_s:.3f} = {theirs_s / later_s:.1f}; "
        f"{chip.state.output.tobytes() == other}; peak {peak_mib:.0f} MiB"
    )


def _values(layer: Layer, random: np.random.Generator) -> np.ndarray[Any, Any]:
    shape = (layer.y_dim, layer.x_dim, layer.z_dim)
    raw = random.integers(0, 256, shape).astype(np.uint8)
    return raw.view(np.int8) if layer.data_type is DataType.SIGNED_FIXED_POINT8 else raw


def _prototype(
    path: Path,
    values: dict[str, np.ndarray[Any, Any]],
    emu: Any,  # noqa: ANN401
    fbx: Any,  # noqa: ANN401
) -> tuple[float, float, bytes]:
    """Return the prototype's seconds from nothing and per inference, and its output bytes."""
    begin = time.perf_counter()
    executables = fbx.load(str(path))
    machine = emu.Emu(0)
    for each in executables:
        if each.type == 1:
            machine.run(each, params=each.params, alu=False)
    main_program = next(each for each in executables if each.type != 1)
    inputs = [
        values[hint[3]].tobytes().ljust(hint[5], b"\0")
        for hint in main_program.hints
        if hint[0] == "dma" and hint[1] == 0 and hint[2] == 1
    ]
    start = time.perf_counter()
    output = machine.run(main_program, inputs, params=main_program.params)
    end = time.perf_counter()
    return end - begin, end - start, output


if __name__ == "__main__":
    main()
