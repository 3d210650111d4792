# SPDX-License-Identifier: Apache-2.0
"""Find the pixels that a network was made for, by its first operations.

Keras networks often contain their preprocessing: Rescaling, Normalization, the constants of
``preprocess_input``. They need pixels of 0..255; if these are scaled to 0..1 before, the answers
are random. docs/preprocessing.md has the rules and their limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data.preprocess import Preprocess
from edgekit.formats.tflite import Model, Operator

_Values = NDArray[np.float64]
# Operators that keep each value or mix neighbours: the pixels' range does not change.
_NEUTRAL = frozenset(
    (
        "AVERAGE_POOL_2D",
        "CAST",
        "DEQUANTIZE",
        "EXPAND_DIMS",
        "GATHER",
        "MAXIMUM",
        "MINIMUM",
        "MIRROR_PAD",
        "PAD",
        "PADV2",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "RELU",  # the lower end of a clip
        "REVERSE_V2",
        "SLICE",
        "SQUEEZE",
        "STRIDED_SLICE",
        "TRANSPOSE",
    )
)
_SPLITS = frozenset(("SLICE", "SPLIT", "SPLIT_V", "STRIDED_SLICE", "UNPACK"))
_JOINS = frozenset(("CONCATENATION", "PACK"))
_SHAPE_ONLY = frozenset(("SHAPE", "RANK"))
_MODEL = re.compile(r"(functional|model|sequential)(_\d+)*$")  # Keras's own names of networks
_CALLED_AGAIN = re.compile(r"_1$")
# Limits of the sum of the magnitudes of each filter's weights: of its median, and of the largest.
_LEAST_REACH, _MOST_REACH = 0.15, 1.5
_MOST_CHANNELS = 4
_LEAST_SIDE, _LEAST_FLAT = 8, 64  # of pictures without a channel dimension; the values of flat ones
_SAME = 0.05  # of a range's width: ends with a smaller difference are the same
_SMALL, _LARGE = 4.0, 16.0  # pixels of 0..255 exceed _SMALL, scaled ones do not exceed _LARGE
_MOST_STEPS = 12
_RANGES = {"raw": (0.0, 255.0), "unit": (0.0, 1.0), "tf": (-1.0, 1.0)}


@dataclass(frozen=True)
class Step:
    """One operation on the input: ``x * scale + offset``, one value or one per channel."""

    name: str  # TensorFlow's, of the operation: "model/rescaling/mul"
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    # For batch normalization: mean and standard deviation of the training data.
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def equals(self, other: Step) -> bool:
        """Whether both do the same, with any names."""
        return replace(self, name=other.name) == other


@dataclass(frozen=True)
class Wanted:
    """The pixels that a network's input was made for, and how that is known."""

    scale: str  # raw, unit or tf: see `Preprocess`
    reason: str
    is_hint: bool = False  # only weights indicate it, not a constant

    @property
    def range(self) -> tuple[float, float] | None:
        """The range of the pixels; None if that is only a hint, or if other ranges are as likely.

        Constants of ``unit`` may be those of any mean and deviation.
        """
        return None if self.is_hint or self.scale == "unit" else _RANGES[self.scale]

    def misses(self, seen: tuple[float, float]) -> str:
        """Return a warning if values of the range ``seen`` are not such pixels, else ""."""
        low, high = _RANGES[self.scale]
        is_small = self.scale == "raw" and seen[1] - seen[0] <= _SMALL and seen[1] <= _SMALL
        is_large = self.scale != "raw" and seen[1] > _LARGE
        if self.is_hint or not (is_small or is_large):
            return ""
        return (
            f"{self.reason}, and the samples are between {seen[0]:.4g} and {seen[1]:.4g}: give "
            f"samples of {low:g}..{high:g}"
        )


