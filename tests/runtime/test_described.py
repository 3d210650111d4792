# SPDX-License-Identifier: Apache-2.0
"""A Runner whose model another process has loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import DeviceLostError
from edgekit.runtime import Runner, RunnerOptions
from edgekit.runtime.described import DescribedRunner, Description


def test_after_the_loss_of_a_device_the_other_process_runs_the_model_again(int8_path: Path) -> None:
    there = Runner(int8_path)
    raw = np.zeros(there.inputs[0].shape, there.inputs[0].dtype)
    calls: list[int] = []

    def invoke(inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        calls.append(len(inputs))
        if len(calls) == 1:
            raise DeviceLostError("the Edge TPU was lost")
        return there.invoke(*inputs)

    options = RunnerOptions(recover=True)
    with there, DescribedRunner(int8_path, options, Description.of(there), invoke) as here:
        (output,) = here.invoke(raw)
        assert np.array_equal(output, there.invoke(raw)[0])
    assert calls == [1, 1]


def test_without_recover_the_loss_is_an_error(int8_path: Path) -> None:
    def invoke(_inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        raise DeviceLostError("the Edge TPU was lost")

    with Runner(int8_path) as there:
        info, description = there.inputs[0], Description.of(there)
    here = DescribedRunner(int8_path, RunnerOptions(), description, invoke)
    with here, pytest.raises(DeviceLostError, match="was lost"):
        here.invoke(np.zeros(info.shape, info.dtype))
