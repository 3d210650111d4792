# SPDX-License-Identifier: Apache-2.0
"""Samples from .npz and .npy files and from Python iterables."""

from __future__ import annotations

import copy
import importlib
import itertools
import sys
import zlib
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence, Sized

import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import Batch, InputSpec, Sample, Unreadable, as_real
from edgekit.data.label_kinds import (
    ONE_HOT,
    check_labels,
    class_list,
    kind_of,
    label_row,
    single_column,
)
from edgekit.data.numpy_files import NpzFile, read_npy
from edgekit.data.pixels import Pixels
from edgekit.data.preprocess import Preprocess
from edgekit.errors import DataError

# The names that inputs and labels go by, in order of preference; {split} is train or test.
_INPUT_KEYS = ("x_{split}", "x", "images", "inputs", "data", "arr_0")
_LABEL_KEYS = ("y", "labels", "label", "targets", "arr_1")
_DIGEST_ROWS = 1024
_SPLITS = ("train", "test")


class ArrayDataset:
    """Samples along the first dimension of arrays, one array an input."""

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
        self.remarks = tuple(remarks)  # what to know of the choice of arrays
        self._inputs, self._preprocess, self._source = tuple(inputs), preprocess, source
        self._chosen: NDArray[np.intp] | None = None  # rows of a subset
        self.unreadable: list[Unreadable] = []
        if labels is not None:
            check_labels(labels, f"{source}, labels")
        counts = {len(array) for array in self._arrays}
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
        """Empty: arrays name no classes."""
        return ()

    @property
    def label_rows(self) -> NDArray[Any] | None:
        """All labels, as they are stored."""
        return None if self._labels is None else self._labels[self._at(0, len(self._labels))]

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The preprocessing's range if the arrays are pixels (uint8)."""
        pixels = all(array.dtype == np.uint8 for array in self._arrays)
        return self._preprocess.promised_range if pixels else None

    @property
    def classes(self) -> Sequence[int] | None:
        """The label of each sample, where labels are whole numbers."""
        rows = self.label_rows
        if rows is None or rows.ndim != 1 or rows.dtype.kind not in "iub":
            return None
        labels: list[int] = rows.astype(int).tolist()
        return labels

    def subset(self, indices: Sequence[int]) -> ArrayDataset:
        """The samples ``indices``; nothing is copied before it is read."""
        chosen = copy.copy(self)
        chosen.unreadable = []
        rows = np.asarray(indices, np.intp)
        chosen._chosen = rows if self._chosen is None else self._chosen[rows]  # noqa: SLF001 - its own copy
        return chosen

    def describe(self) -> dict[str, Any]:
        """Kind, source and preprocessing."""
        return {"kind": "array", "source": self._source, "preprocess": str(self._preprocess)}

    def batches(self, size: int) -> Iterator[Batch]:
        """`size` samples at a time, preprocessed together: the fast way through many small ones."""
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
            for start in range(0, stop, _DIGEST_ROWS):
                end = min(start + _DIGEST_ROWS, stop)
                rows = np.ascontiguousarray(array[self._at(start, end)])
                digest = zlib.crc32(rows.data.cast("B"), digest) if rows.size else digest
        return digest

    def identity(self, stop: int) -> int:
        """CRC-32 of the first ``stop`` samples and their labels: tells changed data."""
        labels = [] if self._labels is None else self._labels[self._at(0, stop)].tolist()
        return zlib.crc32(str(labels).encode(), self.digest(stop))

    def _rows(self, start: int, stop: int) -> Batch:
        where = f"{self._source}[{start}:{stop}]"
        at = self._at(start, stop)
        arrays = [as_real(array[at]) for array in self._arrays]
        labels = None if self._labels is None else self._labels[at].tolist()
        sources = [f"{self._source}[{i}]" for i in self._numbers(start, stop)]
        return Batch(_fit_rows(arrays, self._inputs, self._preprocess, where), labels, sources)

    def __iter__(self) -> Iterator[Sample]:
        self.unreadable = []
        for index in self._numbers(0, self.num_samples or 0):
            where = f"{self._source}[{index}]"
            label = None if self._labels is None else self._labels[index].tolist()
            arrays = [as_real(array[index]) for array in self._arrays]
            yield Sample(_fit(arrays, self._inputs, self._preprocess, where), label, where)

    def _at(self, start: int, stop: int) -> Any:  # noqa: ANN401 - whatever numpy indexes with
        """Where samples ``start`` to ``stop`` lie in the arrays: a slice gives a view."""
        return slice(start, stop) if self._chosen is None else self._chosen[start:stop]

    def _numbers(self, start: int, stop: int) -> Sequence[int]:
        return range(start, stop) if self._chosen is None else self._chosen[start:stop].tolist()


