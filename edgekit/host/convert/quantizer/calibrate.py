# SPDX-License-Identifier: Apache-2.0
"""Calibrate a float network: run it on samples, one at a time, and keep each tensor's range."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import UnsupportedModelError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, Tensor
from edgekit.host.convert.improve.ranges import Range, with_ranges
from edgekit.runtime import Runner

_MOST_THREADS = 4
_LARGEST = np.finfo(np.float32).max


def calibrate(model: Model, batches: Iterable[Sequence[NDArray[Any]]]) -> Model:
    """Return ``model`` with the lowest and highest value of each activation on the samples.

    Memory does not grow with the number of samples.

    Args:
        model: A float network with static shapes and one subgraph.
        batches: For each call of the network, arrays in the order of its inputs.

    Raises:
        UnsupportedModelError: No interpreter can run it, or an activation has no values.
    """
    graph = model.main
    made = [i for op in graph.operators for i in op.outputs if graph.tensors[i].dtype == "FLOAT32"]
    read = [i for i in graph.inputs if graph.tensors[i].dtype == "FLOAT32"]
    ranges: dict[int, Range] = {}
    # An output is not overwritten; the interpreter reuses the memory of other tensors.
    watched = replace(
        model, subgraphs=(replace(graph, outputs=tuple(made)),), signature_defs=(), metadata={}
    )
    with Runner(ModelFile.of(watched), num_threads=_num_threads()) as runner:
        for arrays in batches:
            values = dict(zip(graph.inputs, arrays, strict=True))
            values.update(zip(made, runner.invoke(*arrays), strict=True))
            for index in (*read, *made):
                if not values[index].size:
                    raise _empty(graph.tensors[index])
                low, high = _range(values[index])
                old = ranges.get(index, (low, high))
                ranges[index] = min(old[0], low), max(old[1], high)
    return with_ranges(model, ranges)


def _empty(tensor: Tensor) -> UnsupportedModelError:
    return UnsupportedModelError(
        "the network computes a tensor without values",
        where=tensor.name,
        why=f"its shape is {list(tensor.shape)} in the file, and a dimension of 0 when it runs: a "
        "window is larger than the image, or a slice is empty",
        fix="check the sizes of windows, strides and slices; a larger input may be needed",
    )


def _range(values: NDArray[np.float32]) -> Range:
    """Return the lowest and highest value; NaN does not count, and infinity is the largest float32.

    TFLite's kernels refuse a scale of infinity.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        numbers = np.clip(values[~np.isnan(values)], -_LARGEST, _LARGEST)
        low, high = float(numbers.min(initial=0)), float(numbers.max(initial=0))
    return low, high


def _num_threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    return min(_MOST_THREADS, os.cpu_count() or 1)
