# SPDX-License-Identifier: Apache-2.0
"""Training samples: read once, and kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data import Dataset
from edgekit.data.dataset import iter_chunks
from edgekit.data.label_kinds import class_list
from edgekit.data.spread import spread
from edgekit.errors import DataError
from edgekit.evaluate.far_samples import find_far
from edgekit.progress import Progress

_MOST_BYTES = 1 << 30
_READ = 16  # samples at a time


@dataclass(frozen=True)
class TrainingSamples:
    """Inputs of a network, each (samples, ...) float32, and their classes if they have any."""

    inputs: tuple[NDArray[np.float32], ...]
    labels: NDArray[np.int64] | None
    num_left_out: int  # samples that were wanted, but do not fit into memory
    num_far: int = 0  # samples left out because their values are far larger than all others

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.inputs[0])

    def sha256(self) -> str:
        """Return the hash of all values and classes."""
        digest = hashlib.sha256()
        for each in (*self.inputs, *(() if self.labels is None else (self.labels,))):
            digest.update(np.ascontiguousarray(each).tobytes())
        return digest.hexdigest()

    def batches(self, size: int, seed: int) -> Iterator[tuple[list[NDArray[np.float32]], Any]]:
        """Yield shuffled batches: inputs, and labels or None; the last one is filled up."""
        order = np.random.default_rng(seed).permutation(self.count)
        for start in range(0, self.count, size):
            rows = np.resize(np.roll(order, -start), size)
            labels = None if self.labels is None else self.labels[rows]
            yield [each[rows] for each in self.inputs], labels


def read_samples(
    dataset: Dataset, shapes: Sequence[Sequence[int]], wanted: int, progress: Progress
) -> TrainingSamples:
    """Read ``wanted`` samples, spread over the data set.

    Args:
        dataset: The samples.
        shapes: The shape of each input of the network, with the batch dimension.
        wanted: How many; fewer are read if they do not fit into 1 GiB.
        progress: Called with (samples read, samples in all).

    Raises:
        DataError: There are none, or their shapes are not those of the inputs.
    """
    bytes_each = sum(4 * int(np.prod(shape[1:])) for shape in shapes)
    fitting = max(1, min(wanted, _MOST_BYTES // bytes_each))
    chosen = spread(dataset, fitting)
    parts: list[list[NDArray[np.float32]]] = []
    labels: list[Any] | None = []
    count = 0
    for chunk in iter_chunks(chosen, _READ, stop=fitting):
        batch = chunk.load()
        if not batch.sources:
            continue
        arrays = [np.asarray(each, np.float32) for each in batch.inputs]
        for array, shape in zip(arrays, shapes, strict=True):
            if array.shape[1:] != tuple(shape[1:]):
                raise DataError(
                    f"a sample has the shape {list(array.shape[1:])}, the network takes "
                    f"{list(shape[1:])}",
                    where=batch.sources[0],
                )
            if not np.isfinite(array).all():
                raise DataError("a sample contains NaN or infinity", where=batch.sources[0])
        parts.append(arrays)
        labels = None if labels is None or batch.labels is None else [*labels, *batch.labels]
        count += len(batch.sources)
        progress(count, fitting)
    if not parts:
        raise DataError("there is no sample to train on", fix="check the data")
    known = dataset.num_samples
    classes = class_list(labels)
    inputs = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    is_near = _near(inputs)
    return TrainingSamples(
        tuple(each[is_near] for each in inputs),
        None if classes is None else np.array(classes)[is_near],
        max(0, min(wanted, wanted if known is None else known) - fitting),
        int((~is_near).sum()),
    )


def _near(inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Return for each sample whether its values are of the size of those of others."""
    is_near = np.ones(len(inputs[0]), np.bool_)
    for values in inputs:
        sizes = np.abs(values.reshape(len(values), -1)).max(axis=1)
        far = find_far(sizes.tolist(), len(sizes))
        if far is not None:
            is_near &= sizes <= far.next_largest
    return is_near
