# SPDX-License-Identifier: Apache-2.0
"""``edgekit doctor``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.output import JsonOption, emit
from edgekit.errors import DeviceError

if TYPE_CHECKING:
    from edgekit.doctor import DoctorResult

_MARKS = {"ok": "ok", "warning": "warning", "failed": "FAILED", "not_applicable": "-"}


def doctor(
    model: Annotated[
        Optional[Path],
        typer.Option(
            metavar="MODEL",
            autocompletion=completion.models,
            help="Also run this model (compiled or plain) or bundle.",
        ),
    ] = None,
    cpu: Annotated[
        bool, typer.Option("--cpu", help="Exit with 0 if models run on the CPU.")
    ] = False,
    python: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Check this Python instead of the one that runs edgekit."
        ),
    ] = "",
    print_udev: Annotated[
        bool, typer.Option("--print-udev", help="Print udev rules for every Edge TPU, and exit.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what this machine has, what is broken, and which command to run next."""
    from edgekit.doctor import UDEV_RULES
    from edgekit.doctor import doctor as examine

    if print_udev:
        sys.stdout.write(UDEV_RULES)
        return
    result = examine(model=str(model or ""), cpu=cpu, python=python)
    emit(result, lambda: "\n".join(render(result, cpu=cpu)), as_json=json)
    if not (result.cpu_usable if cpu else result.edge_tpu_usable):
        raise typer.Exit(DeviceError.exit_status)


def render(result: DoctorResult, *, cpu: bool) -> Iterator[str]:
    """Yield the findings for people: one line per check, with reason and fix below it."""
    yield f"{result.board or 'this machine'}, {result.system}, Python {result.python}"
    yield ""
    for check in result.checks:
        yield f"{_MARKS[check.status]:8} {check.code:20} {check.seen}"
        for label, text in (("why", check.why), ("fix", check.fix)):
            if text and check.status in ("warning", "failed"):
                yield f"{'':8} {'':20} {label}: {text}"
    yield ""
    yield f"Edge TPU   {'usable' if result.edge_tpu_usable else 'not usable'}"
    yield f"CPU        {'usable' if result.cpu_usable else 'not usable'}"
    if result.next_step and not (result.cpu_usable if cpu else result.edge_tpu_usable):
        yield f"next       {result.next_step}"
