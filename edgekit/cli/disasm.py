# SPDX-License-Identifier: Apache-2.0
"""``edgekit disasm``."""

from __future__ import annotations

from pathlib import Path

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.output import JsonOption, emit, note


def disasm(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A compiled model (x_edgetpu.tflite), or a bundle.",
            autocompletion=completion.models,
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Print a compiled model's Edge TPU programs as assembly."""
    from edgekit.chip.isa import disasm as run_disasm
    from edgekit.chip.isa.listing import render

    result = run_disasm(model)
    if result.num_unnamed_words:
        note(
            f"note: {result.num_unnamed_words} of {result.num_words} words contain bits that no "
            "field of the table names; they are printed as unnamed="
        )
    emit(result, lambda: "\n".join(render(result)), as_json=json)
