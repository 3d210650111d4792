# SPDX-License-Identifier: Apache-2.0
"""Find the meaning of codes, logs, and texts of the compiler and the runtimes."""

from __future__ import annotations

import bisect
import difflib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Iterable, Sequence

from edgekit import distribution
from edgekit.errors import InputError
from edgekit.explain.codes import CODES, KNOWN_TEXTS, RESULT_CODE
from edgekit.explain.known import KnownText, Match, Searched
from edgekit.explain.logs import cleaned, compiler_version, reduced
from edgekit.explain.origins import Origin, origins
from edgekit.explain.statuses import STATUSES
from edgekit.files import MOST_TEXT_BYTES, PathLike, read_bytes
from edgekit.result import Result

if TYPE_CHECKING:
    from edgekit.explain.compilation import Compilation

# Lines that look like a failure, so they are listed as unknown if not recognized.
_ALARM = re.compile(r"error|fail|abort|fatal|exception|terminat|invalid|denied|cannot|fault", re.I)
# Lines of a good run that look like a failure, and the frames of a traceback.
_HARMLESS = re.compile(
    r"^Invalid model: |^Compilation (succeeded|failed)!|^\s*File \"|^Traceback |^raise \w|"
    r"^During handling of the above exception|^The above exception was the direct cause|^\w+Error$"
)
# One word with dots or dashes and no blanks: a code or a file.
_ONE_WORD = re.compile(r"[\w./\\~:-]+")
_TABLE_ROW = re.compile(r"^[A-Z][A-Z0-9_]* +\d+ +(?P<status>[A-Z]\S* .*)$")
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
    versions: str = ""  # which versions of the program print it, if known


@dataclass(frozen=True)
class ExplainResult(Result):
    """The meaning of a text; ``unknown`` are lines that look like failures but are not known."""

    schema: ClassVar[str] = "edgekit.explain/1"
    matches: tuple[Explanation, ...]  # causes first, the most specific text first
    unknown: tuple[str, ...]
    origins: tuple[Origin, ...] = ()  # the unknown lines by the program that printed them

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
        match = Explanation(
            page.code, page.title, page.example, page.cause, page.fix, page.source, page.versions
        )
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

    What programs put in front of each line (times, hosts, containers) is ignored. Of several
    known texts in the same place, the most specific one counts. Texts that are only a consequence
    of another one are left out if that one is present. Failures of a search of edgetpu_compiler
    that ended well are left out, and a successful compilation is summed up.

    Raises:
        InputError: The text is empty.
    """
    text = reduced(cleaned(text))
    if not text.strip():
        raise InputError("there is nothing to explain", fix="give a text, a log or a code")
    text = cleaned(text)
    compilation = _compilation_of(text)
    found = _found(text, compilation)
    seen = {line for match in found for line in _lines_of(match.found)}
    has_cause = any(_is_cause(match.known) for match in found)
    shown = [each for each in found if not (each.known.consequence and has_cause)]
    matches = _merge(sorted(shown, key=_rank), compiler_version(text))
    if compilation:
        summary = _summary(compilation)
        matches.insert(0 if compilation.succeeded else len(matches), summary)
    unknown = [line for line in _distinct_lines(text) if line not in seen]
    bad = [line for line in unknown if _looks_bad(line)]
    if not matches and not bad:
        bad = [line for line in unknown if line and not _looks_good(line)]
    bad = list(dict.fromkeys(bad))
    return ExplainResult(tuple(matches), tuple(bad), origins(bad, text))


def compiler_cause(text: str) -> Explanation | None:
    """Return why a run of edgetpu_compiler that printed ``text`` failed; None if not known."""
    text = cleaned(text)
    causes = _causes(_found(text, _compilation_of(text)))
    return next(iter(_merge(causes, compiler_version(text))), None)


def may_be_random(text: str) -> bool:
    """Whether ``text`` shows a compiler crash that may not happen again with the same file."""
    text = cleaned(text)
    causes = [match.known for match in _causes(_found(text, _compilation_of(text)))]
    certain = any(not each.consequence and not each.random for each in causes)
    return not certain and any(each.random for each in causes)


def _causes(found: Iterable[Match]) -> list[Match]:
    """Return the failures of the compiler, first those that are not a consequence."""
    return sorted((each for each in found if _is_failure_of_compiler(each.known)), key=_rank)


def is_failure_line(line: str) -> bool:
    """Whether a line of a compiler's log is a known text that reports a failure."""
    return any(
        not match.known.note and not _is_status(match.known.code) for match in _found(line, None)
    )


