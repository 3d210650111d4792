# SPDX-License-Identifier: Apache-2.0
"""A model to a program of edgekit's own compiler, or a refusal; nothing is run or written."""

from __future__ import annotations

from typing import Collection, Sequence

import numpy as np

from edgekit.chip.codegen import (
    Partition,
    Program,
    Unsupported,
    make_programs,
    partition,
)
from edgekit.edgetpu.chip import LATEST_RUNTIME
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
    part = _mapped_part(model, where, excluded)
    (program,) = _make([(model, where)], [part])
    return part, program


def translate_all(
    sources: Sequence[tuple[Model, str]], runtime: int = LATEST_RUNTIME
) -> tuple[tuple[Partition, Program], ...]:
    """Translate models, each with its path, whose programs share a chip; see `translate`.

    ``runtime`` is the oldest version of the Edge TPU runtime that must run them.
    """
    parts = [_mapped_part(model, where) for model, where in sources]
    return tuple(zip(parts, _make(sources, parts, runtime)))


def _mapped_part(model: Model, where: str, excluded: Collection[int] = ()) -> Partition:
    if is_float(model):
        raise NotCompiledError(
            "the model is float",
            where=where,
            why="the Edge TPU computes with 8-bit integers only",
            fix=f"edgekit convert {where} --data FOLDER -o MODEL.tflite",
        )
    part = partition(model, excluded)
    if not part.mapped:
        reasons = sorted(set(part.reasons.values()))
        raise NotCompiledError(
            "no operator maps to the Edge TPU", where=where, why="\n       ".join(reasons[:8])
        )
    return part


def _make(
    sources: Sequence[tuple[Model, str]], parts: Sequence[Partition], runtime: int = LATEST_RUNTIME
) -> tuple[Program, ...]:
    networks = []
    for (model, _), part in zip(sources, parts):
        ends = (*part.network.inputs, *part.network.outputs)
        networks.append((part.network, {i: model.main.tensors[i] for i in ends}))
    try:
        with np.errstate(all="ignore"):  # extreme scales end in clamps
            return make_programs(networks, runtime)
    except Unsupported as refusal:
        alone = "compile each model by itself, or " if len(sources) > 1 else ""
        raise NotCompiledError(
            "edgekit's compiler cannot compile "
            + ("the models together" if len(sources) > 1 else "the model"),
            where=", ".join(where for _, where in sources),
            why=str(refusal),
            fix=f"{alone}edgekit compile --compiler google, with Google's edgetpu_compiler",
        ) from refusal
