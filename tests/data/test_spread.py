# SPDX-License-Identifier: Apache-2.0
"""Selected samples are spread over the data set, evenly over its classes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from PIL import Image

from edgekit.data import InputSpec, Sample, iter_chunks, open_dataset
from edgekit.data.spread import spread, spread_indices

_SPEC = (InputSpec("x", (1, 4, 4, 3)),)


@pytest.mark.parametrize(("count", "wanted"), [(10, 3), (97, 96), (1000, 100), (5, 5), (3, 9)])
def test_one_of_each_stretch_is_chosen(count: int, wanted: int) -> None:
    chosen = spread_indices(count, wanted)
    assert len(set(chosen)) == len(chosen) == min(count, wanted)
    assert chosen == sorted(chosen)
    ends = [min(wanted, count) * (index + 1) / count for index in chosen]
    assert all(abs(end - number - 1) <= 1 for number, end in enumerate(ends))


def test_a_period_in_the_data_is_not_followed() -> None:
    """With an even stride of 10, every sample would have the same remainder."""
    assert len({index % 10 for index in spread_indices(1000, 100)}) > 5


def test_all_samples_of_small_classes_are_used_and_the_others_share_the_rest() -> None:
    classes = [0] * 700 + [1] * 3 + [2] * 50 + [3] * 400
    counts = Counter(classes[index] for index in spread_indices(1153, 201, classes))
    assert counts == {0: 74, 1: 3, 2: 50, 3: 74}


def test_fewer_samples_than_classes_come_from_all_over_the_classes() -> None:
    classes = list(range(100)) * 3
    found = sorted(classes[index] for index in spread_indices(300, 10, classes))
    assert [each // 10 for each in found] == list(range(10))


def test_new_samples_balance_the_classes_chosen_before() -> None:
    classes = [0] * 10 + [1] * 10
    chosen = spread_indices(20, 4, classes, without=range(5), have={0: 5, 1: 2})
    assert len(chosen) == 4
    assert not set(chosen) & set(range(5))
    assert [classes[index] for index in chosen].count(1) >= 3


def _folder(path: Path) -> Path:
    for label in range(3):
        (path / f"class{label}").mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (4, 4), (label * 100, number * 20, 0))
            image.save(str(path / f"class{label}" / f"{number}.png"))
    return path


def _npz(path: Path) -> Path:
    pixels = np.arange(30, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(48, 1)
    np.savez(str(path), x=pixels.reshape(30, 4, 4, 3), y=np.repeat([0, 1, 2], 10))
    return path


def _list(_: Path) -> list[Any]:
    return [(np.full((4, 4, 3), number, np.uint8), number // 10) for number in range(30)]


class _Own:
    """A data set of another library that can only be iterated."""

    num_samples, class_names, promised_range = 30, (), None

    def __init__(self, _: Path) -> None:
        self.unreadable: list[Any] = []

    def describe(self) -> Any:  # noqa: ANN401
        return {"kind": "own"}

    def __iter__(self) -> Iterator[Sample]:
        for number in range(30):
            yield Sample((np.full((4, 4, 3), number),), number // 10, str(number))


@pytest.mark.parametrize("make", [_folder, _npz, _list, _Own])
def test_a_subset_returns_the_same_samples_as_the_whole(
    make: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    whole = open_dataset(make(tmp_path / "d.npz"), inputs=_SPEC)
    part = spread(whole, 9)
    assert (whole.num_samples, part.num_samples) == (30, 9)
    by_source = {sample.source: sample for sample in whole}
    found = list(part)
    assert len({sample.source for sample in found}) == 9
    assert Counter(sample.label for sample in found) == {0: 3, 1: 3, 2: 3}
    for sample in found:
        np.testing.assert_array_equal(sample.inputs[0], by_source[sample.source].inputs[0])
        assert sample.label == by_source[sample.source].label


@pytest.mark.parametrize("make", [_folder, _npz])
def test_chunks_of_a_subset_contain_its_samples(
    make: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    part: Any = spread(open_dataset(make(tmp_path / "d.npz"), inputs=_SPEC), 11)
    batches = [chunk.load() for chunk in iter_chunks(part, 4)]
    assert [len(batch.sources) for batch in batches] == [4, 4, 3]
    rows = np.concatenate([np.asarray(batch.inputs[0]) for batch in batches])
    np.testing.assert_array_equal(rows, np.stack([sample.inputs[0] for sample in part]))
    labels = [label for batch in batches for label in batch.labels or ()]
    assert labels == [sample.label for sample in part]
    other: Any = spread(open_dataset(make(tmp_path / "e.npz"), inputs=_SPEC), 12)
    assert part.identity(11) == part.identity(11) != other.identity(12)


def test_indices_of_a_subset_of_a_subset_refer_to_the_subset(tmp_path: Path) -> None:
    for source in (_npz(tmp_path / "d.npz"), _list(tmp_path)):
        whole: Any = open_dataset(source, inputs=_SPEC)
        part = whole.subset([3, 7, 12, 29]).subset([1, 3])
        assert [sample.source.partition("[")[2] for sample in part] == ["7]", "29]"]
        assert part.classes == [0, 2]


def test_images_that_are_not_chosen_are_not_read(tmp_path: Path) -> None:
    whole: Any = open_dataset(_folder(tmp_path), inputs=_SPEC)
    chosen = set(spread_indices(30, 6, whole.classes))
    for index, path in enumerate(whole.files):
        if index not in chosen:
            path.write_bytes(b"no image")
    part = spread(whole, 6)
    assert len(list(part)) == 6
    assert part.unreadable == []


def test_coco_images_are_spread_with_their_ids(tmp_path: Path) -> None:
    images = []
    for number in range(20):
        Image.new("RGB", (4, 4)).save(str(tmp_path / f"{number}.png"))
        images.append({"id": 100 + number, "file_name": f"{number}.png"})
    document = {"images": images, "annotations": [], "categories": []}
    (tmp_path / "coco.json").write_text(json.dumps(document))
    part: Any = spread(open_dataset(tmp_path / "coco.json", inputs=_SPEC), 5)
    batch = part.chunk(0, 5)
    assert [Path(name).stem for name in batch.sources] == [str(i - 100) for i in batch.targets]
    assert batch.targets[-1] > 115


def test_masks_are_spread_with_their_images(tmp_path: Path) -> None:
    for number in range(12):
        Image.new("RGB", (4, 4)).save(str(tmp_path / f"{number:02}.png"))
        Image.new("L", (4, 4), number).save(str(tmp_path / f"{number:02}_mask.png"))
    part: Any = spread(open_dataset(tmp_path, inputs=_SPEC, masks=True), 4)
    batch = part.chunk(0, 4)
    assert [int(Path(name).stem) for name in batch.sources] == [m[0, 0] for m in batch.targets]
    assert len(batch.sources) == 4
