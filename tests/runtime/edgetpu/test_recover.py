# SPDX-License-Identifier: Apache-2.0
"""An Edge TPU that is lost during a run, and can be opened again or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DeviceLostError
from edgekit.evaluate import benchmark, evaluate, run
from edgekit.runtime import Runner, runner
from tests.runtime.edgetpu.conftest import Models

_INPUT = np.array([[1, 20, 30, -40]], np.int8)


@pytest.fixture
def losing(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is lost after five inferences, and works when it is opened again."""
    assert library.is_file()
    monkeypatch.setenv("STANDIN_LOST_AFTER", "5")


@pytest.mark.usefixtures("losing")
def test_a_lost_device_is_opened_again_and_no_inference_is_missing(models: Models) -> None:
    with Runner(models.compiled, "usb", recover=True) as device, Runner(models.plain) as cpu:
        for value in range(9):
            raw = np.full((1, 4), value, np.int8)
            assert device.invoke(raw)[0].tolist() == cpu.invoke(raw)[0].tolist()
        assert device.num_recovered == 1
        assert device.recovery_s > 0
        assert "lost and opened again" in device.environment.kernels_note


@pytest.mark.usefixtures("losing")
def test_run_evaluate_and_benchmark_continue(models: Models, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    samples = random.integers(-20, 20, (40, 4)).astype(np.float32)
    np.savez(str(tmp_path / "d.npz"), x_test=samples, y_test=random.integers(0, 3, 40))
    whole = evaluate(models.plain, tmp_path / "d.npz")
    on_device = evaluate(
        models.compiled, tmp_path / "d.npz", against=models.plain, device="usb", recover=True
    )
    assert on_device.metrics == whole.metrics
    assert on_device.against is not None
    assert on_device.against.agreement == 1.0
    assert (on_device.device, on_device.num_workers) == ("usb", 1)
    assert "lost" in on_device.kernels_note


@pytest.mark.usefixtures("losing")
def test_the_time_to_open_it_again_is_not_timed(models: Models) -> None:
    result = benchmark(models.compiled, device="usb", recover=True, num_runs=30)
    assert "lost" in result.kernels_note
    # Opening it takes a child process, hundreds of times an inference of 12 multiplications.
    assert sum(result.latency_ms.values()) > 0
    assert result.latency_ms["mean"] < 100


@pytest.mark.usefixtures("losing")
def test_without_the_option_the_run_ends_with_the_error(models: Models) -> None:
    inputs = [np.full((1, 4), value, np.float32) for value in range(9)]
    with pytest.raises(DeviceLostError) as lost:
        run(models.compiled, inputs, device="usb")
    assert lost.value.exit_status == 6


@pytest.mark.usefixtures("losing")
def test_a_device_that_does_not_come_back_is_abandoned(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_PAUSES_S", (0.0, 0.1))
    with Runner(models.compiled, "usb", recover=True) as device:
        for _ in range(5):
            device.invoke(_INPUT)
        monkeypatch.setenv("STANDIN_NO_DEVICE", "1")
        with pytest.raises(DeviceLostError, match="cannot be opened again"):
            device.invoke(_INPUT)
