# SPDX-License-Identifier: Apache-2.0
"""Outlier channel splitting: compute a channel with extreme values or weights twice.

A channel that sets the range of a tensor alone is halved where it is made, and the next layer reads
both halves. Where a channel's weights set the scale of the next layer, both copies are whole, and
these weights are halved. In float the answers stay the same. After Zhao, Hu, Dotzel, De Sa, Zhang:
Improving Neural Network Quantization without Retraining using Outlier Channel Splitting (2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.host.convert.improve.channels import (
    constants_of,
    is_linear,
    real_values,
    with_constants,
)
from edgekit.host.convert.improve.observe import ChannelRange
from edgekit.host.convert.improve.ranges import range_of, with_range
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit

_DENSE = ("CONV_2D", "FULLY_CONNECTED")  # their outputs read all channels
_DEPTHWISE = "DEPTHWISE_CONV_2D"
# Each channel of the output depends on the same channel of the input only.
_POOLS = ("MAX_POOL_2D", "AVERAGE_POOL_2D")
_LINEAR_FORMS = frozenset(["RELU", "LEAKY_RELU", "PRELU", "PAD", "MEAN", "RESHAPE", *_POOLS])
_BOUNDED = frozenset(["RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "LOGISTIC", "TANH", "HARD_SWISH"])
_HOMOGENEOUS = ("NONE", "RELU")  # fused activations with f(x / 2) = f(x) / 2
_MOST_SHARE = 0.05  # of the channels are copied, but one at least
_LEAST_GAIN = 0.9  # ranges, or squares of steps, become smaller than this share of before
_LARGEST_CODE = 127.0

Values = NDArray[np.float64]
_Ends = tuple[Values, Values]  # (channels,) the lowest and the highest value


@dataclass(frozen=True)
class _Section:
    """A layer, operators that keep its channels apart, and the layers that read the result."""

    maker: Operator
    between: tuple[Operator, ...]
    readers: tuple[Operator, ...]

    @property
    def tensors(self) -> tuple[int, ...]:
        """The tensors that have the maker's channels."""
        return (self.maker.outputs[0], *(op.outputs[0] for op in self.between))

    @property
    def can_halve(self) -> bool:
        """Whether half of a channel stays half of it until it is read."""
        return all(
            op.opcode not in _BOUNDED
            and op.options.get("fused_activation_function", "NONE") in _HOMOGENEOUS
            for op in (self.maker, *self.between)
        )


@dataclass(frozen=True)
class _Split:
    """The channels of a section afterwards; copies come last."""

    source: NDArray[np.int64]  # which channel each one is a copy of
    made: Values  # the factor of each one's values
    read: Values  # the factor of the weights that read it

    @classmethod
    def none(cls, channels: int) -> _Split:
        """Return the channels as they are."""
        return cls(np.arange(channels), np.ones(channels), np.ones(channels))

    def copied(self, place: int, *, made: float = 1.0, read: float = 1.0) -> _Split:
        """Return a split with a copy of the channel at ``place``; both get the factors."""
        places = np.append(np.arange(len(self.source)), place)
        is_half = (places == place).astype(float)
        return _Split(
            self.source[places],
            self.made[places] * np.where(is_half, made, 1),
            self.read[places] * np.where(is_half, read, 1),
        )


def watched_tensors(model: Model) -> list[int]:
    """Return the tensors whose values say which channels to split."""
    edit = Edit(model)
    return [index for each in _sections(edit) for index in each.tensors]


def split_outliers(model: Model, ranges: Mapping[int, ChannelRange]) -> tuple[Model, str] | None:
    """Return a calibrated float network with split channels, and what was done.

    None if no channel stands out.

    Args:
        model: The network; its tensors that change get new ranges of calibration.
        ranges: The values of `watched_tensors`, by tensor.
    """
    edit = Edit(model)
    counts = []
    for section in _sections(edit):
        split = _chosen(edit, section, ranges)
        added = len(split.source) - edit.tensors[section.maker.outputs[0]].shape[-1]
        if added:
            _apply(edit, section, split, ranges)
            counts.append(added)
    if not counts:
        return None
    channels, layers = sum(counts), len(counts)
    text = (
        f"{channels} channel{'s' * (channels != 1)} with extreme values or weights computed twice"
    )
    return edit.build(), f"{text}, in {layers} layer{'s' * (layers != 1)}"