class IterableDataset:
    """Samples that a Python iterable or a function without arguments yields.

    A sample is an array, a tuple of arrays (one an input), a dict of arrays by input name, or a
    pair (any of these, label); the label is a number, or an array of numbers.
    """

    def __init__(
        self,
        source: Iterable[Any] | Callable[[], Iterable[Any]],
        inputs: Sequence[InputSpec],
        preprocess: Preprocess,
        name: str,
    ) -> None:
        self._source: Any = source  # an iterable, or a function that makes one
        self._inputs, self._preprocess, self._name = tuple(inputs), preprocess, name
        self._chosen: frozenset[int] | None = None  # of a subset
        self.unreadable: list[Unreadable] = []

    @property
    def num_samples(self) -> int | None:
        """The iterable's length, where it has one."""
        if self._chosen is not None:
            return len(self._chosen)
        return len(self._source) if isinstance(self._source, Sized) else None

    @property
    def classes(self) -> Sequence[int] | None:
        """The label of each sample of a list; None where only going through would tell."""
        if not isinstance(self._source, (list, tuple)):
            return None
        return class_list(
            [split_label(self._source[i], self._inputs, self._name)[1] for i in self._numbers()]
        )

    def subset(self, indices: Sequence[int]) -> IterableDataset:
        """The samples ``indices``; the others are drawn, but nothing is done with them."""
        chosen = copy.copy(self)
        chosen.unreadable = []
        numbers = self._numbers()
        chosen._chosen = frozenset(numbers[index] for index in indices)  # noqa: SLF001 - its own copy
        return chosen

    def _numbers(self) -> Sequence[int]:
        """The places of the samples in the source, whose length is known."""
        return range(self.num_samples or 0) if self._chosen is None else sorted(self._chosen)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Empty: an iterable names no classes."""
        return ()

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """None: the program that yields the samples promises nothing."""
        return None

    def describe(self) -> dict[str, Any]:
        """Kind, source and preprocessing."""
        return {"kind": "python", "source": self._name, "preprocess": str(self._preprocess)}

    def __iter__(self) -> Iterator[Sample]:
        self.unreadable = []
        items = self._source() if callable(self._source) else self._source
        if isinstance(self._source, Iterator):
            raise DataError(
                "a generator can be gone through only once",
                where=self._name,
                fix="give a list, or the function that makes the generator",
            )
        last = None if self._chosen is None else max(self._chosen, default=-1) + 1
        for index, item in enumerate(itertools.islice(items, last)):
            if self._chosen is not None and index not in self._chosen:
                continue
            where = f"{self._name}[{index}]"
            arrays, label = _unpack(item, self._inputs, where)
            yield Sample(_fit(arrays, self._inputs, self._preprocess, where), label, where)


def open_numpy(
    path: Path, inputs: Sequence[InputSpec], preprocess: Preprocess, split: str
) -> ArrayDataset:
    """Open an .npy (inputs only) or .npz file.

    An .npy is mapped into memory page by page; the arrays of an .npz that are needed are
    decompressed into memory. In an .npz they are found by the model's input names, or by the usual
    names: ``x`` and ``y``, ``x_train``/``x_test`` (``split``), ``images`` and ``labels``.

    Raises:
        DataError: The file is damaged, holds objects, or has no array that fits.
    """
    if path.suffix.lower() == ".npy":
        return ArrayDataset([read_npy(path)], None, inputs, preprocess, str(path))
    with NpzFile(path) as arrays:
        names = _input_names(arrays.names, inputs, split, path)
        chosen = [arrays[name] for name in names]
        label_name, remark = _label_name(arrays.names, names)
        labels = None
        if label_name is not None:
            labels = _read_labels(arrays[label_name], f"{path}, {label_name}")
    remarks = (remark,) if remark else ()
    return ArrayDataset(chosen, labels, inputs, preprocess, str(path), remarks)


def load_function(name: str) -> Callable[[], Iterable[Any]]:
    """The function ``package.module:function``, importable from the current folder.

    Raises:
        DataError: The module or the function does not exist.
    """
    module_name, _, function_name = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        function: Callable[[], Iterable[Any]] = getattr(
            importlib.import_module(module_name), function_name
        )
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"cannot load {name}: {error}", fix="give package.module:function, importable from here"
        ) from error
    if not callable(function):
        raise DataError(f"{name} is not a function", fix="name a function that yields samples")
    return function


def _input_names(
    names: Sequence[str], inputs: Sequence[InputSpec], split: str, path: Path
) -> list[str]:
    """The arrays of an .npz that feed ``inputs``: by the inputs' names, else the usual ones."""
    wanted = [spec.name for spec in inputs]
    if all(name in names for name in wanted):
        return wanted
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
            fix="name it x (and the labels y), x_train/x_test, or as the model's input",
        )
    return [found]


def _find(names: Sequence[str], keys: Sequence[str], split: str) -> str | None:
    # The other split is better than nothing: a file may hold only one.
    splits = (split, *(other for other in _SPLITS if other != split))
    usual = [key.format(split=each) for key, each in itertools.product(keys, splits)]
    return next((name for name in usual if name in names), None)


