# SPDX-License-Identifier: Apache-2.0
"""Samples from a Python program, from any source that `edgekit.data.feeds` reads."""

from __future__ import annotations

import copy
import importlib
import sys
import zlib
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Sequence

import numpy as np

from edgekit.data.dataset import InputSpec, Sample, Unreadable
from edgekit.data.feeds import PYTHON, feed_of, read_once, what_fails_in
from edgekit.data.fit import fit
from edgekit.data.items import is_labelled_batch, num_rows, rows_of, split_label
from edgekit.data.label_kinds import class_list
from edgekit.data.preprocess import Preprocess
from edgekit.errors import DataError

_END = object()


@dataclass
class _Passes:
    """Facts from earlier passes through a source; its subsets share them."""

    first: int | None = None  # CRC-32 of the first item, in the first pass
    is_other: bool = False  # in a later pass


class IterableDataset:
    """Samples that a Python iterable, a loader or a function without arguments yields.

    A sample is an array, a tuple of arrays (one per input), a dict of arrays by input name, or a
    pair (any of these, label); the label is a number, or an array of numbers. A batch of samples
    has one more dimension.
    """

    def __init__(
        self,
        source: Any,  # noqa: ANN401 - anything that `feed_of` accepts
        inputs: Sequence[InputSpec],
        preprocess: Preprocess,
        name: str,
    ) -> None:
        self._feed = feed_of(source, name, lambda made: is_labelled_batch(made, inputs))
        self._inputs, self._preprocess, self._name = tuple(inputs), preprocess, name
        self._chosen: frozenset[int] | None = None  # of a subset
        self._sizes: list[int] = []  # of the first item and of the last, read when needed
        self._passes = _Passes()
        self.unreadable: list[Unreadable] = []

    @property
    def num_samples(self) -> int | None:
        """The largest possible number of samples; None if the source has no length.

        The last batch of a tf.data.Dataset counts as a full one: its size is known only after the
        whole data set is read.
        """
        if self._chosen is not None:
            return len(self._chosen)
        items = self._feed.num_items
        if not items:
            return items
        first, last = self._item_sizes()
        return (items - 1) * first + last

    @property
    def may_reorder(self) -> bool:
        """Whether a second pass may have another order: a source can shuffle."""
        return self._feed.item is None

    @property
    def is_endless(self) -> bool:
        """Whether the source is known to have no end."""
        return self._feed.is_endless

    @property
    def remarks(self) -> tuple[str, ...]:
        """A remark if two passes differed."""
        if not self._passes.is_other:
            return ()
        return (
            "the data are different, or in another order, each time they are read, so a conversion "
            "can return different bytes each time: do not shuffle, or fix the seed and the order "
            "(tf.data: shuffle(n, seed, reshuffle_each_iteration=False))",
        )

    @property
    def classes(self) -> Sequence[int] | None:
        """The label of each sample of a list; None for sources that would have to be read."""
        get = self._feed.item
        if get is None or self._feed.kind != PYTHON or not self.num_samples or self._size > 1:
            return None
        return class_list([split_label(get(each), self._inputs)[1] for each in self._numbers()])

    def subset(self, indices: Sequence[int]) -> IterableDataset:
        """Return the samples ``indices``; an indexed source creates only these."""
        numbers = self._numbers()
        chosen = copy.copy(self)
        chosen.unreadable = []
        chosen._chosen = frozenset(numbers[index] for index in indices)  # noqa: SLF001 - its own copy
        return chosen

    @property
    def class_names(self) -> tuple[str, ...]:
        """Empty: an iterable does not have class names."""
        return ()

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """None: the range of a program's samples is unknown."""
        return None

    def describe(self) -> dict[str, Any]:
        """Kind, source and preprocessing."""
        return {
            "kind": "python",
            "reader": self._feed.kind,
            "source": self._name,
            "preprocess": str(self._preprocess),
        }

    def __iter__(self) -> Iterator[Sample]:
        self.unreadable = []
        for start, item in self._items():
            for number, (arrays, label) in enumerate(rows_of(item, self._inputs, self._at(start))):
                if self._chosen is None or start + number in self._chosen:
                    where = self._at(start + number)
                    yield Sample(fit(arrays, self._inputs, self._preprocess, where), label, where)

    def _items(self) -> Iterator[tuple[int, Any]]:
        """Yield the items with chosen samples, each with the number of its first sample."""
        if self._chosen is not None and self._feed.item is not None:
            for number in sorted({each // self._size for each in self._chosen}):
                yield number * self._size, self._item(number)
            return
        start, last = 0, None if self._chosen is None else max(self._chosen, default=-1)
        for item in self._pass():
            if last is not None and start > last:
                return
            size = num_rows(item, self._inputs, self._at(start))
            if self._chosen is None or not self._chosen.isdisjoint(range(start, start + size)):
                yield start, item
            start += size

    def _pass(self) -> Iterator[Any]:
        """Yield all items of the source.

        Raises:
            DataError: The program fails, or yields nothing although it did before.
        """
        with what_fails_in(self._name):
            items = iter(self._feed.open())
        is_first = True
        while True:
            with what_fails_in(self._name):
                item = next(items, _END)
            if item is _END and is_first and self._passes.first is not None:
                raise read_once(self._name)
            if item is _END:
                return
            if is_first:
                self._compare_first(item)
            is_first = False
            yield item

    def _compare_first(self, item: Any) -> None:  # noqa: ANN401
        digest = 0
        for arrays, _ in rows_of(item, self._inputs, self._at(0)):
            for array in arrays:
                digest = zlib.crc32(np.ascontiguousarray(array).tobytes(), digest)
        self._passes.is_other |= self._passes.first not in (None, digest)
        self._passes.first = digest

    def _item(self, number: int) -> Any:  # noqa: ANN401
        if self._feed.item is None:
            raise TypeError("this source cannot be read by index")
        with what_fails_in(self._name):
            return self._feed.item(number)

    def _numbers(self) -> Sequence[int]:
        """Return the places of the samples in the source, whose length is known."""
        return range(self.num_samples or 0) if self._chosen is None else sorted(self._chosen)

    @property
    def _size(self) -> int:
        """Samples per item; the last may have fewer."""
        return self._item_sizes()[0]

    def _item_sizes(self) -> tuple[int, int]:
        if not self._sizes:
            is_indexed, count = self._feed.item is not None, self._feed.num_items or 0
            first = self._item(0) if is_indexed else next(self._pass(), None)
            size = num_rows(first, self._inputs, self._at(0))
            last = size
            if is_indexed and size > 1:
                last = num_rows(self._item(count - 1), self._inputs, self._at(0))
            self._sizes.extend((size, last))
        return self._sizes[0], self._sizes[1]

    def _at(self, number: int) -> str:
        return f"{self._name}[{number}]"


def load_function(name: str) -> Callable[[], Iterable[Any]]:
    """Return the function ``package.module:function``, importable from the current folder.

    Raises:
        DataError: The module or the function does not exist.
    """
    module_name, _, function_name = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    with what_fails_in(name):
        try:
            module = importlib.import_module(module_name)
            function: Callable[[], Iterable[Any]] = getattr(module, function_name)
        except (ImportError, AttributeError) as error:
            raise DataError(
                f"cannot load {name}: {error}",
                fix=f"give {module_name[:-3]}:{function_name}, without .py"
                if module_name.endswith(".py")
                else "give package.module:function, importable from here",
            ) from error
    return function
