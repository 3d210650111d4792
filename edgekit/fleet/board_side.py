# SPDX-License-Identifier: Apache-2.0
"""The board's side of a deployment: sent there as text, run by the board's own Python.

It needs only Python 3.7 or newer, not even edgekit. Standard input carries one request, a line of
JSON; standard output carries the replies, each a line of JSON. If standard input ends early, the
program exits, and the data so far are kept in hidden ``.part`` files.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from typing import Any, BinaryIO

CHUNK_BYTES = 1 << 17
_MARK = ".edgekit-deploy"
_PROBE = (
    # -c puts the current folder first on the search path.
    "import sys; sys.path = [p for p in sys.path if p]\n"
    "import json\n"
    "try:\n    import edgekit; version = edgekit.__version__\n"
    "except Exception: version = ''\n"
    "print(json.dumps([version, list(sys.version_info[:3]), sys.implementation.cache_tag]))"
)


def chunks_of(path: str) -> list[tuple[int, int]]:
    """Cut a file into (offset, length); each member of a zip archive begins a new piece.

    So if the labels of a bundle get longer, the pieces of its models are still the same.
    """
    size, cuts = os.path.getsize(path), {0}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                # 30: the size of the local header; the name and content of the member follow.
                cuts.update(
                    (member.header_offset, member.header_offset + 30 + len(member.filename))
                )
            cuts.add(archive.start_dir)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, OverflowError):
        cuts = {0}
    edges = [*sorted(cut for cut in cuts if 0 <= cut < size), size]
    return [
        (offset, min(CHUNK_BYTES, end - offset))
        for begin, end in zip(edges, edges[1:])
        for offset in range(begin, end, CHUNK_BYTES)
    ]


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a whole file."""
    whole = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            whole.update(block)
    return whole.hexdigest()


def _piece(stream: BinaryIO, offset: int, length: int) -> tuple[bytes, str]:
    stream.seek(offset)
    content = stream.read(length)
    return content, hashlib.sha256(content).hexdigest()


def _part(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}.part")


def _is_same(target: str, file: dict[str, Any]) -> bool:
    return (
        os.path.isfile(target)
        and os.path.getsize(target) == file["size"]
        and file_sha256(target) == file["sha256"]
    )


def _prepare(target: str, file: dict[str, Any]) -> tuple[list[int], int, int]:
    """Fill the part file with local data; return missing chunks, bytes resumed and reused."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    part, old = _part(target), {}
    if not os.path.exists(part) and not os.path.isfile(target):
        return list(range(len(file["chunks"]))), 0, 0
    if os.path.isfile(target):
        with open(target, "rb") as stream:
            for offset, length in chunks_of(target):
                old[_piece(stream, offset, length)[1]] = (offset, length)
    missing, resumed, reused = [], 0, 0
    begun = os.path.exists(part)
    with open(part, "r+b" if begun else "w+b") as stream:
        stream.truncate(file["size"])
        for index, (offset, length, sha256) in enumerate(file["chunks"]):
            if begun and _piece(stream, offset, length)[1] == sha256:
                resumed += length
            elif sha256 in old:
                with open(target, "rb") as source:
                    content = _piece(source, *old[sha256])[0]
                stream.seek(offset)
                stream.write(content)
                reused += length
            else:
                missing.append(index)
    return missing, resumed, reused


def _receive_file(target: str, file: dict[str, Any], missing: list[int]) -> bool:
    """Write the incoming chunks, then rename the file; return False if they end early."""
    part = _part(target)
    with open(part, "r+b" if os.path.exists(part) else "w+b") as stream:
        stream.truncate(file["size"])
        for index in missing:
            offset, length, _ = file["chunks"][index]
            stream.seek(offset)
            while length:
                content = sys.stdin.buffer.read(min(length, 1 << 16))
                if not content:
                    return False
                stream.write(content)
                length -= len(content)
            say({"got": file["chunks"][index][1]})
        stream.flush()
        os.fsync(stream.fileno())
    if file_sha256(part) != file["sha256"]:
        os.remove(part)
        raise OSError(
            "the copy of {} is different: the file was changed while it was copied".format(
                file["path"]
            )
        )
    os.replace(part, target)
    return True


def _mirror(folder: str, wanted: set[str]) -> None:
    """Remove other files from a folder that an earlier deployment created."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if path not in wanted and name != _MARK:
                os.remove(path)


def _mark_folder(folder: str) -> None:
    mark = os.path.join(folder, _MARK)
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.exists(mark):
        raise OSError(f"{folder} exists, but edgekit deploy did not create it")
    os.makedirs(folder, exist_ok=True)
    with open(mark, "w"):
        pass


def receive(request: dict[str, Any]) -> dict[str, Any] | None:
    """Receive files: report the missing chunks, read them, move each file to its place."""
    root = request["folder"]
    mirrors = [os.path.join(root, name) for name in request["mirrors"]]
    for folder in mirrors:
        _mark_folder(folder)
    plan: list[list[int] | None] = []
    need = 0
    same = resumed = reused = 0
    for file in request["files"]:
        target = os.path.join(root, file["path"])
        if _is_same(target, file):
            same += 1
            plan.append(None)
            continue
        missing, from_part, from_old = _prepare(target, file)
        resumed, reused = resumed + from_part, reused + from_old
        need += sum(file["chunks"][index][1] for index in missing)
        plan.append(missing)
    room = shutil.disk_usage(root).free
    if need > room:
        raise OSError(f"{need} bytes are needed, {room} are free")
    say({"missing": plan, "same": same, "resumed": resumed, "reused": reused})
    for file, missing_chunks in zip(request["files"], plan):
        target = os.path.join(root, file["path"])
        if missing_chunks is None:
            continue
        if not _receive_file(target, file, missing_chunks):
            return None
    wanted = {os.path.join(root, file["path"]) for file in request["files"]}
    for folder in mirrors:
        _mirror(folder, wanted)
    return {"done": True}


def probe(request: dict[str, Any]) -> dict[str, Any]:
    """Return the Pythons here and their edgekit; create the folder."""
    root = os.path.abspath(os.path.expanduser(request["folder"]))
    os.makedirs(root, exist_ok=True)
    found = []
    for candidate in [os.path.join(root, "venv", "bin", "python"), *request["pythons"]]:
        try:
            out = subprocess.check_output(
                [candidate, "-c", _PROBE], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            version, python, tag = json.loads(out.decode())
        except (OSError, ValueError, subprocess.CalledProcessError):
            continue
        found.append({"path": candidate, "edgekit": version, "version": python, "tag": tag})
    return {"folder": root, "machine": platform.machine(), "pythons": found}


def say(answer: dict[str, Any]) -> None:
    """Send one line of JSON."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run the request; return 0 as the exit status if there was a reply."""
    request = json.loads(sys.stdin.buffer.readline().decode())
    try:
        answer = probe(request) if request["do"] == "probe" else receive(request)
    except OSError as error:
        where = str(error.filename or request["folder"])
        answer = {"error": str(error.strerror or error), "where": where}
    if answer is None:
        return 1
    say(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
