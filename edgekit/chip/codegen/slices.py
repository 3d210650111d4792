# SPDX-License-Identifier: Apache-2.0
"""Slices: parts of a network that run several times, each time for some rows of every tile.

Where the activations of a step do not fit into narrow memory, a *segment* of nodes runs in slices:
each tile computes a part of its own rows (and columns) of the segment's results, and everything
inside the segment that these need. What neighbouring slices both need is computed twice. A
segment's input is exchanged with the neighbours once, or comes from the host slice by slice. Its
result may grow over its input, whose rows are no longer needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import (
    Axis,
    Block,
    Counted,
    Range,
    Span,
    exchanged,
    held_by,
    joined,
    own_ranges,
    spans_of,
)
from edgekit.chip.codegen.layout import Compute, Exchange, Layout, Receive, make_stage
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.nodes import Network, Node
from edgekit.chip.codegen.overlays import Overlay
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.codegen.stages.stage import Placement

_INSTRUCTION_STEPS = 200  # what an instruction costs beside its loops
_SAMPLES = 3  # slices that an estimate looks at


@dataclass(frozen=True)
class Segment:
    """Nodes first to end - 1, in ``rows`` x ``columns`` slices of every tile's part."""

    first: int
    end: int
    rows: int
    columns: int = 1
    streamed: bool = False  # the network's input comes slice by slice
    grows: bool = False  # the result grows over the input


@dataclass
class Area:
    """What each tile row and column needs of a tensor."""

    rows: list[Range | None]
    columns: list[Range | None]

    def join(self, rows: Sequence[Range], columns: Sequence[Range]) -> None:
        """Grow."""
        self.rows = [joined(mine, other) for mine, other in zip(self.rows, rows)]
        self.columns = [joined(mine, other) for mine, other in zip(self.columns, columns)]


@dataclass
class Job:
    """A node in a slice: the outputs that each tile row and column makes."""

    index: int
    node: Node
    rows: list[Counted]
    columns: list[Counted]


@dataclass
class Slice:
    """The jobs of one slice in order, and what it needs of every tensor it makes or streams."""

    jobs: list[Job]
    areas: dict[int, Area]


@dataclass
class SegmentPlan:
    """A segment's slices before any block exists."""

    segment: Segment
    slices: list[Slice]
    inputs: dict[int, Area]  # exchanged once
    streamed: frozenset[int]
    frontier: frozenset[int]  # results that nodes behind the segment read
    paddings: dict[int, int]
    overlay: tuple[int, int] | None  # (input, result): the result may lie over the input


