# SPDX-License-Identifier: Apache-2.0
"""``edgekit deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.metric_words import metric_text
from edgekit.cli.options import SamplesOption, ThreadsOption
from edgekit.cli.output import JsonOption, emit, note, progress, table
from edgekit.extras import require_host_python

if TYPE_CHECKING:
    from edgekit.fleet import BoardResult, DeployResult

_HEAD = ("board", "state", "edgekit", "sent bytes", "of", "Edge TPU", "device", "top1", "p50 ms")

BundleArgument = Annotated[
    Path,
    typer.Argument(metavar="BUNDLE", help="A .edgekit file.", autocompletion=completion.bundles),
]
BoardsArgument = Annotated[
    List[str],
    typer.Argument(metavar="BOARD...", help="user@host[:port], or a name from ~/.ssh/config."),
]
ResultsOption = Annotated[
    Optional[Path],
    typer.Option(
        "--output", "-o", metavar="FOLDER", help="Write each board's results into this folder."
    ),
]
InstallOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="WHEEL_DIR",
        help="Install edgekit on the boards from this folder of wheels, without internet.",
    ),
]
BoardDataOption = Annotated[
    Optional[Path],
    typer.Option(
        metavar="DATA",
        help="Copy this folder of images, .npz, .npy or COCO .json to the boards, and "
        "evaluate the model on it.",
    ),
]
ShareOption = Annotated[
    bool,
    typer.Option(
        "--share",
        help="Each board evaluates a part of DATA; the result is that of all of it.",
    ),
]
BenchmarkOption = Annotated[
    bool, typer.Option("--benchmark/--no-benchmark", help="Measure the latency on the boards.")
]
BoardDeviceOption = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        autocompletion=completion.devices,
        help="What runs the model on the boards: cpu, usb, pci, :0, or auto: an Edge TPU if "
        "the board's doctor finds a usable one, else the CPU.",
    ),
]
RunsOption = Annotated[
    int, typer.Option(metavar="COUNT", min=1, help="Number of inferences to measure.")
]
BoardFolderOption = Annotated[
    str,
    typer.Option(metavar="FOLDER", help="The folder on the board, relative to the home folder."),
]
BoardPythonOption = Annotated[str, typer.Option(metavar="PATH", help="The board's Python.")]
ReconnectsOption = Annotated[
    int,
    typer.Option(metavar="COUNT", min=0, help="How often to reconnect after a lost connection."),
]


def deploy(
    bundle: BundleArgument,
    boards: BoardsArgument,
    output: ResultsOption = None,
    install: InstallOption = None,
    data: BoardDataOption = None,
    share: ShareOption = False,
    benchmark: BenchmarkOption = True,
    device: BoardDeviceOption = "auto",
    num_samples: SamplesOption = None,
    num_runs: RunsOption = 50,
    num_threads: ThreadsOption = 1,
    folder: BoardFolderOption = "edgekit",
    python: BoardPythonOption = "python3",
    reconnects: ReconnectsOption = 2,
    json: JsonOption = False,
) -> None:
    """Copy a bundle to boards over ssh, run it there, and fetch the results."""
    require_host_python("deploy")
    from edgekit.fleet import deploy as run_deploy

    with progress("copying") as on_progress:
        result = run_deploy(
            bundle,
            boards,
            output=output,
            install=install,
            data=data,
            share=share,
            benchmark=benchmark,
            device=device,
            num_samples=num_samples,
            num_runs=num_runs,
            num_threads=num_threads,
            folder=folder,
            python=python,
            reconnects=reconnects,
            on_step=lambda board, text: note(f"{board}: {text}"),
            progress=on_progress,
        )
    emit(result, lambda: "\n".join(render(result)), as_json=json)
    if result.exit_status:
        raise typer.Exit(result.exit_status)


def render(result: DeployResult) -> Iterator[str]:
    """Yield one table of all boards, and below it what failed."""
    yield f"bundle     {result.bundle}, sha256 {result.sha256[:12]}"
    yield ""
    yield table(_HEAD, [_row(board) for board in result.boards])
    if result.evaluate is not None:
        yield ""
        whole = result.evaluate
        metrics = ", ".join(f"{n} {metric_text(n, value)}" for n, value in whole.metrics.items())
        yield f"together   {whole.num_samples:,} samples: {metrics or whole.task}"
    for board in result.boards:
        if board.error is not None:
            yield ""
            yield f"{board.board}: {board.error['what']}"
            for label in ("where", "why", "fix", "code"):
                if board.error[label]:
                    yield f"  {label}: {board.error[label]}"


def _row(board: BoardResult) -> List[str]:
    copied, doctor, benchmark = board.copied, board.doctor, board.benchmark
    metrics = (board.evaluate or {}).get("metrics", {})
    return [
        board.board,
        board.state,
        board.edgekit or "-",
        f"{copied.sent_bytes:,}" if copied else "-",
        f"{copied.bytes:,}" if copied else "-",
        "-" if doctor is None else "usable" if doctor["edge_tpu_usable"] else "not usable",
        board.device or "-",
        f"{metrics['top1']:.2%}" if "top1" in metrics else "-",
        f"{benchmark['latency_ms']['p50']:.3f}" if benchmark else "-",
    ]
