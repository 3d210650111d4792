# SPDX-License-Identifier: Apache-2.0
"""Which nodes run in slices: the cheapest plan whose activations fit into narrow memory.

A shortest path over the nodes in order: an edge is a node that runs whole, or a segment that runs
in slices. Its length is the steps of the op loops, of what slices compute twice too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from edgekit.chip.codegen.errors import TooLarge, Unsupported
from edgekit.chip.codegen.layout import Layout, whole_layout
from edgekit.chip.codegen.narrow import Places, allocate, live_bytes, scratch_bytes
from edgekit.chip.codegen.nodes import Network
from edgekit.chip.codegen.slices import (
    Job,
    Segment,
    job_steps,
    local_bytes,
    plan_segment,
    segment_steps,
    sliced_layout,
)
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.isa.memories import NARROW_BYTES

_LONGEST = 16  # nodes of a segment
_NUM_SLICES = (2, 3, 4, 6, 8, 12, 16, 24)
_SQUARES = ((8, 2), (12, 2), (8, 4), (16, 4))
_STREAM_STEPS = 20_000  # what it costs to bring an input in by slices, in steps
# Shares of narrow memory that the plan may fill; the first whose places are found is taken.
_LIMITS = (0.99, 0.95, 0.9, 0.84, 0.77, 0.7)


def plan_layout(network: Network) -> tuple[Layout, list[InputStage], Places]:
    """The layout of a network, its whole inputs, and all places in narrow memory.

    Raises:
        TooLarge: No plan fits.
        Unsupported: A node does not fit alone.
    """
    layout = whole_layout(network)
    live = live_bytes(layout)
    if max(live) <= NARROW_BYTES:
        try:
            inputs = _inputs(layout)
            return layout, inputs, allocate(layout, inputs)
        except Unsupported:
            pass
    planner = _Planner(network, layout)
    for limit in _LIMITS:
        segments = planner.segments(int(limit * NARROW_BYTES))
        if segments is None:
            continue
        sliced = sliced_layout(network, segments)
        try:
            inputs = _inputs(sliced)
            return sliced, inputs, allocate(sliced, inputs)
        except Unsupported:
            continue
    node = live.index(max(live)) if planner.blocked is None else planner.blocked
    raise TooLarge(
        f"the activations of a step need {max(live):,} bytes of each tile's {NARROW_BYTES:,}"
        + (", which leaves too few for buffers," if max(live) <= NARROW_BYTES else ",")
        + " and no way to compute them in slices fits",
        network,
        node,
    )


def _inputs(layout: Layout) -> list[InputStage]:
    network = layout.network
    return [
        InputStage(layout.block(tensor))
        for tensor in network.inputs
        if network.root(tensor) not in layout.streamed_inputs
    ]


@dataclass(frozen=True)
class _Edge:
    """From a node to the next whole one, or over a segment."""

    end: int
    steps: int
    segment: Segment | None


class _Planner:
    """Shortest paths for one network; what does not depend on the limit is kept."""

    def __init__(self, network: Network, whole: Layout) -> None:
        self._network = network
        self._sizes = {tensor: block.size_bytes for tensor, block in whole.blocks.items()}
        self._number = len(network.nodes)
        self._plans: dict[Segment, tuple[int, int] | None] = {}
        self.blocked: int | None = None  # the first node that no plan reaches the end of
        self._extra = scratch_bytes(whole)
        given = [network.root(tensor) for tensor in network.inputs]
        outputs = {network.root(tensor) for tensor in network.outputs}
        self._made = dict.fromkeys(given, -1)
        self._last = dict.fromkeys(given, -1)
        for index, node in enumerate(network.nodes):
            for tensor in (*node.sources, node.output):
                self._made.setdefault(network.root(tensor), index)
                self._last[network.root(tensor)] = index
        for tensor in outputs:
            self._last[tensor] = self._number
        self._staging = sum(2 * stage.slot_bytes + stage.constant_bytes for stage in _inputs(whole))

    def segments(self, limit: int) -> list[Segment] | None:
        """The segments of the cheapest plan; None if none fits."""
        best: list[tuple[int, int, Segment | None] | None] = [None] * (self._number + 1)
        best[0] = 0, -1, None
        for place in range(self._number):
            here = best[place]
            if here is None:
                continue
            for edge in self._edges(place, limit):
                steps = here[0] + edge.steps
                there = best[edge.end]
                if there is None or steps < there[0]:
                    best[edge.end] = steps, place, edge.segment
        if best[self._number] is None:
            if self.blocked is None:
                self.blocked = max(k for k, found in enumerate(best) if found is not None)
            return None
        segments, place = [], self._number
        while place > 0:
            _, previous, segment = best[place] or (0, 0, None)
            if segment is not None:
                segments.append(segment)
            place = previous
        return segments[::-1]

    def _held(self, first: int, end: int) -> int:
        """Bytes of the blocks that nodes first to end - 1 have to leave alone."""
        network = self._network
        used = {
            network.root(tensor)
            for node in network.nodes[first:end]
            for tensor in (*node.sources, node.output)
        }
        return self._extra + sum(
            size
            for tensor, size in self._sizes.items()
            if tensor not in used
            and self._made.get(tensor, end) < first
            and self._last.get(tensor, -1) >= end
        )

    def _whole_bytes(self, place: int) -> int:
        node = self._network.nodes[place]
        tensors = {self._network.root(i) for i in (*node.sources, node.output)}
        most = self._held(place, place + 1) + sum(self._sizes[tensor] for tensor in tensors)
        # Later nodes may read what is held, too.
        return most + (self._staging_beyond(most) if place == 0 else 0)

    def _staging_beyond(self, most: int) -> int:
        inputs = sum(self._sizes[self._network.root(i)] for i in set(self._network.inputs))
        return max(0, inputs + self._staging - most)

    def _edges(self, place: int, limit: int) -> Iterator[_Edge]:
        network = self._network
        fits = self._whole_bytes(place) <= limit
        if fits:
            node = network.nodes[place]
            height, width, _ = network.shapes[network.root(node.output)]
            part = [(0, -(-height // 4))], [(0, -(-width // 4))]
            yield _Edge(place + 1, job_steps(network, Job(place, node, *part)), None)
        tight = not fits
        for end in range(place + 1, min(self._number, place + _LONGEST) + 1):
            if end - 1 > place:
                tight = tight or self._whole_bytes(end - 1) > limit
            if not tight:
                continue
            for streamed in (False, True) if place == 0 else (False,):
                found = self._cheapest(place, end, limit, streamed=streamed)
                if found is not None:
                    yield found

    def _cheapest(self, first: int, end: int, limit: int, *, streamed: bool) -> _Edge | None:
        """The fewest slices that fit."""
        held = self._held(first, end)
        least = self._least(first, end, streamed=streamed)
        for rows, columns in (*((number, 1) for number in _NUM_SLICES), *_SQUARES):
            for grows in (False, True):
                if held + least[grows] > limit:
                    continue
                segment = Segment(first, end, rows, columns, streamed, grows)
                if segment not in self._plans:
                    self._plans[segment] = self._planned(segment)
                found = self._plans[segment]
                if found is not None and held + found[0] <= limit:
                    return _Edge(end, found[1] + _STREAM_STEPS * streamed, segment)
        return None

    def _least(self, first: int, end: int, *, streamed: bool) -> tuple[int, int]:
        """Bytes of a segment's inputs and results, side by side and over each other."""
        network = self._network
        nodes = network.nodes[first:end]
        made = {network.root(node.output) for node in nodes}
        read = {network.root(tensor) for node in nodes for tensor in node.sources} - made
        results = [self._sizes[tensor] for tensor in made if self._last[tensor] >= end]
        inputs = [] if streamed else [self._sizes[tensor] for tensor in read]
        together = sum(inputs) + sum(results)
        largest = max(inputs, default=0)
        return together, together - min(largest, max(results, default=0))

    def _planned(self, segment: Segment) -> tuple[int, int] | None:
        """(bytes of the segment's own blocks, steps); None if it cannot be sliced."""
        network = self._network
        try:
            plan = plan_segment(network, segment, sampled=True)
        except Unsupported:
            return None
        results = sum(self._sizes[tensor] for tensor in plan.frontier)
        inputs = {tensor: self._sizes[tensor] for tensor in plan.inputs}
        needed = results + sum(inputs.values())
        if plan.overlay is not None:
            source, result = (self._sizes[tensor] for tensor in plan.overlay)
            # Together they need the larger one and the rows of a slice of either.
            margin = (source + result) // segment.rows
            needed += max(source, result) + margin - source - result
        return needed + local_bytes(network, plan), segment_steps(network, plan)
