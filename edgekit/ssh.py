# SPDX-License-Identifier: Apache-2.0
"""Use another machine over ssh (asyncssh): connect, run commands that end with this process.

The user's own ssh settings apply: ~/.ssh/config, known_hosts, keys, agent. An unknown host key is
always refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgekit.errors import ExternalToolError, UsageError
from edgekit.extras import require
from edgekit.process import Finished

_CONNECT_TIMEOUT_S = 30.0
_KEEPALIVE_S = 15.0
_GRACE_S = 8.0
# Runs a command in a folder; ends its process group (and, if requested, removes the folder) when
# standard input ends, which happens on Ctrl-C here and if the connection is lost.
# One line in single quotes, because the login shell there may be any shell.
_GUARD = "; ".join(
    (
        'cd "$1" || exit 125',
        "folder=$1 remove=$2",
        "shift 2",
        "exec 3<&0",
        '"$@" </dev/null 3<&- & child=$!',
        "( trap '' TERM INT HUP; read -r _ <&3; kill -TERM 0; sleep 2; "
        '[ -z "$remove" ] || rm -rf "$folder"; kill -KILL 0 ) </dev/null >/dev/null 2>&1 & '
        "guard=$!",
        "exec 3<&-",
        'wait "$child"',
        "status=$?",
        'kill -KILL "$guard"',
        'exit "$status"',
    )
)


class SshError(ExternalToolError):
    """Another machine cannot be reached, has another host key, or refuses the login."""

    code = "ssh.unreachable"


@dataclass(frozen=True)
class SshTarget:
    """A machine and the user who logs in; None is replaced from ~/.ssh/config."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def name(self) -> str:
        """The name as a user may write it: ``user@host:port``."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host and self.port else self.host
        return f"{user}{host}{f':{self.port}' if self.port else ''}"

    @property
    def url(self) -> str:
        """``ssh://user@host:port``."""
        return f"ssh://{self.name}"

    @property
    def command(self) -> str:
        """The ssh command that logs in there."""
        user = f"{self.user}@" if self.user else ""
        return f"ssh {f'-p {self.port} ' if self.port else ''}{user}{self.host}"


def parse_target(text: str, *, option: str) -> SshTarget:
    """Parse ``user@host``, ``host:port``, a name of ~/.ssh/config, or any of them after ``ssh://``.

    Args:
        text: The user's text.
        option: The name of its option, for messages.

    Raises:
        UsageError: It does not name a machine, or it contains a password.
    """
    form = "give [user@]host[:port]"
    try:
        parts = urlsplit(text if text.startswith("ssh://") else f"ssh://{text}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}", fix=form) from error
    if parts.password is not None:
        raise UsageError(
            f"{option} cannot contain a password",
            why="it would be visible in the list of processes and in the shell's history",
            fix="use a key, or ssh-agent",
        )
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"{option} {text} is not only a host", fix=form)
    if parts.hostname.startswith("-"):
        raise UsageError(f"{option} {text}: a host cannot begin with a dash", fix=form)
    # hostname is in lower case; names of ~/.ssh/config are not.
    host = parts.netloc.rpartition("@")[2]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return SshTarget(host, parts.username, port)


@contextlib.asynccontextmanager
async def connected(target: SshTarget, purpose: str) -> AsyncIterator[Any]:
    """Log in; the connection is closed when the block ends.

    Host keys are checked even if ~/.ssh/config has ``UserKnownHostsFile none``, with which asyncssh
    would not check them.

    Raises:
        MissingExtraError: asyncssh is not installed; ``purpose`` completes "it is needed to".
    """
    ssh = require("asyncssh", extra="ssh", purpose=purpose)
    # Options that are omitted here come from ~/.ssh/config and ~/.ssh/known_hosts.
    given = {"username": target.user, "port": target.port}
    arguments: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    arguments |= {"connect_timeout": _CONNECT_TIMEOUT_S, "keepalive_interval": _KEEPALIVE_S}
    options = await ssh.SSHClientConnectionOptions.construct(
        config=(), host=target.host, **arguments
    )
    if options.known_hosts is None:
        known = Path("~/.ssh/known_hosts").expanduser()
        arguments["known_hosts"] = str(known) if known.is_file() else b""
    async with ssh.connect(target.host, **arguments) as connection:
        yield connection


