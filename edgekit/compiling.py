# SPDX-License-Identifier: Apache-2.0
"""`edgekit.compile`: by Google's edgetpu_compiler or by edgekit's own compiler."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Sequence

from edgekit.errors import UsageError
from edgekit.extras import require_host_python
from edgekit.opencompiler.compile import compile_open
from edgekit.opencompiler.compilers import (
    AUTO,
    DEADLINE_S,
    EDGEKIT,
    RETRIES,
    chosen_compiler,
    google_path,
)
from edgekit.opencompiler.result import CompileResult

if TYPE_CHECKING:
    from edgekit.files import PathLike
    from edgekit.host.compiler import CompileCommands, CompilerOptions

_BY_GOOGLE = "compile --compiler google"


def _ignore(_line: str) -> None:
    """The compiler's lines are not shown."""


def compile(  # noqa: A001, PLR0913 - the command, with its options as keywords
    models: Sequence[PathLike],
    *,
    out_dir: PathLike = ".",
    compiler: str | None = AUTO,
    options: CompilerOptions | None = None,
    num_segments: int | None = None,
    min_runtime_version: int | None = None,
    via: str | None = None,
    min_mapped: float | None = None,
    verify: bool = True,
    allow_unseen: bool = False,
    explain_schedule: bool = False,
    retries: int = RETRIES,
    deadline_s: float = DEADLINE_S,
    on_line: Callable[[str], None] = _ignore,
) -> CompileResult:
    """Compile models for one Edge TPU, or one model in segments for several.

    Args:
        models: Integer-only .tflite files, or bundles of them. Several share the chip's parameter
            memory, the first one first.
        out_dir: An existing folder for ``NAME_edgetpu.tflite``.
        compiler: ``google``, ``edgekit``, or the path of Google's program; ``auto`` uses Google's
            if it is installed, or if ``via`` or its options are given, else edgekit's.
        options: Options of Google's compiler.
        num_segments: Cut the model into so many parts, one for each Edge TPU of a pipeline.
        min_runtime_version: The oldest Edge TPU runtime that must run the models: 10, 12, 13 or
            14; None is the newest that the compiler knows.
        via: ``ssh://[user@]host[:port]`` or ``docker:IMAGE`` to run Google's elsewhere.
        min_mapped: The smallest allowed share of operations on the Edge TPU, 0 to 1, for each
            model; None requires one operation.
        verify: Whether edgekit's compiler runs its program in the emulator before it writes it.
        allow_unseen: Whether ``auto`` may write a program with instructions of forms that none of
            Google's programs contains; ``edgekit`` always may.
        explain_schedule: With edgekit's compiler, also write ``NAME_schedule.html``: what runs
            when, the memory of a tile over time, and what would help.
        retries: How often to run Google's compiler again after a crash that is known to be random.
        deadline_s: Seconds after which an attempt of Google's is stopped with all its children.
        on_line: Called with each line that Google's compiler prints, in another thread.

    Raises:
        UsageError: Options contradict each other or the compiler.
        InputError: A model cannot be read, is compiled already, or cannot be compiled.
        OutputError: ``out_dir`` cannot be written; it is unchanged.
        ExternalToolError: Google's compiler is missing, failed, or wrote a damaged file.
        GateError: The compiler mapped too few operations; nothing was written.
    """
    for_google = _options_for_google(options, via)
    if chosen_compiler(compiler, for_google) == EDGEKIT:
        if for_google:
            raise UsageError(
                f"{for_google[0]} is an option of Google's compiler",
                fix="leave it out, or compile with --compiler google",
            )
        return compile_open(
            models,
            out_dir=out_dir,
            min_mapped=min_mapped,
            verify=verify,
            allow_unseen=allow_unseen or compiler == EDGEKIT,
            num_segments=num_segments,
            explain_schedule=explain_schedule,
            min_runtime_version=min_runtime_version,
        )
    for_own = {
        "--explain-schedule": explain_schedule,
        "--no-verify": not verify,
        "--allow-unseen": allow_unseen and compiler not in {None, AUTO},
    }
    for option in (name for name, given in for_own.items() if given):
        raise UsageError(
            f"{option} is an option of edgekit's own compiler",
            fix="leave it out, or add --compiler edgekit",
        )
    require_host_python(_BY_GOOGLE)
    from edgekit.host.compiler import CompilerOptions  # noqa: PLC0415 - not on a board
    from edgekit.host.compiler import compile as compile_by_google  # noqa: PLC0415

    return compile_by_google(
        models,
        out_dir=out_dir,
        options=_completed(
            options or CompilerOptions(),
            num_segments=num_segments,
            min_runtime_version=min_runtime_version,
        ),
        compiler=google_path(compiler),
        via=via,
        min_mapped=min_mapped,
        retries=retries,
        deadline_s=deadline_s,
        on_line=on_line,
    )


def compile_commands(
    models: Sequence[PathLike],
    *,
    out_dir: PathLike = ".",
    compiler: str | None = AUTO,
    options: CompilerOptions | None = None,
    num_segments: int | None = None,
    min_runtime_version: int | None = None,
    via: str | None = None,
) -> CompileCommands:
    """Return the commands of Google's compiler that `compile` runs, without running them.

    Raises:
        UsageError: edgekit's own compiler is chosen, or options contradict each other.
        InputError: A model cannot be read, or is compiled already.
    """
    if compiler == EDGEKIT:
        raise UsageError(
            "edgekit's own compiler does not run a command",
            fix="leave --dry-run out, or show the command of --compiler google",
        )
    require_host_python(_BY_GOOGLE)
    from edgekit.host.compiler import CompilerOptions  # noqa: PLC0415 - not on a board
    from edgekit.host.compiler import compile_commands as commands_of_google  # noqa: PLC0415

    return commands_of_google(
        models,
        out_dir=out_dir,
        options=_completed(
            options or CompilerOptions(),
            num_segments=num_segments,
            min_runtime_version=min_runtime_version,
        ),
        compiler=google_path(compiler),
        via=via,
    )


def google_options(**options: Any) -> CompilerOptions | None:  # noqa: ANN401 - of several types
    """Options of Google's compiler; None if none is given, so that a board does not need them.

    Raises:
        MissingExtraError: One is given, and this Python is too old for the host side.
    """
    if not any(options.values()):
        return None
    require_host_python(_BY_GOOGLE)
    from edgekit.host.compiler import CompilerOptions  # noqa: PLC0415 - not on a board

    return CompilerOptions(**options)


def _completed(
    options: CompilerOptions, *, num_segments: int | None, min_runtime_version: int | None
) -> CompilerOptions:
    if num_segments is not None:
        options = replace(options, num_segments=num_segments)
    if min_runtime_version is not None:
        options = replace(options, min_runtime_version=min_runtime_version)
    return options


def _options_for_google(options: CompilerOptions | None, via: str | None) -> list[str]:
    """The options in use that only Google's compiler has, as on the command line."""
    given = ["--via"] if via is not None else []
    if options is not None:
        shown = [f"--{name.replace('_', '-')}" for name, value in vars(options).items() if value]
        given += shown
    return given
