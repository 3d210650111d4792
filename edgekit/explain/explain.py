# SPDX-License-Identifier: Apache-2.0
"""Find the meaning of codes, logs, and texts of the compiler and the runtimes."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from typing import ClassVar, Iterable

from edgekit.errors import InputError
from edgekit.explain.codes import CODES, KNOWN_TEXTS
from edgekit.explain.known import KnownText
from edgekit.files import MOST_TEXT_BYTES, PathLike, read_bytes
from edgekit.result import Result

# Lines that look like a failure, so they are listed as unknown if not recognized.
_ALARM = re.compile(r"error|fail|abort|fatal|exception|terminat|invalid|denied|cannot|fault", re.I)
# Lines of a good run that look like a failure.
_HARMLESS = re.compile(r"^Invalid model: |^Compilation (succeeded|failed)!|^\s*File \"|^Traceback ")
# One word with dots or dashes and no blanks: a code or a file.
_ONE_WORD = re.compile(r"[\w./\\~:-]+")
_TABLE_ROW = re.compile(r"^\w+ +\d+ +(?P<status>\S.*)$")
_GOOD = re.compile(
    r"Edge TPU Compiler version|(Input|Output)( model| size)?:|O(n|ff)-chip memory|Number of|"
    r"Total number|Operation log|See the operation log|Operator +Count +Status|"
    r"Models? compiled|Model successfully compiled|Started a compilation|"
    r"Compilation (child|succeeded)|INFO:|Searching|Try to compile|Intermediate tensors"
)
_MAX_LINES = 5
_PART_CHARS = 1 << 20


@dataclass(frozen=True)
class Explanation(Result):
    """One recognized text: its place, cause and fix."""

    code: str
    title: str
    text: str  # the lines with the text; for a code, an example of them
    cause: str
    fix: str
    source: str


@dataclass(frozen=True)
class ExplainResult(Result):
    """The meaning of a text; ``unknown`` are lines that look like failures but are not known."""

    schema: ClassVar[str] = "edgekit.explain/1"
    matches: tuple[Explanation, ...]
    unknown: tuple[str, ...]

    @property
    def recognized(self) -> bool:
        """Whether anything in the text is known."""
        return bool(self.matches)


def explain(subject: str) -> ExplainResult:
    """Explain a code, a file with a log, or a text.

    Args:
        subject: A code (``compiler.op_version``), the path of a log, or the text itself.

    Raises:
        InputError: It is empty, a file that is not a text, or one word that is none of the three.
    """
    word = subject.strip()
    if word in CODES:
        page = CODES[word]
        match = Explanation(page.code, page.title, page.example, page.cause, page.fix, page.source)
        return ExplainResult((match,), ())
    if "\0" not in subject and os.path.isfile(subject):  # noqa: PTH113 - Path's raises if too long
        return explain_text(read_log(subject))
    if "\0" not in subject and os.path.isdir(subject):  # noqa: PTH112 - the same
        raise InputError("this is a folder", where=subject, fix="name the log in it")
    result = explain_text(subject)
    if not result.recognized and _ONE_WORD.fullmatch(word):
        near = [code for code in CODES if code.startswith(word)][:3]
        near = near or difflib.get_close_matches(word, CODES, n=3)
        raise InputError(
            f"{word!r} is not a code, a file or a known text",
            fix=f"did you mean {' or '.join(near)}?" if near else "the codes are in docs/codes",
        )
    return result


def read_log(path: PathLike) -> str:
    """Return the text of a log in any common encoding.

    Raises:
        InputError: It cannot be read, or is not a text.
    """
    content = read_bytes(path, "log", MOST_TEXT_BYTES)
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:  # what PowerShell's > writes
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise InputError(
            "this file is not a text",
            where=str(path),
            fix="for a model, type: edgekit inspect FILE",
        )
    return content.decode("utf-8-sig", errors="replace")


def explain_text(text: str) -> ExplainResult:
    """Explain all known parts of ``text``, causes before statuses; list unknown failures.

    Texts that are only a consequence of another one are left out if that one is present.

    Raises:
        InputError: The text is empty.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise InputError("there is nothing to explain", fix="give a text, a log or a code")
    found = [(known, matched) for known in KNOWN_TEXTS for matched in known.matches(text)]
    seen = {line for _, matched in found for line in _lines_of(matched)}
    has_cause = any(not known.consequence and not _is_status(known.code) for known, _ in found)
    shown = [each for each in found if not (each[0].consequence and has_cause)]
    matches = _merge(shown)
    unknown = [line for line in _distinct_lines(text) if line not in seen]
    bad = [line for line in unknown if _looks_bad(line)]
    if not found and not bad:
        bad = [line for line in unknown if line and not _looks_good(line)]
    return ExplainResult(tuple(matches), tuple(dict.fromkeys(bad)))


def compiler_cause(text: str) -> Explanation | None:
    """Return why a run of edgetpu_compiler that printed ``text`` failed; None if not known."""
    if not text.strip():
        return None
    matches = explain_text(text).matches
    return next((each for each in matches if _is_of_compiler(each.code)), None)


def may_be_random(text: str) -> bool:
    """Whether ``text`` shows a compiler crash that may not happen again with the same file."""
    found = [
        known for known in KNOWN_TEXTS if _is_of_compiler(known.code) and any(known.matches(text))
    ]
    certain = any(not known.consequence and not known.random for known in found)
    return not certain and any(known.random for known in found)


def _is_of_compiler(code: str) -> bool:
    return code.startswith("compiler.")


def _is_status(code: str) -> bool:
    return code.startswith("status.")


def _merge(found: Iterable[tuple[KnownText, re.Match[str]]]) -> list[Explanation]:
    """Join all places with the same meaning into one explanation, with their lines."""
    lines: dict[tuple[KnownText, str, str], list[str]] = {}
    for known, matched in found:
        cause, fix = known.filled(matched.groupdict(""))
        lines.setdefault((known, cause, fix), []).extend(_lines_of(matched))
    merged = []
    for (known, cause, fix), each in lines.items():
        unique = list(dict.fromkeys(each))
        if len(unique) > _MAX_LINES:
            unique = [*unique[:_MAX_LINES], f"and {len(unique) - _MAX_LINES} more lines"]
        text = "\n".join(unique)
        merged.append(Explanation(known.code, known.title, text, cause, fix, known.source))
    return merged


def _lines_of(matched: re.Match[str]) -> list[str]:
    """Return the whole lines that a match covers, stripped."""
    text = matched.string
    start = text.rfind("\n", 0, matched.start()) + 1
    end = text.find("\n", matched.end())
    return [line.strip() for line in text[start : end if end >= 0 else None].splitlines()]


def _distinct_lines(text: str) -> Iterable[str]:
    """Return the different lines of ``text``, stripped, in the order of their first place."""
    lines: dict[str, None] = {}
    start = 0
    while start < len(text):  # in parts: a list of all lines takes many times the text's memory
        end = text.find("\n", start + _PART_CHARS) + 1 or len(text)
        lines.update(dict.fromkeys(text[start:end].splitlines()))
        start = end
    return dict.fromkeys(line.strip() for line in lines)


def _looks_bad(line: str) -> bool:
    row = _TABLE_ROW.match(line)
    if row:
        return not _looks_good(line)
    return bool(_ALARM.search(line)) and not _HARMLESS.search(line)


def _looks_good(line: str) -> bool:
    return line.endswith("Mapped to Edge TPU") or bool(_GOOD.match(line))
