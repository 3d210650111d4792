# SPDX-License-Identifier: Apache-2.0
"""Samples from Python programs: single and in batches, lists, functions, loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence

import numpy as np
import pytest

from edgekit.data import InputSpec, Sample, open_dataset
from edgekit.data.drawing import Drawing
from edgekit.data.spread import spread
from edgekit.errors import DataError

_ONE = (InputSpec("x", (1, 4, 5, 3)),)
_TWO = (InputSpec("serving_default_a:0", (1, 4)), InputSpec("b", (1, 2, 6, 1)))
_COUNT = 50
_PIXELS = np.arange(_COUNT, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((4, 5, 3), np.float32)
_LABELS = np.arange(_COUNT) % 5


def _numbers(samples: Iterable[Sample]) -> list[int]:
    return [int(np.asarray(sample.inputs[0]).flat[0]) for sample in samples]


def _open(source: Any, inputs: Sequence[InputSpec] = _ONE) -> Any:  # noqa: ANN401
    return open_dataset(source, inputs=inputs)


def _batches(size: int) -> list[Any]:
    starts = range(0, _COUNT, size)
    return [(_PIXELS[start : start + size], _LABELS[start : start + size]) for start in starts]


class _Tensor:
    """Stands in for a torch tensor: channels first, numbers only after ``detach`` and ``cpu``."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape = values, values.shape

    def detach(self) -> _Tensor:
        return self

    def cpu(self) -> np.ndarray:
        return self.values


class _Loader:
    """Stands in for torch's DataLoader: collates samples of ``dataset`` to lists of tensors."""

    def __init__(self, dataset: Any, size: int, order: Sequence[int]) -> None:  # noqa: ANN401
        self.dataset, self.sampler = dataset, order
        self.batch_sampler = [order[at : at + size] for at in range(0, len(order), size)]
        self.read: list[int] = []

    def collate_fn(self, samples: Sequence[Any]) -> list[Any]:
        images, labels = zip(*samples)
        return [_Tensor(np.stack(images)), np.asarray(labels)]

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        return (self.collate_fn([self.dataset[i] for i in each]) for each in self.batch_sampler)


