# SPDX-License-Identifier: Apache-2.0
"""The fitted numbers, and the errors printed with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.edgetpu.calibration import DEVICES, FITTED, error_quantile, read_calibration
from edgekit.errors import UsageError


@pytest.mark.parametrize("device", FITTED)
def test_networks_all_on_the_edge_tpu_are_within_twelve_percent_in_the_median(device: str) -> None:
    assert read_calibration(device).mapped.median_error <= 0.12


@pytest.mark.parametrize("device", FITTED)
def test_four_of_five_left_out_rows_are_in_their_interval(device: str) -> None:
    calibration = read_calibration(device)
    for accuracy in (calibration.mapped, calibration.with_cpu):
        assert accuracy.coverage >= 0.8
        assert accuracy.rows >= 9


def test_a_usb_2_bus_is_an_order_slower_than_usb_3() -> None:
    assert read_calibration("usb2").ms_per_mb > 10 * read_calibration("usb3").ms_per_mb


def test_the_estimate_for_pcie_states_that_no_latency_was_published() -> None:
    assert "no latency was published" in read_calibration("pcie").note


def test_an_unknown_device_is_a_usage_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="usb9") as caught:
        read_calibration("usb9")
    assert "dev-board" in caught.value.why


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=50))
def test_at_least_ninety_percent_of_the_errors_are_below_their_quantile(
    errors: list[float],
) -> None:
    quantile = error_quantile(errors, 0.9)
    assert sum(abs(each) <= quantile for each in errors) >= 0.9 * len(errors)


def test_the_dev_board_mini_has_a_slower_bus_than_a_raspberry_pi() -> None:
    mini = read_calibration("dev-board-mini")
    assert mini.ms_per_mb > read_calibration("usb2").ms_per_mb
    assert mini.overhead_ms > 1
    assert (mini.mapped.rows, mini.mapped.coverage) == (4, 1.0)
    assert "owners published" in mini.note


def test_the_dev_board_micro_has_limits_only() -> None:
    micro = read_calibration("dev-board-micro")
    assert micro.is_bound
    assert micro.mapped.rows == micro.with_cpu.rows == 0
    for device in DEVICES:
        each = read_calibration(device)
        assert micro.ms_per_mcycle <= each.ms_per_mcycle
        assert each.is_bound is (each is micro)
