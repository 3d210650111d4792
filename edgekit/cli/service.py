# SPDX-License-Identifier: Apache-2.0
"""``edgekit service``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.grammar import OneOf
from edgekit.cli.options import DeviceOption, LabelsOption, PreprocessOption, ScoreOption
from edgekit.cli.output import JsonOption, emit
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.integrations import ServiceResult

ACTIONS = ("install", "remove")


def service(
    action: Annotated[
        str, typer.Argument(metavar="|".join(ACTIONS), help="What to do."), OneOf(*ACTIONS)
    ],
    models: Annotated[
        Optional[List[Path]],
        typer.Argument(metavar="MODEL...", help="install: .tflite files or bundles."),
    ] = None,
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="Of the service; by default that of the first model."),
    ] = "",
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="As for edgekit serve.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65535, help="As for edgekit serve.")
    ] = 8000,
    labels: LabelsOption = None,
    score_threshold: ScoreOption = None,
    preprocess: PreprocessOption = None,
    device: DeviceOption = "cpu",
    json: JsonOption = False,
) -> None:
    """Write a systemd user unit that keeps edgekit serve running, or remove it."""
    from edgekit.integrations import install_service, remove_service
    from edgekit.serve.hosts import is_loopback, new_token

    if action == "remove":
        if not name:
            raise UsageError("remove needs a name", fix="edgekit service remove --name NAME")
        result = remove_service(name)
    else:
        words = ["--host", host, "--port", str(port), "--device", device]
        words += [] if labels is None else ["--labels", str(Path(labels).resolve())]
        words += [] if score_threshold is None else ["--score-threshold", str(score_threshold)]
        words += [] if preprocess is None else ["--preprocess", preprocess]
        result = install_service(
            models or [], words, name=name, token="" if is_loopback(host) else new_token()
        )
    emit(result, lambda: "\n".join(render(result, action)), as_json=json)


def render(result: ServiceResult, action: str) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield f"{'removed' if action == 'remove' else 'written'}    {result.path}"
    if result.token_path and action != "remove":
        yield f"token      in {result.token_path}"
    for index, each in enumerate(result.next):
        yield f"{'next' if index == 0 else '':10} {each}"
