# SPDX-License-Identifier: Apache-2.0
"""``edgekit debug``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.options import (
    BatchSizeOption,
    DataOption,
    InputShapeOption,
    PreprocessOption,
    RuntimeOption,
    SignatureOption,
)
from edgekit.cli.output import JsonOption, emit, progress, table, warn

if TYPE_CHECKING:
    from edgekit.debug import DebugCause, DebugResult, OperatorError

_MOST_CAUSES = 5
_HEAD = ("operator", "opcode", "alone dB", "so far dB", "rmse/step", "cut off", "trouble", "name")

FloatArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FLOAT",
        autocompletion=completion.sources,
        help="The float network: a float .tflite, a .keras, .h5 or frozen .pb file, or a "
        "SavedModel's folder.",
    ),
]
IntegerArgument = Annotated[
    Path,
    typer.Argument(
        metavar="INT8",
        autocompletion=completion.models,
        help="A full-integer .tflite of the same network, by any converter; not compiled.",
    ),
]
NumSamplesOption = Annotated[
    int,
    typer.Option(
        metavar="COUNT", min=1, help="Number of samples, spread over the data and its classes."
    ),
]
TopOption = Annotated[
    int,
    typer.Option(
        metavar="COUNT", min=0, help="Number of operators in the table, the worst first; 0 for all."
    ),
]
InputsOption = Annotated[
    Optional[List[str]],
    typer.Option(metavar="NAME", help="Where FLOAT was cut, as for convert."),
]
OutputsOption = Annotated[
    Optional[List[str]],
    typer.Option(metavar="NAME", help="Where FLOAT was cut, as for convert."),
]
TrustOption = Annotated[
    bool, typer.Option("--trust-source", help="Run code that the source contains.")
]


def debug(
    source: FloatArgument,
    model: IntegerArgument,
    data: DataOption,
    preprocess: PreprocessOption = None,
    num_samples: NumSamplesOption = 32,
    top: TopOption = 10,
    batch_size: BatchSizeOption = 1,
    input_shape: InputShapeOption = None,
    signature: SignatureOption = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    trust_source: TrustOption = False,
    runtime: RuntimeOption = None,
    json: JsonOption = False,
) -> None:
    """Find where an int8 model loses accuracy, operator by operator, and why."""
    from edgekit.debugging import debug as run_debug

    with progress("measuring") as on_progress:
        result = run_debug(
            source,
            model,
            data,
            preprocess=preprocess,
            num_samples=num_samples,
            runtime=runtime,
            progress=on_progress,
            batch_size=batch_size,
            input_shape=input_shape,
            signature=signature,
            inputs=inputs,
            outputs=outputs,
            trust_source=trust_source,
        )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result, top)), as_json=json)


def render(result: DebugResult, top: int) -> Iterator[str]:
    """Yield the result for people, line by line."""
    how = result.preprocess_reason
    yield f"float      {result.float_model}"
    yield f"int8       {result.model}: {result.num_operators} operators"
    yield f"samples    {result.num_samples} of {result.data.get('source', 'the data')}"
    yield f"preprocess {how if how.startswith('none') else f'{result.preprocess}: {how}'}"
    for each in result.outputs:
        yield f"output     {each.name}: SNR {_db(each.snr_db)} dB about its mean"
    yield ""
    yield table(_HEAD, [_row(each) for each in worst(result, top)])
    yield ""
    yield (
        "alone: only this operator quantized, seen at the outputs; so far: all up to it, seen at "
        f"its own output; rmse/step of rounding alone is {result.rounding_floor:.2f}"
    )
    for number, cause in enumerate(result.causes[:_MOST_CAUSES], 1):
        yield ""
        yield f"cause {number}    {cause.kind}, {_place(cause)}: {cause.share:.0%} of the error"
        yield f"           {cause.text}"
        yield f"  advice   {cause.advice}"
        yield f"  next     {cause.command}"


def worst(result: DebugResult, top: int) -> list[OperatorError]:
    """Return the operators whose own error is largest at the outputs; all if ``top`` is 0."""
    measured = [each for each in result.operators if each.isolated_snr_db is not None]
    ranked = sorted(measured, key=lambda each: each.isolated_snr_db or 0.0)
    if top:
        return ranked[:top]
    return [*ranked, *(each for each in result.operators if each.isolated_snr_db is None)]


def _row(each: OperatorError) -> tuple[str, ...]:
    return (
        "input" if each.index < 0 else str(each.index),
        each.opcode,
        _db(each.isolated_snr_db),
        _db(each.accumulated_snr_db),
        "-" if each.isolated_rmse_over_scale is None else f"{each.isolated_rmse_over_scale:.2f}",
        f"{each.saturated:.1%}",
        ", ".join(each.kinds) or "-",
        each.name[-40:],
    )


def _place(cause: DebugCause) -> str:
    if cause.index is None:
        return "the whole network"
    first = "the input" if cause.index < 0 else f"operator {cause.index} {cause.opcode}"
    return f"{first} {cause.name}"


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
