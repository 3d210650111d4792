# SPDX-License-Identifier: Apache-2.0
"""Kinds of labels: classes, one-hot or multi-hot rows, real targets. Nothing is rounded or cut.

`label_row` converts the label of one sample from any form in a program, `kind_of` returns the kind
of many samples' labels, and `as_classes`, `as_multi_hot` and `as_targets` convert them to the
numbers that a judge needs, or raise an error with the reason.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = "classes"  # one whole number per sample
ONE_HOT = "one-hot rows"  # a single 1 per row, 0 elsewhere
MULTI_HOT = "multi-hot rows"  # 0 and 1, but not a single 1 in each row
SHARES = "rows of shares"  # real numbers of 0 to 1 that sum to 1: smoothed or mixed classes
TARGETS = "real numbers"
UNLABELLED = "no labels"

# numpy before 1.24 warns of ragged sequences and converts them to objects; later versions refuse
# them.
_RAGGED_WARNS = tuple(map(int, np.__version__.split(".")[:2])) < (1, 24)
_SUM_TOLERANCE = 1e-4  # of a row of float32 shares


def label_row(label: Any, where: str) -> Any:  # noqa: ANN401 - any label of a program
    """Return the label of one sample: a number, or an array of numbers.

    Args:
        label: A number, a sequence of numbers, an array or a tensor of any library.
        where: The sample, for the error.

    Raises:
        DataError: It is text, ragged, or contains NaN or infinity.
    """
    try:
        row = _ragged_row(label) if isinstance(label, (list, tuple)) else np.asarray(label)
    except ValueError as error:  # numpy 1.24 and later refuses ragged sequences
        raise _no_numbers(f"{type(label).__name__}: {error}", where) from error
    return check_labels(row, where) if row.ndim else check_labels(row, where).item()


def _ragged_row(label: Sequence[Any]) -> NDArray[Any]:
    """Return a sequence, perhaps ragged, as an array."""
    if not _RAGGED_WARNS:
        return np.asarray(label)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(label)


def check_labels(labels: NDArray[Any], where: str) -> NDArray[Any]:
    """Return ``labels`` unchanged.

    Raises:
        DataError: They are not finite numbers.
    """
    if labels.dtype.kind not in "biuf":
        raise _no_numbers(f"numpy reads them as {labels.dtype}", where)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        place = np.argwhere(~np.isfinite(labels))[0].tolist()
        raise DataError(
            f"the labels contain NaN or infinity, first at {place}",
            where=where,
            why="answers cannot be compared with them",
            fix="leave these samples out, or correct their labels",
        )
    return labels


def kind_of(labels: NDArray[Any] | None) -> str:
    """Return the kind of ``labels`` (samples along the first dimension)."""
    if labels is None:
        return UNLABELLED
    rows = single_column(labels)
    if rows.ndim == 1 and rows.dtype.kind in "biu":
        return CLASSES
    if rows.ndim == 1:
        return CLASSES if np.array_equal(rows, np.rint(rows)) else TARGETS
    if not np.isin(rows, (0, 1)).all():
        is_share = rows.ndim == 2 and rows.min() >= 0 and rows.max() <= 1
        sums = is_share and np.abs(rows.sum(axis=1) - 1).max() < _SUM_TOLERANCE
        return SHARES if sums else TARGETS
    if rows.ndim > 2:
        return TARGETS
    return ONE_HOT if (rows.sum(axis=1) == 1).all() else MULTI_HOT


def all_labels(labels: Sequence[Any]) -> list[Any] | None:
    """Return ``labels``; None if a sample has no label."""
    return None if any(label is None for label in labels) else list(labels)


def stack_labels(labels: Sequence[Any] | None, where: str) -> NDArray[Any] | None:
    """Return the labels of single samples as one array; None unless every sample has one.

    Raises:
        DataError: They differ in shape.
    """
    kinds = set(map(type, labels or (None,)))
    if type(None) in kinds:
        return None
    if kinds == {int}:  # the usual labels, in one step
        return np.array(labels)
    rows = [np.asarray(label) for label in labels or ()]
    shapes = sorted({row.shape for row in rows})
    if len(shapes) > 1:
        raise DataError(
            f"the labels differ in shape: {shapes[0]} and {shapes[1]}",
            where=where,
            fix="give each sample one number, or rows of one length",
        )
    return np.stack(rows)


def class_of(label: Any) -> int | None:  # noqa: ANN401
    """Return the class of a label: the label itself if it is an integer, else None."""
    return int(label) if isinstance(label, (int, np.integer)) else None


def class_list(labels: Sequence[Any] | None) -> list[int] | None:
    """Return the class of each sample; None unless every label is an integer."""
    found = [class_of(label) for label in labels or ()]
    classes = [each for each in found if each is not None]
    return classes if classes and len(classes) == len(found) else None


def as_classes(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Return (samples,) class indices.

    Raises:
        DataError: They are neither whole numbers nor one-hot rows.
    """
    kind = kind_of(labels)
    if kind == CLASSES:
        return single_column(labels).astype(np.int64)
    if kind == ONE_HOT:
        indices: NDArray[np.int64] = labels.argmax(axis=1).astype(np.int64)
        return indices
    raise _no_classes(labels, kind, where)


def as_multi_hot(labels: NDArray[Any], num_classes: int, where: str) -> NDArray[np.bool_]:
    """Return (samples, num_classes), True for true classes; for class indices one per sample.

    Raises:
        DataError: They are not rows of 0 and 1, one number per class.
    """
    if kind_of(labels) == CLASSES and (labels >= 0).all() and (labels < num_classes).all():
        return np.asarray(single_column(labels)[:, None] == np.arange(num_classes))
    if labels.shape[1:] == (num_classes,) and np.isin(labels, (0, 1)).all():
        return labels.astype(bool)
    raise DataError(
        f"the labels are not rows of 0 and 1 for {num_classes} classes: {_described(labels)}",
        where=where,
        why="multi-label data have a 1 for each true class, else 0: y has the shape (samples, "
        "classes)",
        fix="save such rows, or name another --task",
    )


def as_targets(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return (samples, values per sample)."""
    flat: NDArray[np.float64] = labels.reshape(len(labels), -1).astype(np.float64)
    return flat


def single_column(labels: NDArray[Any]) -> NDArray[Any]:
    """Return ``labels`` without a last dimension of 1."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _described(labels: NDArray[Any]) -> str:
    return f"{kind_of(labels)} ({labels.dtype} of shape {labels.shape})"


def _no_classes(labels: NDArray[Any], kind: str, where: str) -> DataError:
    fixes = {
        TARGETS: "--task regression measures how far the answers are from them",
        MULTI_HOT: "--task multilabel judges each class by itself",
        SHARES: "save the index of the true class as y, or --task regression",
    }
    return DataError(
        f"the labels are not classes: {_described(labels)}",
        where=where,
        why="a class is a whole number, or a row with a single 1",
        fix=fixes[kind],
    )


def _no_numbers(why: str, where: str) -> DataError:
    return DataError(
        "the labels are not numbers",
        where=where,
        why=why,
        fix="save class indices (0, 1, ...), rows of 0 and 1, or real targets, as numbers",
    )
