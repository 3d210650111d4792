# SPDX-License-Identifier: Apache-2.0
"""Run edgetpu_compiler on another machine over ssh, in a temporary folder."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgekit.host.compiler.errors import CompilerError
from edgekit.host.compiler.place import VERSION_TIMEOUT_S, Job, compiler_command, model_word
from edgekit.process import Finished
from edgekit.ssh import SshError, SshTarget, connected, run_there, ssh_errors

_T = TypeVar("_T")
_NOT_FOUND = (126, 127)
_PURPOSE = "compile on another machine"


@dataclass(frozen=True)
class SshPlace:
    """A machine whose ssh login needs no password or confirmation."""

    target: SshTarget
    compiler: str

    @property
    def name(self) -> str:
        """The place as --via names it."""
        return self.target.url

    def version_output(self) -> str:
        """The version text that the compiler there prints."""
        return self._await(self._version())

    def commands(self, job: Job) -> list[list[str]]:
        """The command that runs on that machine, in a new folder with copies of the models."""
        models = [model_word(model) for model in job.models]
        return [compiler_command(self.compiler, job.arguments, models)]

    def run(self, job: Job) -> Finished:
        """Copy the models to that machine, compile, copy the results back, remove the folder."""
        finished = self._await(self._compile(job))
        if finished.returncode in _NOT_FOUND and not finished.timed_out:
            host = self.target.host
            raise CompilerError(
                f"{self.compiler} cannot be run on {host}",
                where=self.name,
                why=finished.stderr.strip().splitlines()[-1:][0] if finished.stderr.strip() else "",
                fix=f"install it there, or give its path there (--compiler PATH); to test it: "
                f"ssh {host} command -v {self.compiler}",
                code="compiler.missing",
            )
        return finished

    async def _version(self) -> str:
        async with connected(self.target, _PURPOSE) as connection:
            command = shlex.join([self.compiler, "--version"])
            done = await connection.run(command, timeout=VERSION_TIMEOUT_S)
            return str(done.stdout)

    async def _compile(self, job: Job) -> Finished:
        async with connected(self.target, _PURPOSE) as connection:
            made = await connection.run("mktemp -d", check=True)
            folder = str(made.stdout).strip()
            try:
                async with connection.start_sftp_client() as sftp:
                    await sftp.put([str(model) for model in job.models], folder)
                    (command,) = self.commands(job)
                    finished = await run_there(
                        connection,
                        command,
                        folder,
                        deadline_s=job.deadline_s,
                        remove_folder=True,
                        on_stdout=job.on_line,
                    )
                    if not finished.timed_out:
                        await _fetch(sftp, folder, job)
            finally:
                with contextlib.suppress(OSError):
                    await connection.run(shlex.join(["rm", "-rf", folder]))
        return finished

    def _await(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run ``work`` to its end; raise a `CompilerError` if the machine cannot be reached."""
        try:
            with ssh_errors(self.target, _PURPOSE, f"cannot compile on {self.target.host}"):
                return asyncio.run(work)
        except SshError as error:
            raise CompilerError(
                error.what, where=error.where, why=error.why, fix=error.fix, code="compiler.remote"
            ) from error
        finally:
            work.close()  # not started, because asyncssh is not installed


async def _fetch(sftp: Any, folder: str, job: Job) -> None:  # noqa: ANN401 - asyncssh is optional
    """Copy the compiler's output, without the models, into the job's folder."""
    mine = {model.name for model in job.models}
    for name in await sftp.listdir(folder):
        if name not in mine and Path(name).name == name and name not in {".", ".."}:
            await sftp.get(f"{folder}/{name}", str(job.folder / name))
