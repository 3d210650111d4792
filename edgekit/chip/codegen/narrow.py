# SPDX-License-Identifier: Apache-2.0
"""Places in narrow memory: the activations of all steps in 192 KiB of every tile.

Largest first, each at the lowest place that is free during its life: on chains of convolutions this
is what Google's compiler does. Where it does not fit, other orders are tried.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Callable, Iterator

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import WORD, Block
from edgekit.chip.codegen.layout import Compute, Layout, Receive
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.nodes import Convolution
from edgekit.chip.codegen.overlays import Group, group_blocks
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.isa.memories import NARROW_BYTES

_SLOT_ALIGNMENT = 16
_TRIALS = 60


@dataclass(frozen=True)
class Staging:
    """The places of an input stage."""

    slots: int
    constants: int


@dataclass
class Places:
    """Addresses beside those of the blocks, which are set in place."""

    used_bytes: int
    staging: dict[int, Staging]  # by id of the input stage
    scratch: int = 0


@dataclass(frozen=True)
class _Part:
    """Bytes from ``offset`` on that are used from step ``first`` to step ``last``."""

    offset: int
    size: int
    first: int
    last: int

    def lives_with(self, other: _Part) -> bool:
        """Whether both are used at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class _Item:
    """Something that needs a place from step ``first`` to step ``last``; -1 is the input.

    Of blocks that share a region each needs its part of it, as long as it lives.
    """

    size: int
    first: int
    last: int
    place: Callable[[int], None]
    parts: tuple[_Part, ...] = ()
    alignment: int = WORD

    @property
    def used(self) -> tuple[_Part, ...]:
        """Its parts; one if it is used as a whole."""
        return self.parts or (_Part(0, self.size, self.first, self.last),)


def lives(layout: Layout) -> list[tuple[Block, int, int]]:
    """(block, first step, last step) of every block; an output lives to the end."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    blocks: dict[int, Block] = {}
    network = layout.network
    for tensor in network.inputs:
        if network.root(tensor) not in layout.streamed_inputs:
            block = layout.block(tensor)
            blocks[id(block)] = block
            first[id(block)] = last[id(block)] = -1
    for number, step in enumerate(layout.steps):
        for block in step.blocks:
            blocks[id(block)] = block
            first.setdefault(id(block), number)
            last[id(block)] = number
    done = layout.steps[-1].index + 1 if layout.steps else 0
    later = {network.root(i) for node in network.nodes[done:] for i in node.sources}
    later |= {network.root(tensor) for tensor in network.outputs}
    for tensor, block in layout.blocks.items():
        if tensor in later and id(block) in last:
            last[id(block)] = len(layout.steps)
    return [(block, first[key], last[key]) for key, block in blocks.items()]


def region_lives(layout: Layout) -> list[tuple[Group, int, int]]:
    """(blocks that share a region, first step, last step)."""
    return [
        (group, min(part.first for part in parts), max(part.last for part in parts))
        for group, parts in _regions(layout)
    ]


def _regions(layout: Layout) -> list[tuple[Group, tuple[_Part, ...]]]:
    """Blocks that share a region, and where each lies in it and when."""
    known = lives(layout)
    by_block = {id(block): (first, last) for block, first, last in known}
    result = []
    for group in group_blocks([block for block, _, _ in known], layout.overlays):
        begin = min(offset for _, offset in group.members)
        parts = tuple(
            _Part(offset - begin, block.size_bytes, *by_block[id(block)])
            for block, offset in group.members
        )
        result.append((group, parts))
    return result


def live_bytes(layout: Layout) -> list[int]:
    """Bytes of the regions that are alive at each step."""
    change = [0] * (len(layout.steps) + 3)
    for group, first, last in region_lives(layout):
        size = round_up(group.size_bytes, WORD)
        change[first + 1] += size
        change[last + 2] -= size
    total, result = 0, []
    for difference in change[:-1]:
        total += difference
        result.append(total)
    return result[1 : len(layout.steps) + 1]


def scratch_bytes(layout: Layout) -> int:
    """The scratch memory that the stages share; 0 if there are only convolutions."""
    stages = [step.stage for step in layout.steps if isinstance(step, Compute)]
    return max((stage.scratch_bytes for stage in stages), default=0)


def allocate(layout: Layout, inputs: list[InputStage]) -> Places:
    """Set the address of every block; returns the other places.

    Raises:
        Unsupported: It does not fit.
    """
    places = _single_convolution(layout, inputs) or _first_fit(layout, inputs)
    if places.used_bytes > NARROW_BYTES:
        raise Unsupported(
            f"the activations need {places.used_bytes} bytes of each tile's {NARROW_BYTES}"
        )
    return places


def _single_convolution(layout: Layout, inputs: list[InputStage]) -> Places | None:
    """Google's four cases for one convolution (tinycoral, docs/isa/codegen_conv2d.md)."""
    (step, *more) = layout.steps
    if more or len(inputs) != 1 or not isinstance(step, Compute) or scratch_bytes(layout):
        return None
    if not isinstance(step.node, Convolution) or not inputs:
        return None
    (stage,) = inputs
    source, output = step.sources[0], step.output
    read, made = source.size_bytes, output.size_bytes
    slots, constants = 2 * stage.slot_bytes, stage.constant_bytes
    if made >= slots + constants and made > read:
        at = {"output": 0, "slots": 0, "constants": slots, "source": made}
    elif 2 * read >= stage.slot_bytes:
        at = {"source": 0, "slots": read, "output": read, "constants": read + slots}
    elif made > slots or 4 * read < constants:
        first = max(made, slots + constants)
        at = {"output": 0, "slots": 0, "constants": slots, "source": first}
    else:
        at = {"output": 0, "slots": 0, "source": slots, "constants": slots + read}
    source.address, output.address = at["source"], at["output"]
    used = max(
        at["source"] + read,
        at["output"] + made,
        at["slots"] + slots,
        at["constants"] + constants,
    )
    return Places(used, {id(stage): Staging(at["slots"], at["constants"])})


