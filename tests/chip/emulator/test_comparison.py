# SPDX-License-Identifier: Apache-2.0
"""A program against its source: what is equal, and what another source shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.errors import DataError, UsageError
from edgekit.formats.tflite import Model, read_model, write_model
from tests.command import edgekit as run_edgekit


@pytest.fixture
def compiled(int8_path: Path) -> Path:
    """The small network, compiled by edgekit's own compiler."""
    (made,) = edgekit.compile([int8_path], out_dir=int8_path.parent, compiler="edgekit").models
    return Path(made.output)


def _with_other_weights(model: Model) -> bytes:
    """The same network with one byte of a convolution's weights changed."""
    operator = next(each for each in model.main.operators if each.opcode == "CONV_2D")
    buffers = list(model.buffers)
    index = model.main.tensors[operator.inputs[1]].buffer
    weights = buffers[index].copy()
    weights[0] ^= 0x40
    buffers[index] = weights
    return write_model(replace(model, buffers=tuple(buffers)))


def test_a_runner_says_how_much_of_the_program_equals_its_source(
    int8_path: Path, compiled: Path
) -> None:
    with edgekit.Runner(compiled, "emulator", source=int8_path) as runner:
        note = runner.environment.kernels_note
    assert "3 of 3 layers equal the source's" in note
    assert "0 of 5 output values differ" in note


def test_emulate_against_the_source_and_against_other_weights(
    int8_path: Path, compiled: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image.npy"
    np.save(image, np.full((1, 8, 8, 1), 9, np.uint8))
    done = run_edgekit("emulate", compiled, image, "--source", int8_path)
    assert done.returncode == 0, done.stderr
    assert "outputs    all 5 values equal the source's (1 of 1 outputs)" in done.stdout
    other = tmp_path / "other.tflite"
    other.write_bytes(_with_other_weights(read_model(int8_path.read_bytes())))
    done = run_edgekit("emulate", compiled, image, "--source", other)
    assert done.returncode == 4
    assert "not found  CONV_2D" in done.stdout


def _renamed(model: Model, output_shape: tuple[int, ...] | None = None) -> bytes:
    """The model with other names, and another shape of its output if one is given."""
    (output,) = model.main.outputs
    tensors = [replace(each, name=f"other_{each.name}") for each in model.main.tensors]
    tensors[output] = replace(tensors[output], shape=output_shape or tensors[output].shape)
    main = replace(model.main, tensors=tuple(tensors))
    return write_model(replace(model, subgraphs=(main,)))


def test_ends_with_other_names_are_paired_by_their_shapes(int8_path: Path, compiled: Path) -> None:
    source = _renamed(read_model(int8_path.read_bytes()))
    with edgekit.Runner(compiled, "emulator", source=source) as runner:
        assert "3 of 3 layers equal the source's" in runner.environment.kernels_note
        assert "0 of 5 output values differ" in runner.environment.kernels_note


def test_a_source_of_another_network_is_refused(int8_path: Path, compiled: Path) -> None:
    source = _renamed(read_model(int8_path.read_bytes()), (1, 7))
    with pytest.raises(DataError, match="was not compiled from this source"):
        edgekit.Runner(compiled, "emulator", source=source)


def test_a_compiled_source_is_refused(compiled: Path) -> None:
    with pytest.raises(DataError, match="the source is compiled itself"):
        edgekit.Runner(compiled, "emulator", source=compiled)


def test_a_source_is_for_the_emulator_only(int8_path: Path) -> None:
    with pytest.raises(UsageError, match="in the emulator only"):
        edgekit.Runner(int8_path, "cpu", source=int8_path)
