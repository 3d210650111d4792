# SPDX-License-Identifier: Apache-2.0
"""What the layers of a float network read on the calibration samples: mean and second moments.

They say how an error of a weight shows in the layer's output.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, Operator
from edgekit.runtime import Runner

CONV, DEPTHWISE, DENSE = "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"
_MOST_PLACES = 256  # of a sample: neighbouring windows are similar
_MOST_WEIGHTS = 1280  # of an output: the time grows with their third power

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """A layer with constant weights.

    ``inputs`` of a window are in the order of the weights of one output: (height, width, channel).
    """

    op: Operator
    weights: int  # tensor indices
    bias: int  # -1: none

    @property
    def is_depthwise(self) -> bool:
        """Whether each output reads one channel only."""
        return self.op.opcode == DEPTHWISE


@dataclass
class Moments:
    """Sums over the windows that a layer reads; depthwise for each input channel.

    ``second`` is (weights, weights) or (channels, weights, weights), ``first`` the same without the
    last axis.
    """

    first: Values
    second: Values
    count: int

    @property
    def mean(self) -> Values:
        """The mean of each input."""
        return self.first / max(1, self.count)


def layers_of(model: Model) -> list[Layer]:
    """Return the layers of ``model`` with constant weights that are not too many."""
    found = []
    for op in model.main.operators:
        if op.opcode not in (CONV, DEPTHWISE, DENSE):
            continue
        values = model.data(model.main.tensors[op.inputs[1]])
        if values is None or values.dtype != np.float32:
            continue
        bias = op.inputs[2] if len(op.inputs) > 2 else -1
        layer = Layer(op, op.inputs[1], bias)
        if _is_plain(model, layer) and _num_weights(layer, values.shape) <= _MOST_WEIGHTS:
            found.append(layer)
    return found


def _is_plain(model: Model, layer: Layer) -> bool:
    """Whether the layer's input is an activation with as many channels as the weights expect."""
    x, weights = (model.main.tensors[index] for index in layer.op.inputs[:2])
    if model.data(x) is not None or x.dtype != "FLOAT32":
        return False
    if layer.op.opcode == CONV:
        return len(x.shape) == 4 and x.shape[-1] == weights.shape[-1]  # not grouped
    return layer.op.opcode == DENSE or len(x.shape) == 4


def _num_weights(layer: Layer, shape: Sequence[int]) -> int:
    """Return the number of weights of one output."""
    if layer.is_depthwise:
        return int(np.prod(shape[1:3]))
    return int(np.prod(shape[1:]))


def measure_inputs(
    model: Model, layers: Sequence[Layer], batches: Iterable[Sequence[NDArray[Any]]]
) -> list[Moments]:
    """Run a float network on samples, and sum up what each of ``layers`` reads."""
    graph = model.main
    read = list(dict.fromkeys(layer.op.inputs[0] for layer in layers))
    made = tuple(index for index in read if index not in graph.inputs)
    watched = replace(model, subgraphs=(replace(graph, outputs=made),), signature_defs=())
    moments: list[Moments | None] = [None] * len(layers)
    with Runner(ModelFile.of(watched)) as runner:
        for arrays in batches:
            found = dict(zip(graph.inputs, arrays, strict=True))
            found.update(zip(made, runner.invoke(*arrays), strict=True))
            for place, layer in enumerate(layers):
                shape = graph.tensors[layer.weights].shape
                windows = _windows(layer.op, found[layer.op.inputs[0]], shape)
                moments[place] = _added(moments[place], windows)
    return [each for each in moments if each is not None]


def _added(old: Moments | None, windows: Values) -> Moments:
    """Add ``windows``: (places, weights), or depthwise (channels, places, weights)."""
    first, second = windows.sum(axis=-2), windows.swapaxes(-1, -2) @ windows
    count = windows.shape[-2]
    if old is None:
        return Moments(first, second, count)
    return Moments(old.first + first, old.second + second, old.count + count)


def _windows(op: Operator, x: NDArray[Any], shape: Sequence[int]) -> Values:
    """Return what the layer multiplies with its weights, at some of its places."""
    values = np.asarray(x, np.float32)
    if op.opcode == DENSE:
        return _some(values.reshape(-1, shape[-1])).astype(np.float64)
    kernel, options = shape[1:3], op.options
    dilation = [int(options.get(f"dilation_{axis}_factor", 1)) for axis in "hw"]
    strides = [int(options[f"stride_{axis}"]) for axis in "hw"]
    reach = [(size - 1) * factor + 1 for size, factor in zip(kernel, dilation, strict=True)]
    padded = _padded(values, reach, strides, is_same=options["padding"] == "SAME")
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    places = views[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    rows = _some_places(places)  # (places, channels, height, width)
    if op.opcode == DEPTHWISE:
        return rows.transpose(1, 0, 2, 3).reshape(rows.shape[1], len(rows), -1).astype(np.float64)
    return rows.transpose(0, 2, 3, 1).reshape(len(rows), -1).astype(np.float64)


def _padded(
    values: NDArray[Any], reach: Sequence[int], strides: Sequence[int], *, is_same: bool
) -> NDArray[Any]:
    if not is_same:
        return values
    amounts = []
    for size, window, stride in zip(values.shape[1:3], reach, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + window - size)
        amounts.append((total // 2, total - total // 2))
    return np.pad(values, ((0, 0), *amounts, (0, 0)))


def _some_places(places: NDArray[Any]) -> NDArray[Any]:
    """Return at most 256 of the windows (batch, height, width, ...), spread over the map."""
    count = int(np.prod(places.shape[:3]))
    chosen = np.linspace(0, count - 1, min(count, _MOST_PLACES)).astype(np.int64)
    return places[np.unravel_index(chosen, places.shape[:3])]


def _some(rows: NDArray[Any]) -> NDArray[Any]:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_PLACES)).astype(np.int64)]
