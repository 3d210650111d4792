# SPDX-License-Identifier: Apache-2.0
"""Sparse constants: read, written and made dense like in the interpreter."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import ModelFormatError
from edgekit.fix import fix
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.formats.tflite.sparsity import SparseDimension, Sparsity
from edgekit.rewrite.sparse import store_densely
from edgekit.runtime import Runner

_EMPTY = np.empty(0, np.uint8)


def encode(
    dense: NDArray[np.generic], order: tuple[int, ...], blocks: dict[int, int], sparse: set[int]
) -> tuple[Sparsity, NDArray[np.generic]]:
    """Store ``dense`` level by level: iterates over every position, for small arrays."""
    rank = dense.ndim
    split = []
    for axis, size in enumerate(dense.shape):
        split += [size // blocks[axis], blocks[axis]] if axis in blocks else [size]
    outer, inner, at = [], [], 0
    for axis in range(rank):
        outer.append(at)
        inner += [at + 1] if axis in blocks else []
        at += 2 if axis in blocks else 1
    levels = [(outer + inner)[level] for level in order]
    cube = dense.reshape(split).transpose(levels)
    positions: list[tuple[int, ...]] = [()]
    dimensions = []
    for level, size in zip(order, cube.shape):
        if level not in sparse:
            dimensions.append(SparseDimension(is_sparse=False, dense_size=size))
            positions = [(*p, i) for p, i in itertools.product(positions, range(size))]
            continue
        segments, indices, below = [0], [], []
        for position in positions:
            kept = [i for i in range(size) if np.any(cube[(*position, i)] != 0)]
            indices += kept
            segments.append(len(indices))
            below += [(*position, i) for i in kept]
        dimensions.append(
            SparseDimension(is_sparse=True, segments=tuple(segments), indices=tuple(indices))
        )
        positions = below
    values = np.array([cube[position] for position in positions], dense.dtype)
    return Sparsity(order, tuple(sorted(blocks)), tuple(dimensions)), values


def pruned(shape: tuple[int, ...], dtype: str, seed: int = 1) -> NDArray[np.generic]:
    random = np.random.default_rng(seed)
    values = random.integers(-100, 100, shape) * (random.random(shape) < 0.3)
    values.flat[0] = 1  # never empty
    return values.astype(dtype)


def densified(sparsity: Sparsity, values: NDArray[np.generic], shape: tuple[int, ...]) -> Model:
    """DENSIFY of the constant, times 1 if it is float, so that its dense form is the output."""
    dtype = values.dtype.name.upper()
    scale = Quantization((1.0,), (0,)) if dtype == "INT8" else None
    tensors = [
        Tensor("x", (1,), "FLOAT32", 0),
        Tensor("y", (1,), "FLOAT32", 0),
        Tensor("w", shape, dtype, 1, scale, sparsity=sparsity),
        Tensor("dense", shape, dtype, 0, scale),
        Tensor("out", shape, "FLOAT32", 0),
    ]
    last = Operator("DEQUANTIZE", 2, (3,), (4,), {}, "DequantizeOptions")
    if dtype == "FLOAT32":
        last = Operator("ABS", 1, (3,), (4,))
    operators = (
        Operator("ABS", 1, (0,), (1,)),
        Operator("DENSIFY", 1, (2,), (3,)),
        last,
    )
    stored = np.frombuffer(values.tobytes(), np.uint8)
    return Model((Subgraph(tuple(tensors), (0,), (1, 4), operators),), (_EMPTY, stored))


_CASES = [
    ((3, 8), (0, 1), {}, {1}, "float32"),
    ((8, 3), (1, 0), {}, {0}, "int8"),
    ((8, 12), (0, 1, 2, 3), {0: 4, 1: 2}, {1}, "float32"),
    ((8, 12), (0, 1, 2), {1: 4}, {1}, "int8"),
    ((2, 3, 2, 8), (0, 1, 2, 3), {}, {3}, "float32"),
    ((2, 3, 2, 8), (3, 0, 1, 2), {}, {2}, "float16"),
    ((4, 6), (0, 1), {}, {0, 1}, "float16"),
]


@pytest.mark.parametrize(("shape", "order", "blocks", "sparse", "dtype"), _CASES)
def test_the_dense_constant_equals_the_encoders_input(
    shape: tuple[int, ...],
    order: tuple[int, ...],
    blocks: dict[int, int],
    sparse: set[int],
    dtype: str,
) -> None:
    dense = pruned(shape, dtype)
    model = densified(*encode(dense, order, blocks, sparse), shape)
    again = read_model(write_model(model))
    assert again.main.tensors == model.main.tensors
    data = again.data(again.main.tensors[2])
    assert data is not None
    assert np.array_equal(data, dense)


@pytest.mark.parametrize(("shape", "order", "blocks", "sparse", "dtype"), _CASES[:-1])
def test_the_interpreter_reads_the_same_constant(
    shape: tuple[int, ...],
    order: tuple[int, ...],
    blocks: dict[int, int],
    sparse: set[int],
    dtype: str,
) -> None:
    content = write_model(densified(*encode(pruned(shape, dtype), order, blocks, sparse), shape))
    smaller = store_densely(read_model(content))
    assert smaller is not None
    assert "DENSIFY" not in [op.opcode for op in smaller.main.operators]
    assert store_densely(smaller) is None
    x = np.ones(1, np.float32)
    answers = []
    for each in (content, write_model(smaller)):
        with Runner(each, kernels="reference") as runner:
            answers.append(runner.invoke(x)[1])
    assert np.array_equal(answers[0], answers[1])


def test_a_table_that_does_not_fit_is_refused() -> None:
    shape = (4, 6)
    sparsity, values = encode(pruned(shape, "float32"), (0, 1), {}, {1})
    dense, csr = sparsity.dimensions
    wrong = (
        replace(sparsity, traversal_order=(0, 0)),
        replace(sparsity, traversal_order=(0,)),
        replace(sparsity, block_map=(7,)),
        replace(sparsity, dimensions=(replace(dense, dense_size=1 << 30), csr)),
        replace(sparsity, dimensions=(dense, replace(csr, indices=(6, *csr.indices[1:])))),
        replace(sparsity, dimensions=(dense, replace(csr, indices=(-1, *csr.indices[1:])))),
        replace(sparsity, dimensions=(dense, replace(csr, segments=csr.segments[::-1]))),
        replace(sparsity, dimensions=(dense, replace(csr, segments=()))),
        replace(sparsity, dimensions=(dense,)),
    )
    for each in wrong:
        with pytest.raises(ModelFormatError, match="sparse constant"):
            read_model(write_model(densified(each, values, shape)))
    with pytest.raises(ModelFormatError):
        read_model(write_model(densified(sparsity, values[:-1], shape)))


def test_fix_stores_the_weights_of_an_integer_model_densely(tmp_path: Path) -> None:
    dense = pruned((4, 8), "int8")
    sparsity, values = encode(dense, (0, 1), {}, {1})
    quantization = Quantization((0.02,), (0,))
    tensors = (
        Tensor("x", (1, 8), "INT8", 0, quantization),
        Tensor("w", (4, 8), "INT8", 1, quantization, sparsity=sparsity),
        Tensor("dense", (4, 8), "INT8", 0, quantization),
        Tensor("y", (1, 4), "INT8", 0, Quantization((0.5,), (0,))),
    )
    options = {"fused_activation_function": "NONE", "keep_num_dims": True}
    operators = (
        Operator("DENSIFY", 1, (1,), (2,)),
        Operator("FULLY_CONNECTED", 4, (0, 2, -1), (3,), options, "FullyConnectedOptions"),
    )
    stored = np.frombuffer(values.tobytes(), np.uint8)
    model = Model((Subgraph(tensors, (0,), (3,), operators),), (_EMPTY, stored))
    path = tmp_path / "sparse.tflite"
    path.write_bytes(write_model(model))
    result = fix(path, tmp_path / "dense.tflite")
    assert "sparse" in [each.rule for each in result.certificates]
    assert (result.mapped_before, result.mapped_after) == (0, 1)
    x = np.arange(8, dtype=np.int8).reshape(1, 8)
    with Runner(result.output) as runner:
        (answer,) = runner.invoke(x)
    real = (x.astype(float) @ dense.astype(float).T) * 0.02 * 0.02 / 0.5
    assert np.abs(answer - np.clip(np.round(real), -128, 127)).max() <= 1
