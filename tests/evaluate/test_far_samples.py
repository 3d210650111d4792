# SPDX-License-Identifier: Apache-2.0
"""Samples far larger than all others must not hide the error on these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.evaluate import evaluate
from edgekit.evaluate.far_samples import LargestSamples, find_far
from tests.evaluate.conftest import linear


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([1.0] * 99 + [8.0], 1),
        ([1.0] * 99 + [7.9], 0),
        ([1.0] * 98 + [9.0, 30.0], 2),
        ([1.0] * 98 + [8.0, 300.0], 1),  # the largest alone is 8 times the next one
        ([1.0] * 97 + [9.0] * 3, 0),  # three of a hundred are no exception
        ([1.0] * 8 + [50.0], 0),  # too few samples
        ([0.0] * 99 + [5.0], 0),  # nothing to compare with
        ([1.0] * 29 + [50.0], 1),
    ],
)
def test_a_few_samples_8_times_larger_than_all_others_are_far(
    sizes: list[float], count: int
) -> None:
    found = find_far(np.random.default_rng(0).permutation(sizes).tolist(), len(sizes))
    assert (0 if found is None else found.count) == count
    if found is not None:
        assert found.largest == max(sizes)
        assert found.next_largest == sorted(sizes)[-count - 1]


def test_only_far_samples_stay_held_back() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.uniform(-1, 1, (60, 3)), rng.uniform(0, 5, (60, 2))
    first[17] *= 100
    largest = LargestSamples(["a", "b"])
    released: list[int] = []
    for start in range(0, 60, 6):
        rows = slice(start, start + 6)
        held = largest.are_held([first[rows], second[rows]])
        released += [start + each for each in range(6) if each not in held]
        for row in held:
            each = start + row
            released += largest.hold([first[each : each + 1], second[each : each + 1]], each)
        assert largest.num_held <= 10
    released += largest.take_near()
    assert sorted(released) == [each for each in range(60) if each != 17]
    assert largest.num_held == 1
    assert set(largest.found()) == {"a"}


def test_one_far_sample_does_not_hide_the_error_on_the_others(tmp_path: Path) -> None:
    """With it the ratio would be above 40 dB: the weights that it uses are exact."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(6, 16))
    x = rng.normal(size=(80, 4, 4)).astype(np.float32)
    x[33, :2] *= 1000
    x[33, 2:] = 0
    np.savez(str(tmp_path / "x.npz"), x=x)
    (tmp_path / "float.tflite").write_bytes(linear(weights, (1, 4, 4)))
    off = weights.copy()
    off[:, 8:] += rng.normal(scale=0.7, size=(6, 8))
    (tmp_path / "other.tflite").write_bytes(linear(off, (1, 4, 4)))
    result = evaluate(
        tmp_path / "other.tflite",
        tmp_path / "x.npz",
        against=tmp_path / "float.tflite",
        task="none",
    )
    assert result.against is not None
    quality = result.against.quality
    assert quality is not None
    assert (quality.num_samples, quality.num_far, quality.verdict) == (79, 1, "bad")
    rows = np.delete(x.reshape(80, 16), 33, axis=0)
    expected, error = rows @ weights.T, rows @ (off - weights).T
    ratio = ((expected - expected.mean(0)) ** 2).sum() * 79 / 78 / (error**2).sum()
    (output,) = quality.outputs
    assert output.record.centred_snr_db == pytest.approx(10 * np.log10(ratio), abs=0.02)
    assert quality.causes[0].code == "cause.far_samples"
    assert any("of 80 samples, 1 sample has values up to" in each for each in result.warnings)
