# SPDX-License-Identifier: Apache-2.0
"""Small models made by hand, so that the tests need only an interpreter."""

from __future__ import annotations

from typing import Callable

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model

_EMPTY = np.empty(0, np.uint8)


def classifier(side: int = 4, classes: int = 3) -> bytes:
    """(1, side, side, 3) floats; the score of class c is the mean of colour channel c."""
    pixels = side * side
    weights = np.zeros((classes, pixels * 3), np.float32)
    for index in range(classes):
        weights[index, index % 3 :: 3] = 1 / pixels
    return _dense(weights, (1, side, side, 3))


def linear(weights: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """A dense layer on a flattened input of ``shape``."""
    return _dense(np.asarray(weights, np.float32), shape)


def _dense(weights: np.ndarray, shape: tuple[int, ...]) -> bytes:
    flat = (1, weights.shape[1])
    tensors = (
        Tensor("image", shape, "FLOAT32", 0),
        Tensor("shape", (2,), "INT32", 1),
        Tensor("flat", flat, "FLOAT32", 0),
        Tensor("weights", weights.shape, "FLOAT32", 2),
        Tensor("scores", (1, len(weights)), "FLOAT32", 0),
    )
    operators = (
        Operator(
            "RESHAPE", 1, (0, 1), (2,), {"new_shape": flat}, "ReshapeOptions", builtin_code=22
        ),
        Operator(
            "FULLY_CONNECTED",
            1,
            (2, 3, -1),
            (4,),
            {"fused_activation_function": "NONE"},
            "FullyConnectedOptions",
            builtin_code=9,
        ),
    )
    buffers = (
        _EMPTY,
        np.frombuffer(np.array(flat, "<i4").tobytes(), np.uint8),
        np.frombuffer(weights.astype("<f4").tobytes(), np.uint8),
    )
    return write_model(Model((Subgraph(tensors, (0,), (4,), operators),), buffers))


def same(shape: tuple[int, ...]) -> bytes:
    """A network whose output is its input: RESHAPE to the same shape."""
    tensors = (
        Tensor("image", shape, "FLOAT32", 0),
        Tensor("shape", (len(shape),), "INT32", 1),
        Tensor("out", shape, "FLOAT32", 0),
    )
    operator = Operator(
        "RESHAPE", 1, (0, 1), (2,), {"new_shape": shape}, "ReshapeOptions", builtin_code=22
    )
    buffers = (_EMPTY, np.frombuffer(np.array(shape, "<i4").tobytes(), np.uint8))
    return write_model(Model((Subgraph(tensors, (0,), (2,), (operator,)),), buffers))


def accumulator() -> bytes:
    """Inputs (image, state), output state + image."""
    shape = (1, 2, 2, 3)
    tensors = tuple(Tensor(name, shape, "FLOAT32", 0) for name in ("image", "state", "state_out"))
    options = {"fused_activation_function": "NONE"}
    operator = Operator("ADD", 1, (0, 1), (2,), options, "AddOptions", builtin_code=0)
    return write_model(Model((Subgraph(tensors, (0, 1), (2,), (operator,)),), (_EMPTY,)))


@pytest.fixture
def make_accumulator() -> Callable[..., bytes]:
    """`accumulator`."""
    return accumulator


@pytest.fixture
def make_classifier() -> Callable[..., bytes]:
    """`classifier`."""
    return classifier


@pytest.fixture
def make_linear() -> Callable[..., bytes]:
    """`linear`."""
    return linear


@pytest.fixture
def make_same() -> Callable[..., bytes]:
    """`same`."""
    return same
