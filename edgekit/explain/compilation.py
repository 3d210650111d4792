# SPDX-License-Identifier: Apache-2.0
"""Sum up the compilations that a log of edgetpu_compiler reports."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterator

from edgekit.edgetpu.calibration import read_calibration
from edgekit.explain.logs import compiler_version
from edgekit.explain.statuses import MAPPED, STATUSES

_SUCCESS = re.compile(
    r"^[ \t]*Models? compiled successfully in|^[ \t]*Compilation succeeded!", re.M
)
_FAILURE = re.compile(
    r"^[ \t]*(?:Compilation failed|Internal compiler error|Compilation timeout"
    r"|Model could not be parsed|Model not quantized)|terminating with uncaught",
    re.M,
)
_START = re.compile(
    r"^[ \t]*(?:Models? compiled successfully in.*|Edge TPU Compiler version .*\n\s*Input: .*)$",
    re.M,
)
_ROW = re.compile(r"^[ \t]*([A-Z][\w.:/-]*)[ \t]+(\d+)[ \t]+(\S.*?)[ \t]*$", re.M)
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SEARCH = "Searching for valid delegate"
_ONE_SUBGRAPH = "More than one subgraph is not supported"
_FLOAT = "Operation is working on an unsupported data type"
_MIB = 1 << 20


@dataclass
class _Block:
    """What the log says of one model or segment."""

    name: str = ""
    on_chip: int = 0
    streamed: int = 0
    num_operators: int = 0
    num_mapped: int = 0
    num_subgraphs: int = 0
    rows: list[tuple[str, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Compilation:
    """The compilations of one log that count: after a search, the one that it ended with."""

    version: str  # empty if the log does not show it
    searched: bool
    succeeded: bool  # what the log says last
    start: int  # position of the first one that counts
    blocks: tuple[_Block, ...]

    @property
    def num_operators(self) -> int:
        """Operations of all models and segments."""
        return sum(block.num_operators for block in self.blocks)

    @property
    def num_mapped(self) -> int:
        """Operations that run on the Edge TPU."""
        return sum(block.num_mapped for block in self.blocks)

    def covers(self, position: int) -> bool:
        """Whether a failure at ``position`` is an attempt of a search that succeeded later."""
        return self.searched and self.succeeded and position < self.start

    def title(self) -> str:
        """Return one line: how much of it is on the Edge TPU."""
        total, mapped = self.num_operators, self.num_mapped
        share = f"{mapped} of {total} operations map to the Edge TPU"
        if not mapped:
            return f"Compiled, but nothing runs on the Edge TPU (0 of {total} operations)"
        if mapped == total:
            return f"Compiled: all {total} operations map to the Edge TPU"
        if mapped < 0.5 * total:
            return f"Compiled, but most of the network stays on the CPU: {share}"
        return f"Compiled: {share}"

    def facts(self) -> str:
        """Return what maps, what stays, and what the parameters cost."""
        parts = [f"Compiler {self.version}." if self.version else ""]
        if len(self.blocks) > 1:
            parts.append(f"{len(self.blocks)} models or segments.")
        if self.searched:
            parts.append("The attempts before are those of --search-delegate; the last one counts.")
        subgraphs = sum(block.num_subgraphs for block in self.blocks)
        if subgraphs > len(self.blocks):
            parts.append(
                f"{subgraphs} separate parts run on the Edge TPU: between them, tensors go over "
                "the bus to the CPU and back."
            )
        parts.extend(self._rest())
        parts.append(self._memory())
        return " ".join(part for part in parts if part)

    def advice(self) -> str:
        """Return the one change that would help most."""
        left = self._left()
        if self.num_operators and not self.num_mapped:
            return (
                "Leave out --min-runtime-version if it was given; edgekit check MODEL names the "
                "first operator that does not map."
            )
        real = [(count, status) for status, count in left.items() if status != _ONE_SUBGRAPH]
        cut_off = left.get(_ONE_SUBGRAPH, 0)
        if real:
            count, status = max(real)
            known = STATUSES.get(status)
            names = ", ".join(sorted({row[0] for row in self._rows() if row[2] == status}))
            if status == _FLOAT and not cut_off:
                return (
                    f"{names} only convert to or from float: edgekit convert --io uint8 removes "
                    "them; if they are at the very end, they cost little."
                )
            more = f", and {cut_off} after it would map too" if cut_off else ""
            return f"{names} ({count} operations{more}): {known.fix if known else status}"
        if cut_off and self.searched:
            return (
                f"The search ended the Edge TPU's part before {cut_off} operations that map by "
                "themselves: edgekit check MODEL names what the compiler could not cut there "
                "(PAD before ADD is a known one); a smaller input may avoid it."
            )
        if cut_off:
            return (
                f"{cut_off} operations map by themselves but are cut off: edgekit check MODEL "
                "names the first operator that does not map."
            )
        streamed = sum(block.streamed for block in self.blocks)
        if self.num_mapped < self.num_operators:
            return (
                "The log does not list the operators: compile with --show-operations, or read "
                "NAME_edgetpu.log; edgekit check MODEL names the reasons."
            )
        if streamed:
            return (
                f"Make the parameters {streamed / _MIB:.1f} MiB smaller (fewer channels, a "
                "smaller dense layer), or cut the network for several Edge TPUs: edgekit split."
            )
        return "Nothing has to change: everything maps and nothing streams."

    def _rows(self) -> Iterator[tuple[str, int, str]]:
        for block in self.blocks:
            yield from block.rows

    def _left(self) -> dict[str, int]:
        left: dict[str, int] = {}
        for _, count, status in self._rows():
            if status != MAPPED:
                left[status] = left.get(status, 0) + count
        return left

    def _rest(self) -> Iterator[str]:
        on_cpu = self.num_operators - self.num_mapped
        if not on_cpu:
            return
        names = [
            f"{count} {name} ({status})" for name, count, status in self._rows() if status != MAPPED
        ]
        listed = ": " + ", ".join(names[:5]) + (", and others" if len(names) > 5 else "")
        yield f"On the CPU: {on_cpu} operations{listed if names else ''}."

    def _memory(self) -> str:
        on_chip = sum(block.on_chip for block in self.blocks)
        streamed = sum(block.streamed for block in self.blocks)
        if not on_chip and not streamed:
            return ""
        kept = f"Parameters: {on_chip / _MIB:.2f} MiB stay on the chip"
        if not streamed:
            return f"{kept}, none stream."
        fast = read_calibration("usb3").ms_per_mb * streamed / 1e6
        slow = read_calibration("usb2").ms_per_mb * streamed / 1e6
        return (
            f"{kept}; {streamed / _MIB:.2f} MiB stream over the bus for every inference, about "
            f"{_ms(fast)} over PCIe or USB 3 and {_ms(slow)} over USB 2."
        )


def _ms(time_ms: float) -> str:
    return f"{time_ms:.0f} ms" if time_ms >= 1 else "less than 1 ms"


def compilation_of(text: str) -> Compilation | None:
    """Return the compilations that ``text`` reports as successful; None if there is none."""
    starts = [found.start() for found in _START.finditer(text)]
    if not starts:
        return None
    last_success = max((m.start() for m in _SUCCESS.finditer(text)), default=starts[-1])
    failures = [m.start() for m in _FAILURE.finditer(text)]
    succeeded = last_success > max(failures, default=-1)
    searched = _SEARCH in text or "Try to compile segment" in text
    ends = [*starts[1:], len(text)]
    blocks = [block for start, end in zip(starts, ends) for block in _blocks(text[start:end])]
    blocks = [block for block in blocks if block.num_operators]
    if not blocks:
        return None
    return Compilation(compiler_version(text), searched, succeeded, starts[0], tuple(blocks))


def _blocks(text: str) -> Iterator[_Block]:
    """Yield a block for each model; several may be compiled together."""
    positions = [m.start() for m in re.finditer(r"^[ \t]*Input(?: model)?: ", text, re.M)]
    for start, end in zip(positions, [*positions[1:], len(text)]):
        yield _block(text[start:end])


def _block(text: str) -> _Block:
    rows = [
        (name, int(count), status)
        for name, count, status in _ROW.findall(text)
        if status == MAPPED or status in STATUSES
    ]
    total = _number(text, "Total number of operations") or sum(count for _, count, _ in rows)
    mapped = sum(count for _, count, status in rows if status == MAPPED)
    if "will run on Edge TPU" in text:
        mapped = _number(text, "Number of operations that will run on Edge TPU")
    elif not rows:
        mapped = 0 if "not all operations are supported" in text else total
    return _Block(
        name=text.partition(":")[2].partition("\n")[0].strip(),
        on_chip=_size(text, "On-chip memory used for caching model parameters"),
        streamed=_size(text, "Off-chip memory used for streaming uncached model parameters"),
        num_operators=total,
        num_mapped=mapped,
        num_subgraphs=_number(text, "Number of Edge TPU subgraphs"),
        rows=rows,
    )


def _number(text: str, name: str) -> int:
    found = re.search(re.escape(name) + r":\s*(\d+)", text)
    return int(found.group(1)) if found else 0


def _size(text: str, name: str) -> int:
    found = re.search(re.escape(name) + r":\s*(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)\b", text)
    return round(float(found.group(1)) * _UNITS[found.group(2)]) if found else 0
