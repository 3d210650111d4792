# SPDX-License-Identifier: Apache-2.0
"""``edgekit frigate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator

import typer
from typing_extensions import Annotated

from edgekit.cli.options import DeviceOption, LabelsOption, ModelArgument
from edgekit.cli.output import JsonOption, emit, warn

if TYPE_CHECKING:
    from edgekit.integrations import FrigateResult


def frigate(
    model: ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder for the files.")
    ],
    labels: LabelsOption = None,
    device: DeviceOption = "usb",
    json: JsonOption = False,
) -> None:
    """Write a model, its label map and Frigate's configuration, if Frigate can use it."""
    from edgekit.integrations import frigate as make_files

    result = make_files(model, output=output, labels=labels, device=device)
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: FrigateResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield f"model      {result.model}: {result.model_type}, {result.width} x {result.height}"
    yield f"labels     {result.labels}: {result.num_labels}"
    yield f"config     {result.config}:"
    yield ""
    yield result.config_text
