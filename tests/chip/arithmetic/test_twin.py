# SPDX-License-Identifier: Apache-2.0
"""The twin against programs of Google's compiler: all outputs, and softmaxes of many spreads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if sys.version_info < (3, 10):
    pytest.skip("scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.arithmetic.tables import EXP, LOGISTIC, RSQRT, TANH
from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.emulator.layers import Recorder, find_layer, multipliers_of
from edgekit.chip.isa import decode
from edgekit.formats.darwinn import Executable, read_packages
from edgekit.formats.tflite import Model, read_model
from edgekit.formats.tflite.part import between

pytestmark = pytest.mark.corpus

# Softmax on the tiles, on the scalar core, and over 16,384 values; LOGISTIC.
_NAMES = [
    "google-coral__test_data/mobilenet_v1_0.25_128_quant",
    "google-coral__edgetpu/mobilenet_v1_0.25_128_quant",
    "ricardodeazambuja__LibrEdgeTPU/bright_16x16",
    "ricardodeazambuja__LibrEdgeTPU/color_blue_128x128",
    "google-coral__coralmicro/yamnet_spectra_in",
    pytest.param(
        "google-coral__test_data/movenet_single_pose_lightning_ptq", marks=pytest.mark.slow
    ),
]


def _chip_and_part(corpus: Path, name: str) -> tuple[EdgeTpu, Model]:
    """The program, and the operators of the source that it contains."""
    folder = corpus / "compiled"
    source = read_model((folder / f"{name}.tflite").read_bytes())
    compiled = read_model((folder / f"{name}_edgetpu.tflite").read_bytes())
    chip = EdgeTpu(read_packages(compiled)[0].package)
    names = {tensor.name: index for index, tensor in enumerate(source.main.tensors)}
    inputs, outputs = chip.executable.input_layers, chip.executable.output_layers
    part = between(
        source, [names[each.name] for each in inputs], [names[each.name] for each in outputs]
    )
    assert part is not None
    return chip, part


def _feeds(executable: Executable, spread: int, seed: int) -> dict[str, Any]:
    """Values of which ``spread`` neighbouring ones occur."""
    random, feeds = np.random.default_rng(seed), {}
    for layer in executable.input_layers:
        lowest = int(random.integers(0, 257 - spread))
        shape = (layer.y_dim, layer.x_dim, layer.z_dim)
        raw = (lowest + random.integers(0, spread, shape)).astype(np.uint8)
        signed = layer.data_type.name.startswith("SIGNED")
        feeds[layer.name] = raw.view(np.int8) if signed else raw
    return feeds


@pytest.mark.parametrize("name", _NAMES)
def test_every_output_of_a_program_is_the_twin_s(name: str, corpus: Path) -> None:
    chip, part = _chip_and_part(corpus, name)
    feeds = _feeds(chip.executable, 256, 0)
    outputs = chip.invoke(feeds)
    tensors = part.main.tensors
    made = {tensors[i].name: v for _, i, v in run_twin(part, feeds, multipliers_of(chip))}
    assert set(outputs) <= set(made)
    for key, found in outputs.items():
        sign = np.uint8(0x80 if found.dtype == np.int8 else 0)
        assert np.array_equal(found.view(np.uint8).reshape(-1) ^ sign, made[key].reshape(-1))


@pytest.mark.parametrize("spread", [256, 20, 6, 2])
def test_a_softmax_on_the_tiles_is_the_twin_s_for_every_contrast(spread: int, corpus: Path) -> None:
    chip, part = _chip_and_part(corpus, "ricardodeazambuja__LibrEdgeTPU/bright_16x16")
    recorder = Recorder()
    chip.state.observer = recorder
    feeds = _feeds(chip.executable, spread, spread)
    chip.invoke(feeds)
    (made,) = (
        values
        for number, _, values in run_twin(part, feeds)
        if part.main.operators[number].opcode == "SOFTMAX"
    )
    assert made.max() > 0
    assert find_layer(recorder, 0, made)


def test_every_step_of_the_lstm_is_the_twin_s(corpus: Path) -> None:
    """Digits from a zero state, and random images from random states."""
    path = corpus / "compiled" / "google-coral__test_data" / "keras_lstm_mnist_ptq"
    source = read_model(path.with_suffix(".tflite").read_bytes())
    compiled = read_model(path.with_name(f"{path.name}_edgetpu.tflite").read_bytes())
    chip = EdgeTpu(read_packages(compiled)[0].package)
    random, (_, *states) = np.random.default_rng(0), chip.executable.input_layers
    with np.load(corpus / "mnist" / "mnist.npz") as archive:
        images = [*archive["x_test"][:5], *random.integers(0, 256, (3, 28, 28))]
    for number, image in enumerate(images):
        feeds: dict[str, Any] = {"serving_default_x:0": image.reshape(1, 28, 28).astype(np.uint8)}
        for state, zero in zip(states, (-1, 0), strict=True):
            shape = (state.y_dim, state.x_dim, state.z_dim)
            dtype: Any = np.int8 if state.data_type.item_bytes == 1 else np.int16
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max + 1
            drawn = random.integers(low, high, shape) if number >= 5 else np.full(shape, zero)
            feeds[state.name] = drawn.astype(dtype)
        (scores,) = (each for each in chip.invoke(feeds).values() if each.size == 10)
        slots = chip.state.output[: 28 * 24].reshape(28, 24)  # 20 units of each step
        made = [values for _, _, values in run_twin(source, feeds)]
        assert np.array_equal(made[1].reshape(28, 20), slots[:, :20])
        assert np.array_equal(made[-1].reshape(-1), scores.reshape(-1))


def test_every_table_in_a_program_is_one_of_the_twin_s(corpus: Path) -> None:
    """Scales 1/256 and 1/255 of LOGISTIC, 1/127.5 and 1/16383.5 of TANH, and those of softmax."""
    one = np.float32(1)
    known = {
        _bits(table.times(np.float32(factor)))
        for table, factors in (
            (LOGISTIC, (256, one / np.float32(1 / 255))),
            (TANH, (one / np.float32(1 / 127.5), 16383.5)),
            (EXP, (65535,)),
            (RSQRT, (46340,)),
        )
        for factor in factors
    }
    found = set()
    for name in ("test_data/keras_lstm_mnist_ptq", "coralmicro/yamnet_spectra_in"):
        path = corpus / "compiled" / f"google-coral__{name}_edgetpu.tflite"
        for each in read_packages(read_model(path.read_bytes())):
            for chunk in each.package.inference.instruction_bitstreams:
                found |= {
                    tuple(instruction[f"c{k}"] for k in range(40))
                    + tuple(instruction[f"b{k}"] for k in range(7))
                    for instruction in decode(chunk.bitstream.tobytes())
                    if instruction.layout.name == "nlu.load"
                }
    assert found == known


def _bits(table: Any) -> tuple[int, ...]:  # noqa: ANN401
    numbers = np.concatenate([table.coefficients.reshape(-1), table.breaks])
    return tuple(numbers.astype(np.float32).view(np.uint32).tolist())
