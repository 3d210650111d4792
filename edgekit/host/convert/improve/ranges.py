# SPDX-License-Identifier: Apache-2.0
"""The ranges of a calibrated float model; they are not scales, so `read_model` leaves them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import tflite

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, read_model
from edgekit.quant.same_scale import COMPARING, FROM_ONE, same_scale_inputs

Range = tuple[float, float]  # lowest and highest value


def read_calibrated(content: bytes) -> Model:
    """Return a calibrated model with the range of each tensor in its quantization."""
    graph = tflite.Model.GetRootAs(content, 0).Subgraphs(0)
    found: dict[int, Range] = {}
    for index in range(graph.TensorsLength()):
        entry = graph.Tensors(index).Quantization()
        if entry is not None and entry.MinLength() == entry.MaxLength() == 1:
            found[index] = (float(entry.Min(0)), float(entry.Max(0)))
    return with_ranges(read_model(content), found)


def range_of(tensor: Tensor) -> Range | None:
    """Return the range of calibration of a tensor; None if it has none."""
    quantization = tensor.quantization
    if quantization is None or len(quantization.min) != 1 or len(quantization.max) != 1:
        return None
    return quantization.min[0], quantization.max[0]


def with_moved_ranges(model: Model, indices: Iterable[int]) -> Model:
    """Return ``model`` with the ranges of some tensors for those with the same values and scale.

    These are what a pooling, a RESHAPE or a CONCATENATION makes a tensor of, and what one that only
    moves values makes of it. No range becomes wider.
    """
    graph = model.main
    made_by = {index: op for op in graph.operators for index in op.outputs}
    found: dict[int, Range] = {}
    for start in indices:
        limit, open_ones, seen = range_of(graph.tensors[start]), [start], {start}
        while open_ones and limit is not None:
            index = open_ones.pop()
            old = found.get(index) or range_of(graph.tensors[index])
            if old is None:
                continue
            found[index] = (max(old[0], limit[0]), min(old[1], limit[1]))
            for near in _same_values(graph, index, made_by):
                if near not in seen:
                    seen.add(near)
                    open_ones.append(near)
    return with_ranges(model, found)


def _same_values(graph: Subgraph, index: int, made_by: Mapping[int, Operator]) -> Iterator[int]:
    """Yield the neighbours of a tensor whose values are among its own, or all of its own."""
    maker = made_by.get(index)
    if maker is not None and maker.opcode not in COMPARING:
        yield from same_scale_inputs(maker.opcode, maker.inputs)
    for op in graph.operators:
        if index in op.inputs and op.opcode in FROM_ONE:
            yield from op.outputs


def with_range(tensor: Tensor, low: float, high: float) -> Tensor:
    """Return a float tensor with a range of calibration."""
    return replace(tensor, quantization=Quantization((), (), 0, (low,), (high,)))


def with_ranges(model: Model, ranges: Mapping[int, Range]) -> Model:
    """Return ``model`` with other ranges for some tensors of the main subgraph, by index."""
    tensors = tuple(
        with_range(tensor, *ranges[index]) if index in ranges else tensor
        for index, tensor in enumerate(model.main.tensors)
    )
    return replace(model, subgraphs=(replace(model.main, tensors=tensors), *model.subgraphs[1:]))
