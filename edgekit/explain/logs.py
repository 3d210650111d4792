# SPDX-License-Identifier: Apache-2.0
"""Take from a log what other programs added: colours, time stamps, names of hosts and services."""

from __future__ import annotations

import re
from typing import Iterator

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TIME = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?[AP]M)?"
_DATE = r"(?:\d{4}[-/.]\d\d[-/.]\d\d|\d{1,2}[/.]\d{1,2}[/.]\d{2,4})"
_LEVEL = r"(?:DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|FATAL|debug|info|warning|error)"
_STAMPS = (
    # 2024-02-11 13:15:03.916, 2024-02-11T13:15:03+01:00, 8/11/2024, 1:52:20 PM; in [] or not
    rf"\[?{_DATE}(?:T|,? +){_TIME}(?:Z|[+-]\d\d:?\d\d)?\]?[ \t]*:?",
    # Nov 30 12:00:00 host kernel:, and with a process id: frigate[123]:
    r"\[?(?:[A-Z][a-z]{2} )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} "
    rf"(?:\d{{4}} )?{_TIME}\]?(?: [\w.-]+ [\w./@-]+(?:\[\d+\])?:)?",
    rf"{_TIME}[ \t]*:?",  # 06:28:22:
    r"\[ *\d+\.\d+\](?:\[ *[TC]\d+\])?",  # dmesg: [    3.123456]
    r"(?:kernel|dkms|udevd|systemd-[\w-]+)(?:\[\d+\])?:",
    r"[\w.-]+ *\|(?= )",  # docker compose: frigate-1  |
    r"\u2502",
    r"std(?:out|err) [FP](?= )",  # Kubernetes
    r"[IWEF]\d{4} [\d:.]+ +\d+ ",  # glog: E0000 00:00:1725651435.903531 2938881
    rf"[\w.-]+[ \t]+{_LEVEL}[ \t]+:(?= )",  # frigate.app  INFO  :
    rf"(?:- )?[\w.]+ - {_LEVEL} - ",
    r"[\w-]+\.py:(?= )",
    r"\{\"log\":\"",  # docker's JSON files
)
_PREFIX = re.compile(rf"^[ \t]*(?:(?:{'|'.join(_STAMPS)})[ \t]*)+", re.MULTILINE)
_JSON_END = re.compile(r"\\n\",\"stream\":.*$", re.MULTILINE)
_NUMBER = re.compile(r"\d+")
_MOST_CHARS = 1 << 22
_PART_CHARS = 1 << 20
_MOST_SHAPES = 100_000
_VERSION = re.compile(r"Edge TPU Compiler version (\d[\d.]*\d)")


def cleaned(text: str) -> str:
    """Return ``text`` without colours and without what programs put in front of each line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x1b[" in text:
        text = _ANSI.sub("", text)
    return _JSON_END.sub("", _PREFIX.sub("", text)) if len(text) <= _MOST_CHARS else text


def reduced(text: str) -> str:
    """Return a large log without the lines that differ from others in numbers only.

    The first line of each kind stays, with the one after it, and the end of the log stays whole.
    A text of up to 4 MiB is returned as it is.
    """
    if len(text) <= _MOST_CHARS:
        return text
    tail = text.rfind("\n", 0, len(text) - _PART_CHARS) + 1
    seen: set[str] = set()
    kept: list[str] = []
    follows = False
    for part in _parts(text, tail):
        shapes = _NUMBER.sub("0", part).splitlines()
        if not follows and len(seen) < _MOST_SHAPES and seen.issuperset(shapes):
            continue
        for line, shape in zip(part.splitlines(), shapes):
            is_new = shape not in seen
            if is_new and len(seen) < _MOST_SHAPES:
                seen.add(shape)
            if is_new or follows:
                kept.append(line)
            follows = is_new
    kept.append(text[tail:])
    return "\n".join(kept)


def _parts(text: str, end: int) -> Iterator[str]:
    """Yield ``text[:end]`` in parts of whole lines; a list of all lines takes much memory."""
    start = 0
    while start < end:
        stop = text.find("\n", start + _PART_CHARS, end) + 1 or end
        yield text[start:stop]
        start = stop


def compiler_version(text: str) -> str:
    """Return the version of edgetpu_compiler that ``text`` shows; empty if it shows none."""
    found = _VERSION.search(text)
    return found.group(1) if found else ""
