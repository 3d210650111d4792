# SPDX-License-Identifier: Apache-2.0
"""One board's part of a deployment: every step can be repeated after a lost connection."""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgekit.errors import DeviceError, EdgeKitError
from edgekit.files import sha256_hex
from edgekit.fleet.board import Board, OnBytes, last_line
from edgekit.fleet.local_files import LocalData, LocalFile
from edgekit.fleet.parts import Part
from edgekit.fleet.result import BoardError, BoardResult, CopyStats, RemoteError
from edgekit.fleet.wheels import Wheels, displaced, requirements
from edgekit.ssh import SshError, SshTarget, connected, ssh_errors
from edgekit.version import __version__

PURPOSE = "log in to a board"
_OLDEST_PYTHON = (3, 7)
_INSTALLED_BY_SCRIPT = "/opt/edgekit/bin/python"  # scripts/install-device.sh
_PAUSE_S = 1.0
_MARK = ".edgekit-wheels"  # in the virtual environment: the wheels that it was made from
_ANY_EDGE_TPU = ":0"  # pycoral's name


@dataclass(frozen=True)
class Plan:
    """The work for every board; the fields are the parsed arguments of `deploy`."""

    bundle: LocalFile
    has_compiled: bool
    wheels: Wheels | None
    data: LocalData | None
    benchmark: bool
    device: str
    num_samples: int | None
    num_runs: int
    num_threads: int
    folder: str
    python: str
    reconnects: int
    part: str | None = None  # "1/3": evaluate the first third of the data only
    task: str | None = None  # of the whole data; a part may look like another one

    @property
    def files(self) -> tuple[LocalFile, ...]:
        """The files to copy, without the wheels."""
        return (self.bundle, *(self.data.files if self.data else ()))

    @property
    def bytes(self) -> int:
        """The size of `files`."""
        return sum(file.size for file in self.files)


