# SPDX-License-Identifier: Apache-2.0
"""Compare reading and writing a 25 MB .tflite with copying its bytes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)

_BYTES = 25_000_000
_OPERATORS = 160
_UNITS = 64
_RUNS = 5
_LIMIT_S = 0.5


def large_model() -> Model:
    """Return 160 dense layers with a weight scale for each output, 25 MB in all."""
    random = np.random.default_rng(0)
    depth = _BYTES // _OPERATORS // _UNITS
    scale = Quantization((0.1,), (0,))
    per_channel = Quantization((0.1,) * _UNITS, (0,) * _UNITS)
    tensors = [Tensor("input", (1, _UNITS), "INT8", 0, scale)]
    buffers = [np.empty(0, np.uint8)]
    operators = []
    for number in range(_OPERATORS):
        first = len(tensors)
        name = f"model/layer_{number}"
        tensors += [
            Tensor(f"{name}/weights", (_UNITS, depth), "INT8", len(buffers), per_channel),
            Tensor(f"{name}/bias", (_UNITS,), "INT32", len(buffers) + 1, per_channel),
            Tensor(f"{name}/output", (1, _UNITS), "INT8", 0, scale),
        ]
        buffers += [
            random.integers(0, 256, depth * _UNITS, dtype=np.uint8),
            np.zeros(4 * _UNITS, np.uint8),
        ]
        options = {"fused_activation_function": "RELU", "weights_format": 0}
        inputs = (first - 1, first, first + 1)
        operators.append(
            Operator("FULLY_CONNECTED", 4, inputs, (first + 2,), options, "FullyConnectedOptions")
        )
    graph = Subgraph(tuple(tensors), (0,), (len(tensors) - 1,), tuple(operators), "main")
    return Model((graph,), tuple(buffers))


def best_s(work: Callable[[], object]) -> float:
    """Return the time of the fastest of a few runs, in seconds."""
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> int:
    """Print the times; return 1 if reading and writing together exceed the limit."""
    content = write_model(large_model())
    model = read_model(content)
    read_s, write_s = best_s(lambda: read_model(content)), best_s(lambda: write_model(model))
    copy_s = best_s(lambda: bytes(memoryview(content)))
    print(f"{len(content) / 1e6:.1f} MB, {_OPERATORS} operators, {len(model.main.tensors)} tensors")
    print(f"read   {read_s * 1e3:6.1f} ms, {read_s / copy_s:5.1f} times a copy of the bytes")
    print(f"write  {write_s * 1e3:6.1f} ms, {write_s / copy_s:5.1f} times a copy of the bytes")
    total = read_s + write_s
    print(f"both   {total * 1e3:6.1f} ms, {total / _LIMIT_S:.2f} of the {_LIMIT_S} s allowed")
    return int(total > _LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
