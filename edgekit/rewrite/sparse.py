# SPDX-License-Identifier: Apache-2.0
"""Store sparse weights (without zeros) as dense weights (with zeros)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.formats.tflite import NUMPY_DTYPES, Model
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.rule import Rule


def store_densely(model: Model) -> Model | None:
    """Return ``model`` with every sparse constant dense, and without their DENSIFY operators.

    No compiled model is known that contains a sparse constant, and the Edge TPU has no DENSIFY.
    """
    tensors = model.main.tensors
    sparse = {i for i, each in enumerate(tensors) if each.is_sparse and each.dtype in NUMPY_DTYPES}
    if not sparse:
        return None
    edit = Edit(model)
    for index in sparse:
        values = np.ascontiguousarray(edit.data(index))
        edit.tensors[index] = replace(edit.tensors[index], sparsity=None, buffer=len(edit.buffers))
        edit.buffers.append(np.frombuffer(values.tobytes(), np.uint8))
    # rewire creates new operators, so handle one at a time.
    while True:
        op = next(
            (o for o in edit.operators if o.opcode == "DENSIFY" and o.inputs[0] in sparse), None
        )
        if op is None:
            return edit.build()
        edit.operators.remove(op)
        edit.rewire(op.outputs[0], op.inputs[0])


RULE = Rule(
    "sparse",
    "weights stored without their zeros are stored with them, and DENSIFY is removed",
    exact=True,
    apply=store_densely,
)
