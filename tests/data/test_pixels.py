# SPDX-License-Identifier: Apache-2.0
"""Pixels from the lookup table are equal to those that are computed."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.data import Pixels, parse_preprocess


@pytest.mark.parametrize("how", ["unit", "tf", "raw", "mean=128,std=128"])
def test_the_table_gives_the_same_values_as_scaling(how: str) -> None:
    preprocess = parse_preprocess(how)
    values = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    table = preprocess.pixel_table
    assert table is not None
    np.testing.assert_array_equal(
        np.asarray(Pixels(values, table)), preprocess.scale_pixels(values)
    )


def test_a_mean_for_each_channel_has_no_table() -> None:
    assert parse_preprocess("mean=1/2/3").pixel_table is None


def test_slices_keep_the_table() -> None:
    pixels = Pixels(np.arange(12, dtype=np.uint8).reshape(4, 3), np.arange(256, dtype=np.float32))
    assert len(pixels) == 4
    assert pixels[1:3].shape == (2, 3)
    assert np.asarray(pixels[3:], np.float64).tolist() == [[9.0, 10.0, 11.0]]
