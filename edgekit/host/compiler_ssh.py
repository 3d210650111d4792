# SPDX-License-Identifier: Apache-2.0
"""edgetpu_compiler on another machine, over ssh (asyncssh), in a folder that is removed again.

The user's own ssh settings hold: ~/.ssh/config, known_hosts, keys, agent. A host key that is not
known is refused, always.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgekit.extras import require
from edgekit.host.compiler_missing import CompilerError
from edgekit.host.compiler_place import VERSION_TIMEOUT_S, Job, compiler_command, model_word
from edgekit.process import Finished

_T = TypeVar("_T")
_CONNECT_TIMEOUT_S = 30.0
_KEEPALIVE_S = 15.0
_GRACE_S = 8.0
_NOT_FOUND = (126, 127)
# Runs a command in a folder; ends its process group and removes the folder when standard input
# ends, which is what the other side sees of Ctrl-C here, and of a lost connection. One line, and
# in single quotes: the login shell there may be any.
_GUARD = "; ".join(
    (
        'cd "$1" || exit 125',
        "folder=$1",
        "shift",
        "exec 3<&0",
        '"$@" </dev/null 3<&- & child=$!',
        "( trap '' TERM INT HUP; read -r _ <&3; kill -TERM 0; sleep 2; "
        'rm -rf "$folder"; kill -KILL 0 ) </dev/null >/dev/null 2>&1 & guard=$!',
        "exec 3<&-",
        'wait "$child"',
        "status=$?",
        'kill -KILL "$guard"',
        'exit "$status"',
    )
)


@dataclass(frozen=True)
class SshPlace:
    """A machine that can be logged in to without a question."""

    host: str
    user: str | None
    port: int | None
    compiler: str

    @property
    def name(self) -> str:
        """As --via names it."""
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"ssh://{user}{self.host}{port}"

    def version_output(self) -> str:
        """What the compiler there says of itself."""
        return self._await(self._version())

    def commands(self, job: Job) -> list[list[str]]:
        """The command that runs there, in a new folder with copies of the models."""
        models = [model_word(model) for model in job.models]
        return [compiler_command(self.compiler, job.arguments, models)]

    def run(self, job: Job) -> Finished:
        """Copy the models there, compile, copy the results back, remove the folder."""
        finished = self._await(self._compile(job))
        if finished.returncode in _NOT_FOUND and not finished.timed_out:
            raise CompilerError(
                f"{self.compiler} cannot be run on {self.host}",
                where=self.name,
                why=finished.stderr.strip().splitlines()[-1:][0] if finished.stderr.strip() else "",
                fix=f"install it there, or give its path there (--compiler PATH); see with: "
                f"ssh {self.host} command -v {self.compiler}",
                code="compiler.missing",
            )
        return finished

    async def _version(self) -> str:
        async with self._connection() as connection:
            command = shlex.join([self.compiler, "--version"])
            done = await connection.run(command, timeout=VERSION_TIMEOUT_S)
            return str(done.stdout)

    async def _compile(self, job: Job) -> Finished:
        async with self._connection() as connection:
            made = await connection.run("mktemp -d", check=True)
            folder = str(made.stdout).strip()
            try:
                async with connection.start_sftp_client() as sftp:
                    await sftp.put([str(model) for model in job.models], folder)
                    finished = await self._run_there(connection, job, folder)
                    if not finished.timed_out:
                        await _fetch(sftp, folder, job)
            finally:
                with contextlib.suppress(OSError):
                    await connection.run(shlex.join(["rm", "-rf", folder]))
        return finished

    async def _run_there(self, connection: Any, job: Job, folder: str) -> Finished:  # noqa: ANN401
        (command,) = self.commands(job)
        start = time.monotonic()
        process = await connection.create_process(
            shlex.join(["sh", "-c", _GUARD, "edgekit", folder, *command]), errors="replace"
        )
        out, err = _Lines(process.stdout, job), _Lines(process.stderr, None)
        reading = asyncio.gather(out.read(), err.read())
        timed_out = False
        try:
            await asyncio.wait_for(asyncio.shield(reading), job.deadline_s)
        except (TimeoutError, asyncio.TimeoutError):
            timed_out = True
        finally:
            # After a normal end there is nobody left to hear it.
            with contextlib.suppress(OSError):
                process.stdin.write_eof()
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(reading), _GRACE_S)
            process.close()
        await process.wait_closed()
        status = process.returncode
        return Finished(
            tuple(command),
            -1 if status is None else status,
            out.text,
            err.text,
            time.monotonic() - start,
            timed_out,
        )

    def _connection(self) -> Any:  # noqa: ANN401 - asyncssh is optional
        ssh = require("asyncssh", extra="ssh", purpose="compile on another machine")
        # Whatever is left out here is taken from ~/.ssh/config and ~/.ssh/known_hosts.
        given = {"username": self.user, "port": self.port}
        return ssh.connect(
            self.host,
            **{name: value for name, value in given.items() if value is not None},
            connect_timeout=_CONNECT_TIMEOUT_S,
            keepalive_interval=_KEEPALIVE_S,
        )

    def _await(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run ``work`` to its end; what goes wrong on the way there becomes a `CompilerError`."""
        try:
            ssh = require("asyncssh", extra="ssh", purpose="compile on another machine")
        except BaseException:
            work.close()
            raise
        try:
            return asyncio.run(work)
        except ssh.HostKeyNotVerifiable as error:
            why = f"{error.reason}: its key is not the one in known_hosts, or not in there"
            target = f"-p {self.port} " if self.port else ""
            fix = f"compare its fingerprint and let ssh remember it: ssh {target}{self.host}"
            raise self._unreachable(why, fix) from error
        except ssh.PermissionDenied as error:
            fix = "let it log in without a question: a key in ~/.ssh or in ssh-agent"
            raise self._unreachable(error.reason, fix) from error
        except (ssh.Error, ssh.ProcessError, OSError, ValueError) as error:
            why = str(getattr(error, "reason", "") or error or type(error).__name__)
            target = f"-p {self.port} " if self.port else ""
            fix = f"see whether this works: ssh {target}{self.user or ''}{'@' * bool(self.user)}"
            raise self._unreachable(why, f"{fix}{self.host} true") from error

    def _unreachable(self, why: str, fix: str) -> CompilerError:
        return CompilerError(
            f"cannot compile on {self.host}",
            where=self.name,
            why=why,
            fix=fix,
            code="compiler.remote",
        )


class _Lines:
    """Collects a stream of text."""

    def __init__(self, stream: Any, job: Job | None) -> None:  # noqa: ANN401
        self._stream, self._job = stream, job
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._lines)

    async def read(self) -> None:
        async for line in self._stream:
            self._lines.append(line)
            if self._job is not None:
                self._job.on_line(line.rstrip("\r\n"))


async def _fetch(sftp: Any, folder: str, job: Job) -> None:  # noqa: ANN401
    """Copy what the compiler made, and not the models, into the job's folder."""
    mine = {model.name for model in job.models}
    for name in await sftp.listdir(folder):
        if name not in mine and Path(name).name == name and name not in {".", ".."}:
            await sftp.get(f"{folder}/{name}", str(job.folder / name))