def _sections(edit: Edit) -> Iterator[_Section]:
    """Yield the sections in which channels can be copied; operators may change on the way."""
    for index in [op.outputs[0] for op in edit.operators if op.opcode in _DENSE]:
        section = _section(edit, edit.producers()[index])
        if section is not None:
            yield section


def _section(edit: Edit, maker: Operator) -> _Section | None:
    if not is_linear(edit, maker):
        return None
    channels = edit.tensors[maker.outputs[0]].shape[-1]
    between: list[Operator] = []
    readers: list[Operator] = []
    found = [maker.outputs[0]]
    for index in found:
        consumers = edit.consumers(index)
        if not edit.is_internal(index) or not consumers:
            return None
        for op in consumers:
            if op.opcode in _DENSE and is_linear(edit, op):
                readers.append(op)
            elif _keeps_apart(edit, op, channels):
                between.append(op)
                found.append(op.outputs[0])
            else:
                return None
    return _Section(maker, tuple(between), tuple(readers))


def _keeps_apart(edit: Edit, op: Operator, channels: int) -> bool:
    """Whether each channel of the output depends on the same channel of the input only."""
    before, after = (edit.tensors[index].shape for index in (op.inputs[0], op.outputs[0]))
    if op.opcode == "RESHAPE":  # an image may become a row: its channels, place after place
        return len(after) > 0 and after[-1] % channels == 0
    if not before or not after or after[-1] != before[-1]:
        return False
    if op.opcode == _DEPTHWISE:
        return is_linear(edit, op)
    if op.opcode == "PRELU":
        slopes = edit.data(op.inputs[1])
        return slopes is not None and slopes.shape[-1] == before[-1]
    if op.opcode == "PAD":
        amounts = edit.data(op.inputs[1])
        return amounts is not None and not amounts[-1].any()
    if op.opcode == "MEAN":
        axes = edit.data(op.inputs[1])
        return axes is not None and len(before) - 1 not in np.ravel(axes) % len(before)
    return op.opcode in _BOUNDED or op.opcode in _LINEAR_FORMS


def _chosen(edit: Edit, section: _Section, ranges: Mapping[int, ChannelRange]) -> _Split:
    """Return the split: first channels with extreme values, then those with extreme weights."""
    channels = edit.tensors[section.maker.outputs[0]].shape[-1]
    most = max(1, int(channels * _MOST_SHARE))
    split = _Split.none(channels)
    known = [_ends(ranges[index], channels) for index in section.tensors if index in ranges]
    if section.can_halve and known:
        split = _halved(
            split,
            most,
            lambda each: np.array([_width(each, ends) for ends in known]),
            lambda each, sizes: each.copied(_widest(each, known, sizes), made=0.5),
        )
    weights = [_largest_weights(edit, op, channels) for op in section.readers]
    return _halved(
        split,
        most,
        lambda each: np.array([_noise(each, rows) for rows in weights]),
        lambda each, sizes: each.copied(_heaviest(each, weights, sizes), read=0.5),
    )


def _halved(
    split: _Split,
    most: int,
    sizes_of: Callable[[_Split], Values],
    next_of: Callable[[_Split, Values], _Split],
) -> _Split:
    """Return ``split`` with up to ``most`` copies, as many as make the largest of sizes smaller."""
    best, trial = split, split
    sizes = sizes_of(split)
    if not sizes.all():
        return split
    for _ in range(most):
        trial = next_of(trial, sizes)
        smaller = sizes_of(trial)
        if (smaller / sizes).max() <= _LEAST_GAIN:
            best, sizes = trial, smaller
    return best


def _ends(values: ChannelRange, channels: int) -> _Ends:
    """Return the ends of each channel; a flattened image has each channel several times."""
    low, high = (each.reshape(-1, channels) for each in (values.low, values.high))
    return low.min(axis=0), high.max(axis=0)


def _width(split: _Split, ends: _Ends) -> float:
    """Return the width of the range that all channels share; it contains 0."""
    low, high = (each[split.source] * split.made for each in ends)
    return float(max(high.max(), 0) - min(low.min(), 0))


def _widest(split: _Split, known: Sequence[_Ends], widths: Values) -> int:
    shares = [
        np.maximum(high, -low)[split.source] * split.made / width
        for (low, high), width in zip(known, widths, strict=True)
    ]
    return int(np.argmax(np.max(shares, axis=0)))


