# SPDX-License-Identifier: Apache-2.0
"""Compile files with edgekit's own compiler: on any machine, with numpy alone."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Sequence, Tuple

from edgekit import files
from edgekit.edgetpu.check import check_runtime
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.errors import UsageError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.formats.tflite_metadata import OPEN_COMPILER, keep_files
from edgekit.opencompiler.compilers import EDGEKIT
from edgekit.opencompiler.program import CompiledProgram, compile_programs
from edgekit.opencompiler.request import check_gate, read_sources
from edgekit.opencompiler.result import CompiledModel, CompileResult
from edgekit.opencompiler.schedule import render_html, schedule_of
from edgekit.opencompiler.segments import cut_evenly

_Job = Tuple[ModelFile, str, Model]  # source, stem of the output, model to compile


def compile_open(
    models: Sequence[files.PathLike | ModelFile],
    *,
    out_dir: files.PathLike = ".",
    min_mapped: float | None = None,
    verify: bool = True,
    allow_unseen: bool = True,
    num_segments: int | None = None,
    explain_schedule: bool = False,
    min_runtime_version: int | None = None,
) -> CompileResult:
    """Compile integer-only models; writes ``NAME_edgetpu.tflite`` for each into ``out_dir``.

    Args:
        models: .tflite files, or bundles of them. Several share the chip's parameter memory, the
            first one first.
        out_dir: An existing folder.
        min_mapped: The smallest allowed share of operations on the Edge TPU, 0 to 1, for each
            model; None requires one operation.
        verify: Whether programs are run in the emulator first.
        allow_unseen: Whether programs may contain instructions of forms that none of Google's
            programs contains.
        num_segments: Cut the one model into so many parts of about equal predicted time, for a
            pipeline of Edge TPUs: ``NAME_segment_0_of_2_edgetpu.tflite`` and so on.
        min_runtime_version: The oldest Edge TPU runtime that must run the models: 10, 12, 13 or
            14 (None). Before 12, inputs and outputs are UINT8; the instructions are the same.
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
    runtime = LATEST_RUNTIME if min_runtime_version is None else min_runtime_version
    check_runtime(runtime)
    read = read_sources(models, folder, min_mapped)
    jobs = _jobs(read, num_segments or 1)
    outputs = [folder / f"{stem}_edgetpu.tflite" for _, stem, _ in jobs]
    for (source, _, _), output in zip(jobs, outputs):
        files.refuse_overwriting(output, source.path)
        files.check_writable(output)
    targets = [(model, source.path) for source, _, model in jobs]
    is_cut = len(jobs) > len(read)
    # Segments run on a chip each; several models share one.
    chips = [[each] for each in targets] if is_cut else [targets]
    made = [
        program
        for chip in chips
        for program in compile_programs(
            chip, verified=verify, allow_unseen=allow_unseen, runtime=runtime
        )
    ]
    for (source, _, _), program in zip(jobs, made):
        rows = program.operators
        check_gate(program.num_mapped, program.num_operators, rows, min_mapped, source.path)
    contents = _contents(jobs, made, is_cut=is_cut)
    written: list[CompiledModel] = []
    pages: list[Path] = []
    with ExitStack() as renames:
        for (source, stem, model), program, content, output in zip(jobs, made, contents, outputs):
            renames.enter_context(files.replacing(output)).write_bytes(content)
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
        warnings=_warnings(outputs, made),
        compiler=EDGEKIT,
    )


def _contents(
    jobs: Sequence[_Job], made: Sequence[CompiledProgram], *, is_cut: bool
) -> list[bytes]:
    """The files to write: with the model's label files; segments with the metadata of its ends."""
    pairs = [(source, program.content) for (source, _, _), program in zip(jobs, made)]
    if not is_cut:
        return [keep_files(source.content, content) for source, content in pairs]
    from edgekit.data.describe import with_notes  # noqa: PLC0415 - loads all of `data`

    last = len(pairs) - 1
    return [
        with_notes(content, source.notes.at_ends(first=index == 0, last=index == last))
        for index, (source, content) in enumerate(pairs)
    ]


def _warnings(outputs: Sequence[Path], made: Sequence[CompiledProgram]) -> tuple[str, ...]:
    warnings = []
    for output, each in zip(outputs, made):
        name = f"{output.name}: " if len(outputs) > 1 else ""
        if each.verification is None:
            warnings.append(f"{name}the program was not verified in the emulator")
        if not each.audit.is_seen:
            warnings.append(
                f"{name}{each.audit.num_unseen} of {each.audit.num_instructions} instructions have "
                "a form that no program of Google's has; the emulator executes them, and no chip "
                "is known to have run them"
            )
    return tuple(warnings)


def _jobs(sources: Sequence[ModelFile], num_segments: int) -> list[_Job]:
    """Return a job for each output."""
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
        num_operators=made.num_operators,
        num_mapped=made.num_mapped,
        operators=made.operators,
        predicted_cycles=made.predicted_cycles,
        verification=made.verification,
        seen_share=made.audit.seen_share,
        num_unseen=made.audit.num_unseen,
        num_confirmed=made.audit.num_confirmed,
    )
