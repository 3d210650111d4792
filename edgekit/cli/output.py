# SPDX-License-Identifier: Apache-2.0
"""How commands print: the result on stdout, all else on stderr, ``--json`` for programs."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Callable, Iterable, Iterator, List, Sequence

import typer
from typing_extensions import Annotated

from edgekit.cli.streams import discard_stdout, is_quiet, say
from edgekit.errors import OutputError
from edgekit.progress import Progress
from edgekit.result import Result

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.")
]
Cell = Any  # printed with str()


def emit(result: Result, text: Callable[[], str], *, as_json: bool) -> None:
    """Print ``result`` on stdout: its JSON document, or ``text()`` for people.

    Raises:
        OutputError: stdout cannot be written, for instance because the disk is full.
    """
    try:
        sys.stdout.write(result.to_json() if as_json else text().rstrip("\n") + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe; the exit status stays
        discard_stdout()
    except OSError as error:
        discard_stdout()
        raise OutputError(
            f"cannot write the result: {error.strerror}", where="standard output"
        ) from error


def note(message: str) -> None:
    """Print a remark or warning on stderr, apart from the result; --quiet omits it."""
    if not is_quiet():
        say(message.rstrip("\n") + "\n")


def warn(warnings: Iterable[str]) -> None:
    """Print warnings on stderr, a line for each."""
    for warning in warnings:
        note(f"warning: {warning}")


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return an aligned text table, numbers to the right; without borders, to be easy to grep."""
    cells: List[List[str]] = [[str(cell) for cell in row] for row in (head, *rows)]
    right = [
        bool(rows)
        and all(isinstance(row[i], (int, float)) or _numeric(str(row[i])) for row in rows)
        for i in range(len(head))
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if flag else cell.ljust(width)
            for cell, width, flag in zip(row, widths, right)
        ).rstrip()
        for row in cells
    )


@contextlib.contextmanager
def progress(label: str) -> Iterator[Progress]:
    """Show a progress bar on stderr: call the result with (done, total or None).

    If stderr is not a terminal, nothing is drawn and rich is not imported. Meanwhile everything
    that is printed to stdout, as by a function that returns samples, goes to stderr.
    """
    with contextlib.redirect_stdout(sys.stderr), _drawn(label) as on_progress:
        yield on_progress


@contextlib.contextmanager
def _drawn(label: str) -> Iterator[Progress]:
    if is_quiet() or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


def _numeric(text: str) -> bool:
    return text[:1].isdigit() or (text[:1] in "+-" and text[1:2].isdigit())


def runs_on(result: Any) -> str:  # noqa: ANN401 - any result with the fields of an Environment
    """Return what ran the model as text: device, runtime, its version, kernels."""
    version = next(iter(result.versions.values()), "")
    library = result.versions.get("libedgetpu")
    version += f", libedgetpu {library}" if library else ""
    note = f" ({result.kernels_note})" if result.kernels_note else ""
    return f"{result.device}, {result.runtime} {version}, {result.kernels} kernels{note}"


def measured_on(result: Any) -> Iterator[str]:  # noqa: ANN401 - any result with the fields of an Environment
    """Yield lines on what was measured: device, runtime, and the Edge TPU's temperatures."""
    apart = "" if "libedgetpu" in result.versions else "; Edge TPU: not measured"
    yield f"on         {runs_on(result)}{apart}"
    thermal = result.thermal
    if thermal is not None and (thermal.max_celsius is not None or thermal.throttled):
        yield f"thermal    {temperatures(thermal)}"


def temperatures(thermal: Any) -> str:  # noqa: ANN401 - a Thermal; its import would slow --help
    """Return the first, last and highest temperature, and whether the clock was lowered."""
    verdicts = {True: "the clock was likely lowered", False: "the clock was likely not lowered"}
    parts = [verdicts[thermal.throttled]] if thermal.throttled is not None else []
    if thermal.max_celsius is not None:
        celsius = (thermal.start_celsius, thermal.end_celsius, thermal.max_celsius)
        shown = ("unknown" if each is None else f"{each:.1f}" for each in celsius)
        parts.insert(0, "start {}, end {}, highest {} °C".format(*shown))
    return "; ".join([*parts, *([thermal.note] if thermal.note else [])])
