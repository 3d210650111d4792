# SPDX-License-Identifier: Apache-2.0
"""A picture of what each unit of each tile does, in Chrome's trace format (Perfetto opens it).

The order is the program's: a unit runs its instructions one after another, and an instruction
begins no earlier than those that had to run before it on its tile began. A length is the number of
steps of the instruction's longest loop nest; for an op that is its cycles. How long a unit waits
for data is not known, so the picture shows order and work, and no measured time.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import Any, Mapping, Sequence

from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.chip.emulator.plan import Checker, Task
from edgekit.chip.emulator.program import make_plan, work_of
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.disassemble import text
from edgekit.chip.isa.memories import NUM_TILES

_HOST = NUM_TILES  # the process of what no tile runs: transfers with the host
_PROGRAM = 100  # processes of one program in a file of several


class Tracer(Checker):
    """Records which instruction runs when, while a program is planned."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str, Instruction, int, int]] = []  # place, unit, start, length
        self._free: dict[tuple[int, str], int] = {}
        self._begun: dict[int, int] = {}

    def before(self, task: Task, tiles: list[int]) -> None:
        """Put the instruction into the queue of its unit on each tile."""
        instruction = task.instruction
        layout = instruction.layout
        length = work_of(instruction)
        for place in tiles if layout.on_tiles else [_HOST]:
            start = max(self._free.get((place, layout.unit), 0), self._begun.get(place, 0))
            self._free[place, layout.unit] = start + length
            self._begun[place] = start
            self.events.append((place, layout.unit, instruction, start, length))


def trace_events(
    chip: EdgeTpu, layers: Mapping[int, str] | None = None, number: int = 0
) -> list[dict[str, Any]]:
    """Return the events of one inference, with the names of tiles and units.

    Args:
        chip: The program, loaded.
        layers: The name of each layer of its source, by the pc of the op that begins it.
        number: Of the program in a file of several.
    """
    tracer = Tracer()
    known = [set(rows) for rows in chip.cached_rows]
    make_plan(chip.executable, known_rows=known, checker=tracer)
    units = sorted({unit for _, unit, *_ in tracer.events})
    events: list[dict[str, Any]] = []
    for place in sorted({place for place, *_ in tracer.events}):
        name = "host" if place == _HOST else f"tile {place}"
        pid = number * _PROGRAM + place
        events.append(_name("process_name", pid, 0, f"program {number}, {name}"))
        events += [_name("thread_name", pid, k, unit) for k, unit in enumerate(units)]
    starts = sorted(layers or {})
    for order, (place, unit, instruction, start, length) in enumerate(tracer.events):
        args: dict[str, Any] = {"pc": instruction.pc, "order": order, "text": text(instruction)}
        at = bisect_right(starts, instruction.pc)
        if layers and at and instruction.layout.unit == "op":
            args["layer"] = layers[starts[at - 1]]
        events.append(
            {
                "ph": "X",
                "name": args.get("layer", instruction.layout.name),
                "cat": instruction.layout.name,
                "pid": number * _PROGRAM + place,
                "tid": units.index(unit),
                "ts": start,
                "dur": length,
                "args": args,
            }
        )
    return events


def trace_document(events: Sequence[Mapping[str, Any]]) -> str:
    """Return the file's text."""
    other = {"unit": "steps of a loop nest (cycles of an op), not microseconds"}
    document = {"traceEvents": list(events), "displayTimeUnit": "ns", "otherData": other}
    return json.dumps(document, separators=(",", ":"))


def _name(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}
