# SPDX-License-Identifier: Apache-2.0
"""Compare the samples with the training data, by the statistics that a network contains.

A batch normalization stores the mean and the variance of its input in training, and a Normalization
layer those of the network's input. Samples like the training data have nearly the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.host.worker.assignments import prune
from edgekit.host.worker.network_start import NORMALIZATIONS, constant
from edgekit.host.worker.source import Function

_MOST_SAMPLES, _LEAST_SAMPLES = 128, 16
_MOST_VALUES = 1 << 21  # in the inputs of all samples, if these are more than the least
_PLACES = (0, 1, 3, 7)  # of the layers
_MOST_ROWS = 2048  # positions of a sample in a layer
_ADDITIONS = ("Add", "AddV2")
_ROUNDING = 1e-6  # of a square root in float32
# Deviations that a user gives to a Normalization layer to scale pixels: no statistics of samples.
_SCALES = (0.5, 1.0, 127.5, 128.0, 255.0)


@dataclass(frozen=True)
class _Layer:
    """A normalizing layer, and the statistics of its input in training."""

    name: str  # of an operation
    tensor: Any  # its input
    axis: int  # of the channels
    mean: Any  # float64, (channels,)
    variance: Any  # the same
    epsilon: float

    @property
    def is_trained(self) -> bool:
        """Whether the statistics are usable, and are not the initial ones: 0 and 1."""
        is_whole = self.mean.size == self.variance.size and self.variance.min() > 0
        return bool(is_whole and (self.mean.any() or (self.variance != 1).any()))


class SpreadSamples:
    """Keeps up to `_MOST_SAMPLES` of a sequence of unknown length, at an even stride."""

    def __init__(self) -> None:
        self.kept: list[list[Any]] = []
        self._stride, self._count = 1, 0

    def watch(self, samples: Iterator[list[Any]]) -> Iterator[list[Any]]:
        """Yield ``samples`` unchanged, and keep some."""
        for sample in samples:
            if self._count % self._stride == 0:
                self.kept.append(sample)
            self._count += 1
            if len(self.kept) > _MOST_SAMPLES:
                self.kept = self.kept[::2]
                self._stride *= 2
            yield sample


def compare_statistics(
    frozen: Function, samples: Sequence[Sequence[Any]]
) -> tuple[list[str], list[Any]]:
    """Run the network on ``samples``; compare its layers' inputs with those of training.

    Args:
        frozen: A function without variables.
        samples: Arrays in the order of the function's inputs, for each call.

    Returns:
        The names of up to 4 normalizing layers in the order of execution, and for each an array
        (2, channels), float32: how far the mean of the samples is from that of training, in
        standard deviations of training, and the standard deviation divided by that of training.
    """
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    found = _some(list(_normalizations(frozen)))
    if not found or not samples:
        return [], []
    function = prune(frozen, frozen.inputs, [each.tensor for each in found])
    sums = [np.zeros((3, each.mean.size)) for each in found]
    for arrays in _affordable(samples):
        values = function(*(tf.constant(each) for each in arrays))
        for place, (each, value) in enumerate(zip(found, values)):  # noqa: B905
            rows = np.moveaxis(value.numpy(), each.axis, -1).reshape(-1, each.mean.size)
            rows = rows[:: len(rows) // _MOST_ROWS | 1]  # odd: not always the same column
            away = rows.astype(np.float64) - each.mean
            sums[place] += (np.full(each.mean.size, len(rows)), away.sum(0), (away**2).sum(0))
    return [each.name for each in found], [
        _compared(each, total)
        for each, total in zip(found, sums)  # noqa: B905
    ]


def _affordable(samples: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """Return fewer of many large samples, so that a conversion takes hardly longer."""
    size = sum(each.size for each in samples[0])
    step = 1
    while len(samples) * size > step * _MOST_VALUES and len(samples) >= 2 * step * _LEAST_SAMPLES:
        step *= 2
    return samples[::step]


def _compared(layer: _Layer, sums: Any) -> Any:  # noqa: ANN401
    import numpy as np  # noqa: PLC0415

    count, first, second = sums
    shift = first / count
    variance = np.maximum(second / count - shift**2, 0) + layer.epsilon
    trained = layer.variance + layer.epsilon
    return np.stack([np.abs(shift) / np.sqrt(trained), np.sqrt(variance / trained)]).astype("f4")


def _some(found: list[_Layer]) -> list[_Layer]:
    """Return the layers 1, 2, 4 and 8 of a network, or the last one: the first ones cost least."""
    places = {min(place, len(found) - 1) for place in _PLACES}
    return [found[place] for place in sorted(places)] if found else []


def _normalizations(frozen: Function) -> Iterator[_Layer]:
    """Yield the layers in the order of execution."""
    for operation in frozen.graph.get_operations():
        if operation.type in NORMALIZATIONS:
            found = _fused(operation)
        elif operation.type == "Rsqrt":
            found = _composed(operation)
        elif operation.type == "Sub":
            found = _preprocessing(operation)
        else:
            continue
        if found is not None and found.is_trained:
            yield found


def _fused(operation: Any) -> _Layer | None:  # noqa: ANN401
    mean, variance = (constant(operation.inputs[place]) for place in (3, 4))
    if mean is None or variance is None or operation.get_attr("is_training"):
        return None
    axis = 1 if operation.get_attr("data_format") == b"NCHW" else -1
    epsilon = operation.get_attr("epsilon")
    return _Layer(operation.name, operation.inputs[0], axis, _flat(mean), _flat(variance), epsilon)


def _composed(operation: Any) -> _Layer | None:  # noqa: ANN401
    """A tf.nn.batch_normalization: x * inv + (beta - mean * inv), inv = gamma * rsqrt(...)."""
    added = operation.inputs[0].op
    terms = [constant(each) for each in added.inputs] if added.type in _ADDITIONS else []
    if len(terms) != 2 or any(each is None for each in terms):
        return None
    variance, epsilon = sorted(terms, key=lambda each: -each.size)
    factor = operation.outputs[0]
    products = [each for each in factor.consumers() if each.type == "Mul"]
    if len(products) == 1:  # with gamma; without it there are two: with x and with the mean
        factor = products[0].outputs[0]
        products = [each for each in factor.consumers() if each.type == "Mul"]
    sides = [_other_side(each, factor) for each in products]
    means = [value for value in map(constant, sides) if value is not None]
    inputs = [each for each in sides if constant(each) is None]
    if epsilon.size != 1 or len(means) != 1 or len(inputs) != 1:
        return None
    axis = _channel_axis(means[0].shape, inputs[0].shape.rank)
    if axis is None:
        return None
    return _Layer(operation.name, inputs[0], axis, _flat(means[0]), _flat(variance), float(epsilon))


def _other_side(product: Any, factor: Any) -> Any:  # noqa: ANN401
    left, right = product.inputs
    side = right if left.name == factor.name else left
    return side.op.inputs[0] if side.op.type == "Neg" else side  # without beta: -mean * inv


def _preprocessing(operation: Any) -> _Layer | None:  # noqa: ANN401
    """A keras.layers.Normalization: (x - mean) / max(sqrt(variance), epsilon)."""
    source = operation.inputs[0]
    while source.op.type in ("Cast", "Identity"):
        source = source.op.inputs[0]
    readers = operation.outputs[0].consumers()
    if source.op.type != "Placeholder" or [each.type for each in readers] != ["RealDiv"]:
        return None
    mean, deviation = constant(operation.inputs[1]), constant(readers[0].inputs[1])
    if mean is None or deviation is None or deviation.shape != mean.shape or _is_scale(deviation):
        return None
    axis = _channel_axis(mean.shape, operation.inputs[0].shape.rank)
    if axis is None:
        return None
    return _Layer(
        operation.name, operation.inputs[0], axis, _flat(mean), _flat(deviation) ** 2, 0.0
    )


def _is_scale(deviation: Any) -> bool:  # noqa: ANN401
    """Whether a layer's deviations were given, not measured: measured ones differ by channel."""
    first = float(deviation.flat[0])
    is_usual = any(abs(first - each) <= _ROUNDING * each for each in _SCALES)
    is_same = bool((abs(deviation - first) <= _ROUNDING * first).all())
    return is_same and (deviation.size > 1 or is_usual)


def _channel_axis(shape: tuple[int, ...], rank: int | None) -> int | None:
    """Return the only axis of a broadcast constant, counted from the end; None if not clear."""
    axes = [place - len(shape) for place, size in enumerate(shape) if size > 1] or [-1]
    return axes[0] if rank is not None and len(shape) <= rank and len(axes) == 1 else None


def _flat(values: Any) -> Any:  # noqa: ANN401
    return values.astype("float64").reshape(-1)
