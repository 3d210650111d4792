# SPDX-License-Identifier: Apache-2.0
"""A damaged file is an error with a reason, never a crash, a hang or a guess."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import InputError, ModelFormatError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, read_model, write_model

_EMPTY = np.empty(0, np.uint8)


def _model(*operators: Operator, **change: Any) -> Model:  # noqa: ANN401
    tensors = tuple(Tensor(name, (1, 2), "UINT8", 0) for name in "abc")
    model = Model((Subgraph(tensors, (0,), (2,), operators),), (_EMPTY,))
    return replace(model, **change)


def _relu(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Operator:
    return Operator("RELU", 1, inputs, outputs)


def mutations(content: bytes, count: int, seed: int) -> list[bytes]:
    """Yield ``count`` damaged copies: truncated, or with changed bytes, mostly in tables."""
    source = random.Random(seed)
    damaged = []
    for index in range(count):
        copy = bytearray(content)
        if index % 4 == 0:
            copy = copy[: source.randrange(len(copy))]
        for _ in range(source.choice((1, 3, 20, 200)) if copy else 0):
            # The tables are at the two ends of a file; a change in weights is not damage.
            place = source.choice((source.randrange(4096), -1 - source.randrange(16384)))
            copy[place % len(copy)] = source.choice((0, 1, 127, 128, 255, source.randrange(256)))
        damaged.append(bytes(copy))
    return damaged


def _survives(content: bytes) -> bool:
    try:
        read_model(content)
    except ModelFormatError as error:
        if not error.what:
            raise
        return False
    return True


def test_a_thousand_damaged_copies_of_a_small_model_give_a_model_or_an_error() -> None:
    content = write_model(_model(_relu((0,), (1,)), _relu((1,), (2,))))
    outcomes = [_survives(each) for each in mutations(content, 1000, seed=1)]
    assert 0 < sum(outcomes) < 1000


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name", ["mobilenet_v1_0.25_128_quant", "keras_lstm_mnist_ptq", "split_concat_edgetpu"]
)
def test_a_thousand_damaged_copies_of_a_real_model_give_a_model_or_an_error(
    corpus: Path, name: str
) -> None:
    content = (corpus / "compiled" / "google-coral__test_data" / f"{name}.tflite").read_bytes()
    outcomes = [_survives(each) for each in mutations(content, 1000, seed=2)]
    assert sum(outcomes) < 1000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "Keras HDF5"),
        (b"PK\x03\x04" + bytes(64), "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x00" * 64, "expected b'TFL3'"),
    ],
)
def test_the_error_for_another_file_names_its_format(content: bytes, says: str) -> None:
    with pytest.raises(ModelFormatError) as caught:
        read_model(content)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_model(_relu((7,), (2,))), "an input tensor does not exist"),
        (_model(_relu((0,), (9,))), "an output tensor does not exist"),
        (_model(_relu((1,), (2,))), "reads tensor [1] before any operator has written it"),
        (
            _model(
                Operator(
                    "MAX_POOL_2D", 1, (0,), (2,), {"stride_w": 0, "stride_h": 1}, "Pool2DOptions"
                )
            ),
            "stride_w is 0",
        ),
        (_model(_relu((0,), (2,)), metadata={"x": 5}), "buffer 5 does not exist"),
        (_model(subgraphs=()), "no subgraph"),
    ],
)
def test_values_that_an_interpreter_does_not_check_are_checked(model: Model, says: str) -> None:
    with pytest.raises(ModelFormatError) as caught:
        read_model(write_model(model))
    assert says in str(caught.value)


def test_a_constant_of_the_wrong_size_is_found() -> None:
    tensors = (Tensor("a", (1, 2), "UINT8", 0), Tensor("w", (3,), "INT32", 1))
    model = Model((Subgraph(tensors, (0,), (0,), ()),), (_EMPTY, np.zeros(5, np.uint8)))
    with pytest.raises(ModelFormatError, match=r"5 bytes, shape \(3,\) needs 12"):
        read_model(write_model(model))


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the model: No such file"):
        read_model(tmp_path / "none.tflite")


def test_the_error_of_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\xff" * 50)
    with pytest.raises(ModelFormatError) as caught:
        read_model(path)
    assert str(path) in caught.value.where


@pytest.mark.parametrize(
    ("opcode", "inputs", "words"),
    [("CONV_2D", (0,), "1 inputs"), ("FULLY_CONNECTED", (0, 0), "expected 2 dimensions")],
)
def test_an_operator_without_its_weights_is_damaged(
    opcode: str, inputs: tuple[int, ...], words: str
) -> None:
    tensors = (Tensor("x", (1, 2, 2, 1), "INT8", 0), Tensor("y", (1, 4), "INT8", 0))
    graph = Subgraph(tensors, (0,), (1,), (Operator(opcode, 1, inputs, (1,)),))
    content = write_model(Model((graph,), (np.empty(0, np.uint8),)))
    with pytest.raises(ModelFormatError, match=words):
        read_model(content)
