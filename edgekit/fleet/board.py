# SPDX-License-Identifier: Apache-2.0
"""One board that is logged in to: questions to its Python, files onto it, edgekit run there."""

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
# The program comes on standard input too: some ssh servers take only short commands.
_BOOT = "import sys; exec(sys.stdin.buffer.read({size}).decode())"
_AHEAD = 4
OnBytes = Callable[[int], None]


class Board:
    """An open connection to ``target``, asyncssh's, and the Python there that answers."""

    def __init__(self, target: SshTarget, connection: Any, python: str) -> None:  # noqa: ANN401 - asyncssh is optional
        self.target, self._connection, self._python = target, connection, python

    async def ask(self, request: Document) -> dict[str, Any]:
        """One question, one answer.

        Raises:
            BoardError: There is no such Python, or it failed.
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
        """Bring ``files`` into ``folder``; what is there already, in whole or in part, stays home.

        Args:
            folder: An absolute path there.
            files: What to bring.
            mirrors: Folders below ``folder`` in which nothing but ``files`` is to be.
            on_bytes: Called with the size of each piece that has arrived.

        Raises:
            BoardError: The board has no room, or may not write there.
            ConnectionError: The connection was lost; the next call goes on from there.
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
        """Keep few pieces unacknowledged: ssh alone would buffer megabytes for a dead line."""
        waiting = 0
        # A board whose disk is full says so and closes its ear: its answer tells why.
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
        """Run a command in ``folder``; it ends there when this side goes away.

        Raises:
            ConnectionError: The connection was lost.
        """
        return await run_there(self._connection, command, folder)

    async def edgekit(
        self, python: str, words: Sequence[str], folder: str, *, statuses: Sequence[int] = (0,)
    ) -> Document:
        """The document that an edgekit command prints there with ``--json``.

        Raises:
            RemoteError: It reported an error.
            BoardError: It ended with none of ``statuses`` and without a word that can be read.
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
            fix=f"see with: {self.target.command} {shlex.quote(shlex.join(command))}",
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
            f"{self.target.host} cannot take the files: {answer['error']}",
            code="deploy.copy",
            where=f"{self.target.name}, {answer['where']}",
            fix="make room there, or name another folder of the board (--folder)",
        )

    async def _silence(self, process: Any) -> Exception:  # noqa: ANN401
        """Why no answer came."""
        stderr = (await process.stderr.read()).decode(errors="replace")
        await process.wait_closed()
        if process.returncode is None:
            return ConnectionError("the connection was lost")
        return BoardError(
            f"{self._python} does not answer on {self.target.host}",
            code="deploy.python",
            where=self.target.name,
            why=last_line(stderr) or f"exit status {process.returncode}",
            fix="the board needs Python 3.7 or newer: name it with --python",
        )


def _document(text: str) -> dict[str, Any] | None:
    """The JSON object in ``text``, after what a login shell's start files may have printed."""
    begin = 0 if text.startswith("{") else text.find("\n{") + 1
    try:
        found = json.loads(text[begin:])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _pieces(file: LocalFile, missing: Sequence[int]) -> Iterator[bytes]:
    """The missing chunks of a file, in order."""
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
                        fix="deploy again when nothing writes to it",
                    )
                yield content
    except OSError as error:
        raise InputError(
            f"cannot read {file.source.name}: {error.strerror}", where=str(file.source)
        ) from error


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
