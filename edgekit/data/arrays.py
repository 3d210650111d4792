# SPDX-License-Identifier: Apache-2.0
"""Samples from .npz and .npy files."""

from __future__ import annotations

import copy
import itertools
import zlib
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data.addresses import RemoteRows
from edgekit.data.dataset import Batch, InputSpec, Sample, Unreadable, as_real
from edgekit.data.fit import fit, fit_rows
from edgekit.data.items import plain_name
from edgekit.data.label_kinds import (
    ONE_HOT,
    check_labels,
    kind_of,
    single_column,
)
from edgekit.data.numpy_files import NpzFile, read_npy
from edgekit.data.preprocess import Preprocess
from edgekit.errors import DataError

# The names of inputs and labels, in order of preference. A name may begin or end with a split:
# x_train, train_images; capitals do not matter.
_INPUT_KEYS = ("x", "images", "image", "inputs", "input", "data", "features", "arr_0")
_LABEL_KEYS = ("y", "labels", "label", "targets", "target", "arr_1")
_DIGEST_ROWS = 1024
_TRAIN, _VAL, _TEST = ("train", "training"), ("val", "valid", "validation"), ("test",)
_SPLITS = (*_TRAIN, *_VAL, *_TEST)
_ORDERS = {"train": (*_TRAIN, *_VAL, *_TEST), "test": (*_TEST, *_VAL, *_TRAIN)}


