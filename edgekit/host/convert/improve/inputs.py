# SPDX-License-Identifier: Apache-2.0
"""Inputs with normalized features: each feature uses the whole range of the input's one scale.

The model then reads ``(value - mean) / std`` of each feature, and the layers behind the input have
weights and biases that undo it: in float the answers stay the same. The mean is the middle of the
feature's range on the calibration samples, and ``std`` half of its width. Where something else than
plain layers reads the input, for instance a convolution with padding, the mean is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.features import Features, with_features
from edgekit.formats.tflite import Model, Operator
from edgekit.host.convert.improve.channels import (
    FIXED,
    Channels,
    constants_of,
    find_channels,
    is_linear,
    real_values,
    with_constants,
)
from edgekit.host.convert.improve.equalize import equalize
from edgekit.host.convert.improve.observe import ChannelRange, Observer
from edgekit.rewrite.edit import RESHAPES, Edit

Arrays = Sequence[NDArray[Any]]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Normalized:
    """A network whose inputs have normalized features."""

    model: Model
    features: Mapping[int, Features]  # by the input's place

    def batches(self, arrays: Iterable[Arrays]) -> Iterator[list[NDArray[Any]]]:
        """Yield samples as the inputs of this network store them."""
        for each in arrays:
            yield [
                self.features[place].normalized(values) if place in self.features else values
                for place, values in enumerate(each)
            ]


def normalize_inputs(model: Model, batches: Callable[[], Iterable[Arrays]]) -> Normalized | None:
    """Return a calibrated float network with normalized inputs; None if none can be.

    Args:
        model: The network; its ranges of calibration follow.
        batches: Returns an iterator over the calibration samples.
    """
    free = [
        place
        for place, classes in _classes(model, find_channels(model, with_inputs=True)).items()
        if (classes != FIXED).any()
    ]
    if not free:
        return None
    ends = _ends(batches(), free)
    edit = Edit(model)
    features: dict[int, Features] = {}
    for place, (low, high) in ends.items():
        middle = (low + high) / 2
        is_shifted = _shift(edit, edit.inputs[place], middle)
        mean = middle if is_shifted else np.zeros_like(middle)
        features[place] = Features(tuple(mean.tolist()), (1.0,) * len(mean))
    return _scaled(edit.build(), features, ends, batches)


def _classes(model: Model, channels: Channels) -> dict[int, NDArray[np.int64]]:
    """Return the classes of the features of each input that has several, by its place."""
    found = ((place, channels.classes.get(i)) for place, i in enumerate(model.main.inputs))
    return {place: ids for place, ids in found if ids is not None and len(ids) > 1}


def _ends(batches: Iterable[Arrays], places: Sequence[int]) -> dict[int, tuple[Values, Values]]:
    """Return the lowest and highest value of each feature of some inputs."""
    ends: dict[int, tuple[Values, Values]] = {}
    for arrays in batches:
        for place in places:
            rows = np.asarray(arrays[place], np.float64).reshape(-1, arrays[place].shape[-1])
            low, high = rows.min(axis=0), rows.max(axis=0)
            old = ends.get(place, (low, high))
            ends[place] = np.minimum(old[0], low), np.maximum(old[1], high)
    return ends


def _shift(edit: Edit, index: int, mean: Values) -> bool:
    """Make the network's input ``index`` lack ``mean``, which its readers add; whether they can."""
    changed: dict[int, Operator] = {}
    found = [index]
    for each in found:
        for op in edit.consumers(each):
            shapes = [edit.tensors[end].shape for end in (op.inputs[0], op.outputs[0])]
            if op.opcode in RESHAPES and op.inputs[0] == each and shapes[0][-1:] == shapes[1][-1:]:
                found.append(op.outputs[0])
                continue
            instead = _adding(edit, op, each, mean)
            if instead is None:
                return False
            changed[id(op)] = instead
    if not all(edit.is_internal(each) for each in found[1:]) or index in edit.outputs:
        return False
    edit.operators = [changed.get(id(op), op) for op in edit.operators]
    return True


def _adding(edit: Edit, op: Operator, index: int, mean: Values) -> Operator | None:
    """Return ``op`` as if ``mean`` were added to the tensor ``index``; None if it cannot be."""
    if op.opcode in ("ADD", "SUB"):
        constant = op.inputs[1] if op.inputs[0] == index else op.inputs[0]
        if edit.data(constant) is None or (op.opcode == "SUB" and op.inputs[0] != index):
            return None
        sign = -1 if op.opcode == "SUB" else 1
        return with_constants(edit, op, {constant: real_values(edit, constant) + sign * mean})
    if op.opcode not in ("FULLY_CONNECTED", "CONV_2D") or op.inputs[0] != index:
        return None
    if not is_linear(edit, op) or not _is_unpadded(edit, op):
        return None
    weights, bias = constants_of(op)
    values = real_values(edit, weights)
    added = values.reshape(len(values), -1, len(mean)).sum(axis=1) @ mean
    if bias < 0:
        fresh = edit.constant(f"{edit.tensors[weights].name}/bias", added.astype(np.float32))
        return replace(op, inputs=(*op.inputs[:2], fresh))
    return with_constants(edit, op, {bias: real_values(edit, bias) + added})


def _is_unpadded(edit: Edit, op: Operator) -> bool:
    """Whether a layer reads nothing beside its input."""
    kernel = edit.tensors[op.inputs[1]].shape[1:3]
    return op.opcode != "CONV_2D" or op.options["padding"] == "VALID" or kernel == (1, 1)


def _scaled(
    model: Model,
    shifts: Mapping[int, Features],
    ends: Mapping[int, tuple[Values, Values]],
    batches: Callable[[], Iterable[Arrays]],
) -> Normalized:
    """Return the shifted network with features that are divided by half of their width."""
    channels = find_channels(model, with_inputs=True)
    factors = np.zeros(channels.count)
    ranges: dict[int, ChannelRange] = {}
    for place, classes in _classes(model, channels).items():
        if place in shifts:
            low, high = (each - np.array(shifts[place].mean) for each in ends[place])
            np.maximum.at(factors, classes, np.maximum(high, -low))
            ranges[model.main.inputs[place]] = ChannelRange(low, high, np.zeros_like(low))
    factors[factors == 0] = 1
    factors[FIXED] = 1
    inner = [
        index
        for index, classes in channels.classes.items()
        if (factors[classes] != 1).any() and index not in model.main.inputs
    ]
    observer = Observer(model, inner)
    for _ in observer.watch(Normalized(model, shifts).batches(batches())):
        pass
    scaled = equalize(model, channels, factors, {**observer.ranges, **ranges})
    features = {
        place: replace(
            shift, std=tuple(factors[channels.classes[model.main.inputs[place]]].tolist())
        )
        for place, shift in shifts.items()
    }
    graph = scaled.main
    named = {graph.tensors[graph.inputs[place]].name: each for place, each in features.items()}
    return Normalized(with_features(scaled, named), features)
