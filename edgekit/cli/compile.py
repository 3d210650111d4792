# SPDX-License-Identifier: Apache-2.0
"""``edgekit compile``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.grammar import Formerly
from edgekit.cli.options import MinMappedOption
from edgekit.cli.output import JsonOption, emit, note, table, warn

if TYPE_CHECKING:
    from edgekit.host.compiler.result import CompileCommands
    from edgekit.opencompiler.result import CompiledModel, CompileResult

# Lines of the compiler that show its progress.
_STEPS = ("Searching", "Try to compile", "Started", "edgekit:")

ModelsArgument = Annotated[
    List[Path],
    typer.Argument(
        metavar="MODEL...",
        help="Integer-only .tflite files; several are compiled to share one Edge TPU.",
        autocompletion=completion.models,
    ),
]
FolderOption = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FOLDER", help="The folder for NAME_edgetpu.tflite."),
    Formerly("--out-dir", "--out_dir"),
]
ShowOperationsOption = Annotated[
    bool,
    typer.Option(
        "--show-operations",
        "-s",
        help="Print the operator table even if all operations are mapped.",
    ),
    Formerly("--show_operations"),
]
MinRuntimeVersionOption = Annotated[
    Optional[int],
    typer.Option(
        "--min-runtime-version",
        "--target",
        "-m",
        metavar="VERSION",
        help="The oldest Edge TPU runtime that must run the model: 10, 12, 13 or 14.",
    ),
    Formerly("--min_runtime_version"),
]
IntermediateTensorsOption = Annotated[
    Optional[str],
    typer.Option(
        "--intermediate-tensors",
        "-i",
        metavar="NAMES",
        help="Tensors at which the Edge TPU's part ends: A,B for one model, A,B:C for two.",
    ),
    Formerly("--intermediate_tensors"),
]
NumSegmentsOption = Annotated[
    Optional[int],
    typer.Option(
        "--num-segments",
        "-n",
        metavar="COUNT",
        min=1,
        help="Cut the model into this many parts, one per Edge TPU.",
    ),
    Formerly("--num_segments"),
]
SearchDelegateOption = Annotated[
    bool,
    typer.Option(
        "--search-delegate",
        "-d",
        help="If it fails, retry with more and more of the last operations on the CPU (16.0).",
    ),
    Formerly("--search_delegate"),
]
DelegateSearchStepOption = Annotated[
    Optional[int],
    typer.Option(
        "--delegate-search-step",
        "-k",
        metavar="COUNT",
        min=1,
        help="Number of operations to add at each try (16.0).",
    ),
    Formerly("--delegate_search_step"),
]
CompilerTimeoutOption = Annotated[
    Optional[int],
    typer.Option(
        "--timeout-sec",
        "-t",
        metavar="SECONDS",
        min=1,
        help="The compiler's own time limit for one try; 180 by default.",
    ),
    Formerly("--timeout_sec"),
]
MultipleSubgraphsOption = Annotated[
    bool,
    typer.Option(
        "--enable-multiple-subgraphs",
        "-a",
        help="Allow more than one region on the Edge TPU (experimental, often slower).",
    ),
    Formerly("--enable_multiple_subgraphs"),
]
CompilerOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="auto|google|edgekit|PATH",
        help="google (edgetpu_compiler), edgekit (edgekit's own), auto (Google's if it is "
        "installed, else edgekit's), or the path of Google's program.",
    ),
]
AllowUnseenOption = Annotated[
    bool,
    typer.Option(
        "--allow-unseen",
        help="Let auto write forms of instructions that none of Google's programs has; with "
        "--compiler edgekit they are always allowed.",
    ),
]
ExplainScheduleOption = Annotated[
    bool,
    typer.Option(
        "--explain-schedule",
        help="With edgekit's compiler: also write NAME_schedule.html, a picture of what runs when.",
    ),
]
NoVerifyOption = Annotated[
    bool,
    typer.Option(
        "--no-verify",
        help="For experts: write edgekit's program without running it in the emulator first.",
    ),
]
ViaOption = Annotated[
    Optional[str],
    typer.Option(
        metavar="PLACE", help="Where to run it: ssh://[user@]host[:port] or docker:IMAGE."
    ),
]
RetriesOption = Annotated[
    int,
    typer.Option(
        metavar="COUNT", min=0, help="Number of retries after a crash that is known to be random."
    ),
]
DeadlineOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.001,
        help="Stop the compiler and its child processes after this many seconds.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print the exact command; do not run it.")
]


def compile(  # noqa: A001 - the command's name
    models: ModelsArgument,
    out_dir: FolderOption = Path(),
    show_operations: ShowOperationsOption = False,
    min_runtime_version: MinRuntimeVersionOption = None,
    intermediate_tensors: IntermediateTensorsOption = None,
    num_segments: NumSegmentsOption = None,
    search_delegate: SearchDelegateOption = False,
    delegate_search_step: DelegateSearchStepOption = None,
    timeout_sec: CompilerTimeoutOption = None,
    enable_multiple_subgraphs: MultipleSubgraphsOption = False,
    compiler: CompilerOption = "auto",
    no_verify: NoVerifyOption = False,
    allow_unseen: AllowUnseenOption = False,
    explain_schedule: ExplainScheduleOption = False,
    via: ViaOption = None,
    min_mapped: MinMappedOption = None,
    retries: RetriesOption = 3,
    deadline_sec: DeadlineOption = 3600.0,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Compile for the Edge TPU, with Google's edgetpu_compiler or edgekit's own."""
    from edgekit.compiling import compile as run_compile
    from edgekit.compiling import compile_commands, google_options

    options = google_options(
        intermediate_tensors=intermediate_tensors,
        search_delegate=search_delegate,
        delegate_search_step=delegate_search_step,
        timeout_sec=timeout_sec,
        enable_multiple_subgraphs=enable_multiple_subgraphs,
    )
    if dry_run:
        planned = compile_commands(
            models,
            out_dir=out_dir,
            options=options,
            num_segments=num_segments,
            min_runtime_version=min_runtime_version,
            compiler=compiler,
            via=via,
        )
        emit(planned, lambda: "\n".join(render_commands(planned)), as_json=json)
        return
    result = run_compile(
        models,
        out_dir=out_dir,
        options=options,
        num_segments=num_segments,
        min_runtime_version=min_runtime_version,
        compiler=compiler,
        via=via,
        min_mapped=min_mapped,
        verify=not no_verify,
        allow_unseen=allow_unseen,
        explain_schedule=explain_schedule,
        retries=retries,
        deadline_s=deadline_sec,
        on_line=_show_step,
    )
    warn(result.warnings)
    emit(result, lambda: "\n".join(render(result, show_operations)), as_json=json)


