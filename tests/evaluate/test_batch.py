# SPDX-License-Identifier: Apache-2.0
"""A larger batch returns the same for each row as the row alone, or is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError
from edgekit.evaluate import evaluate
from edgekit.evaluate.batch import with_batch
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, read_model, write_model
from edgekit.runtime import Runner

_EMPTY = np.empty(0, np.uint8)


def _run(model: Model, rows: np.ndarray, kernels: str) -> np.ndarray:
    with Runner(write_model(model), kernels=kernels) as runner:
        size = runner.inputs[0].shape[0]
        return np.concatenate(
            [runner.invoke(part)[0] for part in np.split(rows, len(rows) // size)]
        )


@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_rows_of_a_batch_equal_single_rows(
    int8_model: Model, float_model: Model, kernels: str
) -> None:
    random = np.random.default_rng(3)
    for model, rows in (
        (int8_model, random.integers(0, 256, (12, 8, 8, 1), np.uint8)),
        (float_model, random.random((12, 8, 8, 1)).astype(np.float32)),
    ):
        copy = with_batch(model, 4)
        assert copy is not None
        assert copy.main.tensors[copy.main.outputs[0]].shape == (4, 5)
        np.testing.assert_array_equal(_run(copy, rows, kernels), _run(model, rows, kernels))


def test_the_original_is_not_changed(int8_model: Model) -> None:
    before = write_model(int8_model)
    with_batch(int8_model, 8)
    assert write_model(int8_model) == before


def _unary(opcode: str, options: dict[str, object], kind: str, **change: object) -> Model:
    tensors = (Tensor("x", (1, 4), "FLOAT32", 0), Tensor("y", (1, 4), "FLOAT32", 0))
    operator = replace(Operator(opcode, 1, (0,), (1,), options, kind), **change)  # type: ignore[arg-type] # a test double
    return Model((Subgraph(tensors, (0,), (1,), (operator,)),), (_EMPTY,))


@pytest.mark.parametrize(
    "model",
    [
        _unary("CONCATENATION", {"axis": 0}, "ConcatenationOptions"),
        _unary("CUSTOM", {}, "NONE", custom_code="Mine"),
        _unary("CUMSUM", {}, "CumsumOptions"),
    ],
)
def test_operators_that_mix_rows_or_are_unknown_are_refused(model: Model) -> None:
    assert with_batch(model, 4) is None


def test_outputs_without_a_batch_are_refused() -> None:
    tensors = (Tensor("x", (1, 4), "FLOAT32", 0), Tensor("y", (4, 1), "FLOAT32", 0))
    operator = Operator("RESHAPE", 1, (0,), (1,), {"new_shape": (4, 1)}, "ReshapeOptions")
    assert with_batch(Model((Subgraph(tensors, (0,), (1,), (operator,)),), (_EMPTY,)), 2) is None


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1_0.25_128_quant",
        "mobilenet_v1_0.75_192_quant",
        "mobilenet_v1_1.0_224_quant_embedding_extractor",
    ],
)
def test_real_networks_can_have_a_larger_batch(corpus: Path, name: str) -> None:
    model = read_model(corpus / "compiled" / "google-coral__test_data" / f"{name}.tflite")
    copy = with_batch(model, 2)
    assert copy is not None
    shape = model.main.tensors[model.main.inputs[0]].shape
    rows = np.random.default_rng(0).integers(0, 256, (2, *shape[1:]), np.uint8)
    np.testing.assert_array_equal(_run(copy, rows, "fast"), _run(model, rows, "fast"))


def test_an_output_without_a_row_for_each_sample_is_an_error(tmp_path: Path) -> None:
    """The model takes 16 samples and returns their mean."""
    tensors = (
        Tensor("x", (16, 8), "FLOAT32", 0),
        Tensor("axes", (1,), "INT32", 1),
        Tensor("y", (8,), "FLOAT32", 0),
    )
    mean = Operator("MEAN", 1, (0, 1), (2,), {"keep_dims": False}, "ReducerOptions")
    buffers = (_EMPTY, np.zeros(4, np.uint8))
    model = Model((Subgraph(tensors, (0,), (2,), (mean,)),), buffers)
    (tmp_path / "mean.tflite").write_bytes(write_model(model))
    np.savez(str(tmp_path / "d.npz"), x=np.ones((32, 8), np.float32), y=np.zeros(32, np.int64))
    with pytest.raises(UnsupportedModelError, match="expected 16 rows"):
        evaluate(tmp_path / "mean.tflite", tmp_path / "d.npz")
