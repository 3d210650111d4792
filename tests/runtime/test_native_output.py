# SPDX-License-Identifier: Apache-2.0
"""Known harmless lines of native libraries go to the log, all others to stderr."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from edgekit.runtime.native_output import chatter_logged


def test_harmless_messages_are_hidden_and_errors_are_forwarded(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "edgekit"), chatter_logged():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"ERROR: the device is gone\n")
    assert capfd.readouterr().err == "ERROR: the device is gone\n"
    assert "XNNPACK" in caplog.text


def test_stderr_is_restored_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with chatter_logged():
            os.write(2, b"the reason\n")
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "the reason\nlater\n"


def test_no_output_of_parallel_threads_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    def speak(number: int) -> None:
        for _ in range(20):
            with chatter_logged():
                os.write(2, b"line %d\n" % number)

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(capfd.readouterr().err.splitlines()) == 160
