# SPDX-License-Identifier: Apache-2.0
"""If TensorFlow's quantizer fails without a reason, the error still names the operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.errors import ExternalToolError, UnsupportedModelError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, read_model, write_model
from edgekit.host.convert import convert
from edgekit.host.convert.suspect import Batches, with_suspect

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]


def _lstm() -> Model:
    """TANH, a fused LSTM of 4 units over 3 steps as float conversion writes it, and TANH again."""
    random = np.random.default_rng(1)
    shapes = [(4, 2)] * 4 + [(4, 4)] * 4 + [(4,)] * 4
    arrays = [random.normal(0, 0.3, shape).astype(np.float32) for shape in shapes]
    buffers = [np.empty(0, np.uint8), *(np.frombuffer(a.tobytes(), np.uint8) for a in arrays)]
    tensors = [
        Tensor("x", (1, 3, 2), "FLOAT32", 0),
        Tensor("bent", (1, 3, 2), "FLOAT32", 0),
        *(Tensor(f"net/lstm/w{i}", a.shape, "FLOAT32", i + 1) for i, a in enumerate(arrays)),
        Tensor("net/lstm/state", (1, 4), "FLOAT32", 0, is_variable=True),
        Tensor("net/lstm/cell", (1, 4), "FLOAT32", 0, is_variable=True),
        Tensor("net/lstm/out", (1, 3, 4), "FLOAT32", 0),
        Tensor("y", (1, 3, 4), "FLOAT32", 0),
    ]
    weights = tuple(range(2, 10)), tuple(range(10, 14))
    inputs = (1, *weights[0], -1, -1, -1, *weights[1], -1, -1, 14, 15, -1, -1, -1, -1)
    options = {"time_major": False, "fused_activation_function": "TANH"}
    kind = "UnidirectionalSequenceLSTMOptions"
    operators = (
        Operator("TANH", 1, (0,), (1,)),
        Operator("UNIDIRECTIONAL_SEQUENCE_LSTM", 1, inputs, (16,), options, kind),
        Operator("TANH", 1, (16,), (17,)),
    )
    return Model((Subgraph(tuple(tensors), (0,), (17,), operators),), tuple(buffers))


def test_a_fused_lstm_is_calibrated_inside_and_maps(tmp_path: Path) -> None:
    path, output = tmp_path / "lstm.tflite", tmp_path / "int8.tflite"
    path.write_bytes(write_model(_lstm()))
    random = np.random.default_rng(0)
    data = random.normal(size=(100, 3, 2)).astype(np.float32)
    np.savez(str(tmp_path / "data.npz"), x=data)
    result = convert(path, data=tmp_path / "data.npz", num_samples=80, output=output)
    assert result.agreement is not None
    assert result.agreement.verdict == "not shown"
    verdicts = {each.opcode: each.verdict for each in edgekit.check(output).operators}
    assert verdicts["UNIDIRECTIONAL_SEQUENCE_LSTM"] == "tpu"


def test_the_operator_that_a_message_names_is_the_suspect() -> None:
    why = "RuntimeError: Node number 1 (UNIDIRECTIONAL_SEQUENCE_LSTM) failed to prepare."
    error = ExternalToolError("TensorFlow failed while calibrating", where="net.tflite", why=why)

    def never(_part: bytes, _batches: Batches, _seconds: float) -> None:
        raise AssertionError("the message names the operator")

    found = with_suspect(error, write_model(_lstm()), never)
    assert "operator 1 UNIDIRECTIONAL_SEQUENCE_LSTM, layer net/lstm" in str(found)
    assert "recurrent" in found.fix


def test_a_failure_without_a_message_is_bisected() -> None:
    """The function fails at the same operators as the quantizer, but without a message."""
    content = write_model(_lstm())
    seen = []

    def quantize(part: bytes, batches: Batches, seconds: float) -> None:
        operators = [op.opcode for op in read_model(part).main.operators]
        (arrays,) = batches()
        assert [array.shape for array in arrays] == [(1, 3, 2)]
        assert seconds > 0
        seen.append(len(operators))
        if "UNIDIRECTIONAL_SEQUENCE_LSTM" in operators:
            raise ExternalToolError("TensorFlow was ended by SIGSEGV")

    error = UnsupportedModelError("TensorFlow failed", where="net.tflite", why="RuntimeError")
    found = with_suspect(error, content, quantize)
    assert "operator 1 UNIDIRECTIONAL_SEQUENCE_LSTM" in found.what
    assert found.where == "net.tflite"
    assert seen == [3, 1, 2]


def test_a_failure_that_random_numbers_do_not_repeat_is_not_changed() -> None:
    error = UnsupportedModelError("TensorFlow failed", why="RuntimeError")
    assert with_suspect(error, write_model(_lstm()), lambda *_: None) is error
