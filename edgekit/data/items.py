# SPDX-License-Identifier: Apache-2.0
"""Split what a program yields (arrays, tuples, dicts; one sample or a batch) into samples."""

from __future__ import annotations

from typing import Any, Iterator, List, Mapping, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import InputSpec, as_real
from edgekit.data.label_kinds import label_row
from edgekit.data.preprocess import fits
from edgekit.errors import DataError

Row = Tuple[List[NDArray[Any]], Any]  # an array per input, and the label or None
# The usual keys of dicts with one input and a label (tensorflow_datasets and others).
_INPUT_KEYS = ("image", "images", "x", "input", "inputs", "data", "pixel_values")
_LABEL_KEYS = ("label", "labels", "y", "target", "targets")
_WITH_WEIGHTS = 3  # Keras: inputs, labels, weights of samples


def rows_of(item: Any, inputs: Sequence[InputSpec], where: str) -> Iterator[Row]:  # noqa: ANN401
    """Yield the samples in ``item``.

    Raises:
        DataError: An input is missing, or a label is not a number.
    """
    parts, label = _parts(item, inputs, where)
    arrays = [_as_array(part) for part in parts]
    count = batch_size([array.shape for array in arrays], inputs)
    labels = None if label is None else label_row(label, where)
    if count is None:
        yield [_channels_last(*each) for each in zip(arrays, parts, inputs)], labels
        return
    lengths = (count,) if labels is None else np.asarray(labels).shape[:1]
    if count == 1 and lengths != (1,):
        labels = [labels]  # the model's batch, and a single label
    elif lengths != (count,):
        raise DataError(
            f"a batch has {count} samples and labels of shape {np.asarray(labels).shape}",
            where=where,
            fix="yield one label per sample",
        )
    for index in range(count):
        rows = [array[index] for array in arrays]
        each = None if labels is None else labels[index]
        yield (
            [_channels_last(*row) for row in zip(rows, parts, inputs)],
            each.item() if isinstance(each, np.generic) else each,
        )


def num_rows(item: Any, inputs: Sequence[InputSpec], where: str) -> int:  # noqa: ANN401
    """Return the number of samples in ``item``; nothing is converted."""
    parts, _ = _parts(item, inputs, where)
    shapes = [tuple(part.shape) if hasattr(part, "shape") else np.shape(part) for part in parts]
    return batch_size(shapes, inputs) or 1


def split_label(item: Any, inputs: Sequence[InputSpec]) -> tuple[Any, Any]:  # noqa: ANN401
    """Split a pair (sample, label); anything else has no label.

    If the network has one input, the second of two is a label. If it has more, two arrays are its
    inputs, and a label follows a tuple or a dict of them. A third element, as in Keras, has
    weights.
    """
    if not isinstance(item, (tuple, list)) or len(item) not in (2, _WITH_WEIGHTS):
        return item, None
    is_first_whole = len(inputs) == 1 or isinstance(item[0], (tuple, list, Mapping))
    if isinstance(item, tuple) and is_first_whole:
        return item[0], item[1]
    if len(item) == 2 and _is_label(item[1]):
        return item[0], item[1]
    return item, None


def _parts(item: Any, inputs: Sequence[InputSpec], where: str) -> tuple[Sequence[Any], Any]:  # noqa: ANN401
    """Return the given value for each input, and the label."""
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        item = item[1]  # a TFLite representative data set of several signatures: (key, inputs)
    item, label = split_label(item, inputs)
    if isinstance(item, Mapping):
        if label is None:
            label = next((item[key] for key in _LABEL_KEYS if key in item), None)
        return _from_mapping(item, inputs, where), label
    # A list of numbers is an input if the network has one; a list of arrays contains the inputs.
    is_several = isinstance(item, tuple) or (
        isinstance(item, list) and (len(inputs) > 1 or _holds_one_array(item))
    )
    return (item if is_several else (item,)), label


def _from_mapping(
    item: Mapping[str, Any], inputs: Sequence[InputSpec], where: str
) -> tuple[Any, ...]:
    by_name = {plain_name(str(key)): value for key, value in item.items()}
    missing = [spec.name for spec in inputs if plain_name(spec.name) not in by_name]
    if not missing:
        return tuple(by_name[plain_name(spec.name)] for spec in inputs)
    if len(inputs) == 1:
        usual = [item[key] for key in _INPUT_KEYS if key in item]
        others = [value for key, value in item.items() if key not in _LABEL_KEYS]
        if usual or len(others) == 1:
            return ((usual or others)[0],)
    raise DataError(
        f"a sample lacks the inputs {missing}",
        where=where,
        why=f"it has {sorted(map(str, item))}",
        fix="yield a dict with the names of the model's inputs",
    )


def is_labelled_batch(source: Any, inputs: Sequence[InputSpec]) -> bool:  # noqa: ANN401
    """Whether ``source`` is (inputs, labels) of all samples, as Keras's ``load_data`` has them."""
    if not isinstance(source, tuple) or len(source) != 2 or len(inputs) != 1:
        return False
    shapes = [tuple(getattr(each, "shape", ())) for each in source]
    if not all(shapes) or len(shapes[0]) < 2:
        return False
    return shapes[0][0] == shapes[1][0] > 1 and batch_size(shapes[:1], inputs) is not None


def plain_name(name: str) -> str:
    """Return an input's name without SavedModels' parts: ``serving_default_x:0`` is ``x``."""
    start = "serving_default_"
    return name[len(start) if name.startswith(start) else 0 :].split(":", maxsplit=1)[0]


def _holds_one_array(item: Sequence[Any]) -> bool:
    return len(item) == 1 and len(getattr(item[0], "shape", ())) > 0


def _is_label(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, (int, np.integer)) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and np.issubdtype(value.dtype, np.integer)
    )


def _as_array(part: Any) -> NDArray[Any]:  # noqa: ANN401 - an array, tensor, list or Pillow image
    if hasattr(part, "detach"):  # a torch tensor, which may have gradients or be on a GPU
        part = part.detach().cpu()
    if getattr(part, "mode", None) == "P":  # a Pillow image of palette indices
        part = part.convert("RGB")
    return as_real(part)


def batch_size(shapes: Sequence[Sequence[int]], inputs: Sequence[InputSpec]) -> int | None:
    """Return the number of samples in arrays of these shapes; None if they are a single one."""
    if len(shapes) != len(inputs):
        return None
    sizes = {
        shape[0] if _is_batch(tuple(shape), spec) else None for shape, spec in zip(shapes, inputs)
    }
    return sizes.pop() if len(sizes) == 1 else None


def _is_batch(shape: tuple[int, ...], spec: InputSpec) -> bool:
    wanted = spec.shape[1:]
    if not shape or (fits(shape, wanted) and len(shape) != len(spec.shape)):
        return False
    return len(shape) == len(spec.shape) or fits(shape[1:], wanted)


def _channels_last(array: NDArray[Any], part: Any, spec: InputSpec) -> NDArray[Any]:  # noqa: ANN401
    """Return a torch tensor (channels, height, width) as (height, width, channels)."""
    wanted = spec.shape[1:]
    is_torch = hasattr(part, "detach")
    if not is_torch or array.ndim < 2:
        return array
    single = array[0] if array.ndim == len(spec.shape) and array.shape[0] == 1 else array
    moved = np.moveaxis(single, 0, -1)
    is_sure = moved.shape == wanted and (single.shape != wanted or single.ndim > 2)
    is_pixels = single.dtype == np.uint8 and single.ndim == 3 and len(single) in (1, 3)
    return moved if is_sure or (is_pixels and single.shape != wanted) else single
