# SPDX-License-Identifier: Apache-2.0
"""A model to a program of edgekit's own compiler, or a refusal; nothing is run or written."""

from __future__ import annotations

from typing import Collection

import numpy as np

from edgekit.chip.codegen import Partition, Program, Unsupported, make_program, partition
from edgekit.edgetpu.findings import is_float
from edgekit.formats.tflite import Model
from edgekit.opencompiler.errors import NotCompiledError


def translate(
    model: Model, where: str = "", *, excluded: Collection[int] = ()
) -> tuple[Partition, Program]:
    """Return which operators map, and their program.

    Args:
        model: Integer-only.
        where: Its path, for messages.
        excluded: Indices of operators that stay on the CPU in any case.

    Raises:
        NotCompiledError: The model is float, no operator maps, or it does not fit.
    """
    if is_float(model):
        raise NotCompiledError(
            "the model is float",
            where=where,
            why="the Edge TPU computes with 8-bit integers only",
            fix=f"edgekit convert {where} --data FOLDER -o MODEL.tflite",
        )
    part = partition(model, excluded)
    network = part.network
    if not part.mapped:
        reasons = sorted(set(part.reasons.values()))
        raise NotCompiledError(
            "no operator maps to the Edge TPU", where=where, why="\n       ".join(reasons[:8])
        )
    tensors = {i: model.main.tensors[i] for i in (*network.inputs, *network.outputs)}
    try:
        with np.errstate(all="ignore"):  # extreme scales end in clamps
            return part, make_program(network, tensors)
    except Unsupported as refusal:
        raise NotCompiledError(
            "edgekit's compiler cannot compile the model",
            where=where,
            why=str(refusal),
            fix="edgekit compile --compiler google, with Google's edgetpu_compiler",
        ) from refusal
