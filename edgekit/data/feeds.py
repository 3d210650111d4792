# SPDX-License-Identifier: Apache-2.0
"""Sources of samples in a Python program: lists, functions, tf.data, Keras's and torch's loaders.

None of these libraries is imported: objects are recognized by their attributes.
"""

from __future__ import annotations

import contextlib
import itertools
import traceback
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Mapping

import numpy as np

from edgekit.errors import DataError, EdgeKitError

KERAS, PYTHON, TF_DATA, TORCH = "keras", "python", "tf.data", "torch"
_KERAS_PACKAGES = ("keras", "tensorflow", "tf_keras")


@dataclass(frozen=True)
class Feed:
    """Items with a sample each, or with a batch of samples."""

    kind: str
    open: Callable[[], Iterable[Any]]  # iterates over all items
    num_items: int | None = None  # None: unknown until all are read
    item: Callable[[int], Any] | None = None  # reads one by its index, if possible
    is_endless: bool = False  # True if known


def feed_of(
    source: Any,  # noqa: ANN401 - any object of a program
    name: str,
    is_one_batch: Callable[[Any], bool] = lambda _source: False,
) -> Feed:
    """Return how to read the samples of ``source``; a function is called once to check its result.

    Args:
        source: The source of samples.
        name: For messages.
        is_one_batch: Whether a tuple is (inputs, labels) of whole arrays, not a tuple of samples.

    Raises:
        DataError: It has no samples, or can be read only once.
    """
    if is_one_batch(source):
        return _by_index(PYTHON, [source])
    for is_kind, make in _KINDS:
        if is_kind(source):
            return make(source)
    if isinstance(source, Iterator):
        raise read_once(name)
    if callable(source):
        with what_fails_in(name):
            made = source()
            is_same = isinstance(made, Iterator) and source() is made
        if is_same:
            raise read_once(name)
        if isinstance(made, Iterator):
            return Feed(PYTHON, source)  # a new iterator for each pass
        if not callable(made):
            return feed_of(made, name, is_one_batch)
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes, Mapping)):
        return Feed(PYTHON, lambda: source, _length(source))
    raise DataError(
        f"{type(source).__name__} is not a data set",
        where=name,
        fix="give a path, a list, a function that yields samples, a tf.data.Dataset, a "
        "keras.utils.PyDataset or a torch DataLoader",
    )


def read_once(name: str) -> DataError:
    """Return the error for a source that has no samples left for a second pass."""
    return DataError(
        "a generator can be read only once",
        where=name,
        why="the samples are read several times",
        fix="give a list, or a function that makes a new generator each time it is called",
    )


@contextlib.contextmanager
def what_fails_in(name: str) -> Iterator[None]:
    """Convert an exception of the program ``name`` into a DataError with its place."""
    try:
        yield
    except (EdgeKitError, MemoryError):
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).strip().partition("\n")[0]
        raise DataError(
            f"the program that yields the samples failed: {type(error).__name__}: {text}",
            where=name
            + ("" if frame.filename == __file__ else f", {frame.filename}:{frame.lineno}"),
            fix="iterate over the samples in Python, to see the whole traceback",
        ) from error


def _length(source: Any) -> int | None:  # noqa: ANN401
    try:
        return len(source)
    except (TypeError, NotImplementedError):  # a loader of a stream has no length
        return None


def _is_tf_data(source: Any) -> bool:  # noqa: ANN401
    return hasattr(source, "element_spec") and hasattr(source, "cardinality")


def _tf_data(source: Any) -> Feed:  # noqa: ANN401
    count = int(source.cardinality())  # -1: endless, -2: unknown
    return Feed(TF_DATA, lambda: source, count if count >= 0 else None, is_endless=count == -1)


def _is_keras(source: Any) -> bool:  # noqa: ANN401
    return any(
        each.__name__ in {"PyDataset", "Sequence"}
        and each.__module__.split(".")[0] in _KERAS_PACKAGES
        for each in type(source).__mro__
    )


def _by_index(kind: str, source: Any) -> Feed:  # noqa: ANN401
    """Return a feed of an object with ``__getitem__`` and perhaps a length."""
    count = _length(source)
    get = source.__getitem__

    def each() -> Iterator[Any]:
        return map(get, itertools.count() if count is None else range(count))

    return Feed(kind, each, count, get)


def _is_loader(source: Any) -> bool:  # noqa: ANN401
    return all(hasattr(source, name) for name in ("dataset", "collate_fn", "sampler"))


def _loader(source: Any) -> Feed:  # noqa: ANN401
    """Return a feed of a DataLoader: its sampler's samples, in the order of their indices.

    The order of a loader that shuffles is different each time. If its data can be read by index,
    their order is used instead; its workers then run only if it does not shuffle.
    """
    data = source.dataset
    if _length(data) is None or not hasattr(data, "__getitem__"):
        return Feed(TORCH, lambda: map(_as_tuple, source))
    batches = getattr(source, "batch_sampler", None)
    is_in_order = type(source.sampler).__name__ == "SequentialSampler"
    # A loader that shuffles drops random samples with its last batch.
    numbers = source.sampler
    if batches is not None and (is_in_order or not hasattr(batches, "sampler")):
        numbers = itertools.chain.from_iterable(batches)
    indices = sorted(set(map(int, numbers)))

    def get(number: int) -> Any:  # noqa: ANN401
        sample = data[indices[number]]
        return _as_tuple(source.collate_fn(sample if batches is None else [sample]))

    return Feed(
        TORCH,
        lambda: map(_as_tuple, source) if is_in_order else map(get, range(len(indices))),
        len(indices),
        get,
    )


def _as_tuple(item: Any) -> Any:  # noqa: ANN401
    """Return ``item``, but a list as a tuple: torch collates pairs to lists."""
    return tuple(item) if isinstance(item, list) else item


def _is_torch_data(source: Any) -> bool:  # noqa: ANN401
    modules = {each.__module__ for each in type(source).__mro__ if each.__name__ == "Dataset"}
    return "torch.utils.data.dataset" in modules


def _torch_data(source: Any) -> Feed:  # noqa: ANN401
    if _length(source) is None:
        return Feed(TORCH, lambda: source)
    return _by_index(TORCH, source)


def _is_indexed(source: Any) -> bool:  # noqa: ANN401
    is_list = isinstance(source, (list, tuple, np.ndarray))
    has_items = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    return is_list or (has_items and not isinstance(source, Iterable))


_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Feed]], ...] = (
    (_is_tf_data, _tf_data),
    (_is_keras, lambda source: _by_index(KERAS, source)),
    (_is_loader, _loader),
    (_is_torch_data, _torch_data),
    (_is_indexed, lambda source: _by_index(PYTHON, source)),
)
