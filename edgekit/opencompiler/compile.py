# SPDX-License-Identifier: Apache-2.0
"""Compile files with edgekit's own compiler: on any machine, with numpy alone."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Sequence

from edgekit import files
from edgekit.edgetpu.check import refuse_compiled
from edgekit.errors import GateError, UsageError
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model
from edgekit.formats.tflite_metadata import OPEN_COMPILER, keep_files
from edgekit.opencompiler.program import CompiledProgram, compile_program
from edgekit.opencompiler.result import EDGEKIT, CompiledModel, CompileResult
from edgekit.opencompiler.schedule import render_html, schedule_of
from edgekit.opencompiler.segments import cut_evenly

_SHOWN = 8


def compile_open(
    models: Sequence[files.PathLike | ModelFile],
    *,
    out_dir: files.PathLike = ".",
    min_mapped: float | None = None,
    verify: bool = True,
    allow_unseen: bool = True,
    num_segments: int | None = None,
    explain_schedule: bool = False,
) -> CompileResult:
    """Compile integer-only models; writes ``NAME_edgetpu.tflite`` for each into ``out_dir``.

    Args:
        models: .tflite files, or bundles of them.
        out_dir: An existing folder.
        min_mapped: The smallest allowed share of operations on the Edge TPU, 0 to 1, for each
            model; None requires one operation.
        verify: Whether programs are run in the emulator first.
        allow_unseen: Whether programs may contain instructions of forms that none of Google's
            programs contains.
        num_segments: Cut the one model into so many parts of about equal predicted time, for a
            pipeline of Edge TPUs: ``NAME_segment_0_of_2_edgetpu.tflite`` and so on.

        explain_schedule: Also write ``NAME_schedule.html``: what runs when, the memory of a tile
            over time, and what would help.

    Raises:
        InputError: A model cannot be read, or is compiled already.
        NotCompiledError: The compiler cannot compile a model; nothing is written.
        VerificationError: A program is wrong; nothing is written.
        GateError: Too few operations map; nothing is written.
        OutputError: ``out_dir`` cannot be written.
    """
    start = time.monotonic()
    folder = Path(out_dir)
    if min_mapped is not None and not 0 <= min_mapped <= 1:
        raise UsageError(f"--min-mapped is a share from 0 to 1, not {min_mapped:g}")
    read = [read_model_file(each) for each in models]
    for source in read:
        refuse_compiled(source.model, source.path)
    jobs = _jobs(read, num_segments or 1)
    sources = [source for source, _, _ in jobs]
    outputs = [folder / f"{stem}_edgetpu.tflite" for _, stem, _ in jobs]
    _check_names(outputs)
    for source, output in zip(sources, outputs):
        files.refuse_overwriting(output, source.path)
        files.check_writable(output)
    made = [
        compile_program(model, source.path, verified=verify, allow_unseen=allow_unseen)
        for source, _, model in jobs
    ]
    for source, program in zip(sources, made):
        _check_gate(program, min_mapped, source.path)
    written: list[CompiledModel] = []
    pages: list[Path] = []
    with ExitStack() as renames:
        for (source, stem, model), program, output in zip(jobs, made, outputs):
            content = program.content
            if len(jobs) == len(read):  # segments do not have the whole model's ends
                content = keep_files(source.content, content)
            temporary = renames.enter_context(files.replacing(output))
            temporary.write_bytes(content)
            written.append(_describe(source, program, output, len(content)))
            if explain_schedule:
                page = folder / f"{stem}_schedule.html"
                text = render_html(schedule_of(program, model), f"Schedule of {stem}")
                renames.enter_context(files.replacing(page)).write_text(text, encoding="utf-8")
                pages.append(page)
    return CompileResult(
        outputs=tuple(str(path) for path in (*outputs, *pages)),
        compiler_version=OPEN_COMPILER,
        models=tuple(written),
        disagreements=(),
        log="",
        via="",
        command=(),
        num_attempts=1,
        time_s=time.monotonic() - start,
        warnings=_warnings(made),
        compiler=EDGEKIT,
    )


def _warnings(made: Sequence[CompiledProgram]) -> tuple[str, ...]:
    warnings = []
    for each in made:
        if each.verification is None:
            warnings.append("the program was not verified in the emulator")
        if not each.audit.is_seen:
            warnings.append(
                f"{each.audit.num_unseen} of {each.audit.num_instructions} instructions have a "
                "form that no program of Google's has; the emulator executes them, and no chip is "
                "known to have run them"
            )
    return tuple(warnings)


def _jobs(sources: Sequence[ModelFile], num_segments: int) -> list[tuple[ModelFile, str, Model]]:
    """(source, stem of the output, model to compile) of every output."""
    if num_segments == 1:
        return [(each, Path(each.path).stem or "model", each.model) for each in sources]
    if len(sources) > 1:
        raise UsageError(
            "--num-segments needs exactly one model", fix="compile each model by itself"
        )
    (source,) = sources
    stem = Path(source.path).stem or "model"
    return [
        (source, f"{stem}_segment_{number}_of_{num_segments}", model)
        for number, model in enumerate(cut_evenly(source.model, num_segments, source.path))
    ]


def _check_names(outputs: Sequence[Path]) -> None:
    twice = sorted({str(each) for each in outputs if outputs.count(each) > 1})
    if twice:
        raise UsageError(
            f"two models would be written to {twice[0]}",
            fix="rename one of them, or compile them into different folders",
        )


def _check_gate(made: CompiledProgram, min_mapped: float | None, where: str) -> None:
    rows = made.operators
    total, mapped = sum(row.count for row in rows), sum(row.count for row in rows if row.mapped)
    if min_mapped is None or mapped >= min_mapped * total:
        return
    lines = [f"{row.count} {row.opcode}: {row.status}" for row in rows if not row.mapped]
    if len(lines) > _SHOWN:
        lines[_SHOWN:] = [f"and {len(lines) - _SHOWN} more rows"]
    raise GateError(
        f"{mapped} of {total} operations are mapped to the Edge TPU, {min_mapped:.0%} is required",
        where=where,
        why="\n       ".join(lines),
        fix="edgekit check MODEL shows what to change; --min-mapped 0 accepts any share",
        code="gate.min_mapped",
    )


def _describe(
    source: ModelFile, made: CompiledProgram, output: Path, num_bytes: int
) -> CompiledModel:
    package = made.package
    return CompiledModel(
        model=source.path,
        sha256=source.sha256,
        output=str(output),
        output_bytes=num_bytes,
        on_chip_bytes=package.cached_bytes,
        on_chip_remaining_bytes=made.program.cache_left_bytes,
        streamed_bytes=package.streamed_bytes,
        num_subgraphs=1,
        num_operators=sum(row.count for row in made.operators),
        num_mapped=sum(row.count for row in made.operators if row.mapped),
        operators=made.operators,
        predicted_cycles=made.predicted_cycles,
        verification=made.verification,
        seen_share=made.audit.seen_share,
        num_unseen=made.audit.num_unseen,
    )
