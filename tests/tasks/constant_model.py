# SPDX-License-Identifier: Apache-2.0
"""A .tflite whose outputs are constants, whatever the image: known values for a decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model

if TYPE_CHECKING:
    from numpy.typing import NDArray


def constant_model(
    input_shape: Sequence[int],
    outputs: Sequence[NDArray[Any]],
    *,
    last: tuple[str, int, str] | None = None,
) -> bytes:
    """A model for a float image that puts out ``outputs``, each plus nothing times the image.

    Args:
        input_shape: (1, height, width, channels).
        outputs: Real values, of up to four dimensions.
        last: Opcode, number and options' name of one operator more behind each output.
    """
    tensors = [Tensor("image", tuple(input_shape), "FLOAT32", 0)]
    buffers = [np.empty(0, np.uint8)]
    operators: list[Operator] = []

    def constant(name: str, values: NDArray[Any], dtype: str) -> int:
        buffers.append(np.frombuffer(values.tobytes(), np.uint8))
        tensors.append(Tensor(name, values.shape, dtype, len(buffers) - 1))
        return len(tensors) - 1

    def computed(name: str, shape: Sequence[int], operator: Operator) -> int:
        tensors.append(Tensor(name, tuple(shape), "FLOAT32", 0))
        operators.append(replace(operator, outputs=(len(tensors) - 1,)))
        return len(tensors) - 1

    axes = constant("axes", np.array([1, 2, 3], "<i4"), "INT32")
    nothing = constant("nothing", np.zeros((), "<f4"), "FLOAT32")
    mean = Operator(
        "MEAN", 1, (0, axes), (), {"keep_dims": False}, "ReducerOptions", builtin_code=40
    )
    average = computed("mean", (1,), mean)
    product = Operator("MUL", 1, (average, nothing), (), {}, "MulOptions", builtin_code=18)
    zero = computed("zero", (1,), product)
    ends = []
    for number, values in enumerate(outputs):
        kept = constant(f"values{number}", values.astype("<f4"), "FLOAT32")
        name = f"output{number}"
        total = Operator("ADD", 1, (kept, zero), (), {}, "AddOptions", builtin_code=0)
        end = computed(name, values.shape, total)
        if last is not None:
            opcode, code, kind = last
            behind = Operator(opcode, 1, (end,), (), {}, kind, builtin_code=code)
            end = computed(f"{name}b", values.shape, behind)
        ends.append(end)
    graph = Subgraph(tuple(tensors), (0,), tuple(ends), tuple(operators))
    return write_model(Model((graph,), tuple(buffers)))
