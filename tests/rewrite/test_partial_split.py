# SPDX-License-Identifier: Apache-2.0
"""Splits with an unused part become slices; the values stay the same, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model
from edgekit.rewrite import slice_partial_splits
from edgekit.runtime import Runner


def _split(axis: int, outputs: tuple[int, ...]) -> Model:
    tensors = (
        Tensor("axis", (), "INT32", 1),
        Tensor("x", (1, 6), "FLOAT32", 0),
        *(Tensor(name, (1, 2), "FLOAT32", 0) for name in "abc"),
    )
    constant = np.frombuffer(np.array(axis, "<i4").tobytes(), np.uint8)
    operator = Operator("SPLIT", 1, (0, 1), (2, 3, 4), {"num_splits": 3}, "SplitOptions")
    graph = Subgraph(tensors, (1,), outputs, (operator,))
    return Model((graph,), (np.empty(0, np.uint8), constant))


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("outputs", [(2,), (4, 2), (3, 4)])
def test_used_parts_keep_their_values(axis: int, outputs: tuple[int, ...]) -> None:
    model = _split(axis, outputs)
    sliced = slice_partial_splits(model)
    assert [op.opcode for op in sliced.main.operators] == ["STRIDED_SLICE"] * len(outputs)
    x = np.random.default_rng(1).random((1, 6)).astype(np.float32)
    answers = []
    for each in (model, sliced):
        with Runner(write_model(each), kernels="reference") as runner:
            answers.append([values.tolist() for values in runner.invoke(x)])
    assert answers[0] == answers[1]


def test_a_split_without_unused_parts_is_not_changed() -> None:
    model = _split(1, (2, 3, 4))
    assert slice_partial_splits(model) is model
