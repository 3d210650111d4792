# SPDX-License-Identifier: Apache-2.0
"""The ranges of a calibrated float model: `read_model` leaves them out, as they are no scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import tflite

from edgekit.formats.tflite import Model, Quantization, Tensor, read_model

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
