# SPDX-License-Identifier: Apache-2.0
"""A Runner with a time limit: its device is used in a process that is ended when it hangs."""

from __future__ import annotations

import gc
import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DeviceError, DeviceLostError
from edgekit.runtime import Runner
from edgekit.runtime.device_process import abandoned
from tests.runtime.edgetpu.conftest import Models

_INPUT = np.array([[1, 20, 30, -40]], np.int8)
_OUTPUT = [1, 21, 31]
_SECONDS = 1.5  # a busy machine takes a few tenths for what does not hang


@pytest.fixture
def log(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in's events; its faults begin after the trial."""
    assert library.is_file()
    gc.collect()  # delegates of other tests would end, and write, during this one
    monkeypatch.setenv("STANDIN_LOG", str(tmp_path / "events"))
    monkeypatch.setenv("STANDIN_ARMED", str(tmp_path / "armed"))
    return tmp_path / "events"


def _processes(log: Path) -> list[int]:
    """The processes that used the library, in order; the first is that of the trial."""
    return list(dict.fromkeys(int(line.split()[0]) for line in log.read_text().splitlines()))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("step", ["load", "create", "prepare"])
def test_a_device_that_hangs_when_it_is_opened_after_the_trial_is_an_error(
    models: Models, log: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setenv("STANDIN_HANG", step)
    with pytest.raises(DeviceError) as refused:
        Runner(models.compiled, "usb", timeout_s=_SECONDS)
    assert refused.value.code == "device.hung"
    assert "within 1.5 s: opening it was abandoned" in refused.value.what
    trial, used = _processes(log)
    assert os.getpid() not in (trial, used)
    assert not _is_running(used)


def test_after_an_inference_that_hangs_the_device_can_be_opened_again(
    models: Models, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_HANG", "invoke")
    with Runner(models.compiled, "usb", timeout_s=_SECONDS) as runner:
        with pytest.raises(DeviceError, match="the inference was abandoned") as refused:
            runner.invoke(_INPUT)
        with pytest.raises(DeviceError, match="has ended"):
            runner.invoke(_INPUT)
    assert "nothing of this command holds the device" in refused.value.why
    assert not any(map(_is_running, _processes(log)))
    monkeypatch.setenv("STANDIN_HANG", "")
    with Runner(models.compiled, "usb", timeout_s=_SECONDS) as runner:
        assert runner.invoke(_INPUT)[0].tolist() == [_OUTPUT]


def test_a_device_that_hangs_when_it_is_closed_is_abandoned_with_a_warning(
    models: Models, log: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STANDIN_HANG", "destroy")
    known = len(abandoned())
    with caplog.at_level(logging.WARNING, "edgekit.device"), Runner(
        models.compiled, "usb", timeout_s=_SECONDS
    ) as runner:
        assert runner.invoke(_INPUT)[0].tolist() == [_OUTPUT]
    (text,) = abandoned()[known:]
    assert "closing it was abandoned" in text
    assert text in caplog.text
    assert not any(map(_is_running, _processes(log)))


def test_a_crash_is_a_lost_device_that_can_be_opened_again(
    models: Models, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not log.exists()
    monkeypatch.setenv("STANDIN_CRASH", "invoke")
    with Runner(models.compiled, "usb", timeout_s=_SECONDS) as runner, pytest.raises(
        DeviceLostError, match=r"ended its process \(SIGSEGV\) during a call: the inference"
    ):
        runner.invoke(_INPUT)


def test_runners_of_a_process_share_the_device_and_take_turns(models: Models, log: Path) -> None:
    answers: list[list[int]] = []

    def use(runner: Runner) -> None:
        answers.extend(runner.invoke(_INPUT)[0].tolist()[0] for _ in range(20))

    with Runner(models.compiled, "usb", timeout_s=20) as first, Runner(
        models.compiled, "usb", timeout_s=20
    ) as second, first.clone() as third:
        threads = [threading.Thread(target=use, args=(each,)) for each in (first, second, third)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        second.close()
        assert first.invoke(_INPUT)[0].tolist() == [_OUTPUT]
    assert answers == [_OUTPUT] * 60
    assert len(_processes(log)) == 2
    assert not any(map(_is_running, _processes(log)))


def test_outputs_are_copies_and_a_repeated_inference_has_the_same(
    models: Models, log: Path
) -> None:
    assert not log.exists()
    with Runner(models.compiled, "usb", timeout_s=20) as runner:
        (answer,) = runner.invoke(_INPUT)
        answer[:] = 0
        runner.reinvoke()
        assert runner.invoke(_INPUT)[0].tolist() == [_OUTPUT]
        assert [each.name for each in (*runner.inputs, *runner.outputs)] == ["x", "y"]
        assert runner.inputs[0].params == runner.outputs[0].params
        assert "adds about" in runner.environment.kernels_note