def contradiction(wanted: Wanted, how: Preprocess) -> str:
    """Return a warning if ``how`` results in other pixels than the network needs, else ""."""
    low, high = _RANGES[wanted.scale]
    given = how.promised_range
    apart = max(abs(given[0] - low), abs(given[1] - high)) / (high - low)
    is_allowed = wanted.scale == "unit" and given[1] <= _LARGE  # the exact range is unknown
    if apart <= _SAME or is_allowed:
        return ""
    return (
        f"{wanted.reason}, and the preprocessing returns {given[0]:.4g}..{given[1]:.4g}: use "
        f"--preprocess {wanted.scale}"
    )


def is_picture(shape: Sequence[int]) -> bool:
    """Whether an input of ``shape``, with the batch, has the sides and channels of a picture."""
    if len(shape) != 4:
        return False
    channels, sides = (
        (shape[3], shape[1:3]) if shape[3] <= _MOST_CHANNELS else (shape[1], shape[2:])
    )
    return 0 < channels <= _MOST_CHANNELS and channels != 2 and min(sides) >= _LEAST_SIDE


def may_be_pixels(shape: Sequence[int]) -> bool:
    """Whether an input of ``shape``, with the batch, may be pixels, not a series or features.

    Pictures have 1 to 4 channels, or only two sides, or are flat with many values.
    """
    if len(shape) == 4:
        return 0 < min(shape[3], shape[1] if shape[1] > 0 else shape[3]) <= _MOST_CHANNELS
    if len(shape) == 3:
        return min(shape[1:]) >= _LEAST_SIDE
    return len(shape) == 2 and shape[1] >= _LEAST_FLAT


def wanted_pixels(steps: Sequence[Step]) -> Wanted | None:
    """Return the pixels that a network with these first operations was trained on, or None."""
    scale, offset = np.ones(1), np.zeros(1)
    for index, step in enumerate(steps[:_MOST_STEPS]):
        by_data = _by_statistics(step) if index == 0 else ""
        scale, offset = _after(step, scale, offset)
        found = by_data or _by_constants(scale, offset, is_first=index == 0)
        if found:
            return Wanted(found, _reason(found, step, steps[index:], scale, offset))
    return None


def _after(step: Step, scale: _Values, offset: _Values) -> tuple[_Values, _Values]:
    factor = np.asarray(step.scale)
    return scale * factor, offset * factor + np.asarray(step.offset)


def _by_constants(scale: _Values, offset: _Values, *, is_first: bool) -> str:
    """Return the scale that mean and standard deviation of ``(x - mean) / std`` belong to."""
    if not (np.isfinite(scale).all() and np.isfinite(offset).all() and (scale != 0).all()):
        return ""
    mean, std = -offset / scale, 1 / np.abs(scale)
    if _is_within(mean, -1, 256) and _is_within(std, 12, 400):
        return "raw"  # 0..1 would become a range of less than 0.1
    if _is_within(mean, 16, 240) and _is_within(std, 0.4, 400):
        return "raw"  # all of 0..1 is far below such a mean
    if _is_within(mean, -1.02, -0.98) and (scale > 0).all() and not _is_within(std, 0.9, 1.1):
        return "tf"  # -1 becomes 0
    # A first factor of 2 or 255 may belong to any layer; a mean within 0..1 is that of pixels.
    return (
        "unit"
        if is_first is False and _is_within(mean, 0.05, 0.95) and _is_within(std, 0.05, 2)
        else ""
    )


def _by_statistics(step: Step) -> str:
    mean, std = np.asarray(step.mean), np.asarray(step.std)
    if not mean.size:
        return ""
    if _is_within(mean, 16, 240) and _is_within(std, 8, 128):
        return "raw"
    return "unit" if _is_within(mean, 0.05, 0.95) and _is_within(std, 0.02, 0.5) else ""


def _is_within(values: _Values, low: float, high: float) -> bool:
    return bool((values >= low).all() and (values <= high).all())


def _reason(
    found: str, step: Step, following: Sequence[Step], scale: _Values, offset: _Values
) -> str:
    """Describe the range that the layer, with all its operations, converts ``found`` to."""
    for other in following[1:]:
        if _scope(other.name) != _scope(step.name):
            break
        scale, offset = _after(other, scale, offset)
    low, high = _RANGES[found]
    ends = np.concatenate([low * scale + offset, high * scale + offset])
    made_for = f"{low:g}..{high:g}"
    becomes = f"{_short(ends.min())}..{_short(ends.max())}"
    return f"the network's first layer `{layer_name(step.name)}` turns {made_for} into {becomes}"


