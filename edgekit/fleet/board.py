# SPDX-License-Identifier: Apache-2.0
"""One connected board: send requests to its Python, copy files to it, run edgekit on it."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekit.errors import InputError
from edgekit.fleet import board_side
from edgekit.fleet.local_files import LocalFile
from edgekit.fleet.result import BoardError, CopyStats, Document, RemoteError
from edgekit.process import Finished
from edgekit.result import is_readable
from edgekit.ssh import SshTarget, run_there

_SOURCE = Path(board_side.__file__).read_bytes()
# The program is also sent on standard input: some ssh servers accept only short commands.
_BOOT = "import sys; exec(sys.stdin.buffer.read({size}).decode())"
_AHEAD = 4
OnBytes = Callable[[int], None]


class Board:
    """An open asyncssh connection to ``target``, and the Python there."""

    def __init__(self, target: SshTarget, connection: Any, python: str) -> None:  # noqa: ANN401 - asyncssh is optional
        self.target, self._connection, self._python = target, connection, python

    async def request(self, request: Document) -> dict[str, Any]:
        """Send one request and return its reply.

        Raises:
            BoardError: This Python does not exist, or failed.
            ConnectionError: The connection was lost.
        """
        async with self._conversation(request) as process:
            return await self._answer(process)

    async def copy(
        self,
        folder: str,
        files: Sequence[LocalFile],
        *,
        mirrors: Sequence[str] = (),
        on_bytes: OnBytes,
    ) -> CopyStats:
        """Copy ``files`` into ``folder``, except files and parts that are already there.

        Args:
            folder: An absolute path there.
            files: The files to copy.
            mirrors: Folders below ``folder`` that must contain only ``files``; others are removed.
            on_bytes: Called with the size of each piece that has arrived.

        Raises:
            BoardError: The board's disk is full, or the user may not write there.
            ConnectionError: The connection was lost; the next call resumes.
        """
        request = {
            "do": "receive",
            "folder": folder,
            "mirrors": list(mirrors),
            "files": [
                {"path": file.path, "size": file.size, "sha256": file.sha256, "chunks": file.chunks}
                for file in files
            ],
        }
        async with self._conversation(request) as process:
            found = await self._answer(process)
            pieces = (
                content
                for file, missing in zip(files, found["missing"], strict=True)
                for content in _pieces(file, missing or ())
            )
            await self._send(process, pieces, on_bytes)
        return CopyStats(
            files=len(files),
            files_same=found["same"],
            bytes=sum(file.size for file in files),
            sent_bytes=sum(
                file.chunks[index][1]
                for file, missing in zip(files, found["missing"], strict=True)
                for index in missing or ()
            ),
            resumed_bytes=found["resumed"],
            reused_bytes=found["reused"],
        )

    async def _send(self, process: Any, pieces: Iterator[bytes], on_bytes: OnBytes) -> None:  # noqa: ANN401
        """Limit unacknowledged pieces: ssh alone would buffer megabytes for a lost connection."""
        waiting = 0
        # A board whose disk is full sends an error and stops reading; the reply has the reason.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for content in pieces:
                process.stdin.write(content)
                await process.stdin.drain()
                waiting += 1
                if waiting > _AHEAD:
                    on_bytes((await self._answer(process))["got"])
                    waiting -= 1
        answer = await self._answer(process)
        while "got" in answer:
            on_bytes(answer["got"])
            answer = await self._answer(process)

    async def run(self, command: Sequence[str], folder: str) -> Finished:
        """Run a command in ``folder``; it ends when this process exits or the connection is lost.

        Raises:
            ConnectionError: The connection was lost.
        """
        return await run_there(self._connection, command, folder)

    async def edgekit(
        self, python: str, words: Sequence[str], folder: str, *, statuses: Sequence[int] = (0,)
    ) -> Document:
        """Return the document that an edgekit command prints there with ``--json``.

        Raises:
            RemoteError: The command reported an error.
            BoardError: Its exit status is not in ``statuses``, and it did not print a document.
            ConnectionError: The connection was lost.
        """
        command = [python, "-m", "edgekit", *words, "--json"]
        finished = await self.run(command, folder)
        document = _document(finished.stdout)
        schema = None if document is None else document.get("schema")
        is_known = str(schema).startswith(f"edgekit.{words[0]}/") and is_readable(schema)
        if document and is_known and finished.returncode in statuses:
            return document
        if document and schema == "edgekit.error/1":
            raise RemoteError(document, finished.returncode, self.target.name)
        status = finished.signal_name or f"exit status {finished.returncode}"
        raise BoardError(
            f"edgekit {words[0]} failed on {self.target.host}: {status}",
            code="deploy.remote",
            where=self.target.name,
            why=last_line(finished.stderr) or last_line(finished.stdout),
            fix=f"to see the error: {self.target.command} {shlex.quote(shlex.join(command))}",
        )

    @contextlib.asynccontextmanager
    async def _conversation(self, request: Document) -> AsyncIterator[Any]:
        boot = _BOOT.format(size=len(_SOURCE))
        process = await self._connection.create_process(
            shlex.join([self._python, "-c", boot]), encoding=None
        )
        try:
            process.stdin.write(_SOURCE + json.dumps(request).encode() + b"\n")
            yield process
        finally:
            process.close()

    async def _answer(self, process: Any) -> dict[str, Any]:  # noqa: ANN401
        answer = None
        while answer is None:
            line = await process.stdout.readline()
            if not line:
                raise await self._silence(process)
            answer = _document(line.decode(errors="replace"))
        if "error" not in answer:
            return answer
        raise BoardError(
            f"{self.target.host} cannot store the files: {answer['error']}",
            code="deploy.copy",
            where=f"{self.target.name}, {answer['where']}",
            fix="free space there, or name another folder of the board (--folder)",
        )

    async def _silence(self, process: Any) -> Exception:  # noqa: ANN401
        """Return why there was no reply."""
        stderr = (await process.stderr.read()).decode(errors="replace")
        await process.wait_closed()
        if process.returncode is None:
            return ConnectionError("the connection was lost")
        return BoardError(
            f"{self._python} does not respond on {self.target.host}",
            code="deploy.python",
            where=self.target.name,
            why=last_line(stderr) or f"exit status {process.returncode}",
            fix="the board needs Python 3.7 or newer: name it with --python",
        )


def _document(text: str) -> dict[str, Any] | None:
    """Return the JSON object in ``text``, after any output of a login shell's start files."""
    begin = 0 if text.startswith("{") else text.find("\n{") + 1
    try:
        found = json.loads(text[begin:])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _pieces(file: LocalFile, missing: Sequence[int]) -> Iterator[bytes]:
    """Yield the missing chunks of a file, in order."""
    if not missing:
        return
    try:
        with file.source.open("rb") as stream:
            for index in missing:
                offset, length, _ = file.chunks[index]
                stream.seek(offset)
                content = stream.read(length)
                if len(content) != length:
                    raise InputError(
                        f"{file.source.name} became shorter while it was copied",
                        where=str(file.source),
                        fix="deploy again when no program writes to it",
                    )
                yield content
    except OSError as error:
        raise InputError(
            f"cannot read {file.source.name}: {error.strerror}", where=str(file.source)
        ) from error


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
