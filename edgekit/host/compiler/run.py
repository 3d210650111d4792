# SPDX-License-Identifier: Apache-2.0
"""Find and run the user's own edgetpu_compiler, and check its output.

edgekit never ships or downloads it. The compiler writes into a temporary folder; its files are
moved out only when all of them are right.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import files
from edgekit.errors import UsageError
from edgekit.formats.bundle import MODEL_PATH
from edgekit.formats.model_file import ModelFile
from edgekit.host.compiler.compare import compare
from edgekit.host.compiler.errors import failure_of, is_random, missing_compiler
from edgekit.host.compiler.log import CompilerLogError, CompilerReport, parse_compiler_log
from edgekit.host.compiler.options import CompilerOptions
from edgekit.host.compiler.outputs import (
    Made,
    collect,
    expected_stems,
    keep_notes,
    move_out,
)
from edgekit.host.compiler.place import Job, LocalPlace, Place
from edgekit.host.compiler.result import CompileCommands
from edgekit.host.compiler.via import place_for
from edgekit.opencompiler.compilers import DEADLINE_S, PROGRAM, RETRIES, find_compiler
from edgekit.opencompiler.request import check_gate, read_sources
from edgekit.opencompiler.result import CompiledModel, CompileResult
from edgekit.process import Finished

_OPTIONS = CompilerOptions()
_VERSION = re.compile(r"Edge TPU Compiler version (\d+)\.")
_NEWEST = 16
_SHOWN = 8


@dataclass(frozen=True)
class _Request:
    """The models to compile, checked before anything runs."""

    sources: tuple[Path, ...]  # as the user gave them
    models: tuple[Path, ...]  # what the compiler reads; models of bundles are unpacked
    files: tuple[ModelFile, ...]  # the sources, read
    folder: Path
    options: CompilerOptions
    deadline_s: float

    @property
    def where(self) -> str:
        return ", ".join(str(model) for model in self.sources)

    def source_of(self, model: Path) -> Path:
        """Return the path that the user gave for a model that the compiler reads."""
        return self.sources[self.models.index(model)]


def compile_model(model: files.PathLike, folder: files.PathLike) -> Path:
    """Compile one integer-only .tflite; writes ``NAME_edgetpu.tflite`` and its log to ``folder``.

    Raises:
        EdgeKitError: As for `compile`.
    """
    return Path(compile([model], out_dir=folder).models[0].output)


def compile(  # noqa: A001, PLR0913 - the command's name; public: its options are keywords
    models: Sequence[files.PathLike],
    *,
    out_dir: files.PathLike = ".",
    options: CompilerOptions = _OPTIONS,
    compiler: str | None = None,
    via: str | None = None,
    min_mapped: float | None = None,
    retries: int = RETRIES,
    deadline_s: float = DEADLINE_S,
    on_line: Callable[[str], None] = lambda _line: None,
) -> CompileResult:
    """Compile models for one Edge TPU, or one model in segments for several.

    Args:
        models: Integer-only .tflite files, or bundles of them. Several are compiled together: they
            share the chip's parameter cache, the first one first.
        out_dir: An existing folder for ``NAME_edgetpu.tflite`` and ``NAME_edgetpu.log``.
        options: The compiler's own options.
        compiler: The compiler's path; None uses EDGETPU_COMPILER or the program on PATH. With
            ``via``, its path there.
        via: ``ssh://[user@]host[:port]`` or ``docker:IMAGE`` to run it elsewhere.
        min_mapped: The smallest allowed share of operations on the Edge TPU, 0 to 1, for each
            model; None requires one operation.
        retries: How often to run the compiler again after a crash that is known to be random.
        deadline_s: Seconds after which an attempt is stopped with all its children.
        on_line: Called with each line that the compiler prints, in another thread.

    Raises:
        UsageError: Options contradict each other, or the compiler is too old for them.
        InputError: A model cannot be read, or is compiled already.
        OutputError: ``out_dir`` cannot be written; it is unchanged.
        CompilerError: The compiler is missing, failed, or wrote a damaged file.
        CompilerLogError: The compiler printed a line that edgekit cannot read.
        GateError: The compiler mapped too few operations; nothing was written.
    """
    options.check(len(models))
    sources = read_sources(models, Path(out_dir), min_mapped)
    request = _check_request(sources, Path(out_dir), options, deadline_s)
    place = place_for(via, _locate(compiler) if via is None else compiler or PROGRAM)
    request = _fit_version(request, place)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        request = _unpacked(request, Path(scratch))
        job = Job(
            request.models,
            request.options.arguments(),
            Path(scratch),
            request.deadline_s,
            on_line,
        )
        run = _run(place, job, retries, request.where)
        expected = expected_stems(request.models, options.num_segments)
        made = collect(run.folder, expected, run.report, request.where)
        for each in made:
            report, where = each.report, str(request.source_of(each.model))
            mapped, total = report.num_mapped or 0, report.num_operators or 0
            check_gate(mapped, total, report.operators, min_mapped, where)
        disagreements = compare(made, options, run.report)
        keep_notes(made)
        outputs = move_out(made, request.folder)
    return CompileResult(
        outputs=outputs,
        compiler_version=run.report.version,
        models=tuple(_describe(each, request) for each in made),
        disagreements=disagreements,
        log=run.finished.stdout + run.finished.stderr,
        via=place.name,
        command=tuple(place.commands(job)[0]),
        num_attempts=run.num_attempts,
        time_s=run.finished.time_s,
        warnings=_warnings(run),
    )


def compile_commands(
    models: Sequence[files.PathLike],
    *,
    out_dir: files.PathLike = ".",
    options: CompilerOptions = _OPTIONS,
    compiler: str | None = None,
    via: str | None = None,
) -> CompileCommands:
    """Return the commands that `compile` runs, without running them.

    For a compiler on this machine, the commands name ``out_dir`` for the output; `compile` itself
    uses a temporary folder first. If there is no compiler, the commands contain its bare name.

    Raises:
        UsageError: Options contradict each other.
        InputError: A model cannot be read, or is compiled already.
    """
    program = compiler or PROGRAM
    if via is None:
        program = _which(compiler or find_compiler() or "") or program
    place = place_for(via, program)
    options.check(len(models))
    sources = read_sources(models, Path(out_dir), None)
    request = _check_request(sources, Path(out_dir), options, DEADLINE_S)
    for file in request.files:
        if file.is_bundle:
            raise UsageError(
                "the compiler does not read bundles, so a bundle is unpacked first",
                where=file.path,
                fix=f"unzip {file.path} {MODEL_PATH}, and give that file",
            )
    job = Job(request.models, options.arguments(), request.folder, DEADLINE_S, lambda _line: None)
    commands = place.commands(job)
    if isinstance(place, LocalPlace):
        here = str(request.folder)
        commands = [[here if word == "." else word for word in words] for words in commands]
    return CompileCommands(place.name, tuple(tuple(words) for words in commands))


def _locate(given: str | None) -> str:
    """Return the compiler's absolute path."""
    wanted = given or find_compiler() or ""
    found = _which(wanted)
    if found is None:
        raise missing_compiler(wanted)
    return found


