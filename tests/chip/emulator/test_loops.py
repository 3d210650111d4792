# SPDX-License-Identifier: Apache-2.0
"""A program with a loop: the LSTM, whose scalar core iterates over the rows of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edgekit.chip.emulator import EdgeTpu
from edgekit.chip.isa import EmulationError
from edgekit.formats.tflite import read_model

pytestmark = pytest.mark.corpus

_LSTM = "google-coral__test_data/keras_lstm_mnist_ptq"
_STEPS, _UNITS, _SLOT = 28, 20, 24  # rows of an image, units, bytes of a step in scratch memory
_IMAGE, _HIDDEN, _CELL = "serving_default_x:0", "tfl.pseudo_qconst", "tfl.pseudo_qconst1"
_OUTPUT = "StatefulPartitionedCall:0"


class _Network:
    """The source's LSTM in float64, with the same rounding and limits as the program."""

    def __init__(self, path: Path) -> None:
        model = read_model(path.read_bytes())
        tensors, (lstm, dense) = (
            model.main.tensors,
            (model.main.operators[1], model.main.operators[3]),
        )

        def real(index: int) -> Any:  # noqa: ANN401
            tensor = tensors[index]
            scale = tensor.quantization.scale[0] if tensor.quantization else 1.0
            return np.asarray(model.data(tensor), np.float64) * scale

        self.inputs = [real(index) for index in lstm.inputs[1:5]]
        self.hidden = [real(index) for index in lstm.inputs[5:9]]
        self.bias = [real(index) for index in lstm.inputs[12:16]]
        self.dense, self.dense_bias = real(dense.inputs[1]), real(dense.inputs[2])
        output = tensors[lstm.outputs[0]].quantization
        logits = tensors[dense.outputs[0]].quantization
        assert output is not None
        assert logits is not None
        self.scale, self.logit_scale = output.scale[0], logits.scale[0]
        self.logit_zero = logits.zero_point[0]

    def _sum(self, value: Any) -> Any:  # noqa: ANN401
        """A gate's part: eight bits in steps of the output, so its maximum is just above 1."""
        return np.clip(np.rint(value / self.scale), -127, 128) * self.scale

    def states(self, image: Any) -> Any:  # noqa: ANN401
        """Return the LSTM's output after each row, as the chip's bytes."""
        hidden, cell, found = np.zeros(_UNITS), np.zeros(_UNITS), []
        for row in image / 255.0:
            gates = [
                self._sum(w @ row + b) + self._sum(u @ hidden)
                for w, u, b in zip(self.inputs, self.hidden, self.bias)
            ]
            update, forget, output = (
                np.clip(np.rint(256 / (1 + np.exp(-gates[k]))), 0, 255) / 256 for k in (0, 1, 3)
            )
            new = np.clip(np.rint(128 * np.tanh(gates[2])), -128, 127) / 128
            cell = np.rint((forget * cell + update * new) * 4096) / 4096
            steps = np.clip(np.rint(output * np.tanh(cell) / self.scale), -127, 128)
            hidden = steps * self.scale
            found.append(steps + 127)
        return np.array(found)

    def scores(self, states: Any) -> Any:  # noqa: ANN401
        """Return the softmax in steps of 1/256, from the bytes of `states`."""
        logits = self.dense @ ((states.reshape(-1) - 127.0) * self.scale) + self.dense_bias
        steps = np.clip(np.rint(logits / self.logit_scale) + self.logit_zero, -128, 127)
        powers = np.exp((steps - steps.max()) * self.logit_scale)
        return np.clip(np.rint(256 * powers / powers.sum()), 0, 255)


@pytest.fixture(scope="module")
def digits(corpus: Path) -> tuple[Any, Any]:
    """Return the first images of MNIST's test set and their labels."""
    with np.load(corpus / "mnist" / "mnist.npz") as archive:
        return archive["x_test"][:12], archive["y_test"][:12]


def _start(image: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        _IMAGE: image.reshape(1, _STEPS, 28),
        _HIDDEN: np.full((1, 1, _UNITS), -1, np.int8),
        _CELL: np.zeros((1, 1, _UNITS), np.int16),
    }


def test_every_step_of_the_lstm_is_within_three_of_float64(
    corpus: Path, load: Callable[..., Any], digits: tuple[Any, Any]
) -> None:
    chip = EdgeTpu(load(f"{_LSTM}_edgetpu.tflite"), strict_sync=True)
    network = _Network(corpus / "compiled" / f"{_LSTM}.tflite")
    right = 0
    for image, digit in zip(*digits):
        outputs = chip.invoke(_start(image))
        found = chip.state.output[: _STEPS * _SLOT].reshape(_STEPS, _SLOT)[:, :_UNITS].astype(int)
        assert np.abs(found - network.states(image)).max() <= 3
        scores = outputs[_OUTPUT].reshape(-1)
        assert np.abs(scores - network.scores(found)).max() <= 1
        assert np.array_equal(
            outputs[_HIDDEN + "_variable_output"].reshape(-1).astype(int) + 128, found[-1]
        )
        right += int(scores.argmax() == digit)
    assert right >= 11


@pytest.mark.parametrize("offset", [0, -55])  # to itself; to a transfer of the image
def test_a_loop_that_never_ends_stops(
    offset: int, load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    package = with_fields(
        load(f"{_LSTM}_edgetpu.tflite"),
        lambda each: each.layout.name == "branch" and each.pc == 761,
        offset=offset,
    )
    with pytest.raises(EmulationError, match="it executed") as caught:
        EdgeTpu(package)
    assert caught.value.where


def test_a_branch_into_an_instruction_stops_at_its_field(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    package = with_fields(
        load(f"{_LSTM}_edgetpu.tflite"), lambda each: each.layout.name == "branch", offset=2
    )
    with pytest.raises(EmulationError, match="a branch to pc 763") as caught:
        EdgeTpu(package)
    assert caught.value.where == "pc 761, branch, field offset"


def test_a_transfer_beyond_an_input_stops(
    load: Callable[..., Any], with_fields: Callable[..., Any]
) -> None:
    package = with_fields(
        load(f"{_LSTM}_edgetpu.tflite"),
        lambda each: each.layout.name == "alu" and each.pc == 713,
        alu_op=0,  # the offset of a row is no longer added
    )
    with pytest.raises(EmulationError, match="a transfer of bytes"):
        EdgeTpu(package)
