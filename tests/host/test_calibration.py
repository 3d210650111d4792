# SPDX-License-Identifier: Apache-2.0
"""Calibration data is checked sample by sample, and never held in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data import InputSpec, open_dataset
from edgekit.errors import DataError
from edgekit.host.calibration import Calibration

_SPEC = (InputSpec("x", (1, 4, 4, 1)),)


def _calibration(source: Any, wanted: int = 100, **options: Any) -> Calibration:  # noqa: ANN401
    dataset = open_dataset(source, inputs=_SPEC, **options)
    return Calibration(dataset, _SPEC, ("float32",), wanted)


def _run(calibration: Calibration) -> list[np.ndarray]:
    return [arrays[0] for arrays in calibration.batches(lambda _done, _total: None)]


def _samples(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).random((count, 4, 4, 1)).astype(np.float32))


def test_samples_come_in_the_shape_of_the_input() -> None:
    calibration = _calibration(_samples(7), wanted=5)
    batches = _run(calibration)
    assert [batch.shape for batch in batches] == [(1, 4, 4, 1)] * 5
    low, high = calibration.ranges[0]
    assert (low, high) == (min(b.min() for b in batches), max(b.max() for b in batches))


def test_a_larger_batch_is_filled_up() -> None:
    spec = (InputSpec("x", (3, 4, 4, 1)),)
    dataset = open_dataset(_samples(4), inputs=spec)
    batches = _run(Calibration(dataset, spec, ("float32",), 100))
    assert [batch.shape for batch in batches] == [(3, 4, 4, 1)] * 2
    np.testing.assert_array_equal(batches[1][0], batches[1][2])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    samples = _samples(3)
    samples[1][0, 0, 0] = bad
    with pytest.raises(DataError, match="NaN or infinity") as caught:
        _run(_calibration(samples))
    assert "samples[1], input x" in caught.value.where


def test_equal_samples_are_refused() -> None:
    with pytest.raises(DataError, match="all 5 samples are equal"):
        _run(_calibration([np.full((4, 4, 1), 0.3, np.float32)] * 5))


def test_no_sample_is_refused() -> None:
    with pytest.raises(DataError, match="there is no sample"):
        _run(_calibration([]))


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(5, 5\)"):
        _run(_calibration([np.zeros((5, 5), np.float32)]))


def test_values_outside_of_what_preprocessing_promises_are_refused(tmp_path: Path) -> None:
    """A bicubic filter rings, but pixels clip; a data set that lies is caught."""

    class Liar:
        """Promises 0..1 and gives 0..255."""

        num_samples, class_names, promised_range = 2, (), (0.0, 1.0)
        unreadable: list[Any] = []  # noqa: RUF012 - never filled

        def describe(self) -> dict[str, Any]:
            return {"source": "liar"}

        def __iter__(self) -> Iterator[Any]:
            from edgekit.data import Sample  # noqa: PLC0415

            yield Sample((np.full((4, 4, 1), 255.0),), None, "liar[0]")

    with pytest.raises(DataError, match="values from 255 to 255, the preprocessing promises 0"):
        _run(_calibration(Liar()))
    assert tmp_path.exists()


def _folder(tmp_path: Path, good: int, bad: int) -> Path:
    for index in range(good):
        Image.new("L", (4, 4), index * 20).save(str(tmp_path / f"good{index}.png"))
    for index in range(bad):
        (tmp_path / f"bad{index}.png").write_bytes(b"no image")
    return tmp_path


def test_a_few_unreadable_files_are_said(tmp_path: Path) -> None:
    calibration = _calibration(_folder(tmp_path, 5, 2), wanted=5)
    assert len(_run(calibration)) == 5
    (warning,) = calibration.warnings
    assert "2 samples could not be read" in warning
    assert "bad0.png" in warning


def test_a_half_unreadable_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 of 8 samples cannot be read") as caught:
        _run(_calibration(_folder(tmp_path, 4, 4)))
    assert "bad0.png" in caught.value.why


def test_fewer_samples_than_asked_for_are_said() -> None:
    calibration = _calibration(_samples(3))
    _run(calibration)
    assert calibration.warnings == ["calibrated with 3 samples, 100 were asked for"]


def test_random_data_is_called_worthless() -> None:
    calibration = _calibration("random")
    _run(calibration)
    assert "random numbers" in calibration.warnings[0]


def test_memory_does_not_grow_with_the_samples() -> None:
    def peak(count: int) -> int:
        def samples() -> Iterator[np.ndarray]:
            for index in range(count):
                yield np.full((4, 4, 1), index % 7, np.float32)

        tracemalloc.start()
        calibration = _calibration(samples, wanted=count)
        assert sum(1 for _ in calibration.batches(lambda _done, _total: None)) == count
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    assert peak(20_000) < 100_000  # all of them would take 1.3 MB