@contextlib.contextmanager
def ssh_errors(target: SshTarget, purpose: str, what: str) -> Iterator[None]:
    """Turn errors of the connection to ``target`` into an `SshError` with the text ``what``.

    Raises:
        SshError: With the code ``ssh.host_key``, ``ssh.login`` or ``ssh.unreachable``.
        MissingExtraError: asyncssh is not installed.
    """
    ssh = require("asyncssh", extra="ssh", purpose=purpose)
    try:
        yield
    except ssh.HostKeyNotVerifiable as error:
        why = f"{error.reason}: its key is missing in known_hosts or differs from the one there"
        fix = f"compare its fingerprint and let ssh store it: {target.command}"
        raise SshError(what, where=target.url, why=why, fix=fix, code="ssh.host_key") from error
    except ssh.PermissionDenied as error:
        fix = "make the login work without a password: a key in ~/.ssh or in ssh-agent"
        raise SshError(
            what, where=target.url, why=error.reason, fix=fix, code="ssh.login"
        ) from error
    except (ssh.Error, ssh.ProcessError, OSError, ValueError) as error:
        why = str(getattr(error, "reason", "") or error or type(error).__name__)
        fix = f"check that this works: {target.command} true"
        raise SshError(what, where=target.url, why=why, fix=fix) from error


async def run_there(
    connection: Any,  # noqa: ANN401 - asyncssh is optional
    command: Sequence[str],
    folder: str,
    *,
    deadline_s: float | None = None,
    remove_folder: bool = False,
    on_stdout: Callable[[str], None] | None = None,
    on_stderr: Callable[[str], None] | None = None,
) -> Finished:
    """Run ``command`` there in ``folder``; it ends when this process or the connection ends.

    Args:
        connection: An open connection.
        command: The program and its arguments; no shell splits them.
        folder: A folder of the other machine.
        deadline_s: On expiry the command is stopped and the result has ``timed_out`` set.
        remove_folder: Also remove ``folder`` if this process ends before the command.
        on_stdout: Called with each line of standard output, without its end.
        on_stderr: The same for standard error.

    Raises:
        ConnectionError: The connection was lost.
    """
    start = time.monotonic()
    remove = "remove" if remove_folder else ""
    process = await connection.create_process(
        shlex.join(["sh", "-c", _GUARD, "edgekit", folder, remove, *command]), errors="replace"
    )
    out, err = _Lines(process.stdout, on_stdout), _Lines(process.stderr, on_stderr)
    reading = asyncio.gather(out.read(), err.read())
    timed_out = False
    try:
        await asyncio.wait_for(asyncio.shield(reading), deadline_s)
    except (TimeoutError, asyncio.TimeoutError):
        timed_out = True
    finally:
        # After a normal end the other process does not exist any more.
        with contextlib.suppress(OSError):
            process.stdin.write_eof()
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), _GRACE_S)
        process.close()
    await process.wait_closed()
    status = process.returncode
    if status is None and not timed_out:
        raise ConnectionError("the connection was lost before the command had ended")
    return Finished(
        tuple(command),
        -1 if status is None else status,
        out.text,
        err.text,
        time.monotonic() - start,
        timed_out,
    )


class _Lines:
    """Collects a stream of text."""

    def __init__(self, stream: Any, on_line: Callable[[str], None] | None) -> None:  # noqa: ANN401
        self._stream, self._on_line = stream, on_line
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._lines)

    async def read(self) -> None:
        async for line in self._stream:
            self._lines.append(line)
            if self._on_line is not None:
                self._on_line(line.rstrip("\r\n"))
