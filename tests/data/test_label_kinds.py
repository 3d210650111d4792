# SPDX-License-Identifier: Apache-2.0
"""Labels are not changed: nothing is silently rounded, cut or replaced by its argmax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data import InputSpec, open_dataset
from edgekit.data.dataset import labels_of
from edgekit.data.label_kinds import (
    CLASSES,
    MULTI_HOT,
    ONE_HOT,
    SHARES,
    TARGETS,
    UNLABELLED,
    as_classes,
    as_multi_hot,
    kind_of,
    label_row,
)
from edgekit.errors import DataError

_X = (InputSpec("x", (1, 2)),)
_RGB = (InputSpec("x", (1, 4, 4, 3)),)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([0, 2, 1], CLASSES),
        ([3.0, 0.0], CLASSES),
        ([[1], [4]], CLASSES),
        ([True, False], CLASSES),
        ([3.4, 0.0], TARGETS),
        ([[0.5], [1.5]], TARGETS),
        ([[0.5, 0.5, 3.0]], TARGETS),
        ([[0, 2], [1, 1]], TARGETS),
        ([[0, 1], [1, 0]], ONE_HOT),
        ([[0, 1], [1, 1]], MULTI_HOT),
        ([[0.0, 0.0], [1.0, 0.0]], MULTI_HOT),
        ([[0.9, 0.1], [0.2, 0.8]], SHARES),
        (np.zeros((2, 3, 4)), TARGETS),
    ],
)
def test_the_kind_is_that_of_all_labels(labels: Any, kind: str) -> None:  # noqa: ANN401
    assert kind_of(np.asarray(labels)) == kind


def test_without_labels_there_is_no_kind() -> None:
    assert kind_of(None) == UNLABELLED


@pytest.mark.parametrize(
    ("labels", "fix"),
    [
        ([3.4], "--task regression"),
        ([[0, 1], [1, 1]], "--task multilabel"),
        ([[0.9, 0.1]], "index of the true class"),
    ],
)
def test_labels_that_are_not_classes_are_refused_with_the_fitting_task(
    labels: Any,  # noqa: ANN401
    fix: str,
) -> None:
    with pytest.raises(DataError, match="not classes") as caught:
        as_classes(np.asarray(labels), "y")
    assert fix in caught.value.fix


def test_whole_and_one_hot_labels_are_classes() -> None:
    assert as_classes(np.array([3.0, 1.0]), "").tolist() == [3, 1]
    assert as_classes(np.eye(4)[[2, 0]], "").tolist() == [2, 0]


def test_class_indices_are_multi_hot_rows_of_one() -> None:
    assert as_multi_hot(np.array([1, 0]), 2, "").tolist() == [[False, True], [True, False]]
    with pytest.raises(DataError, match="3 classes"):
        as_multi_hot(np.array([[0, 1]]), 3, "")


@pytest.mark.parametrize("label", ["cat", [[1], [1, 2]], None, float("nan"), [1.0, float("inf")]])
def test_labels_that_are_not_numbers_are_refused(label: Any) -> None:  # noqa: ANN401
    with pytest.raises(DataError, match="labels"):
        label_row(label, "sample 3")


def _npz(path: Path, **arrays: Any) -> Path:  # noqa: ANN401
    np.savez(str(path), **arrays)
    return path


@pytest.mark.parametrize(
    ("names", "split", "label"),
    [
        (["x_train", "y_train", "x_test"], "test", None),
        (["x_train", "y_train", "x_test"], "train", "y_train"),
        (["x_test", "y_test", "x_train"], "train", None),
        (["x_train", "y_train"], "test", "y_train"),  # these are all samples
        (["x_train", "x_test", "y"], "test", None),
        (["images", "y_train", "y_test"], "test", None),
        (["images", "labels"], "test", "labels"),
        (["x", "y_test"], "test", "y_test"),
        (["x_test", "labels_test", "y_train", "x_train"], "test", "labels_test"),
        (["X", "y"], "test", "y"),
        (["X_train", "y_train", "X_valid", "y_valid"], "test", "y_valid"),
        (["train_images", "train_labels", "test_images", "test_labels"], "train", "train_labels"),
        (["train_images", "train_labels", "test_images"], "test", None),
        (["train_images", "val_images", "train_labels", "val_labels"], "test", "val_labels"),
    ],
)
def test_labels_are_those_of_the_inputs_split(
    tmp_path: Path, names: list[str], split: str, label: str | None
) -> None:
    arrays = {
        name: np.zeros((3, 2)) if name[0] in "xX" or "im" in name else np.full(3, number)
        for number, name in enumerate(names)
    }
    dataset: Any = open_dataset(_npz(tmp_path / "d.npz", **arrays), inputs=_X, split=split)
    found = labels_of(dataset)
    if label is None:
        assert found is None
        assert "other samples" in dataset.remarks[0]
    else:
        assert found is not None
        assert found.tolist() == arrays[label].tolist()
        assert not dataset.remarks


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (np.array(["cat", "dog"]), "not numbers"),
        (np.array([1.0, np.nan]), "NaN"),
        (np.array(3), "single number"),
        (np.array([1j, 2j]), "not numbers"),
    ],
)
def test_arrays_of_labels_that_are_not_numbers_are_refused(
    tmp_path: Path, labels: np.ndarray, what: str
) -> None:
    with pytest.raises(DataError, match=what):
        open_dataset(_npz(tmp_path / "d.npz", x=np.zeros((2, 2)), y=labels), inputs=_X)


def test_a_pair_may_have_a_number_a_row_or_a_tensor_as_label() -> None:
    x = np.zeros(2, np.float32)
    for labels in ([0.25, 1.5], [[0, 1], [1, 1]], [np.float32(0.5), np.float32(2)], [3, 4]):
        found = labels_of(open_dataset([(x, label) for label in labels], inputs=_X))
        np.testing.assert_array_equal(found, np.asarray(labels))


def test_two_arrays_for_two_inputs_are_not_labels() -> None:
    specs = (InputSpec("a", (1, 2)), InputSpec("b", (1, 2)))
    a, b = np.zeros(2, np.float32), np.ones(2, np.float32)
    assert labels_of(open_dataset([(a, b)] * 3, inputs=specs)) is None
    assert labels_of(open_dataset([((a, b), b)] * 3, inputs=specs)) is not None


def test_labels_of_different_shapes_are_refused() -> None:
    x = np.zeros(2, np.float32)
    with pytest.raises(DataError, match="differ in shape"):
        labels_of(open_dataset([(x, 1), (x, [1, 2])], inputs=_X))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("file,price\na.png,0.5\nb.png,2\n", [[0.5], [2.0]]),
        ("file,x,y,name\na.png,0.5,1,p\nb.png,2,-3,q\n", [[0.5, 1.0], [2.0, -3.0]]),
        ("file,cat,dog\na.png,1,1\nb.png,0,1\n", [[1, 1], [0, 1]]),
        ("file,label,is_new\na.png,1,1\nb.png,0,1\n", [1, 0]),
        ("file,score,class\na.png,0.5,7\nb.png,0.25,3\n", [7, 3]),
    ],
)
def test_labels_csv_may_contain_targets_or_a_column_per_class(
    tmp_path: Path, text: str, labels: list[Any]
) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(str(tmp_path / name))
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    found = labels_of(open_dataset(tmp_path, inputs=_RGB))
    np.testing.assert_array_equal(found, np.asarray(labels))


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na.png,dog\nb.png,cat\n",
        "Filename,breed\na.png,dog\nb.png,cat\n",
        "image,note,species\na.png,x,dog\nb.png,y,cat\n",
    ],
)
def test_class_names_in_labels_csv_are_classes_in_their_sorted_order(
    tmp_path: Path, text: str
) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(str(tmp_path / name))
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    dataset: Any = open_dataset(tmp_path, inputs=_RGB)
    assert dataset.labels == [1, 0]
    assert dataset.class_names == ("cat", "dog")
