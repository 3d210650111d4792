# SPDX-License-Identifier: Apache-2.0
"""Read the samples, and find which input of the float network is which of the integer model."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.data import InputSpec, open_dataset, preprocess_for, preprocess_reason
from edgekit.data.arrays import ArrayDataset
from edgekit.data.dataset import sample_specs
from edgekit.data.preprocess import NORMALIZED, REAL_NUMBERS
from edgekit.data.spread import spread
from edgekit.debug.errors import DIFFERENT, NOT_FINITE
from edgekit.debug.matching import Match
from edgekit.debug.measure import params_of
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.formats.features import read_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Preprocess
    from edgekit.formats.tflite import Model, Tensor


@dataclass(frozen=True)
class Samples:
    """Inputs of the float network, and where they come from."""

    inputs: list[list[NDArray[Any]]]
    data: Mapping[str, Any]
    preprocess: str
    reason: str


def pair_inputs(network: Model, model: Model, where: str) -> dict[int, Match]:
    """Return the match of each input of the integer model.

    Inputs are paired in their order if their sizes allow it, else by size.

    Raises:
        UnsupportedModelError: The inputs are those of different networks.
        ModelFormatError: The entry that states how inputs are normalized is damaged.
    """
    features = read_features(model)
    ours = [model.main.tensors[index] for index in model.main.inputs]
    theirs = [network.main.tensors[index] for index in network.main.inputs]
    orders = [theirs] if len(ours) == len(theirs) else []
    for order in (*orders, *itertools.permutations(theirs)) if len(theirs) <= 4 else orders:
        axes = [_axes(one, other) for one, other in zip(ours, order)]
        if len(order) == len(ours) and all(each is not None for each in axes):
            return {
                index: Match(
                    network.main.inputs[_place(theirs, other)],
                    each or None,
                    features=features.get(index),
                )
                for index, other, each in zip(model.main.inputs, order, axes)
            }
    raise UnsupportedModelError(
        "the two files are of different networks: their inputs differ",
        where=where,
        why=f"{_shapes(theirs)} in float, {_shapes(ours)} in the integer model",
        fix="give the float network that the integer model was made from",
        code=DIFFERENT,
    )


def _shapes(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{each.name} {list(each.shape)}" for each in tensors)


def _place(tensors: Sequence[Tensor], wanted: Tensor) -> int:
    return next(place for place, each in enumerate(tensors) if each is wanted)


def _axes(ours: Tensor, theirs: Tensor) -> tuple[int, ...] | None:
    """Return the order of the float input's axes; () for its own, None if it does not fit."""
    shape = static_shape(theirs)
    if _fits(theirs, ours.shape):
        return ()
    for order in itertools.permutations(range(len(shape))) if len(shape) <= 4 else ():
        if order[:1] == (0,) and tuple(shape[axis] for axis in order) == ours.shape:
            return order
    return None


def _fits(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    declared = tensor.shape_signature or tensor.shape
    return len(declared) == len(shape) and all(
        one in (-1, other) for one, other in zip(declared, shape)
    )


def static_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return a tensor's shape with 1 for unknown dimensions."""
    return tuple(max(size, 1) for size in tensor.shape)


def float_shapes(network: Model, model: Model, pairs: Mapping[int, Match]) -> list[Any]:
    """Return the shapes of the float network's inputs that fit the integer model's."""
    shapes = {index: static_shape(network.main.tensors[index]) for index in network.main.inputs}
    for index, match in pairs.items():
        if match.axes is None:
            shapes[match.source] = model.main.tensors[index].shape
    return [shapes[index] for index in network.main.inputs]


def read_samples(
    data: Any,  # noqa: ANN401 - anything that open_dataset takes
    model: Model,
    pairs: Mapping[int, Match],
    network: Model,
    *,
    requested: str | Preprocess | None,
    noted: tuple[str, str],
    count: int,
) -> Samples:
    """Read samples and return them as inputs of the float network.

    Args:
        data: The data set.
        model: The integer model, whose inputs the samples fit.
        pairs: The matches of its inputs.
        network: The float network.
        requested: ``--preprocess``.
        noted: The preprocessing in a model's file, and why.
        count: How many samples to read.

    Raises:
        DataError: They cannot be read, do not fit, or contain NaN.
        UsageError: ``requested`` has an unknown word.
    """
    graph = model.main
    tensors = [graph.tensors[index] for index in graph.inputs]
    params = params_of(tensors[0])
    is_normalized = pairs[graph.inputs[0]].features is not None
    # The range of normalized features is not that of the samples.
    stored = None if params is None or is_normalized else (params.real_min, params.real_max)
    how = preprocess_for(requested, noted[0], stored, params.dtype if params else "float32")
    specs = sample_specs([InputSpec(each.name, each.shape) for each in tensors])
    dataset = open_dataset(data, inputs=specs, preprocess=how)
    place = {index: number for number, index in enumerate(network.main.inputs)}
    found: list[list[NDArray[Any]]] = []
    for sample in itertools.islice(spread(dataset, count), count):
        inputs: list[Any] = [None] * len(place)
        for index, tensor, values in zip(graph.inputs, tensors, sample.inputs):
            real = _batch(np.asarray(values), tensor, sample.source)
            match = pairs[index]
            if match.axes is not None:
                real = real.transpose(np.argsort(match.axes))
            inputs[place[match.source]] = np.ascontiguousarray(real)
        found.append(inputs)
    if not found:
        raise DataError(
            "no sample of the data set can be read",
            where=str(data),
            why="; ".join(each.reason for each in dataset.unreadable[:3]),
        )
    is_real = isinstance(dataset, ArrayDataset) and not dataset.has_pixels and how.is_default
    unchanged = NORMALIZED if is_normalized else REAL_NUMBERS
    reason = unchanged if is_real else preprocess_reason(requested, noted[1], stored)
    return Samples(found, dataset.describe(), str(how), reason)


def _batch(values: NDArray[Any], tensor: Tensor, source: str) -> NDArray[Any]:
    real = values.astype(np.float32)
    if not np.isfinite(real).all():
        raise DataError(
            f"a sample contains {int((~np.isfinite(real)).sum())} values that are NaN or infinite",
            where=source,
            fix="remove the sample, or replace these values",
            code=NOT_FINITE,
        )
    size = tensor.shape[0] if tensor.shape and real.shape == tensor.shape[1:] else 1
    return np.repeat(real[None], size, axis=0).reshape(tensor.shape)
