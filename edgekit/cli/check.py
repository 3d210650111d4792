# SPDX-License-Identifier: Apache-2.0
"""``edgekit check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional, Tuple

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.grammar import Formerly
from edgekit.cli.options import (
    BatchSizeOption,
    InputShapeOption,
    MinMappedOption,
    PreprocessOption,
    SignatureOption,
)
from edgekit.cli.output import JsonOption, emit, note, table

if TYPE_CHECKING:
    from edgekit.edgetpu import CheckReport, OperatorVerdict

_KIB = 1024
_SHOWN = 12
_COLUMNS = ("", "operator", "layer", "verdict", "rule", "known from", "why")

SourcesArgument = Annotated[
    List[Path],
    typer.Argument(
        metavar="MODEL...",
        autocompletion=completion.checkable,
        help="A .tflite file; or a .keras, .h5 or frozen .pb file or a SavedModel's folder, "
        "which edgekit converts first.",
    ),
]
TargetOption = Annotated[
    int,
    typer.Option(
        "--min-runtime-version",
        "-m",
        metavar="VERSION",
        help="The oldest Edge TPU runtime that must run the model: 10, 12, 13 or 14.",
    ),
    Formerly("--target"),
]
ShowOperationsOption = Annotated[
    bool, typer.Option("--show-operations", "-s", help="List every operator.")
]
CalibrationOption = Annotated[
    Optional[str],
    typer.Option(metavar="DATA", help="Calibration samples, if MODEL must be converted."),
]
TensorsOption = Annotated[
    Optional[List[str]],
    typer.Option(
        metavar="NAME", help="A tensor of a frozen graph or float .tflite; repeat for more."
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust-source", help="Run code that a Keras file contains.")
]


def check(
    models: SourcesArgument,
    target: TargetOption = 14,
    min_mapped: MinMappedOption = None,
    show_operations: ShowOperationsOption = False,
    data: CalibrationOption = None,
    preprocess: PreprocessOption = None,
    input_shape: InputShapeOption = None,
    batch_size: BatchSizeOption = 1,
    signature: SignatureOption = None,
    inputs: TensorsOption = None,
    outputs: TensorsOption = None,
    trust_source: TrustOption = False,
    json: JsonOption = False,
) -> None:
    """Show which operators map to the Edge TPU, why the others do not, and what to change."""
    from edgekit.checking import check as run_check
    from edgekit.edgetpu import CheckReports
    from edgekit.edgetpu.report import require_mapped

    reports = tuple(
        run_check(
            each,
            target=target,
            data=data,
            preprocess=preprocess,
            input_shape=input_shape,
            batch_size=batch_size,
            signature=signature,
            inputs=inputs,
            outputs=outputs,
            trust_source=trust_source,
        )
        for each in models
    )
    for message in dict.fromkeys(text for report in reports for text in report.notes):
        note(f"note: {message}")
    result = reports[0] if len(reports) == 1 else CheckReports(reports)
    if min_mapped is not None and json:
        require_mapped(reports, min_mapped)
    emit(
        result,
        lambda: "\n\n".join("\n".join(render(each, show_operations)) for each in reports),
        as_json=json,
    )
    if min_mapped is not None:
        require_mapped(reports, min_mapped)


def render(report: CheckReport, show_operations: bool = False) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield f"model       {report.model}{', converted' if report.converted_from else ''}"
    yield from _summary(report)
    if report.table:
        yield ""
        yield from _compiler_table(report)
    if show_operations:
        yield ""
        yield table(_COLUMNS, [_row(verdict) for verdict in report.operators])
    shown = [issue for issue in report.issues if issue.code != "map.first_blocker"]
    if shown:
        yield ""
    for issue in shown[:_SHOWN]:
        yield f"{issue.severity:11} {issue}"
        yield f"{'':11} fix: {issue.fix}"
    if len(shown) > _SHOWN:
        yield f"and {len(shown) - _SHOWN} more (--json lists all)"


def _summary(report: CheckReport) -> Iterator[str]:
    if report.refused:
        if_read = f"; otherwise {report.num_mapped_if_read} of {report.num_operators}"
        yield (
            "maps        nothing: the compiler refuses the file"
            + (f"{if_read} operators would map" if report.operators else "")
        )
        first = next(issue for issue in report.issues if issue.severity == "error")
        yield f"{'':11} because of {first}"
    else:
        share = report.mapped_macs_share
        macs = "" if share is None else f", {share:.1%} of {report.macs:,} multiply-accumulates"
        unknown = f"; {report.num_unknown} unknown" if report.num_unknown else ""
        yield (
            f"maps        {report.num_mapped} of {report.num_operators} operators "
            f"({report.mapped_share:.1%}){macs}{unknown} (runtime {report.target})"
        )
    blocker = report.blocker
    if blocker is not None:
        layer = f", layer {blocker.layer}" if blocker.layer else ""
        stay = "stay" if blocker.verdict == "cpu" else "may stay"
        yield f"blocked by  operator {blocker.index} {blocker.opcode}{layer}"
        yield (
            f"{'':11} {blocker.num_operators} operators and {blocker.macs:,} multiply-accumulates "
            f"{stay} on the CPU because of it; without it {blocker.num_regained} more would map"
        )
        yield f"{'':11} why: {blocker.reason}"
        yield f"{'':11} rule: {blocker.rule}; known from: {blocker.source}"
        yield f"{'':11} fix: {blocker.fix}"
    yield from _own_compiler(report)
    if not report.num_mapped:
        return
    about = "" if report.parameters_exact else "about "
    yield (
        f"parameters  {about}{_size(report.on_chip_bytes)} on the chip (of about "
        f"{_size(report.cache_bytes)}), {about}{_size(report.streamed_bytes)} sent with every "
        "inference"
    )
    yield (
        f"activations {_size(report.activations.peak_bytes)} alive at once, of "
        f"{_size(report.activation_bytes)}"
    )
    crossings = report.crossings
    yield (
        f"crossings   {crossings.num_to_tpu} to the Edge TPU ({_size(crossings.to_tpu_bytes)}), "
        f"{crossings.num_to_cpu} back ({_size(crossings.to_cpu_bytes)}); the network's own inputs "
        "and outputs not counted"
    )


def _own_compiler(report: CheckReport) -> Iterator[str]:
    """Yield what edgekit's own compiler maps, and why it maps less."""
    examined = [each for each in report.operators if each.own_compiler]
    if not examined:
        return
    mapped = sum(each.own_compiler == "tpu" for each in examined)
    yield f"own         edgekit's own compiler maps {mapped} of {len(examined)} operators"
    less = [each for each in examined if each.own_compiler == "cpu" and each.verdict == "tpu"]
    if less:
        first = less[0]
        yield f"{'':11} first {first.index} {first.label}, which Google's maps: {first.own_reason}"


def _compiler_table(report: CheckReport) -> Iterator[str]:
    """Yield the columns of the compiler's operation log."""
    yield f"{'Operator':31}{'Count':11}Status"
    for row in report.table:
        yield f"{row.opcode:31}{row.count:<11}{row.status}"


def _row(verdict: OperatorVerdict) -> Tuple[str, ...]:
    return (
        str(verdict.index),
        f"{verdict.label} v{verdict.version}",
        verdict.layer or "-",
        verdict.verdict,
        verdict.rule or "-",
        verdict.source,
        verdict.reason,
    )


def _size(num_bytes: int) -> str:
    """Return bytes in the compiler's format: ``2.73MiB``."""
    size, unit = float(num_bytes), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < _KIB:
            break
        size, unit = size / _KIB, larger
    return f"{size:.2f}{unit}"