class ArrayDataset:
    """Samples along the first dimension of arrays, one array per input."""

    def __init__(
        self,
        arrays: Sequence[NDArray[Any]],
        labels: NDArray[Any] | None,
        inputs: Sequence[InputSpec],
        preprocess: Preprocess,
        source: str,
        remarks: Sequence[str] = (),
    ) -> None:
        self._arrays, self._labels = tuple(arrays), labels
        self._stored = labels  # one-hot rows unchanged
        self.remarks = tuple(remarks)  # about the choice of arrays
        self._inputs, self._preprocess, self._source = tuple(inputs), preprocess, source
        self._chosen: NDArray[np.intp] | None = None  # rows of a subset
        self.unreadable: list[Unreadable] = []
        if labels is not None:
            self._stored, self._labels = _read_labels(labels, f"{source}, labels")
        counts = {len(array) for array in self._arrays}
        if len(counts) > 1:
            rows = ", ".join(
                f"{spec.name} {len(array)}" for spec, array in zip(self._inputs, self._arrays)
            )
            raise DataError(
                f"the inputs differ in their number of samples: {rows}",
                where=source,
                fix="save one row for each sample; of an input of the shape (2, 128), as of a "
                "state, (samples, 2, 128)",
            )
        if labels is not None:
            counts.add(len(labels))
        if len(counts) != 1:
            raise DataError(f"inputs and labels differ in length: {sorted(counts)}", where=source)

    @property
    def num_samples(self) -> int | None:
        """The length of the first dimension, or of the subset."""
        return len(self._arrays[0]) if self._chosen is None else len(self._chosen)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Empty: arrays do not have class names."""
        return ()

    @property
    def label_rows(self) -> NDArray[Any] | None:
        """All labels, as they are stored."""
        return None if self._labels is None else self._labels[self._at(0, len(self._labels))]

    @property
    def has_pixels(self) -> bool:
        """Whether any array is uint8, and so preprocessed as pixels."""
        return any(array.dtype == np.uint8 for array in self._arrays)

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The preprocessing's range if the arrays are pixels (uint8)."""
        pixels = all(array.dtype == np.uint8 for array in self._arrays)
        return self._preprocess.promised_range if pixels else None

    @property
    def classes(self) -> Sequence[int] | None:
        """The label of each sample, if labels are whole numbers."""
        rows = self.label_rows
        if rows is None or rows.ndim != 1 or rows.dtype.kind not in "iub":
            return None
        labels: list[int] = rows.astype(int).tolist()
        return labels

    def subset(self, indices: Sequence[int]) -> ArrayDataset:
        """Return the samples ``indices``; they are copied when they are read."""
        chosen = copy.copy(self)
        chosen.unreadable = []
        rows = np.asarray(indices, np.intp)
        chosen._chosen = rows if self._chosen is None else self._chosen[rows]  # noqa: SLF001 - its own copy
        return chosen

    def with_rows(self) -> ArrayDataset:
        """Return the same samples, with one-hot labels as rows, not as classes."""
        same = copy.copy(self)
        same._labels = same._stored  # noqa: SLF001 - its own copy
        return same

    def describe(self) -> dict[str, Any]:
        """Kind, source and preprocessing."""
        return {"kind": "array", "source": self._source, "preprocess": str(self._preprocess)}

    def batches(self, size: int) -> Iterator[Batch]:
        """`size` samples at a time, preprocessed together: fast for many small samples."""
        self.unreadable = []
        total = self.num_samples or 0
        for start in range(0, total, size):
            yield self._rows(start, min(start + size, total))

    def chunk(self, start: int, stop: int) -> Batch:
        """Samples ``start`` to ``stop``; safe to call from any thread."""
        return self._rows(start, stop)

    def digest(self, stop: int) -> int:
        """CRC-32 of the first ``stop`` samples as they are stored: faster than sample by sample."""
        digest = 0
        for array in self._arrays:
            if isinstance(array, RemoteRows):  # to read it would read all data twice
                digest = zlib.crc32(array.stamp, digest)
                continue
            for start in range(0, stop, _DIGEST_ROWS):
                end = min(start + _DIGEST_ROWS, stop)
                rows = np.ascontiguousarray(array[self._at(start, end)])
                digest = zlib.crc32(rows.data.cast("B"), digest) if rows.size else digest
        return digest

    def identity(self, stop: int) -> int:
        """CRC-32 of the first ``stop`` samples and their labels: it shows changed data."""
        labels = [] if self._labels is None else self._labels[self._at(0, stop)].tolist()
        return zlib.crc32(str(labels).encode(), self.digest(stop))

    def _rows(self, start: int, stop: int) -> Batch:
        where = f"{self._source}[{start}:{stop}]"
        at = self._at(start, stop)
        arrays = [as_real(array[at]) for array in self._arrays]
        labels = None if self._labels is None else self._labels[at].tolist()
        sources = [f"{self._source}[{i}]" for i in self._numbers(start, stop)]
        return Batch(fit_rows(arrays, self._inputs, self._preprocess, where), labels, sources)

    def __iter__(self) -> Iterator[Sample]:
        self.unreadable = []
        for index in self._numbers(0, self.num_samples or 0):
            where = f"{self._source}[{index}]"
            label = None if self._labels is None else self._labels[index].tolist()
            arrays = [as_real(array[index]) for array in self._arrays]
            yield Sample(fit(arrays, self._inputs, self._preprocess, where), label, where)

    def _at(self, start: int, stop: int) -> Any:  # noqa: ANN401 - any numpy index
        """Return the rows of samples ``start`` to ``stop``: a slice, for a view, or indices."""
        return slice(start, stop) if self._chosen is None else self._chosen[start:stop]

    def _numbers(self, start: int, stop: int) -> Sequence[int]:
        return range(start, stop) if self._chosen is None else self._chosen[start:stop].tolist()


def open_numpy(
    path: Path, inputs: Sequence[InputSpec], preprocess: Preprocess, split: str
) -> ArrayDataset:
    """Open an .npy (inputs only) or .npz file.

    An .npy is mapped into memory page by page; the arrays of an .npz that are needed are
    decompressed into memory. In an .npz, arrays are found by the model's input names, or by the
    usual names: ``x`` and ``y``, ``images`` and ``labels``, with a split before or after them
    (``x_train``, ``test_images``), of which ``split`` is preferred.

    Raises:
        DataError: The file is damaged, contains objects, or has no array that fits.
    """
    if path.suffix.lower() == ".npy":
        return ArrayDataset([read_npy(path)], None, inputs, preprocess, str(path))
    with NpzFile(path) as arrays:
        names = _input_names(arrays.names, inputs, split, path)
        chosen = [arrays[name] for name in names]
        label_name, remark = _label_name(arrays.names, names)
        found = None if label_name is None else arrays[label_name]
        # Those at an address are read in parts, by slices.
        labels = None if found is None else np.asarray(found[:] if found.shape else found)
    remarks = (remark,) if remark else ()
    return ArrayDataset(chosen, labels, inputs, preprocess, str(path), remarks)


