# SPDX-License-Identifier: Apache-2.0
"""Compiled code computes the bytes of numpy, and without numba numpy computes them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any, Callable

import numpy as np
import pytest

from edgekit.chip.arithmetic.requantize import Requantization
from edgekit.chip.arithmetic.spline import APPLY, ODD, REDUCE_RANGE, WIDE, Spline
from edgekit.chip.arithmetic.tables import EXP, LOGISTIC, RSQRT, TANH
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.kernels import (
    FILL,
    FROM_MESH,
    TO_MESH,
    TO_NARROW,
    TO_WIDE,
    compiled_kernels,
    runs_of,
)
from edgekit.chip.emulator.moves import Moves
from edgekit.chip.emulator.plan import Move
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.steps.fused import Fused, FusedProduct
from edgekit.chip.emulator.steps.mac import MacStep
from edgekit.confirm.networks import NetworkBuilder
from edgekit.formats.darwinn import Package
from edgekit.opencompiler.translate import translate_all

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
@pytest.mark.parametrize(
    ("spline", "nlu", "odd"),
    [
        (None, 0, 0),
        (None, WIDE, 0),
        (LOGISTIC.times(np.float32(256)), APPLY, 0),
        (EXP.times(np.float32(65535)), APPLY | WIDE, 0),
        (RSQRT.times(np.float32(46340)), APPLY | REDUCE_RANGE | WIDE, 0),
        (TANH.times(np.float32(127)), APPLY, ODD),
    ],
)
def test_compiled_code_rounds_and_looks_up_as_numpy_does(
    spline: Spline | None, nlu: int, odd: int
) -> None:
    least, number = (0.001 if nlu & REDUCE_RANGE else -9), 4096
    stage = Requantization(
        np.float32(-200), np.float32(70000), 3, nlu=nlu, spline=spline, is_odd=bool(odd)
    )
    scale = 1 if spline else 9000 if nlu else 30
    real = np.linspace(least, 9, number, dtype=np.float32) * scale
    multiplier = np.full((1, number), 0.75, np.float32)
    expected = stage.apply(real.copy(), multiplier[0])
    words = np.zeros((1, number), np.uint32)
    kernels = compiled_kernels()
    assert kernels is not None
    kernels.requantize(
        real.reshape(1, 1, 1, -1),
        np.zeros((1, number), np.float32),
        multiplier,
        Fused(stage).limits,
        words,
        np.zeros(1, np.int64),
        np.zeros((1, 1), np.int64),
    )
    assert len(np.unique(expected)) > 40
    assert words.view(np.uint8)[0, : expected.size].tobytes() == expected.tobytes()


@_NUMBA
def test_tiles_with_different_weights_share_the_addresses_of_compiled_code(
    random_inputs: Callable[..., Any],
) -> None:
    network = NetworkBuilder("dense", (300,))
    network.dense(700)
    ((_, made),) = translate_all([(network.model(), "dense")])
    plain, chip = (EdgeTpu(made.package, compiled=compiled) for compiled in (False, True))
    inputs = random_inputs(made.package.inference)
    for each in (plain, chip):
        each.invoke(inputs)
    assert chip.state.output.tobytes() == plain.state.output.tobytes()
    used: dict[int, list[FusedProduct]] = {}
    for step in chip.plan.steps:
        if isinstance(step, MacStep) and isinstance(step.compiled, FusedProduct):
            used.setdefault(id(step.layout), []).append(step.compiled)
    assert max(len(each) for each in used.values()) > 8
    for alike in used.values():
        assert len({(id(one.starts), id(one.where)) for one in alike}) == 1


@_NUMBA
def test_copies_that_are_joined_run_in_their_order() -> None:
    state = State()
    state.kernels, state.mesh = compiled_kernels(), np.zeros(2, np.uint32)
    at = np.array([5, 6])
    Moves(
        [
            Move(FILL, np.array([0xFFFFFFFF, 7]), at),
            Move(TO_MESH, at, np.array([1, 0])),
            Move(TO_WIDE, np.array([5, -1]), np.array([64, 65])),
            Move(FROM_MESH, np.array([0, 1]), at),
            Move(TO_NARROW, np.array([64, 65]), np.array([8, 9])),
        ]
    ).run(state)
    assert state.narrow_words[0, 5:10].tolist() == [7, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0]


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
