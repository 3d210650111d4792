# SPDX-License-Identifier: Apache-2.0
"""Compiled code computes the bytes of numpy, and without numba numpy computes them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any, Callable

import numpy as np
import pytest

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.kernels import compiled_kernels, runs_of
from edgekit.formats.darwinn import Package

_NUMBA = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is missing")
_PROGRAMS = [
    "google-coral__test_data/mobilenet_v1_0.25_128_quant_edgetpu.tflite",
    "google-coral__edgetpu/mobilenet_v2_1.0_224_inat_bird_quant_edgetpu.tflite",
    "google-coral__test_data/deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite",
    "google-coral__test_data/movenet_single_pose_lightning_ptq_edgetpu.tflite",
    "google-coral__test_data/keras_lstm_mnist_ptq_edgetpu.tflite",
    "google-coral__test_data/split_concat_edgetpu.tflite",
    "ricardodeazambuja__LibrEdgeTPU/looming_128x128_3x3_edgetpu.tflite",
]
_BLOCKED = """
import sys
sys.modules["numba"] = None  # its import raises ModuleNotFoundError
from edgekit.chip.emulator.kernels import compiled_kernels
print(compiled_kernels())
"""


@_NUMBA
@pytest.mark.corpus
@pytest.mark.parametrize("path", _PROGRAMS)
def test_compiled_code_leaves_the_same_bytes_as_numpy(
    path: str, load: Callable[[str], Package], random_inputs: Callable[..., Any]
) -> None:
    package = load(path)
    chips = [EdgeTpu(package, compiled=compiled) for compiled in (False, True)]
    assert [chip.state.kernels is not None for chip in chips] == [False, True]
    inputs = random_inputs(package.inference)
    for _ in range(2):
        for chip in chips:
            chip.invoke(inputs)
        plain, fast = (chip.state for chip in chips)
        assert fast.output.tobytes() == plain.output.tobytes()
        assert fast.narrow.tobytes() == plain.narrow.tobytes()
        assert fast.scalar.tobytes() == plain.scalar.tobytes()


@_NUMBA
def test_numba_is_used_where_it_is_installed() -> None:
    assert compiled_kernels() is not None


def test_without_numba_there_is_no_compiled_code() -> None:
    done = subprocess.run([sys.executable, "-c", _BLOCKED], check=True, stdout=subprocess.PIPE)
    assert done.stdout == b"None\n"


def test_addresses_are_split_into_runs_of_one_length() -> None:
    starts, length = runs_of(np.array([0, 1, 2, 3, 10, 11, 20, 21, 22, 23]), 1, 10)
    assert (starts.tolist(), length) == ([0, 2, 10, 20, 22], 2)
    starts, length = runs_of(np.arange(0, 96, 4), 4, 32)
    assert (starts.tolist(), length) == ([0, 32, 64], 32)
