# SPDX-License-Identifier: Apache-2.0
"""Clipped calibration samples are found; floors, flags and samples scaled one by one are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.data import InputSpec, open_dataset
from edgekit.host.convert.calibration import Calibration
from edgekit.host.convert.clipped import ClippedValues

_RNG = np.random.default_rng(6)


def _limits(samples: NDArray[np.floating]) -> tuple[float, float] | None:
    counts = ClippedValues()
    for sample in samples:
        counts.add(sample)
    return counts.limits


def test_values_that_are_cut_off_at_both_ends_are_clipped() -> None:
    values = _RNG.normal(size=(100, 12))
    assert _limits(values.clip(-1, 1.5)) == (-1, 1.5)
    assert _limits(values) is None
    assert _limits(values.clip(-3, 3)) is None
    long = _RNG.normal(size=(50, 200))  # every sample reaches both ends
    assert _limits(long.clip(-0.5, 0.5)) == (-0.5, 0.5)


@pytest.mark.parametrize(
    "values",
    [
        np.maximum(_RNG.normal(size=(100, 12)), 0),  # a floor
        (_RNG.random((100, 12)) < 0.5).astype(float),  # flags
        _RNG.integers(0, 8, (100, 12)).astype(float),  # levels
        np.stack([(row - row.min()) / np.ptp(row) for row in _RNG.normal(size=(100, 12))]),
    ],
)
def test_other_values_at_the_ends_are_not(values: NDArray[np.floating]) -> None:
    assert _limits(values) is None


def test_a_new_end_starts_the_count_again() -> None:
    counts = ClippedValues()
    counts.add(np.array([0.5, 0.5, 0.1, -0.2, -0.2]))
    for _ in range(100):
        counts.add(_RNG.uniform(-1, 1, 12))
    assert counts.limits is None


@pytest.mark.parametrize(("shape", "num_findings"), [((12,), 1), ((16, 16, 3), 0)])
def test_pictures_may_be_black_and_white(
    shape: tuple[int, ...], num_findings: int, tmp_path: Path
) -> None:
    samples = _RNG.normal(size=(60, *shape)).clip(-1, 1).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=samples)
    inputs = [InputSpec("x", (1, *shape))]
    dataset = open_dataset(tmp_path / "x.npz", inputs=[InputSpec("x", (1, *shape))])
    calibration = Calibration(dataset, inputs, ["float32"], 60)
    assert len(list(calibration.batches(lambda _done, _total: None))) == 60
    assert len(calibration.clipped) == num_findings
    assert sum("seem to be clipped" in each for each in calibration.warnings) == num_findings


@pytest.mark.parametrize("shape", [(12,), (16, 16, 3)])
def test_samples_that_the_network_shows_to_be_like_those_of_training_are_not_in_question(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Its training data were clipped or dark too."""
    samples = _RNG.normal(scale=0.1, size=(60, *shape)).clip(-0.1, 0.1).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=samples)
    inputs = [InputSpec("x", (1, *shape))]
    dataset = open_dataset(tmp_path / "x.npz", inputs=inputs)
    calibration = Calibration(dataset, inputs, ["float32"], 60)
    list(calibration.batches(lambda _done, _total: None))
    assert len((*calibration.narrow, *calibration.clipped)) == 1
    calibration.is_like_training = True
    assert not (*calibration.narrow, *calibration.clipped)
    assert not [each for each in calibration.warnings if "clipped" in each or "reach" in each]