class Visit:
    """One board, from logging in to its results."""

    def __init__(
        self,
        target: SshTarget,
        plan: Plan,
        on_step: Callable[[str, str], None],
        on_bytes: OnBytes,
    ) -> None:
        self.target, self.plan = target, plan
        self._on_step, self._on_bytes = on_step, on_bytes
        self._result = BoardResult(target.name)
        self._logged_in = False
        self._sent_before = 0  # by interrupted attempts
        self._copies: dict[str, CopyStats] = {}
        self._journal = ""  # of the evaluation of a part, as text

    @property
    def name(self) -> str:
        """The board, as the user named it."""
        return self.target.name

    def part_of(self, board: BoardResult) -> Part | None:
        """Return the part of the data that the board evaluated; None if it did not."""
        if board.evaluate is None or not self._journal:
            return None
        return Part(board.board, board.evaluate, self._journal)

    async def make(self) -> BoardResult:
        """Run all steps; an error becomes part of the result, with the results before it."""
        start = time.monotonic()
        try:
            await self._persist()
            self._note(state="deployed")
        except EdgeKitError as error:
            status = error.status if isinstance(error, RemoteError) else error.exit_status
            self._note(error=error.to_dict(), exit_status=status)
        self._note(time_s=round(time.monotonic() - start, 3))
        return self._result

    async def _persist(self) -> None:
        what = f"cannot deploy to {self.target.host}"
        while True:
            try:
                with ssh_errors(self.target, PURPOSE, what):
                    return await self._attempt()
            except SshError as error:
                lost = self._logged_in and error.code == "ssh.unreachable"
                if not lost or self._result.reconnects >= self.plan.reconnects:
                    raise
            self._note(reconnects=self._result.reconnects + 1)
            self._step("the connection was lost; resuming")
            await asyncio.sleep(_PAUSE_S)

    async def _attempt(self) -> None:
        async with connected(self.target, PURPOSE) as connection:
            self._logged_in = True
            await self._steps(Board(self.target, connection, self.plan.python))

    async def _steps(self, board: Board) -> None:
        plan = self.plan
        found = await self._probe(board)
        folder = str(found["folder"])
        if plan.wheels is not None:
            await self._install(board, plan.wheels, found)
            found = await self._probe(board)
        python = self._choose_python(found)
        device = await self._examine(board, python, folder)
        self._step(f"copying {plan.bundle.path}{f' and {plan.data.path}' if plan.data else ''}")
        mirrors = [plan.data.folder] if plan.data and plan.data.folder else []
        await self._copy(board, folder, plan.files, mirrors)
        path = f"{folder}/{plan.bundle.path}"
        verified = await board.edgekit(python, ["verify", path], folder)
        for fit in verified.get("here", ()):  # missing from an older edgekit
            if fit["usable"] is False:
                self._step(f"warning: not usable there: {fit['needs']}; {fit['has']}")
                if plan.device == "auto" and fit["what"] == "edgetpu_runtime":
                    device = "cpu"
        self._note(path=path, device=device)
        await self._measure(board, python, folder)

    async def _probe(self, board: Board) -> dict[str, Any]:
        pythons = [_INSTALLED_BY_SCRIPT, self.plan.python]
        if self.plan.python != "python3":  # the user's choice comes first
            pythons.reverse()
        request = {"do": "probe", "folder": self.plan.folder, "pythons": pythons}
        found = await board.request(request)
        self._note(machine=found["machine"])
        return found

    def _choose_python(self, found: Mapping[str, Any]) -> str:
        having = [each for each in found["pythons"] if each["edgekit"]]
        if not having:
            raise BoardError(
                f"edgekit is not installed on {self.target.host}",
                code="deploy.missing",
                where=self.target.name,
                why=f"looked in {', '.join(each['path'] for each in found['pythons'])}",
                fix="give a folder of wheels to install there: --install WHEEL_DIR",
            )
        chosen = having[0]
        self._note(
            python=chosen["path"],
            python_version=".".join(map(str, chosen["version"])),
            edgekit=chosen["edgekit"],
        )
        if chosen["edgekit"] != __version__:
            self._step(f"edgekit {chosen['edgekit']} is there, {__version__} here")
        return str(chosen["path"])

    async def _install(self, board: Board, wheels: Wheels, found: Mapping[str, Any]) -> None:
        """Make ``folder/venv`` and install only from wheels; skip it if they are the same."""
        folder, venv = str(found["folder"]), f"{found['folder']}/venv"
        base = next((each for each in found["pythons"] if each["path"] == self.plan.python), None)
        version = tuple(base["version"]) if base else ()
        if base is None or version < _OLDEST_PYTHON:
            raise BoardError(
                f"{self.plan.python} on {self.target.host} is not Python 3.7 or newer",
                code="deploy.python",
                where=self.target.name,
                fix="name another one: --python PATH",
            )
        files = wheels.usable(version, str(found["machine"]))
        self._step(f"copying {len(files)} wheels")
        await self._copy(board, folder, files, ["wheels"])
        mark = sha256_hex("".join(file.sha256 for file in files).encode())
        have = {each["path"] for each in found["pythons"] if each["edgekit"]}
        if f"{venv}/bin/python" in have:
            seen = await board.run(["cat", f"{venv}/{_MARK}"], folder)
            if seen.stdout.split()[-1:] == [mark]:
                return
        self._step("installing edgekit")
        await self._must(
            board,
            [self.plan.python, "-m", "venv", "--system-site-packages", venv],
            folder,
            fix="on the board: sudo apt-get install python3-venv",
        )
        pip = [f"{venv}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        offline = ["--no-index", "--find-links", "wheels", "--quiet"]
        fix = f"put the wheels that the board lacks into {wheels.folder}"
        wanted = requirements(files)
        await self._must(
            board, [*pip, "uninstall", "--yes", "--quiet", *displaced(wanted[0])], folder, fix=fix
        )
        await self._must(board, [*pip, "install", *offline, *wanted], folder, fix=fix)
        # A wheel with the installed version but other content is also installed.
        again = [*pip, "install", *offline, "--force-reinstall", "--no-deps", wanted[0]]
        await self._must(board, again, folder, fix=fix)
        await self._must(board, ["sh", "-c", f"echo {mark} > venv/{_MARK}"], folder, fix="")
        self._note(installed=True)

    async def _must(self, board: Board, command: list[str], folder: str, *, fix: str) -> None:
        finished = await board.run(command, folder)
        if finished.returncode:
            raise BoardError(
                f"edgekit cannot be installed on {self.target.host}",
                code="deploy.install",
                where=f"{self.target.name}: {shlex.join(command)}",
                why=_last_error(finished.stderr) or last_line(finished.stdout),
                fix=fix,
            )

    async def _examine(self, board: Board, python: str, folder: str) -> str:
        """Run the doctor there; return the device that the model will run on.

        Raises:
            DeviceError: The requested device is not usable.
        """
        self._step("doctor")
        requested = self.plan.device
        words = ["doctor", *(["--cpu"] if requested == "cpu" else [])]
        answers = (0, DeviceError.exit_status)
        document = await board.edgekit(python, words, folder, statuses=answers)
        self._note(doctor=document)
        usable = bool(document["edge_tpu_usable"])
        device = requested
        if requested == "auto":
            device = _ANY_EDGE_TPU if usable and self.plan.has_compiled else "cpu"
            self._step(f"{'an' if usable else 'no'} Edge TPU is usable; device {device}")
        if not document["cpu_usable" if device == "cpu" else "edge_tpu_usable"]:
            raise DeviceError(
                f"{self.target.host} cannot run models on {device}, as its doctor found",
                where=self.target.name,
                why="; ".join(
                    f"{check['code']}: {check['seen']}"
                    for check in document["checks"]
                    if check["status"] == "failed"
                ),
                fix=f"on the board: {document['next_step']}" if document["next_step"] else "",
            )
        return device

    async def _copy(
        self, board: Board, folder: str, files: tuple[LocalFile, ...], mirrors: list[str]
    ) -> None:
        sent = 0

        def on_bytes(size: int) -> None:
            nonlocal sent
            sent += size
            self._on_bytes(size)

        try:
            stats = await board.copy(folder, files, mirrors=mirrors, on_bytes=on_bytes)
        except BaseException:
            self._sent_before += sent
            raise
        key = mirrors[0] if mirrors == ["wheels"] else "files"
        # Bytes of an earlier attempt of this run do not count as those of an earlier run.
        resumed = max(0, stats.resumed_bytes - self._sent_before)
        stats = replace(
            stats, sent_bytes=stats.sent_bytes + self._sent_before, resumed_bytes=resumed
        )
        self._sent_before = 0
        # After a lost connection everything may already be there; the first complete copy counts.
        self._copies.setdefault(key, stats)
        self._note(copied=_sum(list(self._copies.values())))

    async def _measure(self, board: Board, python: str, folder: str) -> None:
        plan, result = self.plan, self._result
        common = ["--device", result.device, "--num-threads", str(plan.num_threads)]
        if plan.data is not None and result.evaluate is None:
            self._step("evaluate")
            words = ["evaluate", result.path, "--data", f"{folder}/{plan.data.path}", *common]
            if plan.num_samples is not None:
                words += ["--num-samples", str(plan.num_samples)]
            journal = f"{folder}/.evaluate.journal"
            if plan.part is not None and plan.task is not None:
                await board.run(["rm", "-f", journal], folder)
                words += ["--part", plan.part, "--task", plan.task, "--journal", journal]
            document = await board.edgekit(python, words, folder)
            if plan.part is not None:
                self._journal = (await board.run(["cat", journal], folder)).stdout
            self._note(evaluate=document)
        if plan.benchmark and result.benchmark is None:
            self._step("benchmark")
            words = ["benchmark", result.path, "--num-runs", str(plan.num_runs), *common]
            self._note(benchmark=await board.edgekit(python, words, folder))

    def _step(self, text: str) -> None:
        self._on_step(self.target.name, text)

    def _note(self, **fields: Any) -> None:  # noqa: ANN401 - any field of a BoardResult
        self._result = replace(self._result, **fields)


def _sum(parts: list[CopyStats]) -> CopyStats:
    names = [field.name for field in dataclasses.fields(CopyStats)]
    return CopyStats(**{name: sum(getattr(part, name) for part in parts) for name in names})


def _last_error(text: str) -> str:
    """Return the last line in which pip or venv reports an error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [""])[-1]
