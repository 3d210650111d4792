# SPDX-License-Identifier: Apache-2.0
"""What every compiler checks: the models and the folder before, and the share that maps after."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from edgekit import files
from edgekit.edgetpu.check import refuse_compiled
from edgekit.errors import GateError, OutputError, UsageError
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.opencompiler.result import OperatorCount

_SHOWN = 8


def read_sources(
    models: Sequence[files.PathLike | ModelFile], folder: Path, min_mapped: float | None
) -> tuple[ModelFile, ...]:
    """Read the models to compile, none of which may be compiled already.

    Raises:
        UsageError: There is no model, two would have the same output, or ``min_mapped`` is not a
            share.
        InputError: A model cannot be read, or is compiled already.
        OutputError: ``folder`` does not exist.
    """
    if min_mapped is not None and not 0 <= min_mapped <= 1:
        raise UsageError(f"--min-mapped is a share from 0 to 1, not {min_mapped:g}")
    if not models:
        raise UsageError("there is no model to compile", fix="name one or more .tflite files")
    paths = [each.path if isinstance(each, ModelFile) else each for each in models]
    stems = [Path(path).stem for path in paths]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UsageError(
            f"two models are named {twice[0]}",
            why=f"both would become {twice[0]}_edgetpu.tflite",
            fix="rename one of them, or compile them into different folders",
        )
    sources = tuple(read_model_file(each) for each in models)
    for source in sources:
        refuse_compiled(source.model, source.path)
    if not folder.is_dir():
        exists = folder.exists()
        raise OutputError(
            "the output is not a folder" if exists else "the folder for the output does not exist",
            where=str(folder),
            fix="name a folder (--output)"
            if exists
            else f"mkdir -p {folder}, or name another (--output)",
        )
    return sources


def check_gate(
    mapped: int, total: int, rows: Sequence[OperatorCount], min_mapped: float | None, where: str
) -> None:
    """Refuse a compiled model of which too few operations run on the Edge TPU.

    Args:
        mapped: The number of operations that do.
        total: The number of all operations.
        rows: Its operator table, for the reasons.
        min_mapped: The smallest allowed share, 0 to 1; None requires one operation.
        where: The model, for the message.

    Raises:
        GateError: Fewer are mapped.
    """
    if mapped > 0 if min_mapped is None else mapped >= min_mapped * max(total, 1):
        return
    wanted = "at least one" if min_mapped is None else f"{min_mapped:.0%}"
    lines = [f"{row.count} {row.opcode}: {row.status}" for row in rows if not row.mapped]
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f"and {len(lines) - _SHOWN} more rows"]
    raise GateError(
        f"{mapped} of {total} operations are mapped to the Edge TPU, {wanted} is required",
        where=where,
        why="\n       ".join(lines),
        fix="edgekit check MODEL shows what to change; --min-mapped 0 accepts any share",
        code="gate.min_mapped",
    )
