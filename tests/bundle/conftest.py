# SPDX-License-Identifier: Apache-2.0
"""A small classifier, written by hand so that no TensorFlow is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model


def _classifier(seed: int) -> bytes:
    """Scores of 3 classes from the 12 values of an image of 2 by 2 pixels in RGB."""
    weights = np.random.default_rng(seed).integers(-127, 128, (3, 12)).astype(np.int8)
    pixels, scores = Quantization((1 / 255,), (-128,)), Quantization((0.5,), (0,))
    small, shape = Quantization((0.01,), (0,)), np.array([1, 12], np.int32)
    reshape = Operator("RESHAPE", 1, (0, 1), (2,), {"new_shape": (1, 12)}, "ReshapeOptions")
    options = {"fused_activation_function": "NONE"}
    dense = Operator("FULLY_CONNECTED", 4, (2, 3, -1), (4,), options, "FullyConnectedOptions")
    graph = Subgraph(
        tensors=(
            Tensor("image", (1, 2, 2, 3), "INT8", 0, pixels),
            Tensor("shape", (2,), "INT32", 1),
            Tensor("flat", (1, 12), "INT8", 0, pixels),
            Tensor("weights", (3, 12), "INT8", 2, small),
            Tensor("scores", (1, 3), "INT8", 0, scores),
        ),
        inputs=(0,),
        outputs=(4,),
        operators=(reshape, dense),
    )
    constants = (shape.view(np.uint8), weights.view(np.uint8).ravel())
    return write_model(Model((graph,), (np.empty(0, np.uint8), *constants)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A plain int8 classifier without metadata."""
    path = tmp_path / "net.tflite"
    path.write_bytes(_classifier(1))
    return path


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    """The same network with other weights."""
    path = tmp_path / "other.tflite"
    path.write_bytes(_classifier(2))
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Names of its three classes."""
    path = tmp_path / "names.txt"
    path.write_text("cat\ndog\nhorse\n")
    return path
