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
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.ranges import Range, with_ranges
from edgekit.runtime import Runner

_MOST_THREADS = 4


def calibrate(model: Model, batches: Iterable[Sequence[NDArray[Any]]]) -> Model:
    """Return ``model`` with the lowest and highest value of each activation on the samples.

    Memory does not grow with the number of samples.

    Args:
        model: A float network with static shapes and one subgraph.
        batches: For each call of the network, arrays in the order of its inputs.

    Raises:
        UnsupportedModelError: No interpreter can run it, or a tensor contains NaN or infinity.
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
            outputs = runner.invoke(*arrays)
            values = dict(zip(graph.inputs, arrays, strict=True))
            for index, array in [(i, values[i]) for i in read] + list(
                zip(made, outputs, strict=True)
            ):
                low, high = float(array.min()), float(array.max())
                if not np.isfinite(low + high):
                    raise UnsupportedModelError(
                        f"values are from {low:g} to {high:g} on a calibration sample",
                        where=graph.tensors[index].name,
                        fix="check the data and --preprocess, or leave the sample out",
                    )
                old = ranges.get(index, (low, high))
                ranges[index] = min(old[0], low), max(old[1], high)
    return with_ranges(model, ranges)


def _num_threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    return min(_MOST_THREADS, os.cpu_count() or 1)
