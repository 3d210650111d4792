# SPDX-License-Identifier: Apache-2.0
"""Inputs to compare models on: random ones and those of a data set."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.data import InputSpec, open_dataset, preprocess_for
from edgekit.data.dataset import sample_specs
from edgekit.data.spread import spread
from edgekit.errors import DataError
from edgekit.formats.tflite import NUMPY_DTYPES, Model, Tensor
from edgekit.quant import dequantize, quantize
from edgekit.runtime import TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Preprocess

_SEED = 20210721  # arbitrary but fixed, so that certificates are reproducible
_UNKNOWN_RANGE = (-1.0, 1.0)  # of a float input about which nothing else is known


class Samples:
    """Raw inputs of one model, which `raw` returns in the types of another."""

    def __init__(
        self,
        model: Model,
        *,
        num_random: int,
        data: Any = None,  # noqa: ANN401 - anything that open_dataset takes
        preprocess: str | Preprocess | None = None,
        noted: str = "",
        num_data: int = 0,
    ) -> None:
        """Draw and read the samples.

        Args:
            model: The model that the inputs are for.
            num_random: How many random samples to draw.
            data: A data set to read more samples from; None reads none.
            preprocess: How pixels become the input; None uses ``noted``.
            noted: The preprocessing in the model's file; if empty, the input's quantization
                decides.
            num_data: How many samples to read from ``data``.

        Raises:
            DataError: The data set cannot be read, is empty, or does not fit.
        """
        self._infos = [tensor_info(model, index) for index in model.main.inputs]
        ranges = [_range(model, index) for index in model.main.inputs]
        generator = np.random.default_rng(_SEED)
        self._all: list[list[NDArray[Any]]] = [
            [
                _random(info, limits, generator, wide=number % 2 == 0)
                for info, limits in zip(self._infos, ranges)
            ]
            for number in range(num_random)
        ]
        self.num_random = num_random
        if data is not None:
            first = self._infos[0]
            how = preprocess_for(preprocess, noted, first.real_range, first.dtype)
            self._all.extend(self._read(data, how, num_data))
        self.num_data = len(self._all) - num_random

    def __len__(self) -> int:
        return len(self._all)

    def raw(self, number: int, inputs: Sequence[TensorInfo]) -> list[NDArray[Any]]:
        """Return sample ``number`` in the types of ``inputs``."""
        return [
            _turned(converted(values, given, wanted), wanted)
            for values, given, wanted in zip(self._all[number], self._infos, inputs)
        ]

    def _read(
        self,
        data: Any,  # noqa: ANN401
        preprocess: Preprocess,
        count: int,
    ) -> list[list[NDArray[Any]]]:
        specs = [InputSpec(info.name, info.shape) for info in self._infos]
        dataset = open_dataset(data, inputs=sample_specs(specs), preprocess=preprocess)
        found = [
            [self._stored(values, info) for values, info in zip(sample.inputs, self._infos)]
            for sample in itertools.islice(spread(dataset, count), count)
        ]
        if not found:
            raise DataError("no sample of the data set can be read", where=str(data))
        return found

    @staticmethod
    def _stored(values: NDArray[Any], info: TensorInfo) -> NDArray[Any]:
        sample = np.asarray(values)
        size = info.shape[0] if info.shape and sample.shape == info.shape[1:] else 1
        batch = np.repeat(sample[None], size, axis=0).reshape(info.shape)
        real = TensorInfo(info.name, info.shape, "float32", None, None, info.index)
        return converted(batch.astype(np.float32), real, info)


def _turned(values: NDArray[Any], wanted: TensorInfo) -> NDArray[Any]:
    """Return ``values`` with their channels last if the rule channels-last turned the input."""
    if values.shape == wanted.shape or (values.shape[0], *values.shape[2:], values.shape[1]) != (
        wanted.shape
    ):
        return values
    return np.ascontiguousarray(np.moveaxis(values, 1, -1))


def converted(raw: NDArray[Any], given: TensorInfo, wanted: TensorInfo) -> NDArray[Any]:
    """Return ``raw``, stored for ``given``, as ``wanted`` stores the same real values."""
    if (given.dtype, given.scale, given.zero_point) == (
        wanted.dtype,
        wanted.scale,
        wanted.zero_point,
    ):
        return raw
    real = raw if given.params is None else dequantize(raw, given.params)
    return real.astype(wanted.dtype) if wanted.params is None else quantize(real, wanted.params)


def tensor_info(model: Model, index: int) -> TensorInfo:
    """Return tensor ``index`` of the main subgraph, as a runner describes it."""
    tensor = model.main.tensors[index]
    shape = tuple(1 if size < 0 else size for size in tensor.shape)
    dtype = NUMPY_DTYPES.get(tensor.dtype, tensor.dtype.lower())
    return TensorInfo(tensor.name, shape, dtype, tensor.scale or None, tensor.zero_point, index)


def _range(model: Model, index: int) -> tuple[float, float]:
    """Return the range of an input's stored values."""
    tensor = model.main.tensors[index]
    kind = np.dtype(NUMPY_DTYPES.get(tensor.dtype, "float32"))
    if kind.kind == "f":
        readers = [op for op in model.main.operators if index in op.inputs]
        behind = [model.main.tensors[op.outputs[0]] for op in readers if op.opcode == "QUANTIZE"]
        return _real_range(behind[0]) if behind else _UNKNOWN_RANGE
    if kind.itemsize > 1:  # most often indices: small ones are valid in any table
        return 0, 1
    limits = np.iinfo(kind) if kind.kind in "iu" else None
    return (limits.min, limits.max) if limits else (0, 1)


def _real_range(tensor: Tensor) -> tuple[float, float]:
    kind = np.dtype(NUMPY_DTYPES.get(tensor.dtype, "float32"))
    if kind.kind not in "iu":
        return _UNKNOWN_RANGE
    limits = np.iinfo(kind)
    scale, zero_point = float(tensor.scale or 1), int(tensor.zero_point or 0)
    return scale * (limits.min - zero_point), scale * (limits.max - zero_point)


def _random(
    info: TensorInfo, low_high: tuple[float, float], generator: np.random.Generator, *, wide: bool
) -> NDArray[Any]:
    """Return random values for an input: over its whole range, or concentrated at its middle."""
    low, high = low_high
    middle, spread = (low + high) / 2, (high - low) / 6
    if np.dtype(info.dtype).kind == "b":
        return generator.integers(0, 2, info.shape).astype(np.bool_)
    if wide:
        values = generator.uniform(low, high, info.shape)
    else:
        values = generator.normal(middle, spread, info.shape).clip(low, high)
    if np.dtype(info.dtype).kind in "iu":
        values = np.rint(values)
    return values.astype(info.dtype)
