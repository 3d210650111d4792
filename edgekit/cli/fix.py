# SPDX-License-Identifier: Apache-2.0
"""``edgekit fix``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.grammar import OneOf
from edgekit.cli.options import (
    PreprocessOption,
    ProofDataOption,
    ProofRandomOption,
    ProofSamplesOption,
    RuntimeOption,
)
from edgekit.cli.output import JsonOption, emit, progress, table, warn

if TYPE_CHECKING:
    from edgekit.fix import Certificate, FixResult, RuleList

# Copied from edgekit.fix, because importing it would make --help slow. A test compares them.
IO = ("auto", "keep", "uint8", "int8", "float32")


def fix(
    model: Annotated[
        Optional[Path],
        typer.Argument(metavar="MODEL", help="A .tflite file.", autocompletion=completion.models),
    ] = None,
    output: Annotated[
        Optional[Path],
        typer.Option("--output", "-o", metavar="FILE", help="The .tflite file to write."),
    ] = None,
    rule: Annotated[
        Optional[List[str]], typer.Option(metavar="NAME", help="Apply this rule; all by default.")
    ] = None,
    skip: Annotated[
        Optional[List[str]], typer.Option(metavar="NAME", help="Do not apply this rule.")
    ] = None,
    io: Annotated[
        str,
        typer.Option(
            help="Type of inputs and outputs; auto replaces float with the integers inside."
        ),
        OneOf(*IO),
    ] = "auto",
    data: ProofDataOption = None,
    preprocess: PreprocessOption = None,
    num_random: ProofRandomOption = 8,
    num_samples: ProofSamplesOption = 16,
    runtime: RuntimeOption = None,
    unproved: Annotated[
        bool, typer.Option("--unproved", help="Rewrite even if the model cannot run here.")
    ] = False,
    list_rules: Annotated[bool, typer.Option("--list", help="List the rules.")] = False,
    json: JsonOption = False,
) -> None:
    """Rewrite a model so that more of it maps to the Edge TPU, and prove each rewrite."""
    from edgekit.errors import UsageError
    from edgekit.fix import RuleList
    from edgekit.fix import fix as run_fix

    if list_rules:
        listing = RuleList.of(io)
        emit(listing, lambda: "\n".join(render_rules(listing)), as_json=json)
        return
    if model is None or output is None:
        raise UsageError("a model and an output are needed", fix="edgekit fix MODEL -o OUT.tflite")
    with progress("proving") as on_progress:
        result = run_fix(
            model,
            output,
            rule=rule or (),
            skip=skip or (),
            io=io,
            data=data,
            preprocess=preprocess,
            num_random=num_random,
            num_samples=num_samples,
            runtime=runtime,
            unproved=unproved,
            progress=on_progress,
        )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: FixResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    before, after = (
        sum(each.values()) for each in (result.operators_before, result.operators_after)
    )
    if not result.changed:
        yield f"written    {result.output}: the same bytes, because no rule applies"
        return
    yield f"written    {result.output}"
    yield (
        f"mapped     {result.mapped_after} of {after} operators, before: "
        f"{result.mapped_before} of {before}"
    )
    before_ms, after_ms = result.estimated_ms_before, result.estimated_ms_after
    if after_ms is not None:
        was = "" if before_ms is None else f", before: {before_ms:.2f} ms"
        yield f"estimated  {after_ms:.2f} ms on a USB Accelerator{was}"
    rows = [_row(each) for each in result.certificates]
    if result.whole is not None:
        rows.append(_row(result.whole))
    yield ""
    yield table(("rule", "outputs", "operators", "estimated ms"), rows)
    yield ""
    yield from (f"rejected   {each.rule}: {describe(each)}" for each in result.rejected)
    version = next(iter(result.versions.values()), "")
    whole = result.whole
    if whole is not None and whole.kernels:
        yield (
            f"measured   on {whole.num_random} random inputs and {whole.num_data} samples, "
            f"{result.runtime} {version}, {whole.kernels} kernels"
        )


def render_rules(listing: RuleList) -> Iterator[str]:
    """Yield every rule: whether its outputs are identical, and what it does."""
    yield table(
        ("rule", "outputs", "what it does"),
        [
            (each.name, "identical" if each.exact else "measured", each.description)
            for each in listing.rules
        ],
    )


def describe(certificate: Certificate) -> str:
    """Return what was measured, as text."""
    if certificate.identical is None:
        return certificate.note
    if certificate.identical:
        return "bit-identical"
    worst = min(
        (each for each in certificate.outputs if not each.identical),
        key=lambda each: float("-inf") if each.snr_db is None else each.snr_db,
    )
    words = ["no signal to measure" if worst.snr_db is None else f"SNR {worst.snr_db:.1f} dB"]
    if worst.largest_step is not None:
        plural = "" if worst.largest_step == 1 else "s"
        words.append(f"off by {worst.largest_step:g} step{plural} at most")
    if worst.argmax is not None:
        words.append(f"argmax {worst.argmax:.1%} alike")
    return ", ".join(words)


def _row(certificate: Certificate) -> tuple[str, str, str, str]:
    times = certificate.estimated_ms_before, certificate.estimated_ms_after
    shown = ["-" if each is None else f"{each:.2f}" for each in times]
    changed = ", ".join(f"{name} {count:+d}" for name, count in certificate.operators.items())
    return certificate.rule, describe(certificate), changed or "same number", " to ".join(shown)
