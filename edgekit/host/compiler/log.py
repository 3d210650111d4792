# SPDX-License-Identifier: Apache-2.0
"""Parse the output and the log files of edgetpu_compiler, versions 1.0 to 16.0.

Every line must have a known form: any other line is an error that shows the line, never a zero.
A value that the log does not contain is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from edgekit.errors import ExternalToolError
from edgekit.explain import MAPPED, STATUSES, is_failure_line
from edgekit.opencompiler.result import OperatorCount
from edgekit.result import Result

_UNIT_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class CompilerLogError(ExternalToolError):
    """A log has a line of a form that edgekit cannot read, or contradicts itself."""

    code = "compiler.log"


@dataclass(frozen=True)
class ModelReport(Result):
    """The compiler's report on one model or segment; bytes are as exact as it prints them."""

    input: str = ""
    output: str = ""
    input_bytes: int | None = None
    output_bytes: int | None = None
    on_chip_bytes: int | None = None  # parameters cached on the chip
    on_chip_remaining_bytes: int | None = None
    streamed_bytes: int | None = None  # parameters sent again for every inference
    num_subgraphs: int | None = None
    num_operators: int | None = None
    num_mapped: int | None = None
    num_cpu: int | None = None
    operators: tuple[OperatorCount, ...] = ()


@dataclass(frozen=True)
class CompilerReport(Result):
    """Everything that one run of the compiler, or one of its log files, reports."""

    version: str  # "16.0.384591198"; empty if it is not printed
    models: tuple[ModelReport, ...]
    failures: tuple[str, ...]  # lines that report a failure, of the last attempt
    notes: tuple[str, ...]  # other lines of the interpreter inside the compiler
    attempts: tuple[int, ...]  # operations of each segment that --search-delegate tried
    time_ms: int | None


def parse_compiler_log(text: str, where: str = "") -> CompilerReport:
    """Parse the compiler's output or one of its log files, complete or cut off.

    Args:
        text: Lines with any kind of line end.
        where: The path of the log, for messages.

    Raises:
        CompilerLogError: A line is unknown, the numbers contradict each other, or ``text`` is
            empty.
    """
    parser = _Parser(where)
    for number, line in enumerate(text.splitlines(), 1):
        parser.read(number, line.rstrip())
    return parser.report()


@dataclass
class _Draft:
    """The report on a model while it is being read."""

    report: ModelReport = field(default_factory=ModelReport)
    rows: list[OperatorCount] = field(default_factory=list)
    partial: bool = False  # "not all operations are supported" was printed
    ended: bool = False  # its table, or the line instead of it, was reached

    def finish(self) -> ModelReport:
        report, rows = self.report, tuple(self.rows)
        total = report.num_operators
        if total is None and rows:
            total = sum(row.count for row in rows)
        mapped = report.num_mapped
        if mapped is None and self.ended and not self.partial:
            mapped = sum(row.count for row in rows if row.mapped) if rows else total
        return replace(report, num_operators=total, num_mapped=mapped, operators=rows)


