# SPDX-License-Identifier: Apache-2.0
"""Deploy a bundle to boards in parallel: check, install, copy, evaluate and measure there."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.bundle import verify
from edgekit.errors import InputError, UsageError
from edgekit.evaluate.setup import task_of
from edgekit.extras import require
from edgekit.files import PathLike, make_folder, write_text
from edgekit.fleet.local_files import read_data, read_local
from edgekit.fleet.parts import Part, merged
from edgekit.fleet.result import BoardResult, DeployResult
from edgekit.fleet.visit import PURPOSE, Plan, Visit
from edgekit.fleet.wheels import read_wheels
from edgekit.ssh import SshTarget, parse_target

_DEVICE = re.compile(r"auto|cpu|(usb|pci)(:\d+)?|:\d+")
OnBytes = Callable[[int, "int | None"], None]
OnStep = Callable[[str, str], None]


def deploy(  # noqa: PLR0913 - public: its options are keywords
    bundle: PathLike,
    boards: str | Sequence[str],
    *,
    output: PathLike | None = None,
    install: PathLike | None = None,
    data: PathLike | None = None,
    share: bool = False,
    benchmark: bool = True,
    device: str = "auto",
    num_samples: int | None = None,
    num_runs: int = 50,
    num_threads: int = 1,
    folder: str = "edgekit",
    python: str = "python3",
    reconnects: int = 2,
    on_step: OnStep = lambda _board, _text: None,
    progress: OnBytes = lambda _done, _total: None,
) -> DeployResult:
    """Deploy a bundle to boards and measure it there; a failed board does not stop the others.

    Only ``folder`` is changed on a board. Host keys are always checked.

    Args:
        bundle: The .edgekit file; it is verified before edgekit connects to a board.
        boards: ``user@host[:port]`` or names of ~/.ssh/config.
        output: A folder for the results of each board: ``BOARD.doctor.json`` and so on.
        install: A folder of wheels: edgekit's device side is installed from them on the board, in
            the virtual environment ``folder/venv``, without internet.
        data: A folder of images, an .npz or .npy file, or a COCO JSON (with its images) to copy
            there and evaluate on.
        share: Each board evaluates a part of the data, not all of it; the result's ``evaluate`` is
            that of the whole. The part of a board that fails is done by another.
        benchmark: Whether to measure the latency there.
        device: ``cpu``, an Edge TPU (``usb``, ``pci``, ``:0``), or ``auto``: an Edge TPU if the
            doctor finds a usable one, else the CPU.
        num_samples: The number of samples to evaluate on, spread over the data.
        num_runs: Inferences of the benchmark.
        num_threads: Threads of one inference.
        folder: The folder on the board; relative to the home folder of the user who logs in.
        python: The Python on the board. The first with edgekit is used: ``folder/venv``, then
            /opt/edgekit (scripts/install-device.sh), then ``python3``. If another Python is named,
            it comes before /opt/edgekit.
        reconnects: How often to resume after a lost connection, for each board.
        on_step: Called with a board's name and a description of the step that begins there.
        progress: Called with the number of bytes sent and the largest total for all boards.

    Returns:
        One result for each board; with its error if it failed.

    Raises:
        UsageError: A board's name is invalid or occurs twice; ``device`` or ``folder`` is invalid.
        BundleError: The bundle is damaged.
        InputError: Another file cannot be used.
        MissingExtraError: asyncssh is not installed.
    """
    targets = _targets([boards] if isinstance(boards, str) else boards)
    _check_folder(folder)
    if not _DEVICE.fullmatch(device):
        raise UsageError(
            f"there is no device {device!r}", fix="give auto, cpu, usb, usb:0, pci, pci:1 or :0"
        )
    if share and data is None:
        raise UsageError("--share without --data", fix="name the data that the boards share")
    checked = verify(bundle)
    source = Path(bundle)
    plan = Plan(
        bundle=read_local(source, source.name),
        has_compiled=bool(checked.manifest.files_with("compiled")),
        wheels=None if install is None else read_wheels(Path(install)),
        data=None if data is None else read_data(data),
        benchmark=benchmark,
        device=device,
        num_samples=num_samples,
        num_runs=num_runs,
        num_threads=num_threads,
        folder=folder,
        python=python,
        reconnects=reconnects,
    )
    if plan.bundle.sha256 != checked.bundle_sha256:
        raise InputError(
            "the bundle changed while it was read", where=str(bundle), fix="deploy again"
        )
    require("asyncssh", extra="ssh", purpose=PURPOSE)
    place = None if output is None else make_folder(Path(output))
    count = _Count(plan.bytes * len(targets), progress)
    plans = _parts_of(plan, len(targets), bundle, data) if share else [plan] * len(targets)
    visits = [Visit(*pair, on_step, count.add) for pair in zip(targets, plans, strict=True)]
    done = asyncio.run(_all(visits))
    if place is not None:
        for board in done:
            _write(place, board)
    whole = None
    if share and data is not None:
        parts = _parts(visits, done, on_step, count.add)
        if len(parts) == len(visits):
            whole = merged(bundle, data, num_samples, parts)
    return DeployResult(str(bundle), checked.sha256, checked.bundle_sha256, tuple(done), whole)


def _parts_of(plan: Plan, number: int, bundle: PathLike, data: PathLike | None) -> list[Plan]:
    """Return a plan for each board, with the part of the data that it evaluates."""
    task = task_of(bundle, data, plan.num_samples)
    return [replace(plan, part=f"{i + 1}/{number}", task=task) for i in range(number)]


def _parts(
    visits: Sequence[Visit],
    done: Sequence[BoardResult],
    on_step: OnStep,
    on_bytes: Callable[[int], None],
) -> list[Part]:
    """Return the parts that were done; a board that succeeded also does those of the others."""
    parts = [visit.part_of(board) for visit, board in zip(visits, done, strict=True)]
    helper = next((visit for visit, part in zip(visits, parts, strict=True) if part), None)
    found = []
    for visit, first in zip(visits, parts, strict=True):
        part = first
        if part is None and helper is not None:
            on_step(helper.name, f"part {visit.plan.part}, which is missing from {visit.name}")
            other = Visit(helper.target, replace(visit.plan, benchmark=False), on_step, on_bytes)
            part = other.part_of(asyncio.run(other.make()))
        if part is not None:
            found.append(part)
    return found


async def _all(visits: Sequence[Visit]) -> list[BoardResult]:
    return list(await asyncio.gather(*(visit.make() for visit in visits)))


@dataclass
class _Count:
    """The number of bytes sent to all boards."""

    total: int
    progress: OnBytes
    done: int = 0

    def add(self, size: int) -> None:
        self.done += size
        self.progress(self.done, max(self.total, self.done))


def _targets(boards: Sequence[str]) -> list[SshTarget]:
    targets = [parse_target(board, option="BOARD") for board in boards]
    if not targets:
        raise UsageError("no board is named", fix="edgekit deploy net.edgekit user@board")
    twice = {each.name for each in targets if targets.count(each) > 1}
    if twice:
        raise UsageError(f"{', '.join(sorted(twice))} is named twice", fix="name each board once")
    return targets


def _check_folder(folder: str) -> None:
    if not folder.strip("/.~") or ".." in folder.split("/") or "\0" in folder:
        raise UsageError(
            f"the board's folder cannot be {folder!r}",
            fix="name a folder of its own, such as edgekit or /srv/edgekit (--folder)",
        )


def _write(folder: Path, board: BoardResult) -> None:
    """Write the results of one board as files that other commands read."""
    name = re.sub(r"[^\w.@-]", "_", board.board)
    for kind, document in (
        ("doctor", board.doctor),
        ("evaluate", board.evaluate),
        ("benchmark", board.benchmark),
    ):
        if document is not None:
            text = json.dumps(document, indent=2, sort_keys=True) + "\n"
            write_text(folder / f"{name}.{kind}.json", text)
