# SPDX-License-Identifier: Apache-2.0
"""Tell live sources from files, and open the right reader for each."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence
from urllib.parse import urlsplit

from edgekit.errors import InputError, UsageError
from edgekit.evaluate.live.capture import Address, Camera, check_library
from edgekit.evaluate.live.folder import Folder
from edgekit.evaluate.live.pipe import Pipe

if TYPE_CHECKING:
    from edgekit.evaluate.live.feed import Feed
    from edgekit.evaluate.live.options import LiveOptions

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SCHEMES = ("http", "https", "rtsp", "rtsps")
_CAMERA = re.compile(r"/dev/video[0-9]+")
_STDIN = "-"
# In a camera's address: ?user=a&pwd=b, and also /user=a_password=b_channel=1.sdp.
_SECRET = re.compile(
    r"((?:[a-z]*pass(?:wd|word|wort)?|pwd|pw|user|usr|username|login|[a-z_]*token|auth|[a-z_]*key"
    r"|secret|sig|signature))=[^&/;?_]*",
    re.IGNORECASE,
)


def is_live(given: object) -> bool:
    """Whether an input is a camera, an address or ``-``; a folder is only live if watched."""
    if not isinstance(given, (str, os.PathLike)):
        return False
    word = os.fspath(given)
    if not isinstance(word, str):
        return False
    if word == _STDIN or _ADDRESS.match(word) is not None:
        return True
    return bool(_camera(word))


def open_feeds(inputs: Sequence[Any], options: LiveOptions) -> list[Feed]:
    """Return a reader for each input.

    Raises:
        UsageError: An input is not live, or two cannot be read at once.
        InputError: A folder to watch does not exist.
        MissingExtraError: OpenCV is needed and not installed.
    """
    words = [os.fspath(each) if isinstance(each, os.PathLike) else each for each in inputs]
    feeds = [_feed(word, options) for word in words]
    if any(isinstance(each, (Address, Camera)) for each in feeds):
        check_library()
    if options.raw_frames is not None and _STDIN not in words:
        raise UsageError("--raw-frames is for standard input", fix="add the input -")
    for index, word in enumerate(words):
        if word in words[:index]:
            raise UsageError("an input is given twice", where=feeds[index].name)
    return feeds


def hide_password(address: str) -> str:
    """Return an address without its user and password, also those among its parameters."""
    start, mark, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    hidden = "***@" if user or at else ""
    return _SECRET.sub(r"\1=***", f"{start}{mark}{hidden}{host}{slash}{path}")


def _feed(word: Any, options: LiveOptions) -> Feed:  # noqa: ANN401 - arrays too
    if not isinstance(word, str):
        raise UsageError("an array is not a live source", fix="call edgekit.run")
    if options.watch:
        return _folder(word, options)
    if word == _STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "standard input is a terminal",
                fix="ffmpeg -i SOURCE -f image2pipe -c:v mjpeg - | edgekit run MODEL -",
            )
        return Pipe(sys.stdin.fileno(), options.parse_raw())
    if _ADDRESS.match(word):
        return _address(word, options)
    camera = _camera(word)
    if camera:
        return Camera(camera)
    raise UsageError(
        "files and live sources cannot be run together",
        where=word,
        fix="run them in two commands" + (", or add --watch" if Path(word).is_dir() else ""),
    )


def _folder(word: str, options: LiveOptions) -> Folder:
    path = Path(word)
    if is_live(word):
        raise UsageError("--watch is for folders", where=word, fix="leave it out")
    if not path.is_dir():
        raise InputError(
            "the folder to watch does not exist or is not a folder",
            where=word,
            fix="name a folder" if path.exists() else f"mkdir {word}",
        )
    if options.output is not None and Path(options.output).resolve() == path.resolve():
        raise UsageError(
            "what is drawn would be run again", where=word, fix="name another folder (-o)"
        )
    return Folder(path, options.stall_s)


def _address(word: str, options: LiveOptions) -> Address:
    scheme, name = word.partition("://")[0], hide_password(word)
    if scheme.lower() not in _SCHEMES:
        raise UsageError(
            f"cannot read addresses such as {scheme}://",
            where=name,
            fix=f"use one of {', '.join(_SCHEMES)}; for others: "
            "ffmpeg -i ADDRESS -f image2pipe -c:v mjpeg - | edgekit run MODEL -",
        )
    try:
        parts = urlsplit(word)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, an IPv6 address without its end
        is_whole = False
    if not is_whole:
        raise UsageError(
            "the address is not complete", where=name, fix=f"give {scheme}://HOST:PORT/PATH"
        )
    shown = re.sub(r"^[^:]+://(\*\*\*@)?", "", name.partition("?")[0])
    stem = re.sub(r"[^A-Za-z0-9]+", "-", shown).strip("-")
    return Address(word, name, stem[:64], options.stall_s)


def _camera(word: str) -> str:
    """Return the path of the camera that ``word`` names; empty if it names none.

    A number is that of ``/dev/video``, unless a file has this name. A link, as in
    ``/dev/v4l/by-id``, may lead to a camera.
    """
    if word.isascii() and word.isdigit() and len(word) < 4 and not Path(word).exists():
        return f"/dev/video{int(word)}"
    if _CAMERA.fullmatch(word):
        return word
    if word.startswith("/dev/") and _CAMERA.fullmatch(os.path.realpath(word)):
        return word
    return ""
