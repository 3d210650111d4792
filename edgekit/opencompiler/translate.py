# SPDX-License-Identifier: Apache-2.0
"""A model to a program of edgekit's own compiler, or a refusal; nothing is run or written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Collection, Sequence

import numpy as np

from edgekit.chip.codegen import (
    Partition,
    Program,
    TooLarge,
    Unsupported,
    make_programs,
    partition,
)
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.edgetpu.findings import is_float
from edgekit.formats.tflite import Model
from edgekit.opencompiler.errors import NotCompiledError

if TYPE_CHECKING:
    from edgekit.chip.codegen.nodes import Network
    from edgekit.formats.tflite import Tensor

_MOST_LEFT = 8  # operators that stay on the CPU because the tiles have no room


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
    (made,) = _make([(model, where)], [_mapped_part(model, where, excluded)], excluded)
    return made


def translate_all(
    sources: Sequence[tuple[Model, str]], runtime: int = LATEST_RUNTIME
) -> tuple[tuple[Partition, Program], ...]:
    """Translate models, each with its path, whose programs share a chip; see `translate`.

    ``runtime`` is the oldest version of the Edge TPU runtime that must run them.
    """
    return _make(sources, [_mapped_part(*each) for each in sources], runtime=runtime)


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
    sources: Sequence[tuple[Model, str]],
    parts: list[Partition],
    excluded: Collection[int] = (),
    *,
    runtime: int = LATEST_RUNTIME,
) -> tuple[tuple[Partition, Program], ...]:
    """Make the programs; operators for which the tiles have no room stay on the CPU."""
    too_large: list[dict[int, str]] = [{} for _ in sources]
    made = _programs(sources, parts, runtime)
    while isinstance(made, TooLarge):
        network, node = made.network, made.node
        number = next(k for k, part in enumerate(parts) if part.network is network)
        left = too_large[number]
        left[parts[number].owners[node]] = str(made)
        smaller = partition(sources[number][0], {*excluded, *left})
        if len(left) > _MOST_LEFT or not smaller.mapped:
            raise _refused(sources, made) from made
        parts[number] = replace(smaller, reasons={**smaller.reasons, **left})
        made = _programs(sources, parts, runtime)
    return tuple(zip(parts, made))


def _programs(
    sources: Sequence[tuple[Model, str]], parts: Sequence[Partition], runtime: int
) -> tuple[Program, ...] | TooLarge:
    """The programs, or why one does not fit."""
    try:
        with np.errstate(all="ignore"):  # extreme scales end in clamps
            return make_programs([_ends(*each) for each in zip(sources, parts)], runtime)
    except TooLarge as refusal:
        return refusal
    except Unsupported as refusal:
        raise _refused(sources, refusal) from refusal


def _ends(source: tuple[Model, str], part: Partition) -> tuple[Network, dict[int, Tensor]]:
    tensors = source[0].main.tensors
    return part.network, {i: tensors[i] for i in (*part.network.inputs, *part.network.outputs)}


def _refused(sources: Sequence[tuple[Model, str]], refusal: Unsupported) -> NotCompiledError:
    alone = "compile each model by itself, or " if len(sources) > 1 else ""
    return NotCompiledError(
        "edgekit's compiler cannot compile "
        + ("the models together" if len(sources) > 1 else "the model"),
        where=", ".join(where for _, where in sources),
        why=str(refusal),
        fix=f"{alone}edgekit compile --compiler google, with Google's edgetpu_compiler",
    )