class _Parser:
    """Reads line after line; each kind of line has a handler."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._version = ""
        self._drafts: list[_Draft] = []
        self._failures: list[str] = []
        self._notes: list[str] = []
        self._attempts: list[int] = []
        self._time_ms: int | None = None
        self._in_table = False
        self._line, self._number = "", 0

    def read(self, number: int, line: str) -> None:
        self._line, self._number = line, number
        if not line.strip():
            return
        if self._in_table and self._row(line):
            return
        for pattern, handle in _LINES:
            match = pattern.match(line)
            if match:
                handle(self, match)
                return
        if is_failure_line(line):
            self._failures.append(line.strip())
            return
        raise self.unknown()

    def report(self) -> CompilerReport:
        if not self._number:
            raise CompilerLogError("the compiler's log is empty", where=self._where)
        return CompilerReport(
            version=self._version,
            models=tuple(draft.finish() for draft in self._drafts),
            failures=tuple(self._failures),
            notes=tuple(self._notes),
            attempts=tuple(self._attempts),
            time_ms=self._time_ms,
        )

    def unknown(self, why: str = "") -> CompilerLogError:
        return CompilerLogError(
            f"edgekit cannot read line {self._number} of the compiler's log: "
            f"{self._line.strip()[:300]}",
            where=self._where,
            why=why or "a guess would give wrong numbers",
            fix="please report the line, with the compiler's version",
        )

    def start_model(self, match: re.Match[str]) -> None:
        self._in_table = False
        self._drafts.append(_Draft(ModelReport(input=match["path"])))

    def set_field(self, name: str, value: str | int) -> None:
        if not self._drafts:
            self._drafts.append(_Draft())
        draft = self._drafts[-1]
        change: dict[str, Any] = {name: value}
        draft.report = replace(draft.report, **change)

    def set_path(self, match: re.Match[str]) -> None:
        self.set_field("output", match["path"])

    def set_size(self, name: str, match: re.Match[str]) -> None:
        self.set_field(name, round(float(match["number"]) * _UNIT_BYTES[match["unit"]]))

    def set_number(self, name: str, match: re.Match[str]) -> None:
        self.set_field(name, int(match["number"]))
        report = self._drafts[-1].report
        parts = (report.num_mapped, report.num_cpu, report.num_operators)
        if None not in parts and sum(parts[:2]) != parts[2]:  # type: ignore[arg-type] # no None
            raise self.unknown(f"{parts[0]} and {parts[1]} operations are not {parts[2]}")

    def start_table(self, _: re.Match[str]) -> None:
        self._in_table = True
        if not self._drafts:
            self._drafts.append(_Draft())
        self._drafts[-1].ended = True

    def end_without_table(self, _: re.Match[str]) -> None:
        if self._drafts:
            self._drafts[-1].ended = True

    def not_all_mapped(self, _: re.Match[str]) -> None:
        if self._drafts:
            self._drafts[-1].partial = True

    def set_version(self, match: re.Match[str]) -> None:
        self._version = match["version"]

    def set_time(self, match: re.Match[str]) -> None:
        self._in_table = False
        self._failures.clear()
        self._time_ms = (self._time_ms or 0) + int(match["number"])

    def start_attempt(self, match: re.Match[str]) -> None:
        self._in_table = False
        self._failures.clear()
        self._attempts.append(int(match["number"]))

    def fail(self, _: re.Match[str]) -> None:
        self._in_table = False
        self._failures.append(self._line.strip())

    def note(self, _: re.Match[str]) -> None:
        self._notes.append(self._line.strip())

    def nothing(self, _: re.Match[str]) -> None:
        self._in_table = False

    def _row(self, line: str) -> bool:
        match = _ROW.fullmatch(line)
        if not match:
            return False
        if match["status"] != MAPPED and match["status"] not in STATUSES:
            raise self.unknown("the status does not occur in the logs of any known version")
        row = OperatorCount(match["opcode"], int(match["count"]), match["status"])
        self._drafts[-1].rows.append(row)
        return True


_ROW = re.compile(r"(?P<opcode>[A-Za-z][\w.:/-]*)\s+(?P<count>\d+)\s+(?P<status>\S.*)")
_Handler = Callable[[_Parser, re.Match[str]], None]
_SIZE = r"(?P<number>\d+(?:\.\d+)?)(?P<unit>B|KiB|MiB|GiB)$"
_NUMBER = r"(?P<number>\d+)$"


def _size(name: str) -> _Handler:
    return lambda parser, match: parser.set_size(name, match)


def _number(name: str) -> _Handler:
    return lambda parser, match: parser.set_number(name, match)


# Each kind of line that is not a row of the table; the first pattern that matches is used.
_LINES: tuple[tuple[re.Pattern[str], _Handler], ...] = tuple(
    (re.compile(pattern), handler)
    for pattern, handler in (
        (r"Edge TPU Compiler version (?P<version>\d[\w.]*)$", _Parser.set_version),
        (r"Input(?: model)?: (?P<path>.+)", _Parser.start_model),
        (r"Output(?: model)?: (?P<path>.+)", _Parser.set_path),
        (r"Input size: " + _SIZE, _size("input_bytes")),
        (r"Output size: " + _SIZE, _size("output_bytes")),
        (r"On-chip memory used for caching model parameters: " + _SIZE, _size("on_chip_bytes")),
        (
            r"On-chip memory remaining for caching model parameters: " + _SIZE,
            _size("on_chip_remaining_bytes"),
        ),
        # Compiler 2.0: the size of the empty cache.
        (r"On-chip memory available for caching model parameters: " + _SIZE, _Parser.nothing),
        (
            r"Off-chip memory used for streaming uncached model parameters: " + _SIZE,
            _size("streamed_bytes"),
        ),
        (r"Number of Edge TPU subgraphs: " + _NUMBER, _number("num_subgraphs")),
        (r"Total number of operations: " + _NUMBER, _number("num_operators")),
        (r"Number of operations that will run on Edge TPU: " + _NUMBER, _number("num_mapped")),
        (r"Number of operations that will run on CPU: " + _NUMBER, _number("num_cpu")),
        (r"Operation log: .+", _Parser.nothing),
        (r"Operator +Count +Status$", _Parser.start_table),
        (r"See the operation log file for individual", _Parser.end_without_table),
        (r"Model successfully compiled but not all operations", _Parser.not_all_mapped),
        (r"Models? compiled successfully in (?P<number>\d+) ms\.?!?$", _Parser.set_time),
        (r"Started a compilation timeout timer of \d+ seconds\.$", _Parser.nothing),
        (r"Compilation child process completed within timeout period\.$", _Parser.nothing),
        (r"Compilation succeeded!$", _Parser.nothing),
        (r"Searching for valid delegate with step \d+$", _Parser.nothing),
        (r"Try to compile segment with (?P<number>\d+) ops$", _Parser.start_attempt),
        (r"Intermediate tensors: .+", _Parser.nothing),
        (r"Compilation failed(!|: .+)$", _Parser.fail),
        (r"Compilation timeout\..*", _Parser.fail),
        (r"Invalid model: .+", _Parser.fail),
        (r"Model (not quantized|could not be parsed)$", _Parser.fail),
        (r"Internal compiler error\. Aborting!$", _Parser.fail),
        # Any line of TensorFlow Lite's own logger.
        (r"ERROR: .+", _Parser.fail),
        (r"(INFO|WARNING|VERBOSE): .+", _Parser.note),
    )
)
