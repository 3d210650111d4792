# SPDX-License-Identifier: Apache-2.0
"""All steps to an Edge TPU, with a stand-in library that is loaded as libedgetpu."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import (
    BundleError,
    DeviceError,
    DeviceLostError,
    UnsupportedModelError,
)
from edgekit.formats.tflite import read_model, write_model
from edgekit.runtime import Runner
from tests.runtime.edgetpu.conftest import Models

_INPUT = np.array([[1, 20, 30, -40]], np.int8)
_OUTPUT = [1, 21, 31]


@pytest.fixture
def log(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file into which the stand-in writes each event with its process."""
    assert library.is_file()
    monkeypatch.setenv("STANDIN_LOG", str(tmp_path / "events"))
    return tmp_path / "events"


def _events(log: Path, *, here: bool) -> list[str]:
    rows = [line.split(None, 1) for line in log.read_text().splitlines()]
    return [event for process, event in rows if (int(process) == os.getpid()) == here]


def _data(tmp_path: Path, count: int = 40) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    samples = random.integers(-20, 20, (count, 4)).astype(np.float32)
    np.savez(str(path), x_test=samples, y_test=random.integers(0, 3, count))
    return path


@pytest.mark.parametrize("device", ["usb", "usb:0", "pci", "pci:1", ":0"])
def test_a_compiled_model_runs_and_the_device_is_passed_to_the_library(
    models: Models, log: Path, device: str
) -> None:
    with Runner(models.compiled, device) as runner:
        (answer,) = runner.invoke(_INPUT)
        environment = runner.environment
    assert answer.tolist() == [_OUTPUT]
    assert (environment.device, environment.kernels) == (device, "edgetpu")
    assert environment.versions["libedgetpu"] == "runtime 14"
    assert environment.versions["kernel"]
    assert f"option device={device}" in _events(log, here=True)


def test_the_model_is_tried_in_a_child_first_and_only_once(models: Models, log: Path) -> None:
    for _ in range(2):
        with Runner(models.compiled, "usb") as runner:
            runner.invoke(_INPUT)
    assert _events(log, here=False).count("invoke") == 1
    assert _events(log, here=True).count("invoke") == 2
    assert _events(log, here=True)[-1] == "destroy"


def test_two_runners_share_the_device_without_another_child(models: Models, log: Path) -> None:
    with Runner(models.compiled, "usb") as first, first.clone() as second:
        assert first.invoke(_INPUT)[0].tolist() == second.invoke(_INPUT)[0].tolist() == [_OUTPUT]
    assert _events(log, here=False).count("load") == 1


def test_auto_uses_the_device_and_reports_it(models: Models, log: Path) -> None:
    with Runner(models.compiled, "auto") as runner:
        environment = runner.environment
    assert (environment.device, environment.kernels_note) == (
        "edgetpu",
        "auto: an Edge TPU is usable",
    )
    assert not any(event.startswith("option") for event in _events(log, here=True))


def test_auto_uses_the_plain_model_if_there_is_no_device(
    models: Models, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_NO_DEVICE", "1")
    with Runner(models.compiled, "auto") as runner:
        assert runner.invoke(_INPUT)[0].tolist() == [_OUTPUT]
        assert runner.environment.device == "cpu"
        assert "instead of auto: libedgetpu is installed" in runner.environment.kernels_note
        assert runner.source == str(models.plain)


def test_auto_runs_a_plain_model_on_the_cpu(models: Models) -> None:
    with Runner(models.plain, "auto") as runner:
        assert runner.environment.kernels_note.startswith("auto: the model is not compiled")


def test_a_plain_model_is_not_reported_as_running_on_the_device(models: Models) -> None:
    with pytest.raises(UnsupportedModelError, match="not compiled for the Edge TPU"):
        Runner(models.plain, "usb")


@pytest.mark.parametrize("device", ["cpu", "usb"])
def test_the_plain_model_is_used_instead_only_with_fallback(
    models: Models, library: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_NO_DEVICE", "1")
    with pytest.raises((DeviceError, UnsupportedModelError)) as refused:
        Runner(models.compiled, device)
    assert "--fallback" in refused.value.fix
    with Runner(models.compiled, device, fallback=True) as runner:
        assert runner.invoke(_INPUT)[0].tolist() == [_OUTPUT]
        assert f"instead of {device}" in runner.environment.kernels_note


def test_another_model_in_the_folder_is_not_used_instead(models: Models) -> None:
    plain = read_model(models.plain)
    weights = plain.buffers[1] ^ np.uint8(0x55)
    other = (plain.buffers[0], weights, plain.buffers[2])
    models.plain.write_bytes(write_model(type(plain)(plain.subgraphs, other)))
    with pytest.raises(BundleError, match="does not belong"):
        Runner(models.compiled, fallback=True)


def test_without_a_plain_model_there_is_no_fallback(models: Models) -> None:
    models.plain.unlink()
    with pytest.raises(UnsupportedModelError, match="cannot run on the CPU"):
        Runner(models.compiled, fallback=True)
    with pytest.raises(UnsupportedModelError, match="cannot run on the CPU"):
        Runner(models.compiled.read_bytes(), fallback=True)


def test_a_device_lost_during_a_run_is_reported(
    models: Models, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_LOST_AFTER", "3")
    with Runner(models.compiled, "usb") as runner:
        for _ in range(3):
            runner.invoke(_INPUT)
        with pytest.raises(DeviceLostError, match="lost during a run") as lost:
            runner.invoke(_INPUT)
    assert "Edge TPU is not ready" in lost.value.why
    assert "--recover" in lost.value.fix
