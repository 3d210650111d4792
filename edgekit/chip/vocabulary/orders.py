# SPDX-License-Identifier: Apache-2.0
"""The orders of a program: which instruction follows which.

Two relations can matter to the chip. The scalar core issues in program order, and waits where the
queue of a unit is full: so what follows what (``issue``), by the names of the instructions. And a
unit starts an instruction while the end of the one before it is still on its way: so what follows
what in the queue of one unit on one tile since the last drain (``queue``), by finer kinds.
"""

from __future__ import annotations

from typing import Iterator, Sequence, Tuple

from edgekit.chip.isa.decode import Instruction

Order = Tuple[str, str, str]  # "issue" or the unit, the earlier kind, the later kind
ISSUE = "issue"
_DRAIN_UNITS = 0x3FF  # a fence on all units of a tile
_FIRST = "drained"  # the queue is empty
_THEN = " -> "


def orders_of(instructions: Sequence[Instruction]) -> Iterator[tuple[int, Order]]:
    """Yield (index of the later instruction, order) for one program.

    Instructions of the scalar core that only compute or jump are left out.
    """
    before = ""
    queues: dict[str, dict[str, int]] = {}  # unit -> the kind it runs last -> on which tiles
    for index, instruction in enumerate(instructions):
        layout = instruction.layout
        if layout.unit == "control" or layout.name == "alu":
            continue
        name = _issued_name(instruction)
        if before:
            yield index, (ISSUE, before, name)
        before = name
        if layout.unit == "fence":
            _drain(queues, instruction)
        elif layout.on_tiles:
            queue = queues.setdefault(layout.unit, {})
            kind = _queued_kind(instruction)
            for earlier in _follow(queue, kind, instruction["tiles"]):
                yield index, (layout.unit, earlier, kind)


def order_text(order: Order) -> str:
    """Return an order as text; different orders have different texts."""
    relation, earlier, later = order
    return f"{relation}: {earlier}{_THEN}{later}"


def later_of(text: str) -> str:
    """Return the relation and the later kind of the text of an order; empty for another text."""
    before, then, later = text.partition(_THEN)
    return f"{before.partition(':')[0]}: {later}" if then else ""


def _drain(queues: dict[str, dict[str, int]], fence: Instruction) -> None:
    if fence["units"] != _DRAIN_UNITS or fence["signal"]:
        return
    tiles = fence["tiles"]
    for queue in queues.values():
        for kind in queue:
            queue[kind] &= ~tiles


def _follow(queue: dict[str, int], kind: str, tiles: int) -> Iterator[str]:
    """Put ``kind`` into the queue of ``tiles``; yield each kind that was last there."""
    rest = tiles
    for earlier, there in queue.items():
        if there & tiles:
            yield earlier
            rest &= ~there
            queue[earlier] = there & ~tiles
    if rest:
        yield _FIRST
    queue[kind] = queue.get(kind, 0) | tiles


def _issued_name(instruction: Instruction) -> str:
    name = instruction.layout.name
    if name == "fence":
        return f"fence({_fence_kind(instruction)})"
    if name == "scalar.sync":
        waits = "counters" if instruction["wait"] else "token" if instruction["token_wait"] else ""
        return f"{name}({waits})" if waits else name
    return name


def _fence_kind(fence: Instruction) -> str:
    if fence["signal"]:
        return "signal"
    if fence["count"]:
        return "count"
    if fence["last"]:
        return "last"
    if fence["units"] != _DRAIN_UNITS:
        return "some units"
    return "drain, reset" if fence["counters"] else "drain"


def _queued_kind(instruction: Instruction) -> str:
    """Return the name with what a unit must switch between two instructions."""
    name = instruction.layout.name
    if name == "op":
        return f"op({instruction['cfg2']:#x}, {instruction['cfg3']:#x})"
    if name == "ring.send":
        to_core = instruction["dest"] >> 16
        receiver = "core" if to_core else "recv1" if instruction["to_consumer1"] else "recv0"
        return f"ring.send({receiver})"
    if name == "w2n" and instruction["scaling"]:
        return "w2n(scaling)"
    if name == "n2w" and instruction["transpose"]:
        return "n2w(transposing)"
    if name.startswith("mesh") and instruction["fill_en"]:
        return f"{name}(fill)"
    return name