def _short(value: float) -> str:
    return f"{round(float(value), 2) + 0.0:g}"


def steps_from(documents: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return the steps that the converting process found (`host.worker.network_start`)."""
    steps: list[Step] = []
    for each in documents:
        name = str(each["name"])
        if "opcode" in each:
            values = np.asarray(each["values"], np.float64)
            step = affine(name, each["opcode"], values, each["comes_first"])
            if step is None:
                break
        else:
            rows = (tuple(each[field]) for field in ("scale", "offset", "mean", "std"))
            step = Step(name, *rows)
        steps.append(step)
    return tuple(steps)


def first_steps(model: Model, place: int = 0) -> tuple[Step, ...]:
    """Return the operations with constants directly after one input of a float model."""
    if not model.main.inputs:
        return ()
    return tuple(_walk(model, model.main.inputs[place]))


def wanted_by(model: Model) -> Wanted | None:
    """Return the pixels that a float model was made for, by its first operations or weights."""
    graph = model.main
    if not graph.inputs or not may_be_pixels(graph.tensors[graph.inputs[0]].shape):
        return None
    return wanted_pixels(first_steps(model)) or wanted_by_weights(model)


def wanted_by_weights(model: Model) -> Wanted | None:
    """Return raw pixels if values of 0..1 would hardly change the first layer's result; else None.

    TensorFlow's converter folds a first multiplication by 1/255 into the weights of the next
    convolution or dense layer. A filter of a network for 0..1 can change its result by 0.4 and more
    (the sum of its weights' magnitudes); after a folded Rescaling it is 255 times less.
    """
    if not model.main.inputs:
        return None
    steps, tensor = _to_reader(model, model.main.inputs[0])
    reaches = [_reach(model, each) for each in _readers(model, tensor)]
    if steps or not reaches or any(each is None for each in reaches):
        return None
    reach = np.concatenate([each for each in reaches if each is not None])
    if reach.max() >= _MOST_REACH or not 0 < float(np.median(reach)) < _LEAST_REACH:
        return None
    first = _readers(model, tensor)[0]
    name = layer_name(model.main.tensors[first.outputs[0]].name)
    return Wanted(
        "raw",
        f"values of 0..1 change the network's first layer `{name}` by {np.median(reach):.2g} at "
        "most, so it was made for pixels of 0..255",
        is_hint=True,
    )


def _reach(model: Model, operator: Operator) -> _Values | None:
    """Return the sum of the magnitudes of each filter's weights; None without readable weights."""
    if operator.opcode not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return None
    values = _constant(model, operator.inputs[1])
    if values is None or values.ndim < 2:
        return None
    filters = values.T if operator.opcode == "DEPTHWISE_CONV_2D" else values
    reach: _Values = np.abs(filters).reshape(len(filters), -1).sum(1)
    return reach


def _walk(model: Model, tensor: int) -> list[Step]:
    steps: list[Step] = []
    while len(steps) < _MOST_STEPS:
        found, tensor = _to_reader(model, tensor)
        steps += found
        joined = _to_join(model, tensor)
        if joined is None:
            break
        found, tensor = joined
        steps += found
    return steps


def _readers(model: Model, tensor: int) -> list[Operator]:
    readers = [op for op in model.main.operators if tensor in op.inputs]
    return [op for op in readers if op.opcode not in _SHAPE_ONLY]


def _to_reader(model: Model, tensor: int) -> tuple[list[Step], int]:
    """Return the steps from ``tensor`` to the first other operator, and what that reads."""
    steps: list[Step] = []
    for _ in range(2 * _MOST_STEPS):
        readers = _readers(model, tensor)
        if not readers:
            break
        operator = readers[0]
        if operator.opcode not in _NEUTRAL or len(readers) > 1:
            # Each network of an ensemble may have its own copy of the same preprocessing.
            found = [_step(model, each, tensor) for each in readers]
            step = found[0]
            if step is None or any(each is None or not step.equals(each) for each in found):
                break
            steps.append(step)
        tensor = operator.outputs[0]
    return steps, tensor


def _to_join(model: Model, tensor: int) -> tuple[list[Step], int] | None:
    """Skip operators that split channels and join them in another order (RGB to BGR)."""
    readers = _readers(model, tensor)
    if not readers or any(op.opcode not in _SPLITS for op in readers):
        return None
    paths = [_to_reader(model, each) for op in readers for each in op.outputs]
    joins = [op for _, end in paths for op in _readers(model, end)]
    if not joins or joins[0].opcode not in _JOINS or any(op is not joins[0] for op in joins):
        return None
    order = list(joins[0].inputs)
    if any(end not in order for _, end in paths):  # an unused part
        return None
    paths.sort(key=lambda path: order.index(path[1]))
    steps = []
    for row in zip(*(path[0] for path in paths)):
        if any(len(each.scale) != 1 or len(each.offset) != 1 for each in row):
            break
        scale, offset = ([getattr(each, f)[0] for each in row] for f in ("scale", "offset"))
        steps.append(replace(row[0], scale=tuple(scale), offset=tuple(offset)))
    return steps, joins[0].outputs[0]


def _step(model: Model, operator: Operator, tensor: int) -> Step | None:
    if operator.opcode not in ("ADD", "DIV", "MUL", "SUB") or len(operator.inputs) != 2:
        return None
    comes_first = operator.inputs[0] == tensor
    values = _constant(model, operator.inputs[1 if comes_first else 0])
    if values is None:
        return None
    name = model.main.tensors[operator.outputs[0]].name
    return affine(name, operator.opcode, values, comes_first)


def affine(name: str, opcode: str, values: _Values, comes_first: bool) -> Step | None:
    """Return a step of ADD, SUB, MUL or DIV with a constant; None if it cannot be preprocessing.

    Args:
        name: The name for the step.
        opcode: TensorFlow Lite's name of the operator.
        values: The constant, of any shape. For a whole image (a mean image) its mean is used; one
            row of many values belongs to features.
        comes_first: Whether the network's input is the left operand.
    """
    flat = np.asarray(values, np.float64).reshape(-1)
    if not flat.size or not np.isfinite(flat).all():
        return None
    is_sum = opcode in ("ADD", "SUB")
    if flat.size > _MOST_CHANNELS:
        if not is_sum or sum(side > 1 for side in np.shape(values)) < 2:
            return None
        flat = flat.mean(keepdims=True)
    if opcode == "SUB":
        sign = 1.0 if comes_first else -1.0
        return Step(name, (sign,), tuple((-sign * flat).tolist()))
    if opcode == "ADD":
        return Step(name, offset=tuple(flat.tolist()))
    if opcode == "DIV":
        if not comes_first or (flat == 0).any():
            return None
        flat = 1 / flat
    return Step(name, tuple(flat.tolist()))


def _constant(model: Model, tensor: int) -> _Values | None:
    """Return the values of a constant, also of one in float16 before a DEQUANTIZE."""
    for operator in model.main.operators:
        if tensor in operator.outputs and operator.opcode == "DEQUANTIZE":
            tensor = operator.inputs[0]
    info = model.main.tensors[tensor]
    values = model.data(info) if info.dtype in ("FLOAT16", "FLOAT32") else None
    return None if values is None or not values.size else values.astype(np.float64)


def layer_name(name: str) -> str:
    """Return the layer in a TensorFlow name: "model/rescaling/mul;..." -> "rescaling"."""
    parts = _parts(name)
    is_layer = len(parts) > 1 and not _MODEL.match(parts[-2])
    # If a network is called again, its layers' names have a number at the end.
    return _CALLED_AGAIN.sub("", parts[-2]) if is_layer else "".join(parts[-1:])


def _scope(name: str) -> list[str]:
    return _parts(name)[:-1]


def _parts(name: str) -> list[str]:
    first = name.split(";", 1)[0].split(":", 1)[0]
    return [part for part in first.split("/") if part]
