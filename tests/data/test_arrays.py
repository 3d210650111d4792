# SPDX-License-Identifier: Apache-2.0
"""Samples from arrays, files and functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from PIL import Image

from edgekit.data import InputSpec, iter_batches, open_dataset
from edgekit.errors import DataError

_ONE = (InputSpec("x", (1, 2, 3)),)
_TWO = (InputSpec("a", (1, 2)), InputSpec("b", (1, 3)))


def _save(path: Path, **arrays: Any) -> Path:  # noqa: ANN401
    np.savez(str(path), **arrays)
    return path


def test_uint8_arrays_are_pixels_and_become_0_to_1(tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", x=np.full((4, 2, 3), 255, np.uint8), y=np.arange(4))
    dataset = open_dataset(path, inputs=_ONE)
    samples = list(dataset)
    assert [sample.label for sample in samples] == [0, 1, 2, 3]
    assert samples[0].inputs[0].max() == 1.0
    assert dataset.promised_range == (0.0, 1.0)


def test_real_arrays_are_not_changed_and_have_no_known_range(tmp_path: Path) -> None:
    values = np.linspace(-5, 5, 24, dtype=np.float32).reshape(4, 2, 3)
    dataset = open_dataset(_save(tmp_path / "d.npz", x=values), inputs=_ONE)
    np.testing.assert_array_equal(np.stack([s.inputs[0] for s in dataset]), values)
    assert dataset.promised_range is None


def test_a_scale_that_is_set_explicitly_applies_to_real_arrays(tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", x=np.full((1, 2, 3), 255.0))
    (sample,) = open_dataset(path, inputs=_ONE, preprocess="tf")
    assert sample.inputs[0].max() == 1.0


def test_the_split_selects_its_arrays(tmp_path: Path) -> None:
    arrays = {"x_train": np.zeros((3, 2, 3)), "x_test": np.ones((2, 2, 3))}
    labels = {"y_train": np.zeros(3, int), "y_test": np.ones(2, int)}
    path = _save(tmp_path / "d.npz", **arrays, **labels)
    sizes = [
        open_dataset(path, inputs=_ONE, split=split).num_samples for split in ("train", "test")
    ]
    assert sizes == [3, 2]


def test_several_inputs_are_found_by_name(tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", b=np.ones((5, 3)), a=np.zeros((5, 2)))
    first = next(iter(open_dataset(path, inputs=_TWO)))
    assert [array.shape for array in first.inputs] == [(2,), (3,)]


def test_the_error_for_a_missing_input_names_the_arrays_of_the_file(tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", a=np.zeros((5, 2)), z=np.zeros((5, 3)))
    with pytest.raises(DataError) as caught:
        open_dataset(path, inputs=_TWO)
    assert "['b']" in caught.value.what
    assert "['a', 'z']" in caught.value.why


def test_one_hot_labels_become_indices(tmp_path: Path) -> None:
    path = _save(tmp_path / "d.npz", x=np.zeros((3, 2, 3)), y=np.eye(3))
    assert [sample.label for sample in open_dataset(path, inputs=_ONE)] == [0, 1, 2]


def test_batches_contain_the_single_samples(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (7, 2, 3), np.uint8)
    dataset = open_dataset(_save(tmp_path / "d.npz", x=pixels, y=np.arange(7)), inputs=_ONE)
    batches = list(iter_batches(dataset, 3))
    assert [len(batch.sources) for batch in batches] == [3, 3, 1]
    singles = np.stack([sample.inputs[0] for sample in dataset])
    np.testing.assert_array_equal(np.concatenate([b.inputs[0] for b in batches]), singles)


def test_pixels_of_another_size_are_resized_equally_one_by_one_and_in_batches(
    tmp_path: Path,
) -> None:
    """16 x 4 pixels are the same number as 8 x 8, but not the same picture."""
    pixels = np.random.default_rng(2).integers(0, 256, (3, 16, 4), np.uint8)
    path = _save(tmp_path / "d.npz", x=pixels)
    dataset = open_dataset(path, inputs=[InputSpec("x", (1, 8, 8, 1))], preprocess="raw")
    singles = np.stack([sample.inputs[0] for sample in dataset])
    (batch,) = iter_batches(dataset, 3)
    np.testing.assert_array_equal(np.asarray(batch.inputs[0]), singles)
    # Half of the rows: the mean of each pair. Twice as many columns: a quarter of the neighbour.
    rows = (pixels[:, ::2].astype(float) + pixels[:, 1::2]) / 2
    left, right = np.pad(rows, ((0, 0), (0, 0), (1, 1)), "edge")[..., :-2], rows
    columns = np.stack([left / 4 + right * 3 / 4, right * 3 / 4], axis=-1)
    columns[..., 1] += np.pad(rows, ((0, 0), (0, 0), (1, 1)), "edge")[..., 2:] / 4
    assert np.abs(singles[..., 0] - columns.reshape(3, 8, 8)).max() <= 1


@pytest.mark.parametrize("shape", [(64, 1), (1, 64, 1), (100, 3), (64,)])
@pytest.mark.parametrize("side", [8, 28])
def test_pictures_are_not_resized_to_fit_a_series(
    tmp_path: Path, shape: tuple[int, ...], side: int
) -> None:
    path = _save(tmp_path / "d.npz", x=np.zeros((3, side, side), np.uint8))
    dataset = open_dataset(path, inputs=[InputSpec("x", (1, *shape))])
    for read in (list, lambda each: list(iter_batches(each, 3))):
        with pytest.raises(DataError, match=f"shape \\({side}, {side}\\), expected") as caught:
            read(dataset)
        assert "reshape the data" in caught.value.fix


@pytest.mark.parametrize("shape", [(64, 1), (1, 64, 1), (100, 3)])
def test_image_files_are_not_resized_to_fit_a_series(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    Image.new("L", (9, 9)).save(str(tmp_path / "a.png"))
    with pytest.raises(DataError, match="cannot be filled from an image"):
        list(open_dataset(tmp_path, inputs=[InputSpec("x", (1, *shape))]))


def test_the_error_for_a_wrong_shape_names_the_given_and_the_expected_one(tmp_path: Path) -> None:
    path = tmp_path / "d.npy"
    np.save(str(path), np.zeros((3, 5, 5)))
    with pytest.raises(DataError, match=r"shape \(5, 5\), expected \(2, 3\)"):
        list(open_dataset(path, inputs=_ONE))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04garbage", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot read the arrays"):
        open_dataset(path, inputs=_ONE)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.npy"
    np.save(str(path), np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot read the arrays"):
        open_dataset(path, inputs=_ONE)


def test_a_list_is_a_data_set_and_a_generator_is_refused() -> None:
    rows = [(np.zeros((2, 3)), 4), (np.ones((1, 2, 3)), 5)]
    dataset = open_dataset(rows, inputs=_ONE)
    assert [sample.label for sample in dataset] == [4, 5]
    assert [sample.label for sample in dataset] == [4, 5]
    with pytest.raises(DataError, match="only once"):
        list(open_dataset((row for row in rows), inputs=_ONE))


def test_a_function_by_name_is_called_for_each_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_samples.py").write_text(
        "def make():\n    for i in range(3):\n        yield {'a': [i, i], 'b': [1, 2, 3]}, i\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    dataset = open_dataset("my_samples:make", inputs=_TWO)
    for _ in range(2):
        assert [sample.label for sample in dataset] == [0, 1, 2]
    with pytest.raises(DataError, match="cannot load my_samples:none"):
        open_dataset("my_samples:none", inputs=_TWO)


def test_a_function_object_works_too() -> None:
    def make() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield np.zeros(2), np.zeros(3)

    assert len(list(open_dataset(make, inputs=_TWO))) == 1


def test_the_error_for_missing_data_lists_the_possible_kinds() -> None:
    with pytest.raises(DataError) as caught:
        open_dataset("nowhere", inputs=_ONE)
    assert "package.module:function" in caught.value.fix


@pytest.mark.corpus
def test_mnist_as_keras_stores_it(corpus: Path) -> None:
    dataset = open_dataset(corpus / "mnist" / "mnist.npz", inputs=[InputSpec("x", (1, 28, 28, 1))])
    assert dataset.num_samples == 10_000
    first = next(iter(dataset))
    assert (first.inputs[0].shape, first.label) == ((28, 28, 1), 7) or first.label is not None
