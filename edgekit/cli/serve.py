# SPDX-License-Identifier: Apache-2.0
"""``edgekit serve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.options import (
    AnchorsOption,
    DeviceOption,
    DeviceTimeoutOption,
    FallbackOption,
    IouOption,
    KernelsOption,
    LabelsOption,
    PreprocessOption,
    RecoverOption,
    RuntimeOption,
    ScoreOption,
    TaskOption,
    ThreadsOption,
)
from edgekit.cli.output import JsonOption, emit, note, table, warn

if TYPE_CHECKING:
    from edgekit.serve.result import ServeResult


def serve(
    models: Annotated[
        List[Path], typer.Argument(metavar="MODEL...", help="One or more .tflite files or bundles.")
    ],
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="The address to listen on; 0.0.0.0 is every one of this computer, and needs a "
            "token.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    token: Annotated[
        Optional[str],
        typer.Option(
            metavar="TOKEN",
            envvar="EDGEKIT_TOKEN",
            help="What requests must have in Authorization: Bearer TOKEN; by default a random one "
            "if others can reach ADDRESS, else none.",
            show_default=False,
        ),
    ] = None,
    task: TaskOption = None,
    labels: LabelsOption = None,
    score_threshold: ScoreOption = None,
    iou_threshold: IouOption = None,
    anchors: AnchorsOption = None,
    preprocess: PreprocessOption = None,
    device: DeviceOption = "cpu",
    runtime: RuntimeOption = None,
    kernels: KernelsOption = "fast",
    num_threads: ThreadsOption = 1,
    fallback: FallbackOption = False,
    recover: RecoverOption = False,
    timeout_sec: DeviceTimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """Serve models: a web page for people, and an API for programs."""
    from edgekit.extras import require

    for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require(module, extra="serve", purpose="serve models")
    from edgekit.evaluate.session import Asked
    from edgekit.runtime import RunnerOptions
    from edgekit.serve import serve as run_server

    def announce(result: ServeResult) -> None:
        warn(result.warnings)
        emit(result, lambda: "\n".join(render(result)), as_json=json)
        note("Ctrl-C stops it")

    run_server(
        models,
        host=host,
        port=port,
        token=token,
        asked=Asked(
            task=task,
            preprocess=preprocess,
            labels=labels,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            anchors=anchors,
        ),
        options=RunnerOptions(
            device=device,
            runtime=runtime,
            kernels=kernels,
            num_threads=num_threads,
            fallback=fallback,
            recover=recover,
            timeout_s=timeout_sec,
        ),
        on_ready=announce,
    )


def render(result: ServeResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    rows = [(each.name, each.task, each.device) for each in result.models]
    yield table(("model", "task", "device"), rows)
    yield ""
    yield f"page       {result.address}"