def plan_segment(
    network: Network, segment: Segment, *, upwards: bool = False, sampled: bool = False
) -> SegmentPlan:
    """What the slices of a segment compute.

    Args:
        network: The whole network.
        segment: The nodes and the number of slices.
        upwards: Whether the last rows come first.
        sampled: Only the first, the middle and the last slice, for an estimate.

    Raises:
        Unsupported: The segment cannot run in slices.
    """
    nodes = list(enumerate(network.nodes))[segment.first : segment.end]
    made = {network.root(node.output) for _, node in nodes}
    later = {network.root(i) for node in network.nodes[segment.end :] for i in node.sources}
    later |= {network.root(tensor) for tensor in network.outputs}
    frontier = made & later
    read = {network.root(i) for _, node in nodes for i in node.sources}
    if read & frontier:
        raise Unsupported("a result of a slice that is also read inside")
    others = (*network.nodes[: segment.first], *network.nodes[segment.end :])
    made_outside = {network.root(node.output) for node in others}
    if read & made & made_outside:
        raise Unsupported("a tensor of a slice of which other steps make a part")
    inputs = read - made
    given = {network.root(tensor) for tensor in network.inputs}
    streamed = {i for i in inputs if i in given and i not in later} if segment.streamed else set()
    if segment.streamed and not streamed:
        raise Unsupported("a slice that receives a part of an input, without an input")
    overlay = None
    consumed = sorted(i for i in inputs if i not in later)
    if segment.grows:
        if segment.columns > 1 or len(frontier) > 1 or not consumed or streamed:
            raise Unsupported("a result that cannot grow over its input")
        if frontier & made_outside:
            raise Unsupported("a result of which other steps make a part")
        largest = max(consumed, key=lambda tensor: _size(network.shapes[tensor]))
        overlay = largest, next(iter(frontier))
    parts = [(p, q) for p in range(segment.rows) for q in range(segment.columns)]
    if upwards:
        parts.reverse()
    if sampled and len(parts) > _SAMPLES:
        parts = [parts[0], parts[len(parts) // 2], parts[-1]]
    needed: dict[int, Area] = {}
    slices = [
        _slice(network, nodes, segment, part, (frontier, inputs - streamed, needed))
        for part in parts
    ]
    return SegmentPlan(
        segment,
        slices,
        needed,
        frozenset(streamed),
        frozenset(frontier),
        _paddings(network, nodes),
        overlay,
    )


def _size(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]


def _paddings(network: Network, nodes: Sequence[tuple[int, Node]]) -> dict[int, int]:
    """The value outside of the image of each tensor that is read with padding."""
    paddings: dict[int, int] = {}
    for _, node in nodes:
        if not node.pads:
            continue
        for tensor in node.sources:
            root = network.root(tensor)
            if paddings.setdefault(root, node.padding) != node.padding:
                raise Unsupported("two kinds of padding in a slice")
    return paddings


def _part(own: Sequence[Counted], number: int, of: int) -> list[Range | None]:
    return [
        (first + count * number // of, first + count * (number + 1) // of) for first, count in own
    ]


def _clipped(ranges: Sequence[Range | None], size: int) -> list[Counted]:
    """(first, number) of what lies inside the image."""
    result = []
    for each in ranges:
        first, end = each or (0, 0)
        if end <= first:
            result.append((first, 0))
        else:
            low = max(first, 0)
            result.append((low, max(0, min(end, size) - low)))
    return result


def _windows(outputs: Sequence[Counted], axis: Axis) -> list[Range]:
    """(first, end) of what each tile row or column reads."""
    ranges = []
    for first, number in outputs:
        place, made = axis.made(first, number)
        start = place * axis.stride - axis.pad
        end = start + (made - 1) * axis.stride + axis.reach
        ranges.append((start, end) if made else (0, 0))
    return ranges


def _most_made(node: Node, rows: Sequence[Counted], columns: Sequence[Counted]) -> int:
    """The most positions that a tile makes."""
    window = node.windows[0]
    height = max(window.rows.made(*each)[1] for each in rows)
    return height * max(window.columns.made(*each)[1] for each in columns)


def _slice(
    network: Network,
    nodes: Sequence[tuple[int, Node]],
    segment: Segment,
    part: tuple[int, int],
    tensors: tuple[set[int], set[int], dict[int, Area]],
) -> Slice:
    frontier, exchanged_inputs, needed = tensors
    areas: dict[int, Area] = {}
    for tensor in frontier:
        height, width, _ = network.shapes[tensor]
        areas[tensor] = Area(
            _part(own_ranges(height), part[0], segment.rows),
            _part(own_ranges(width), part[1], segment.columns),
        )
    jobs: list[Job] = []
    for index, node in reversed(nodes):
        output = network.root(node.output)
        if output not in areas:
            continue
        height, width, _ = network.shapes[output]
        rows = _clipped(areas[output].rows, height)
        columns = _clipped(areas[output].columns, width)
        if not _most_made(node, rows, columns):
            continue
        jobs.append(Job(index, node, rows, columns))
        for tensor, window in zip(node.sources, node.windows):
            root = network.root(tensor)
            read_rows = _windows(rows, window.rows)
            read_columns = _windows(columns, window.columns)
            target = needed if root in exchanged_inputs else areas
            if root not in target:
                target[root] = Area([None] * 4, [None] * 4)
            target[root].join(read_rows, read_columns)
    return Slice(jobs[::-1], areas)


def add_slices(layout: Layout, segment: Segment) -> None:
    """The steps of a segment."""
    network = layout.network
    plan = plan_segment(network, segment)
    if plan.overlay is not None:
        source, result = plan.overlay
        # In turns from either end, so that a chain of segments stays in its place.
        upwards = layout.grown.get(source) == "down"
        layout.grown[result] = "up" if upwards else "down"
        if upwards:
            plan = plan_segment(network, segment, upwards=True)
    layout.streamed_inputs |= plan.streamed
    for tensor, area in plan.inputs.items():
        block = layout.block(tensor)
        rows = _exchange_spans(block.own_rows, area.rows, block.height)
        columns = _exchange_spans(block.own_columns, area.columns, block.width)
        block.cover(held_by(rows), held_by(columns))
        padding = plan.paddings.get(tensor, 0)
        layout.steps.append(Exchange(block, rows, columns, padding, segment.first))
    if plan.overlay is not None:
        layout.overlays.append(
            _overlay(layout, plan, upwards=layout.grown[plan.overlay[1]] == "up")
        )
    for each in plan.slices:
        _add_slice(layout, plan, each)


def _exchange_spans(
    own: Sequence[Counted], needed: Sequence[Range | None], size: int
) -> list[Span]:
    spans = []
    for (first, number), area in zip(own, needed):
        low, high = area or (0, 0)
        spans.append(Span(first, number, 0, int(high > low), low, high - low))
    return exchanged(spans, size)


def _add_slice(layout: Layout, plan: SegmentPlan, each: Slice) -> None:
    network = layout.network
    local: dict[int, Block] = {}
    for tensor in sorted(plan.streamed & set(each.areas)):
        block = local[tensor] = _local_block(network, tensor, each.areas[tensor])
        rows = _clipped(block.rows, block.height)
        columns = _clipped(block.columns, block.width)
        stage = InputStage(block, rows, columns)
        layout.steps.append(Receive(stage, tensor, plan.segment.first))
    for job in each.jobs:
        output = network.root(job.node.output)
        if output not in plan.frontier and output not in local:
            local[output] = _local_block(network, output, each.areas[output])
    for job in each.jobs:
        sources = tuple(_block_of(layout, local, tensor) for tensor in job.node.sources)
        made = _block_of(layout, local, job.node.output)
        made_by = make_stage(job.node, Placement(sources, made, job.rows, job.columns))
        layout.steps.append(Compute(job.node, job.index, made_by, sources, made, whole=False))


def _block_of(layout: Layout, local: dict[int, Block], tensor: int) -> Block:
    return local.get(layout.network.root(tensor)) or layout.block(tensor)


def _local_block(network: Network, tensor: int, area: Area) -> Block:
    block = Block(network.shapes[tensor], local=True)
    block.rows, block.columns = list(area.rows), list(area.columns)
    return block


def _overlay(layout: Layout, plan: SegmentPlan, *, upwards: bool) -> Overlay:
    source, result = plan.overlay or (-1, -1)
    steps = []
    for each in plan.slices:
        read: list[Range | None] = [None] * 4
        for job in each.jobs:
            for tensor, window in zip(job.node.sources, job.node.windows):
                if layout.network.root(tensor) != source:
                    continue
                height = layout.network.shapes[source][0]
                spans = spans_of(job.rows, height, window.rows)
                read = [
                    joined(mine, (span.window, span.window_end)) if span.num_outputs else mine
                    for mine, span in zip(read, spans)
                ]
        steps.append((each.areas[result].rows, read))
    return Overlay(layout.block(source), layout.block(result), upwards, steps)


def sliced_layout(network: Network, segments: Sequence[Segment]) -> Layout:
    """The layout with ``segments`` in slices, in order, and everything else whole."""
    layout = Layout(network)
    streamed_first = bool(segments) and segments[0].streamed
    if not streamed_first:
        for tensor in network.inputs:
            layout.block(tensor)
    place = 0
    for segment in segments:
        for index in range(place, segment.first):
            layout.add_whole(index)
        add_slices(layout, segment)
        place = segment.end
    for index in range(place, len(network.nodes)):
        layout.add_whole(index)
    layout.settle()
    return layout


def local_bytes(network: Network, plan: SegmentPlan) -> int:
    """The most bytes of a tile that blocks inside a slice need at once."""
    return max(_slice_bytes(network, plan, each) for each in plan.slices)


def _slice_bytes(network: Network, plan: SegmentPlan, each: Slice) -> int:
    last: dict[int, int] = {}
    made: dict[int, int] = dict.fromkeys(plan.streamed, -1)
    for number, job in enumerate(each.jobs):
        for tensor in (*job.node.sources, job.node.output):
            root = network.root(tensor)
            if root in each.areas and root not in plan.frontier:
                made.setdefault(root, number)
                last[root] = number
    sizes = {tensor: _area_bytes(network, tensor, each.areas[tensor]) for tensor in last}
    most = 0
    for number in range(len(each.jobs)):
        alive = sum(s for t, s in sizes.items() if made[t] <= number <= last[t])
        most = max(most, alive)
    for tensor in plan.streamed & set(each.areas):
        block = _local_block(network, tensor, each.areas[tensor])
        stage = InputStage(block, [(0, 0)] * 4, [(0, 0)] * 4)
        most = max(most, sizes.get(tensor, 0) + 2 * stage.slot_bytes + stage.constant_bytes)
    return most


def _area_bytes(network: Network, tensor: int, area: Area) -> int:
    lengths = [
        max((each[1] - each[0] for each in ranges if each), default=0)
        for ranges in (area.rows, area.columns)
    ]
    return lengths[0] * lengths[1] * round_up(network.shapes[tensor][2], 4)


def segment_steps(network: Network, plan: SegmentPlan) -> int:
    """Steps of the busiest tile's op loops in a segment, roughly."""
    steps = [sum(job_steps(network, job) for job in each.jobs) for each in plan.slices]
    number = plan.segment.rows * plan.segment.columns
    if len(steps) == number:
        return sum(steps)
    first, middle, last = steps
    return first + last + middle * (number - 2)


def job_steps(network: Network, job: Job) -> int:
    """Steps of the busiest tile's op loops of a node, and what an instruction costs."""
    positions = _most_made(job.node, job.rows, job.columns)
    words = round_up(network.shapes[network.root(job.node.output)][2], 4) // 4
    return job.node.steps(positions, words) + _INSTRUCTION_STEPS