class _Photos:
    """Stands in for a torch data set of (channels, height, width) and a label."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return _COUNT

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.read.append(index)
        return np.moveaxis(_PIXELS[index] + [0, 0.25, 0.5], -1, 0), int(_LABELS[index])


@pytest.mark.parametrize("size", [1, 7, 50])
def test_batches_are_split_with_their_labels(size: int) -> None:
    dataset = _open(_batches(size))
    assert dataset.num_samples == _COUNT
    samples = list(dataset)
    assert _numbers(samples) == list(range(_COUNT))
    assert [sample.label for sample in samples] == _LABELS.tolist()
    assert {sample.inputs[0].shape for sample in samples} == {(4, 5, 3)}
    part = list(spread(dataset, 10))
    assert len(part) == 10
    by_source = {sample.source: sample for sample in samples}
    for sample in part:
        np.testing.assert_array_equal(sample.inputs[0], by_source[sample.source].inputs[0])


@pytest.mark.parametrize("is_function", [True, False])
def test_arrays_and_labels_of_all_samples_are_one_batch(*, is_function: bool) -> None:
    whole = (_PIXELS, _LABELS)
    dataset = _open((lambda: whole) if is_function else whole)
    assert dataset.num_samples == _COUNT
    samples = list(dataset)
    assert _numbers(samples) == list(range(_COUNT))
    assert [sample.label for sample in samples] == _LABELS.tolist()
    # Two samples are not an array with labels, although their number would fit.
    assert [sample.label for sample in _open((_PIXELS[0], _PIXELS[1]))] == [None, None]


def test_a_batch_and_its_labels_must_have_the_same_length() -> None:
    with pytest.raises(DataError, match=r"a batch has 7 samples and labels of shape \(6,\)"):
        list(_open([(_PIXELS[:7], _LABELS[:6])]))


def _lists() -> Iterator[Any]:
    for index in range(_COUNT):
        yield [_PIXELS[index : index + 1]]


def _dicts() -> Iterator[Any]:
    for index in range(_COUNT):
        yield {"x": _PIXELS[index : index + 1]}


def _signatures() -> Iterator[Any]:
    for index in range(_COUNT):
        yield "serving_default", {"x": _PIXELS[index : index + 1]}


def _records() -> Iterator[Any]:
    for index in range(_COUNT):
        yield {"image": _PIXELS[index], "label": _LABELS[index], "file": f"{index}.png"}


@pytest.mark.parametrize("function", [_lists, _dicts, _signatures, _records])
def test_the_items_of_representative_data_sets_are_read(function: Callable[[], Any]) -> None:
    dataset = _open(function)
    assert dataset.num_samples is None
    samples = list(dataset)
    assert _numbers(samples) == list(range(_COUNT))
    assert samples[0].inputs[0].shape == (4, 5, 3)
    with pytest.raises(DataError, match="only once") as caught:
        _open(function())
    assert "function" in caught.value.fix


def test_a_function_that_returns_a_list_has_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _open(lambda: _batches(8)).num_samples == _COUNT
    (tmp_path / "returns_a_list.py").write_text(
        "import numpy as np\n\ndef make():\n    return [np.full((4, 5, 3), i) for i in range(9)]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert _numbers(spread(_open("returns_a_list:make"), 3)) != [0, 1, 2]


def test_inputs_of_different_first_dimensions_are_read_by_name_and_in_order() -> None:
    """A state of (2, 6, 1) beside (1, 4) is not a batch, although its first dimension is 2."""

    def lists() -> Iterator[Any]:
        for index in range(9):
            yield [np.full((1, 4), index), np.full((2, 6, 1), index)]

    def dicts() -> Iterator[Any]:
        for index in range(9):
            yield {"b": np.full((2, 6, 1), index), "a": np.full(4, index)}, index % 2

    batches = [
        {
            "a": np.arange(9.0).repeat(4).reshape(9, 4),
            "b": np.arange(9.0).repeat(12).reshape(9, 2, 6),
        }
    ]
    for source in (lists, dicts, batches):
        samples = list(_open(source, _TWO))
        assert _numbers(samples) == list(range(9))
        assert [array.shape for array in samples[3].inputs] == [(4,), (2, 6, 1)]
        assert samples[3].inputs[1].max() == 3


def test_the_error_for_a_dict_without_an_input_names_its_keys() -> None:
    with pytest.raises(DataError, match="lacks the inputs") as caught:
        list(_open([{"a": np.zeros(4), "c": 1}], _TWO))
    assert "['a', 'c']" in caught.value.why


def test_torch_tensors_are_turned_to_channels_last() -> None:
    photos = _Photos()
    samples = list(_open(_Loader(photos, 8, list(range(_COUNT)))))
    assert [sample.label for sample in samples] == _LABELS.tolist()
    expected = _PIXELS + np.array([0, 0.25, 0.5], np.float32)
    np.testing.assert_array_equal(np.stack([s.inputs[0] for s in samples]), expected)


def test_a_loader_that_shuffles_is_read_in_a_fixed_order() -> None:
    order = np.random.default_rng(0).permutation(np.arange(10, 40)).tolist()
    dataset = _open(_Loader(_Photos(), 8, order))
    assert dataset.num_samples == 30
    assert _numbers(dataset) == list(range(10, 40))


def test_only_the_chosen_samples_of_a_loader_are_created() -> None:
    photos = _Photos()
    chosen = _numbers(spread(_open(_Loader(photos, 8, list(range(_COUNT)))), 6))
    assert set(photos.read) <= {0, *chosen}  # the first one shows whether it is a batch


def test_a_torch_tensor_of_equal_sides_is_turned_too() -> None:
    """(3, 3, 3) fits both orders; torch's tensors have their channels first."""
    cube = np.arange(27.0).reshape(3, 3, 3)
    (sample,) = _open([_Tensor(cube)], (InputSpec("x", (1, 3, 3, 3)),))
    np.testing.assert_array_equal(sample.inputs[0], np.moveaxis(cube, 0, -1))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("shape", [(3, 4, 5), (6, 3, 4, 5), (3, 40, 50)])
