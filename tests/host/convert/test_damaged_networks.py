# SPDX-License-Identifier: Apache-2.0
"""Float .tflite files whose operators contradict their shapes or options: errors, no crashes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import EdgeKitError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor
from edgekit.host.convert import convert
from edgekit.host.convert.improve.channels import find_channels
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.moves import chains
from scripts.fuzz_models import Generator

pytestmark = pytest.mark.host


def _chain(
    operator: Operator, shapes: tuple[tuple[int, ...], ...], *constants: np.ndarray
) -> Model:
    """One operator from tensor 0 to tensor 1; its constants are the tensors after them."""
    tensors = [Tensor(f"t{index}", shape, "FLOAT32", 0) for index, shape in enumerate(shapes)]
    buffers: list[Any] = [np.empty(0, np.uint8)]
    for each in constants:
        tensors.append(Tensor(f"c{len(buffers)}", each.shape, "INT32", len(buffers)))
        buffers.append(np.frombuffer(each.astype("<i4").tobytes(), np.uint8))
    return Model((Subgraph(tuple(tensors), (0,), (1,), (operator,)),), tuple(buffers))


@pytest.mark.parametrize(
    "seed",
    [
        6,  # pools whose windows are larger than the image: a tensor without values
        114,  # DEQUANTIZE from real numbers
        1200,  # a TRANSPOSE with an axis twice
        900300,  # CONCATENATION with another output than it computes
    ],
)
def test_generated_networks_are_converted_or_refused(tmp_path: Path, seed: int) -> None:
    """Each ended with a traceback before; scripts/fuzz_models.py runs thousands."""
    generator = Generator(seed)
    generator.dtype = "FLOAT32"
    (tmp_path / "net.tflite").write_bytes(generator.model())
    with contextlib.suppress(EdgeKitError):
        convert(
            tmp_path / "net.tflite",
            data="random",
            output=tmp_path / "out.tflite",
            num_samples=2,
            quantizer="edgekit",
        )


def test_a_transpose_with_an_axis_twice_moves_nothing_that_is_known() -> None:
    """The interpreter takes it."""
    transpose = Operator("TRANSPOSE", 1, (0, 2), (1,), {}, "TransposeOptions")
    shape = (1, 4, 4, 8)
    edit = Edit(_chain(transpose, (shape, shape), np.array([0, 1, 1, 3])))
    assert chains(edit) == []


def test_channels_of_operators_with_wrong_shapes_are_fixed() -> None:
    options = {"axis": 3, "fused_activation_function": "NONE"}
    joined = Operator("CONCATENATION", 1, (0, 0), (1,), options, "ConcatenationOptions")
    assert find_channels(_chain(joined, ((1, 4, 4, 8), (1, 4, 4, 12)))).free() == []
