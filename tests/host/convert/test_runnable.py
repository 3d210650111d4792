# SPDX-License-Identifier: Apache-2.0
"""Float models that the interpreter cannot run are refused, before calibration crashes on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model
from edgekit.host.convert.conversion import convert

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]


def test_a_model_whose_shapes_contradict_each_other_is_refused(tmp_path: Path) -> None:
    """TensorFlow's calibrator ends with SIGSEGV on it (2.21); the interpreter gives a reason."""
    tensors = (
        Tensor("size", (4,), "INT32", 1),
        Tensor("weights", (4, 3, 3, 3), "FLOAT32", 2),
        Tensor("x", (1, 7, 16, 3), "FLOAT32", 0),
        Tensor("y", (1, 14, 32, 4), "FLOAT32", 0),
    )
    options = {"padding": "VALID", "stride_w": 2, "stride_h": 2}
    operator = Operator("TRANSPOSE_CONV", 1, (0, 1, 2), (3,), options, "TransposeConvOptions")
    size = np.array([1, 14, 32, 4], np.int32).view(np.uint8)
    buffers = (np.empty(0, np.uint8), size, np.zeros(4 * 27 * 4, np.uint8))
    path = tmp_path / "float.tflite"
    path.write_bytes(write_model(Model((Subgraph(tensors, (2,), (3,), (operator,)),), buffers)))
    with pytest.raises(UnsupportedModelError, match="the float model cannot run") as caught:
        convert(path, data="random", output=tmp_path / "out.tflite")
    assert "TRANSPOSE_CONV" in caught.value.why


def test_a_network_whose_weights_are_nan_is_refused_by_that_reason(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    source = keras.Input((4,))
    dense = keras.layers.Dense(3)
    model = keras.Model(source, keras.layers.Dense(2)(dense(source)))
    dense.set_weights([np.full((4, 3), np.nan), np.zeros(3)])
    with pytest.raises(UnsupportedModelError, match="12 of 12 weights are NaN") as caught:
        convert(model, data="random", output=tmp_path / "out.tflite")
    assert "training failed" in caught.value.why
    assert not (tmp_path / "out.tflite").exists()
