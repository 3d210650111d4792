# SPDX-License-Identifier: Apache-2.0
"""Calibration data are checked sample by sample, and never all in memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data import InputSpec, open_dataset
from edgekit.data.dataset import sample_specs
from edgekit.errors import DataError
from edgekit.host.convert.calibration import Calibration, num_held_out

_SPEC = (InputSpec("x", (1, 4, 4, 1)),)


def _calibration(source: Any, wanted: int = 100, **options: Any) -> Calibration:  # noqa: ANN401
    dataset = open_dataset(source, inputs=_SPEC, **options)
    return Calibration(dataset, _SPEC, ("float32",), wanted)


def _run(calibration: Calibration) -> list[np.ndarray]:
    return [arrays[0] for arrays in calibration.batches(lambda _done, _total: None)]


def _samples(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).random((count, 4, 4, 1)).astype(np.float32))


def test_samples_have_the_shape_of_the_input() -> None:
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
def test_values_that_are_not_numbers_are_refused(bad: float) -> None:
    samples = _samples(3)
    samples[1][0, 0, 0] = bad
    with pytest.raises(DataError, match="NaN or infinity") as caught:
        _run(_calibration(samples))
    assert "samples[1], input x" in caught.value.where


def test_equal_samples_are_refused() -> None:
    with pytest.raises(DataError, match="all 5 samples are equal"):
        _run(_calibration([np.full((4, 4, 1), 0.3, np.float32)] * 5))


def test_data_without_samples_are_refused() -> None:
    with pytest.raises(DataError, match="there are no samples"):
        _run(_calibration([]))


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(5, 5\)"):
        _run(_calibration([np.zeros((5, 5), np.float32)]))


def test_values_outside_the_range_of_the_preprocessing_are_refused(tmp_path: Path) -> None:
    """A bicubic filter overshoots, but pixels are clipped; a wrong range is refused."""

    class Liar:
        """Declares 0..1 but yields 0..255."""

        num_samples, class_names, promised_range = 2, (), (0.0, 1.0)
        unreadable: list[Any] = []  # noqa: RUF012 - never filled

        def describe(self) -> dict[str, Any]:
            return {"source": "liar"}

        def __iter__(self) -> Iterator[Any]:
            from edgekit.data import Sample  # noqa: PLC0415

            yield Sample((np.full((4, 4, 1), 255.0),), None, "liar[0]")

    with pytest.raises(DataError, match="values from 255 to 255 are outside the range of the"):
        _run(_calibration(Liar()))
    assert tmp_path.exists()


def _folder(tmp_path: Path, good: int, bad: int) -> Path:
    for index in range(good):
        Image.new("L", (4, 4), index * 20).save(str(tmp_path / f"good{index}.png"))
    for index in range(bad):
        (tmp_path / f"bad{index}.png").write_bytes(b"no image")
    return tmp_path


def test_a_few_unreadable_files_are_reported(tmp_path: Path) -> None:
    calibration = _calibration(_folder(tmp_path, 5, 2), wanted=7)
    assert len(_run(calibration)) == 5
    (warning,) = [each for each in calibration.warnings if "could not be read" in each]
    assert "2 samples" in warning
    assert "bad0.png" in warning


def test_a_half_unreadable_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 of 8 samples cannot be read") as caught:
        _run(_calibration(_folder(tmp_path, 4, 4)))
    assert "bad0.png" in caught.value.why


def test_fewer_samples_than_requested_are_reported() -> None:
    calibration = _calibration(_samples(3))
    _run(calibration)
    assert calibration.warnings == ["calibrated with 3 samples, fewer than 100"]


def test_files_that_cannot_be_read_are_replaced_by_others(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _folder(tmp_path / name, 12, 3)
    calibration = _calibration(tmp_path, wanted=20)
    assert len(_run(calibration)) == 20
    assert calibration.samples_per_class == {"a": 10, "b": 10}


def _npz(path: Path, labels: np.ndarray, low: float = 0.0, high: float = 1.0) -> Path:
    """Samples whose mean grows from the first to the last."""
    levels = np.linspace(low, high, len(labels), dtype=np.float32).reshape(-1, 1, 1, 1)
    np.savez(str(path), x=np.broadcast_to(levels, (len(labels), 4, 4, 1)), y=labels)
    return path


def test_samples_come_from_all_over_the_data() -> None:
    calibration = _calibration([each * 0 + n for n, each in enumerate(_samples(1000))], wanted=50)
    found = [int(batch[0, 0, 0, 0]) for batch in _run(calibration)]
    assert [number // 20 for number in found] == list(range(50))  # one of each twenty


def test_each_class_calibrates_with_as_many_samples(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2, 3], [500, 300, 5, 195])
    calibration = _calibration(_npz(tmp_path / "d.npz", labels), wanted=100)
    _run(calibration)
    assert sorted(calibration.samples_per_class.values()) == [5, 31, 32, 32]
    assert calibration.samples_per_class["2"] == 5


def test_the_same_data_give_the_same_samples(tmp_path: Path) -> None:
    path = _npz(tmp_path / "d.npz", np.arange(400) % 7)
    first, again = (_run(_calibration(path, wanted=30)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_samples_held_out_are_not_calibration_samples(tmp_path: Path) -> None:
    calibration = _calibration(_npz(tmp_path / "d.npz", np.arange(600) % 3), wanted=50)
    used = {float(batch.mean()) for batch in _run(calibration)}
    others = [float(arrays[0].mean()) for arrays in calibration.judging_batches()]
    assert (calibration.num_judged, calibration.is_held_out) == (256, True)
    assert len(set(others)) == 256
    assert not used & set(others)
    assert max(others) - min(others) > 0.98
    assert calibration.count == 50  # calibration samples, unchanged


def test_large_networks_are_judged_on_fewer_samples(tmp_path: Path) -> None:
    assert [num_held_out(macs) for macs in (0, 97_000_000, 125_000_000, 10**10)] == [
        *(256, 256, 200, 100)
    ]
    calibration = _calibration(_npz(tmp_path / "d.npz", np.zeros(600, int)), wanted=50)
    _run(calibration)
    assert len(list(calibration.judging_batches(num_held_out(10**10)))) == 100


def test_few_samples_are_held_out_if_few_are_left(tmp_path: Path) -> None:
    calibration = _calibration(_npz(tmp_path / "d.npz", np.zeros(60, int)), wanted=50)
    _run(calibration)
    assert len(list(calibration.judging_batches())) == 10
    assert (calibration.num_judged, calibration.is_held_out) == (10, True)


def test_if_all_samples_calibrate_they_are_also_used_to_judge(tmp_path: Path) -> None:
    calibration = _calibration(_npz(tmp_path / "d.npz", np.zeros(50, int)), wanted=50)
    used = _run(calibration)
    judging = [arrays[0] for arrays in calibration.judging_batches()]
    np.testing.assert_array_equal(used, judging)
    assert (calibration.num_judged, calibration.is_held_out) == (50, False)


def test_the_first_samples_of_a_generator_are_used_and_that_is_reported() -> None:
    def samples() -> Iterator[np.ndarray]:
        for number in range(500):
            yield np.full((4, 4, 1), number, np.float32)

    calibration = _calibration(samples, wanted=20)
    assert [int(batch.max()) for batch in _run(calibration)] == list(range(20))
    assert any("the first 20 were used to calibrate" in each for each in calibration.warnings)
    others = [int(arrays[0].max()) for arrays in calibration.judging_batches()]
    assert others == list(range(20, 276))


@pytest.mark.parametrize("is_sorted", [True, False])
def test_classes_after_the_first_samples_of_a_sorted_generator_cause_a_warning(
    is_sorted: bool,
) -> None:
    def samples() -> Iterator[tuple[np.ndarray, int]]:
        for number in range(90):
            label = number // 30 if is_sorted else number % 3
            yield np.full((4, 4, 1), number, np.float32), label

    calibration = _calibration(samples, wanted=30)
    _run(calibration)
    assert calibration.judged_warnings == []  # nothing was read behind them
    list(calibration.judging_batches())
    found = [each for each in calibration.judged_warnings if "(labels 1, 2)" in each]
    assert len(found) == int(is_sorted) == len(calibration.judged_warnings)


def test_classes_without_a_sample_cause_a_warning(tmp_path: Path) -> None:
    calibration = _calibration(_npz(tmp_path / "d.npz", np.arange(120) % 12), wanted=8)
    _run(calibration)
    (warning,) = calibration.warnings
    assert "4 of 12 classes have no calibration sample" in warning
    assert "--num-samples 12" in warning
    better = _calibration(tmp_path / "d.npz", wanted=12)
    _run(better)
    assert set(better.samples_per_class.values()) == {1}
    assert better.warnings == []


def test_less_than_half_of_the_preprocessings_range_causes_a_warning(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60, (40, 4, 4, 1), np.uint8)
    np.savez(str(tmp_path / "dark.npz"), x=pixels)
    calibration = _calibration(tmp_path / "dark.npz", wanted=40)
    _run(calibration)
    (warning,) = calibration.warnings
    assert "23% of the 0 to 1 that the preprocessing can make" in warning
    pixels[3] = 200
    np.savez(str(tmp_path / "bright.npz"), x=pixels)
    calibration = _calibration(tmp_path / "bright.npz", wanted=40)
    _run(calibration)
    assert calibration.warnings == []


_PICTURE = (InputSpec("x", (1, 8, 8, 3)),)


def _real_pictures(factor: float, count: int = 40) -> Calibration:
    pictures = list(np.random.default_rng(0).random((count, 8, 8, 3)).astype(np.float32) * factor)
    return Calibration(open_dataset(pictures, inputs=_PICTURE), _PICTURE, ("float32",), count)


def test_pictures_as_real_numbers_that_are_all_dark_cause_a_warning() -> None:
    dark, usual, few = _real_pictures(0.2), _real_pictures(0.8), _real_pictures(0.2, 10)
    for each in (dark, usual, few):
        _run(each)
    (finding,) = dark.narrow
    assert "20% of the 0 to 1 that pixels usually have" in finding.text
    assert finding.text in dark.warnings
    assert usual.narrow == few.narrow == ()


def test_the_range_that_the_network_shows_is_expected_of_real_numbers() -> None:
    calibration = _real_pictures(60)
    calibration.made_for = (0.0, 255.0)
    _run(calibration)
    (finding,) = calibration.narrow
    assert "24% of the 0 to 255 that the network was made for" in finding.text


def test_calibration_with_random_data_causes_a_warning() -> None:
    calibration = _calibration("random")
    _run(calibration)
    assert "random numbers" in calibration.warnings[0]


def test_memory_does_not_grow_with_the_samples() -> None:
    def peak(count: int) -> int:
        def samples() -> Iterator[np.ndarray]:
            for index in range(count):
                yield np.full((16, 16, 1), index % 7, np.float32)

        tracemalloc.start()
        spec = (InputSpec("x", (1, 16, 16, 1)),)
        dataset = open_dataset(samples, inputs=spec)
        calibration = Calibration(dataset, spec, ("float32",), count)
        assert sum(1 for _ in calibration.batches(lambda _done, _total: None)) == count
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    peak(200)  # what is imported and kept at the first use is not the samples'
    assert peak(1_300) < 300_000  # all of them would need 1.3 MB


_STATE = (InputSpec("frame", (1, 6)), InputSpec("state", (2, 8, 1)))


def test_inputs_whose_first_dimension_is_not_a_batch_are_filled_whole(tmp_path: Path) -> None:
    """A state (layers, units, 1) next to (1, features), as in recurrent networks."""
    random = np.random.default_rng(0)
    frames, states = random.random((9, 6)), random.random((9, 2, 8, 1))
    np.savez(str(tmp_path / "d.npz"), frame=frames, state=states)
    sources: list[Any] = [
        tmp_path / "d.npz",
        [{"frame": frame, "state": state} for frame, state in zip(frames, states, strict=True)],
        list(zip(frames[:, None], states, strict=True)),
    ]
    for source in sources:
        dataset = open_dataset(source, inputs=sample_specs(_STATE))
        calibration = Calibration(dataset, _STATE, ("float32", "float32"), 9)
        batches = list(calibration.batches(lambda _done, _total: None))
        assert [[array.shape for array in batch] for batch in batches] == [[(1, 6), (2, 8, 1)]] * 9
        np.testing.assert_allclose(np.stack([batch[1] for batch in batches]), states)


def test_a_state_of_another_shape_is_refused_with_the_whole_shape() -> None:
    dataset = open_dataset([(np.zeros(6), np.zeros((8, 1)))], inputs=sample_specs(_STATE))
    with pytest.raises(DataError, match=r"shape \(8, 1\), expected \(2, 8, 1\)"):
        list(Calibration(dataset, _STATE, ("float32",) * 2, 9).batches(lambda _d, _t: None))


def test_a_calibration_sample_far_larger_than_all_others_is_named() -> None:
    samples = [each / 10 for each in _samples(60)]
    samples[7] = samples[7] * 100
    calibration = _calibration(samples, wanted=59)
    _run(calibration)
    largest = float(np.abs(samples[7]).max())
    assert calibration.ranges[0][1] == pytest.approx(largest)  # it is used for calibration
    text = f"1 sample has values up to {largest:.4g} in the input"
    assert not any(text in each for each in calibration.warnings)  # all samples are compared
    list(calibration.judging_batches())
    assert calibration.is_held_out
    assert any(text in each for each in calibration.warnings)