def _input_names(
    names: Sequence[str], inputs: Sequence[InputSpec], split: str, path: Path
) -> list[str]:
    """Return the arrays of an .npz for ``inputs``: by the inputs' names, else by the usual ones."""
    wanted = [spec.name for spec in inputs]
    if all(name in names for name in wanted):
        return wanted
    plain = {plain_name(name): name for name in names}
    if all(plain_name(name) in plain for name in wanted):
        return [plain[plain_name(name)] for name in wanted]
    if len(inputs) > 1:
        raise DataError(
            f"no array for the inputs {[name for name in wanted if name not in names]}",
            where=str(path),
            why=f"the file has {sorted(names)}",
            fix="save each input under its name in the model",
        )
    found = _find(names, _INPUT_KEYS, split)
    if found is None:
        raise DataError(
            f"no array of inputs among {sorted(names)}",
            where=str(path),
            fix="name it x (and the labels y), x_train/x_test, images (and labels), or as the "
            "model's input",
        )
    return [found]


def names_for_one(names: Sequence[str], inputs: Sequence[InputSpec]) -> dict[str, str]:
    """Return the arrays of an .npz by input; inputs without an array are left out.

    They are found as in `open_numpy`; a single array is for a single input.
    """
    plain = {plain_name(name): name for name in names}
    found = {spec.name: spec.name for spec in inputs if spec.name in names} or {
        spec.name: plain[plain_name(spec.name)] for spec in inputs if plain_name(spec.name) in plain
    }
    usual = names[0] if len(names) == 1 else _find(names, _INPUT_KEYS, "test")
    if not found and len(inputs) == 1 and usual is not None:
        return {inputs[0].name: usual}
    return found


def _find(names: Sequence[str], keys: Sequence[str], split: str) -> str | None:
    """Return the first array with one of ``keys``; the other splits are used if there is no own."""
    usual = itertools.product(keys, (*_ORDERS.get(split, _SPLITS), ""))
    parsed = {_key_and_split(name): name for name in reversed(names)}
    return next((parsed[each] for each in usual if each in parsed), None)


def _key_and_split(name: str) -> tuple[str, str]:
    """Return ``x`` and ``train`` for ``x_train``, ``train_x`` or ``X_train``; else no split."""
    plain = name.lower()
    for split in _SPLITS:
        if plain.endswith(f"_{split}"):
            return plain[: -len(split) - 1], split
        if plain.startswith(f"{split}_"):
            return plain[len(split) + 1 :], split
    return plain, ""


def _label_name(names: Sequence[str], used: Sequence[str]) -> tuple[str | None, str]:
    """Return the array with the labels of inputs ``used``, and a remark if there are only others.

    Labels belong to inputs of the same split: ``x_test`` has ``y_test``, ``x`` has ``y``. If a file
    has one array of labels and no inputs of another split, the labels are clear.
    """
    free = {_key_and_split(name): name for name in reversed(names) if name not in used}
    own = _key_and_split(used[0])[1]
    splits = [own, *(each for each in ("", *_SPLITS) if each != own)]
    order = [(key, split) for split in splits for key in _LABEL_KEYS]
    labels = [each for each in order if each in free]
    if not labels:
        return None, ""
    has_inputs = any(key in _INPUT_KEYS for key, _ in free)
    if labels[0][1] == own or (len(labels) == 1 and not has_inputs):
        return free[labels[0]], ""
    others = ", ".join(free[each] for each in labels)
    return None, f"{used[0]} has no labels: {others} are those of other samples"


def _read_labels(labels: NDArray[Any], where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the labels, one column as single numbers; and with one-hot rows as classes."""
    check_labels(labels, where)
    if not labels.ndim:
        raise DataError("the labels are a single number", where=where, fix="save one per sample")
    stored = single_column(labels)
    return stored, stored.argmax(axis=1) if kind_of(stored) == ONE_HOT else stored