def _label_name(names: Sequence[str], used: Sequence[str]) -> tuple[str | None, str]:
    """The array with the labels of the inputs ``used``; what to say where there are only others.

    Labels belong to inputs of the same split: ``x_test`` has ``y_test``, ``x`` has ``y``. A file
    that holds one array of labels and no inputs of another split leaves no doubt.
    """
    free = [name for name in names if name not in used]
    own = next((each for each in _SPLITS if used[0].endswith(f"_{each}")), "")
    endings = [own, *(each for each in ("", *_SPLITS) if each != own)]
    labels = [
        name
        for each in endings
        for name in (f"{key}_{each}" if each else key for key in _LABEL_KEYS)
        if name in free
    ]
    inputs = [key.format(split=each) for key, each in itertools.product(_INPUT_KEYS, _SPLITS)]
    is_own = bool(labels) and next((e for e in _SPLITS if labels[0].endswith(f"_{e}")), "") == own
    if is_own or (len(labels) == 1 and not any(name in free for name in inputs)):
        return labels[0], ""
    if not labels:
        return None, ""
    return None, f"{used[0]} has no labels: {', '.join(labels)} are those of other samples"


def _read_labels(labels: NDArray[Any], where: str) -> NDArray[Any]:
    """One-hot rows as class indices, one column as single numbers, other labels as they are."""
    check_labels(labels, where)
    if not labels.ndim:
        raise DataError("the labels are a single number", where=where, fix="save one a sample")
    indices: NDArray[Any] = labels.argmax(axis=1) if kind_of(labels) == ONE_HOT else labels
    return single_column(indices)


def _unpack(
    item: Any,  # noqa: ANN401 - whatever a user's function yields
    inputs: Sequence[InputSpec],
    where: str,
) -> tuple[list[NDArray[Any]], Any]:
    item, label = split_label(item, inputs, where)
    if isinstance(item, Mapping):
        missing = [spec.name for spec in inputs if spec.name not in item]
        if missing:
            raise DataError(f"a sample lacks the inputs {missing}", where=where)
        item = tuple(item[spec.name] for spec in inputs)
    # A list is an input when the network has one, and one array an input when it has more.
    is_several = isinstance(item, tuple) or (isinstance(item, list) and len(inputs) > 1)
    arrays = [as_real(part) for part in item] if is_several else [as_real(item)]
    return arrays, label


def split_label(
    item: Any,  # noqa: ANN401 - whatever a user's function yields
    inputs: Sequence[InputSpec],
    where: str,
) -> tuple[Any, Any]:
    """A pair (sample, label) apart; anything else has no label.

    Where the network has one input, the second of two is a label. Where it has more, two arrays are
    its inputs, and a label stands behind a tuple or a dict of them.
    """
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        return item, None
    is_pair = isinstance(item, tuple) and (
        len(inputs) == 1 or isinstance(item[0], (tuple, list, Mapping))
    )
    if is_pair or _is_label(item[1]):
        return item[0], label_row(item[1], where)
    return item, None


def _is_label(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, (int, np.integer)) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and np.issubdtype(value.dtype, np.integer)
    )


def _scaled(array: NDArray[Any], preprocess: Preprocess) -> Any:  # noqa: ANN401 - array-like
    table = preprocess.pixel_table if array.dtype == np.uint8 else None
    return preprocess.scale_if_asked(array) if table is None else Pixels(array, table)


def _fit_rows(
    arrays: Sequence[NDArray[Any]], inputs: Sequence[InputSpec], preprocess: Preprocess, where: str
) -> tuple[Any, ...]:
    """Like `_fit` for many samples at once; row by row only where pixels must be resized."""
    rows = []
    for array, spec in zip(arrays, inputs):
        if array[:1].size and array[0].size == np.prod(spec.shape[1:], dtype=int):
            shape = (len(array), *spec.shape[1:])
            _fit((array[0],), (spec,), preprocess, where)
            rows.append(_scaled(array.reshape(shape), preprocess))
        else:
            rows.append(np.stack([_fit((row,), (spec,), preprocess, where)[0] for row in array]))
    return tuple(rows)


def _fit(
    arrays: Sequence[NDArray[Any]], inputs: Sequence[InputSpec], preprocess: Preprocess, where: str
) -> tuple[NDArray[Any], ...]:
    if len(arrays) != len(inputs):
        raise DataError(
            f"a sample has {len(arrays)} arrays, the model has {len(inputs)} inputs",
            where=where,
            fix=f"yield one array for each of {[spec.name for spec in inputs]}",
        )
    fitted = []
    for array, spec in zip(arrays, inputs):
        wanted = spec.shape[1:]
        # A sample may carry the batch dimension that the model has.
        single = array[0] if array.ndim == len(spec.shape) and array.shape[0] == 1 else array
        try:
            fitted.append(preprocess.array(single, wanted))
        except DataError as error:
            raise DataError(
                error.what, where=f"{where}, input {spec.name}", fix=error.fix
            ) from error
    return tuple(fitted)