def _first_fit(layout: Layout, inputs: list[InputStage]) -> Places:
    places = Places(0, {})
    slots: dict[int, int] = {}
    constants: dict[int, int] = {}
    items = [
        _Item(
            group.size_bytes,
            min(part.first for part in parts),
            max(part.last for part in parts),
            group.place,
            parts,
        )
        for group, parts in _regions(layout)
    ]
    stages = [(stage, -1) for stage in inputs]
    stages += [
        (step.stage, number)
        for number, step in enumerate(layout.steps)
        if isinstance(step, Receive)
    ]
    for stage, number in stages:
        keep = _keeper(slots, id(stage))
        items.append(_Item(2 * stage.slot_bytes, number, number, keep, alignment=_SLOT_ALIGNMENT))
        items.append(_Item(stage.constant_bytes, number, number, _keeper(constants, id(stage))))
    scratch: dict[int, int] = {}
    shared = scratch_bytes(layout)
    if shared:
        items.append(_Item(shared, -1, len(layout.steps), _keeper(scratch, 0)))
    places.used_bytes, found = _best_places(items)
    for item, address in found:
        item.place(address)
    places.staging = {key: Staging(slots[key], constants[key]) for key in slots}
    places.scratch = scratch.get(0, 0)
    return places


def _keeper(into: dict[int, int], key: int) -> Callable[[int], None]:
    def keep(address: int) -> None:
        into[key] = address

    return keep


def _best_places(items: list[_Item]) -> tuple[int, list[tuple[_Item, int]]]:
    """The first order that fits, else the one with the lowest top; the seed is fixed."""
    orders: list[Callable[[_Item], object]] = [
        lambda item: -item.size,
        lambda item: (-(item.last - item.first), -item.size),
        lambda item: -item.size * (item.last - item.first + 1),
        lambda item: (item.first, -item.size),
    ]
    generator = random.Random(1)  # noqa: S311 - a search, not a secret
    best: tuple[int, list[tuple[_Item, int]]] | None = None
    for trial in range(_TRIALS):
        if trial < len(orders):
            order = sorted(items, key=orders[trial])  # type: ignore[arg-type]
        else:
            order = sorted(items, key=lambda item: -item.size * generator.uniform(0.4, 1))
        found = _placed(order)
        top = max((address + item.size for item, address in found), default=0)
        if best is None or top < best[0]:
            best = top, found
        if top <= NARROW_BYTES:
            break
    return best or (0, [])


def _placed(order: list[_Item]) -> list[tuple[_Item, int]]:
    """Each item at the lowest place that is free while it lives."""
    found: list[tuple[_Item, int]] = []
    for item in order:
        address = 0
        for low, high in sorted(_taken(item, found)):
            if address <= low:
                break
            address = max(address, round_up(high, item.alignment))
        found.append((item, address))
    return found


def _taken(item: _Item, found: list[tuple[_Item, int]]) -> Iterator[tuple[int, int]]:
    """(the last address that is free below something, the first one behind it) of an item."""
    for other, start in found:
        if other.last < item.first or item.last < other.first:
            continue
        for theirs in other.used:
            for mine in item.used:
                if mine.lives_with(theirs):
                    place = start + theirs.offset - mine.offset
                    yield place - mine.size, place + theirs.size