def _largest_weights(edit: Edit, op: Operator, channels: int) -> Values:
    """Return the largest weight that each output has for each channel: (outputs, channels).

    A dense layer has one scale, so all its outputs are one.
    """
    weights = np.asarray(edit.data(op.inputs[1]), np.float64)
    largest: Values = np.abs(weights.reshape(len(weights), -1, channels)).max(axis=1)
    return largest.max(axis=0, keepdims=True) if op.opcode == "FULLY_CONNECTED" else largest


def _noise(split: _Split, largest: Values) -> float:
    """Return the sum of the squares of the outputs' largest weights: their steps."""
    return float(((largest[:, split.source] * split.read).max(axis=1) ** 2).sum())


def _heaviest(split: _Split, weights: Sequence[Values], noise: Values) -> int:
    """Return the channel whose weights make most of the noise of the layers that read it."""
    shares = np.zeros(len(split.source))
    for largest, total in zip(weights, noise, strict=True):
        rows = largest[:, split.source] * split.read
        np.add.at(shares, rows.argmax(axis=1), rows.max(axis=1) ** 2 / total)
    return int(np.argmax(shares))


def _apply(
    edit: Edit, section: _Section, split: _Split, ranges: Mapping[int, ChannelRange]
) -> None:
    channels = edit.tensors[section.maker.outputs[0]].shape[-1]
    for index in section.tensors:
        tensor = edit.tensors[index]
        size = tensor.shape[-1] // channels * len(split.source)
        changed = replace(tensor, shape=(*tensor.shape[:-1], size), shape_signature=())
        if range_of(tensor) is not None and index in ranges:
            low, high = (each[split.source] * split.made for each in _ends(ranges[index], channels))
            changed = with_range(changed, float(low.min()), float(high.max()))
        edit.tensors[index] = changed
    instead = {id(section.maker): _made_by(edit, section.maker, split)}
    instead.update({id(op): _kept_by(edit, op, split) for op in section.between})
    instead.update({id(op): _read_by(edit, op, split, channels) for op in section.readers})
    edit.operators = [instead.get(id(op), op) for op in edit.operators]


def _made_by(edit: Edit, op: Operator, split: _Split) -> Operator:
    """Return the layer with its copies: the first axis of its weights are the channels."""
    weights, bias = constants_of(op)
    values = real_values(edit, weights)
    factors = split.made.reshape(-1, *[1] * (values.ndim - 1))
    changed = {weights: values[split.source] * factors}
    if bias >= 0:
        changed[bias] = real_values(edit, bias)[split.source] * split.made
    return with_constants(edit, op, changed)


def _kept_by(edit: Edit, op: Operator, split: _Split) -> Operator:
    if op.opcode == "RESHAPE":
        return pieces.reshape(edit, op.inputs[0], op.outputs[0])
    if op.opcode == "PRELU":
        slopes = op.inputs[1]
        return with_constants(edit, op, {slopes: real_values(edit, slopes)[..., split.source]})
    if op.opcode != _DEPTHWISE:
        return op
    weights, bias = constants_of(op)
    changed = {weights: real_values(edit, weights)[..., split.source]}
    if bias >= 0:
        changed[bias] = real_values(edit, bias)[split.source] * split.made
    return with_constants(edit, op, changed)


def _read_by(edit: Edit, op: Operator, split: _Split, channels: int) -> Operator:
    """Return the reading layer; the copies of a weight differ by parts of a step.

    So they are rounded to different codes, and their sum is more exact than one weight.
    """
    values = real_values(edit, op.inputs[1])
    parts = values.reshape(len(values), -1, channels)[..., split.source] * split.read
    steps = np.abs(parts).max(axis=(1, 2), keepdims=True) / _LARGEST_CODE
    if op.opcode == "FULLY_CONNECTED":
        steps = np.full_like(steps, steps.max())
    parts = parts + steps * _offsets(split)
    return with_constants(edit, op, {op.inputs[1]: parts.reshape(*values.shape[:-1], -1)})


def _offsets(split: _Split) -> Values:
    """Return (channels,) shares of a step; those of the copies of a channel cancel."""
    number = np.zeros(len(split.source))
    copies = np.bincount(split.source)[split.source]
    for channel in np.flatnonzero(np.bincount(split.source) > 1):
        places = np.flatnonzero(split.source == channel)
        number[places] = np.arange(len(places)) - (len(places) - 1) / 2
    return number / copies / split.made