def render_commands(planned: CompileCommands) -> Iterator[str]:
    """Yield one command per line, quoted for a shell."""
    if planned.via.startswith("ssh:"):
        yield f"# on {planned.via}, in a new folder with copies of the models"
    yield from (shlex.join(command) for command in planned.commands)


def render(result: CompileResult, show_operations: bool) -> Iterator[str]:
    """Yield the result for people, line by line."""
    where = f", {result.via}" if result.via else ""
    yield f"compiler   {result.compiler_version}{where}: {result.time_s:.1f} s"
    for model in result.models:
        yield from _render_model(model, show_operations)
    yield from (f"schedule   {path}" for path in result.outputs if path.endswith(".html"))
    for each in result.disagreements:
        yield f"disagrees  {each}"
    if result.disagreements:
        yield "           edgekit's rules are wrong here: please report it with model and log"


def _render_model(model: CompiledModel, show_operations: bool) -> Iterator[str]:
    yield f"written    {model.output}: {model.output_bytes:,} bytes"
    regions = f" in {model.num_subgraphs} regions" if (model.num_subgraphs or 0) > 1 else ""
    yield (
        f"mapped     {model.num_mapped} of {model.num_operators} operations "
        f"({model.mapped_share:.1%}){regions}"
    )
    if model.verification is not None:
        inputs = len(model.verification.inputs)
        yield (
            f"verified   in the emulator, not on a chip: {model.verification.num_values:,} values "
            f"of {inputs} inputs are equal to the model's"
        )
    if model.seen_share is not None:
        seen = f"{model.seen_share:.2%}"
        forms = "Google's programs have" + (
            ", or that a chip confirmed" * bool(model.num_confirmed)
        )
        yield f"seen       {seen} of the instructions have a form that {forms}"
    if model.predicted_cycles is not None:
        yield f"predicted  {model.predicted_cycles:,} cycles of the busiest tile's arithmetic"
    sizes = (
        ("parameters on the chip", model.on_chip_bytes),
        ("streamed for each inference", model.streamed_bytes),
        ("of the chip's cache left", model.on_chip_remaining_bytes),
    )
    known = [f"{size / (1 << 20):.2f} MiB {name}" for name, size in sizes if size is not None]
    if known:
        yield f"memory     {', '.join(known)}"
    if model.operators and (show_operations or model.num_mapped < model.num_operators):
        yield ""
        yield table(
            ("operator", "count", "status"),
            [(row.opcode, row.count, row.status) for row in model.operators],
        )


def _show_step(line: str) -> None:
    if line.startswith(_STEPS):
        note(line)