def test_channels_first_in_numpy_is_explained(dtype: Any, shape: tuple[int, ...]) -> None:  # noqa: ANN401
    if shape == (3, 40, 50) and dtype == np.float32:
        pytest.skip("real numbers are not resized: any shape but the input's is refused")
    with pytest.raises(DataError, match="a sample has shape") as caught:
        list(_open([np.ones(shape, dtype)]))
    assert "channels first" in caught.value.why
    assert "x.transpose(0, 2, 3, 1)" in caught.value.fix


def test_pixels_that_are_not_a_picture_are_refused() -> None:
    with pytest.raises(DataError, match="which is not a picture"):
        list(_open([np.ones((40, 50, 7), np.uint8)]))


@pytest.mark.parametrize("source", [7, {"x": [1, 2]}, b"bytes", None])
def test_an_object_without_samples_is_refused(source: Any) -> None:  # noqa: ANN401
    with pytest.raises(DataError, match="is not a data set") as caught:
        _open(source)
    assert "DataLoader" in caught.value.fix


class _Shuffled:
    """A loader that can only be iterated, in another order each time."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(5)

    def __len__(self) -> int:
        return _COUNT

    def __iter__(self) -> Iterator[Any]:
        return iter(_PIXELS[self._random.permutation(_COUNT)])


def test_draws_from_a_source_that_shuffles_have_no_sample_in_common() -> None:
    drawing = Drawing(_open(_Shuffled()))
    first, second = _numbers(drawing.draw(20)), _numbers(drawing.draw(20))
    assert len(first) == 20
    assert len(second) > 5
    assert not set(first) & set(second)


def test_drawing_from_an_endless_source_that_repeats_itself_ends() -> None:
    def repeat() -> Iterator[Any]:
        while True:
            yield from _PIXELS[:10]

    drawing = Drawing(_open(repeat))
    assert len(list(drawing.draw(10))) == 10
    assert list(drawing.draw(20)) == []


def test_a_function_that_returns_the_same_generator_again_is_refused() -> None:
    generator = iter(list(_PIXELS))
    with pytest.raises(DataError, match="can be read only once") as caught:
        _open(lambda: generator)
    assert "each time it is called" in caught.value.fix


def test_a_source_that_is_empty_when_it_is_read_again_is_an_error() -> None:
    class Once:
        """An iterable that has no samples after its first pass."""

        def __init__(self) -> None:
            self._rest = iter(list(_PIXELS))

        def __iter__(self) -> Iterator[Any]:
            return (each for each in self._rest)

    dataset = _open(Once())
    assert len(list(dataset)) == _COUNT
    with pytest.raises(DataError, match="can be read only once"):
        list(dataset)
    assert list(_open(lambda: iter(()))) == []


def _fails_at_the_third() -> Iterator[Any]:
    yield from _PIXELS[:2]
    raise RuntimeError("disk on fire\nand more")


class _Broken:
    def __len__(self) -> int:
        return _COUNT

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        return {"x": index}["no such key"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (_fails_at_the_third, "RuntimeError: disk on fire"),
        (lambda needed: needed, "TypeError: .* missing 1 required positional argument: 'needed'"),
        (_Broken(), "KeyError: 'no such key'"),
    ],
)
def test_an_exception_of_the_program_is_a_data_error(source: Any, reason: str) -> None:  # noqa: ANN401
    with pytest.raises(DataError, match=f"the program that yields the samples failed: {reason}\\n"):
        list(_open(source))


def test_the_error_of_a_program_names_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_samples.py").write_text("def samples():\n    yield 1 / 0\n")
    (tmp_path / "failing_module.py").write_text("\n\nnumber = 1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, line in (("failing_samples", 2), ("failing_module", 3)):
        with pytest.raises(DataError, match="ZeroDivisionError") as caught:
            list(_open(f"{name}:samples"))
        assert caught.value.where.endswith(f"{tmp_path / name}.py:{line}")


@pytest.mark.parametrize(("source", "is_said"), [(_Shuffled(), True), (list(_PIXELS), False)])
def test_data_that_differ_between_passes_are_reported(source: Any, *, is_said: bool) -> None:  # noqa: ANN401
    dataset = _open(source)
    drawing = Drawing(dataset)
    assert len(list(drawing.draw(20))) == 20
    assert any("different bytes each time" in each for each in dataset.remarks) == is_said
