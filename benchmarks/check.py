# SPDX-License-Identifier: Apache-2.0
"""Measure `edgekit check`: one model of 160 operators, and many models in one call.

Usage: python benchmarks/check.py

The models are generated: alternating depthwise and pointwise convolutions. Times are the best of
several runs in one process; compare ratios, not seconds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgekit.checking import check
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model

NUM_OPERATORS = 160
LIMIT_S = 0.15
_CHANNELS = 64
_SIDE = 14
_CONV = {
    "padding": "SAME",
    "stride_w": 1,
    "stride_h": 1,
    "dilation_w_factor": 1,
    "dilation_h_factor": 1,
    "fused_activation_function": "RELU6",
}


def chain(num_operators: int) -> Model:
    """Return alternating depthwise 3x3 and pointwise convolutions, quantized per channel."""
    random = np.random.default_rng(1)
    per_channel = tuple(float(each) for each in random.uniform(0.001, 0.01, _CHANNELS))
    one = Quantization((0.05,), (-128,))
    shape = (1, _SIDE, _SIDE, _CHANNELS)
    tensors = [Tensor("input", shape, "INT8", 0, one)]
    buffers = [np.empty(0, np.uint8)]
    operators = []
    for index in range(num_operators):
        is_depthwise = index % 2 == 0
        size = (1, 3, 3, _CHANNELS) if is_depthwise else (_CHANNELS, 1, 1, _CHANNELS)
        axis = 3 if is_depthwise else 0
        name = f"block_{index}"
        scales = Quantization(per_channel, (0,) * _CHANNELS, axis)
        weights = random.integers(-127, 128, size, np.int8)
        bias = random.integers(-999, 999, _CHANNELS, np.int32)
        buffers += [np.frombuffer(each.tobytes(), np.uint8) for each in (weights, bias)]
        first, before = len(tensors), len(tensors) - 1
        tensors += [
            Tensor(f"{name}/weights", size, "INT8", len(buffers) - 2, scales),
            Tensor(f"{name}/bias", (_CHANNELS,), "INT32", len(buffers) - 1, scales),
            Tensor(f"{name}/relu", shape, "INT8", 0, one),
        ]
        operators.append(
            Operator(
                "DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D",
                3,
                (before, first, first + 1),
                (first + 2,),
                {**_CONV, "depth_multiplier": 1} if is_depthwise else _CONV,
                "DepthwiseConv2DOptions" if is_depthwise else "Conv2DOptions",
            )
        )
    graph = Subgraph(tuple(tensors), (0,), (len(tensors) - 1,), tuple(operators), "main")
    return Model((graph,), tuple(buffers), "benchmark")


def best(action: Callable[[], object], runs: int = 5) -> float:
    """Return the time of the fastest of several runs, in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print times and ratios."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chain.tflite")
        path.write_bytes(write_model(chain(NUM_OPERATORS)))
        single = best(lambda: check(path))
        share = single / LIMIT_S
        print(f"{NUM_OPERATORS} operators: {single:.3f} s, {share:.2f} of the {LIMIT_S} s allowed")
        for count in (10, 100):
            paths = [path] * count
            many = best(lambda paths=paths: [check(each) for each in paths], runs=1)  # type: ignore[misc]
            print(f"{count} models in one call: {many / single / count:.2f} times as long a model")
        double = Path(folder, "double.tflite")
        double.write_bytes(write_model(chain(2 * NUM_OPERATORS)))
        print(f"twice the operators: {best(lambda: check(double)) / single:.2f} times as long")


if __name__ == "__main__":
    main()
