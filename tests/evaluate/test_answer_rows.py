# SPDX-License-Identifier: Apache-2.0
"""Models whose outputs have another first dimension than their inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError
from edgekit.evaluate import evaluate
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model


def test_one_row_of_scores_for_a_batch_is_refused(tmp_path: Path) -> None:
    tensors = (
        Tensor("x", (7, 3), "FLOAT32", 0),
        Tensor("y", (1, 21), "FLOAT32", 0),
        Tensor("shape", (2,), "INT32", 1),
    )
    options = {"new_shape": (1, 21)}
    reshape = Operator("RESHAPE", 1, (0, 2), (1,), options, "ReshapeOptions")
    buffers = (np.empty(0, np.uint8), np.array([1, 21], np.int32).view(np.uint8))
    model = Model((Subgraph(tensors, (0,), (1,), (reshape,)),), buffers)
    (tmp_path / "model.tflite").write_bytes(write_model(model))
    np.savez(str(tmp_path / "d.npz"), x=np.zeros((3, 3), np.float32), y=np.zeros(3, np.int64))
    with pytest.raises(UnsupportedModelError, match="expected 7 rows"):
        evaluate(tmp_path / "model.tflite", tmp_path / "d.npz", task="classification")