def _which(program: str) -> str | None:
    found = shutil.which(program) if program else None
    return str(Path(found).absolute()) if found else None


def _check_request(
    sources: tuple[ModelFile, ...], folder: Path, options: CompilerOptions, deadline_s: float
) -> _Request:
    paths = tuple(Path(source.path) for source in sources)
    for path in paths:
        files.refuse_overwriting(folder / f"{path.stem}_edgetpu.tflite", *paths)
    files.check_writable(folder / f"{paths[0].stem}_edgetpu.tflite")
    absolute = tuple(path.absolute() for path in paths)
    return _Request(paths, absolute, sources, folder, options, deadline_s)


def _unpacked(request: _Request, scratch: Path) -> _Request:
    """Unpack the models of bundles into ``scratch``, under the bundles' names."""
    models = list(request.models)
    for index, file in enumerate(request.files):
        if file.is_bundle:
            models[index] = scratch / f"{models[index].stem}.tflite"
            models[index].write_bytes(file.content)
    return replace(request, models=tuple(models))


def _fit_version(request: _Request, place: Place) -> _Request:
    """Refuse options that are too new for the compiler; set the timer of compiler 16."""
    wanted = request.options.of_compiler_16
    if not wanted:
        return request
    match = _VERSION.search(place.version_output())
    if match is None or int(match[1]) >= _NEWEST:
        return request
    if wanted == ("timeout_sec",):
        # Older compilers do not have a timer.
        limit = min(request.deadline_s, float(request.options.timeout_sec or math.inf))
        options = replace(request.options, timeout_sec=None)
        return replace(request, options=options, deadline_s=limit)
    raise UsageError(
        f"--{wanted[0].replace('_', '-')} needs compiler 16.0, this one is {match[1]}",
        fix="leave it out, or use the newest compiler",
    )


@dataclass(frozen=True)
class _Run:
    """A run in which the compiler reported success."""

    finished: Finished
    report: CompilerReport
    folder: Path
    num_attempts: int


def _run(place: Place, job: Job, retries: int, where: str) -> _Run:
    """Run the compiler; after a random crash, up to ``retries`` times more."""
    attempt = 1
    while True:
        folder = job.folder / str(attempt)
        folder.mkdir()
        finished = place.run(replace(job, folder=folder))
        report = _report_of_success(finished, where)
        if report is not None:
            return _Run(finished, report, folder, attempt)
        if attempt > retries or not is_random(finished):
            raise failure_of(finished, where, attempt)
        attempt += 1
        job.on_line(f"edgekit: the compiler crashed; attempt {attempt} of {retries + 1}")


def _report_of_success(finished: Finished, where: str) -> CompilerReport | None:
    """Return the compiler's report if it succeeded; its exit status alone is not reliable."""
    if finished.returncode or finished.timed_out or not finished.stdout.strip():
        return None
    try:
        report = parse_compiler_log(finished.stdout, where)
    except CompilerLogError as error:
        error.fix += "; to get the model anyway, run the command by itself (--dry-run)"
        raise
    # An "ERROR:" of TensorFlow Lite alone does not stop the compiler.
    stopped = any(not line.startswith("ERROR: ") for line in report.failures)
    return None if stopped or not report.models else report


def _warnings(run: _Run) -> tuple[str, ...]:
    said = [line.strip() for line in run.finished.stderr.splitlines() if line.strip()]
    again = (
        [f"the compiler crashed and succeeded at attempt {run.num_attempts}"]
        if run.num_attempts > 1
        else []
    )
    return (*run.report.notes, *run.report.failures, *said[:_SHOWN], *again)


def _describe(each: Made, request: _Request) -> CompiledModel:
    report = each.report
    output = request.folder / each.path.name
    return CompiledModel(
        model=str(request.source_of(each.model)),
        sha256=request.files[request.models.index(each.model)].sha256,
        output=str(output),
        output_bytes=output.stat().st_size,
        on_chip_bytes=report.on_chip_bytes,
        on_chip_remaining_bytes=report.on_chip_remaining_bytes,
        streamed_bytes=report.streamed_bytes,
        num_subgraphs=report.num_subgraphs,
        num_operators=report.num_operators or 0,
        num_mapped=report.num_mapped or 0,
        operators=report.operators,
    )