def _found(text: str, compilation: Compilation | None) -> list[Match]:
    """Return the known texts; where several overlap, only the most specific one."""
    searched = Searched(text)
    matches = [each for known in KNOWN_TEXTS for each in known.matches(searched)]
    matches.sort(key=lambda match: (-match.template.specificity, match.start))
    taken: list[Match] = []
    starts: list[int] = []
    for match in matches:
        index = bisect.bisect(starts, match.start)
        near = taken[max(0, index - 1) : index + 1]
        if not any(match.overlaps(other) for other in near):
            taken.insert(index, match)
            starts.insert(index, match.start)
    return [
        match
        for match in taken
        if not (match.known.code.startswith("compiler.") or match.known.consequence)
        or not (compilation and compilation.covers(match.start))
    ]


def _rank(match: Match) -> tuple[int, int, int]:
    known = match.known
    if known.note:
        level = 3
    elif known.consequence:
        level = 2
    else:
        level = 1 if _is_status(known.code) else 0
    if level == 1:
        return level, list(STATUSES).index(known.example), match.start
    return level, -match.template.specificity, match.start


def _compilation_of(text: str) -> Compilation | None:
    if distribution.name() == distribution.PART:
        return None
    from edgekit.explain.compilation import compilation_of  # noqa: PLC0415 - boards lack it

    return compilation_of(text)


def _summary(compilation: Compilation) -> Explanation:
    return Explanation(
        RESULT_CODE,
        compilation.title(),
        "",
        compilation.facts(),
        compilation.advice(),
        "the log; the times are those of edgekit's latency model",
    )


def _is_cause(known: KnownText) -> bool:
    return not known.consequence and not known.note and not _is_status(known.code)


def _is_failure_of_compiler(known: KnownText) -> bool:
    """Whether it is a failure of the compiler or of the interpreter inside it."""
    return not known.note and known.code.startswith(("compiler.", "interpreter."))


def _is_status(code: str) -> bool:
    return code.startswith("status.")


def _merge(found: Sequence[Match], version: str) -> list[Explanation]:
    """Join all places with the same meaning into one explanation, with their lines.

    A place without fields is joined with one of the same code that has them.
    """
    groups: dict[tuple[str, tuple[str, str]], list[Match]] = {}
    with_fields: dict[str, tuple[str, str]] = {}
    for match in found:
        details = match.found.groupdict("")
        filled = match.known.filled(details, version)
        if any(details.values()):
            with_fields.setdefault(match.known.code, filled)
        groups.setdefault((match.known.code, filled), []).append(match)
    for key in list(groups):
        better = with_fields.get(key[0], key[1])
        if better != key[1] and not any(each.found.groupdict("") for each in groups[key]):
            groups[key[0], better].extend(groups.pop(key))
    return [_explanation(matches, *key[1]) for key, matches in groups.items()]


def _explanation(matches: list[Match], cause: str, fix: str) -> Explanation:
    matches.sort(key=lambda match: match.start)
    lines = list(dict.fromkeys(line for match in matches for line in _lines_of(match.found)))
    if len(lines) > _MAX_LINES:
        lines = [*lines[:_MAX_LINES], f"and {len(lines) - _MAX_LINES} more lines"]
    known = matches[0].known
    text = "\n".join(lines)
    return Explanation(known.code, known.title, text, cause, fix, known.source, known.versions)


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
