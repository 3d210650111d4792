# SPDX-License-Identifier: Apache-2.0
"""Check the files that the compiler wrote: complete, undamaged, and as its log states."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import files
from edgekit.data.describe import with_notes
from edgekit.errors import ModelFormatError
from edgekit.formats.features import FEATURES_NAME
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import EDGETPU_CUSTOM_OP, add_metadata, is_compiled, read_model
from edgekit.formats.tflite_metadata import keep_files
from edgekit.host.compiler.errors import CompilerError
from edgekit.host.compiler.log import CompilerReport, ModelReport, parse_compiler_log
from edgekit.opencompiler.compilers import PROGRAM


@dataclass(frozen=True)
class Made:
    """One compiled file in the compiler's folder, with the compiler's report on it."""

    model: Path  # what it was compiled from
    path: Path
    report: ModelReport

    @property
    def uncompiled_segment(self) -> Path:
        """The part of the model that it was compiled from; exists only with --num-segments."""
        return self.path.with_name(self.path.name.replace("_edgetpu.tflite", ".tflite"))


def expected_stems(models: Sequence[Path], num_segments: int | None) -> list[tuple[Path, str]]:
    """Return (model, stem of the output) for every expected compiled file, in order."""
    if num_segments is None or num_segments == 1:
        return [(model, model.stem) for model in models]
    return [
        (model, f"{model.stem}_segment_{index}_of_{num_segments}")
        for model in models
        for index in range(num_segments)
    ]


def collect(
    folder: Path, expected: Sequence[tuple[Path, str]], report: CompilerReport, where: str
) -> list[Made]:
    """Check every expected file, and join the compiler's printed report with its log files.

    Raises:
        CompilerError: A file is missing, truncated, or does not agree with the log.
        CompilerLogError: A log file has a line that edgekit cannot read.
    """
    reports = {_stem(each.output): each for each in report.models if each.output}
    made = []
    for model, stem in expected:
        path = folder / f"{stem}_edgetpu.tflite"
        printed = reports.get(f"{stem}_edgetpu")
        if not path.is_file() or printed is None:
            lacks = "is missing" if printed else "is not in the lines that it printed"
            raise _damaged(f"{PROGRAM} succeeded, and {path.name} {lacks}", where)
        logged = _read_log(folder / f"{stem}_edgetpu.log", printed, where)
        _check_file(path, logged, where)
        made.append(Made(model, path, logged))
    return made


def move_out(made: Sequence[Made], target: Path) -> tuple[str, ...]:
    """Move the compiled files, their logs and the uncompiled segments to ``target``: all or none.

    Raises:
        OutputError: ``target`` cannot be written.
    """
    paths = []
    for each in made:
        wanted = (each.path, each.path.with_suffix(".log"), each.uncompiled_segment)
        paths += [path for path in wanted if path.is_file()]
    with ExitStack() as renames:
        for path in paths:
            temporary = renames.enter_context(files.replacing(target / path.name))
            temporary.write_bytes(path.read_bytes())
    return tuple(str(target / path.name) for path in paths)


def keep_notes(made: Sequence[Made]) -> None:
    """Write the models' own notes into the compiled files, because the compiler drops labels.

    The first segment of a model gets the preprocessing, the last one the labels. Files that
    already have them are not changed.
    """
    for index, each in enumerate(made):
        source = read_model_file(each.model)
        is_first = index == 0 or made[index - 1].model != each.model
        is_last = index + 1 == len(made) or made[index + 1].model != each.model
        wanted = source.notes.at_ends(first=is_first, last=is_last)
        content = each.path.read_bytes()
        entry = source.model.metadata.get(FEATURES_NAME)
        if is_first and entry is not None and FEATURES_NAME not in read_model(content).metadata:
            features = source.model.buffers[entry].tobytes()
            content = add_metadata(content, {FEATURES_NAME: features})
        if is_first and is_last and not ModelFile(content).attachments():
            content = keep_files(source.content, content)
        each.path.write_bytes(with_notes(content, wanted))


def _read_log(path: Path, report: ModelReport, where: str) -> ModelReport:
    """Return the printed report with the table of the log file, which always exists."""
    if not path.is_file():
        if report.num_mapped is None or report.num_operators is None:
            raise _damaged(f"{PROGRAM} succeeded, and {path.name} is missing", where)
        return report
    text = path.read_text(encoding="utf-8", errors="replace")
    (logged,) = parse_compiler_log(text, path.name).models or (ModelReport(),)
    operators = logged.operators or report.operators
    counted = sum(row.count for row in operators)
    mapped = sum(row.count for row in operators if row.mapped)
    total = counted if report.num_operators is None else report.num_operators
    on_tpu = mapped if report.num_mapped is None else report.num_mapped
    if (counted, mapped) != (total, on_tpu):
        raise _damaged(
            f"{path.name} has {mapped} of {counted} operations on the Edge TPU, {PROGRAM} printed "
            f"{on_tpu} of {total}",
            where,
        )
    return replace(report, operators=operators, num_operators=total, num_mapped=on_tpu)


def _check_file(path: Path, report: ModelReport, where: str) -> None:
    try:
        model = read_model(path.read_bytes())
    except ModelFormatError as error:
        raise _damaged(f"{path.name} is damaged: {error.what}", where) from error
    on_tpu = is_compiled(model)
    if on_tpu != bool(report.num_mapped):
        holds = "contains" if on_tpu else "does not contain"
        raise _damaged(
            f"{path.name} {holds} the operator {EDGETPU_CUSTOM_OP}, and {PROGRAM} printed that "
            f"{report.num_mapped} operations are mapped",
            where,
        )


def _damaged(what: str, where: str) -> CompilerError:
    return CompilerError(
        what,
        where=where,
        why="nothing was written, because the result cannot be right",
        fix="check whether the disk is full where the compiler ran, and compile again",
        code="compiler.damaged_output",
    )


def _stem(printed: str) -> str:
    return Path(printed.replace("\\", "/")).stem
