# SPDX-License-Identifier: Apache-2.0
"""What a compiled program does when: steps, their cost, and narrow memory over time."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from edgekit.chip.codegen.layout import Compute, Exchange, Receive
from edgekit.chip.codegen.narrow import lives
from edgekit.chip.codegen.nodes import Convolution
from edgekit.chip.isa.memories import NARROW_BYTES
from edgekit.chip.isa.table import WORD_BYTES
from edgekit.result import Result

if TYPE_CHECKING:
    from edgekit.chip.codegen.layout import Step
    from edgekit.chip.codegen.nodes import Node
    from edgekit.formats.tflite import Model
    from edgekit.opencompiler.program import CompiledProgram

_MOST_ADVICE = 5
_LARGE_SHARE = 0.1  # of the cycles: below, a change of the step would not help
_OVERLAP = 1.15  # times the cycles without slices: beyond, slices cost much
# The picture.
_LEFT, _TOP, _HEIGHT, _STEP_WIDTH, _MOST_WIDTH = 70, 20, 420, 26, 1600
_GRIDS = tuple(1024 << k for k in range(6))  # bytes between two lines
_MOST_LINES, _LABEL_WIDTH = 6, 52
_COLOURS = ("#7fb2e5", "#f2b880", "#9ad29a", "#e59aa5", "#c3a8e0", "#d9d27a")


@dataclass(frozen=True)
class ScheduleStep(Result):
    """One step of the program."""

    kind: str  # compute, exchange, receive
    operator: str  # what is computed: Convolution, Elementwise, ...
    tensor: str  # that it makes or moves
    num_tiles: int  # that compute
    cycles: int  # of the busiest tile's arithmetic
    instruction_bytes: int
    streamed_bytes: int  # of parameters that the host sends
    sliced: bool  # whether it makes only a part of the tensor


@dataclass(frozen=True)
class MemoryRegion(Result):
    """A tensor, or a slice of it, in narrow memory."""

    tensor: str
    address: int  # in each tile, bytes
    size_bytes: int
    first_step: int  # -1: before the first, with the input
    last_step: int


@dataclass(frozen=True)
class Schedule(Result):
    """The steps of a program in order, the memory of a tile over them, and what would help."""

    schema: ClassVar[str] = "edgekit.schedule/1"
    steps: tuple[ScheduleStep, ...]
    memory: tuple[MemoryRegion, ...]
    narrow_bytes: int  # of a tile's narrow memory
    advice: tuple[str, ...]
    input_cycles: int = 0  # to bring the inputs to their places, before the first step

    @property
    def cycles(self) -> int:
        """The sum of all steps; the tiles work in step."""
        return sum(step.cycles for step in self.steps)


def schedule_of(made: CompiledProgram, model: Model) -> Schedule:
    """The schedule of a program that `compile_program` made of ``model``."""
    layout, parameters = made.program.layout, made.program.parameters
    names = _Names(made, model)
    steps = []
    for step, cost in zip(layout.steps, made.program.costs):
        streamed = isinstance(step, Compute) and step.index in parameters.streamed
        steps.append(
            ScheduleStep(
                kind=type(step).__name__.lower(),
                operator=_operator(step.node) if isinstance(step, Compute) else "",
                tensor=names.of_step(step),
                num_tiles=len(step.stage.tiles) if isinstance(step, Compute) else 16,
                cycles=cost.cycles,
                instruction_bytes=WORD_BYTES * cost.num_words,
                streamed_bytes=len(parameters.layers[step.index].data) if streamed else 0,
                sliced=isinstance(step, Receive) or (isinstance(step, Compute) and not step.whole),
            )
        )
    memory = [
        MemoryRegion(names.of_block(block), block.address, block.size_bytes, first, last)
        for block, first, last in lives(layout)
    ]
    before = made.predicted_cycles - sum(step.cycles for step in steps)
    advice = tuple(_advice(made, steps))
    return Schedule(tuple(steps), tuple(memory), NARROW_BYTES, advice, max(before, 0))


def _operator(node: Node) -> str:
    is_depthwise = isinstance(node, Convolution) and node.depthwise
    return "Depthwise convolution" if is_depthwise else type(node).__name__


class _Names:
    """Names of the model's tensors for blocks and steps."""

    def __init__(self, made: CompiledProgram, model: Model) -> None:
        self._network = made.part.network
        self._tensors = model.main.tensors
        self._blocks = {id(b): self._name(i) for i, b in made.program.layout.blocks.items()}
        for step in made.program.layout.steps:
            if isinstance(step, Compute):
                for tensor, block in zip(step.node.sources, step.sources):
                    self._blocks.setdefault(id(block), self._name(tensor))
                self._blocks.setdefault(id(step.output), self._name(step.node.output))

    def _name(self, tensor: int) -> str:
        if tensor < len(self._tensors):
            # TensorFlow joins the names of all that was fused into an operator.
            return self._tensors[tensor].name.split(";")[0]
        return f"intermediate {tensor}"  # a tensor that only the program has

    def of_block(self, block: object) -> str:
        return self._blocks.get(id(block), "")

    def of_step(self, step: Step) -> str:
        if isinstance(step, Compute):
            return self._name(step.node.output)
        if isinstance(step, Exchange):
            return self.of_block(step.block)
        return self._name(step.tensor)


def _advice(made: CompiledProgram, steps: list[ScheduleStep]) -> list[str]:
    """What slows the program down, and which change of the network would help."""
    total = sum(step.cycles for step in steps) or 1
    layout = made.program.layout
    advice = []
    streamed = sum(step.streamed_bytes for step in steps)
    if streamed:
        advice.append(
            f"{streamed:,} bytes of parameters are sent with every inference, because the chip's "
            "memory is full: fewer channels or --num-segments 2 would avoid this"
        )
    sliced = sum(step.cycles for step in steps if step.sliced)
    if sliced > _LARGE_SHARE * total:
        advice.append(
            f"{sliced / total:.0%} of the cycles run in slices, because activations do not fit "
            "into narrow memory; what neighbouring slices need is computed twice: a smaller input "
            "or an earlier stride would help"
        )
    idle: dict[str, int] = {}
    for step, cost in zip(layout.steps, steps):
        if isinstance(step, Compute) and cost.cycles > _LARGE_SHARE * total:
            reason = _slow_reason(step, cost)
            if reason:
                idle.setdefault(f"{cost.tensor}: {reason}", cost.cycles)
    worst = sorted(idle, key=lambda text: -idle[text])
    advice += [f"{idle[text] / total:.0%} of the cycles are {text}" for text in worst]
    return advice[:_MOST_ADVICE]


def _slow_reason(step: Compute, cost: ScheduleStep) -> str:
    node = step.node
    if cost.num_tiles < 8:
        return (
            f"computed on {cost.num_tiles} of 16 tiles, because the map is "
            f"{step.output.height}x{step.output.width}: a dense layer after a smaller vector, or "
            "fewer channels, would help"
        )
    if isinstance(node, Convolution) and not node.depthwise and node.weights.shape[3] % 4:
        channels = node.weights.shape[3]
        return (
            f"a convolution of {channels} channels, which takes as long as one of "
            f"{-(-channels // 4) * 4}: a space-to-depth layer in front would use the lanes"
        )
    if isinstance(node, Convolution) and node.depthwise:
        return (
            "a depthwise convolution, which keeps 4 of a tile's 256 multipliers busy: fewer "
            "channels, a smaller window, or a plain convolution in its place would help"
        )
    return ""


def render_html(schedule: Schedule, title: str) -> str:
    """One offline page: the memory of a tile over the steps as a picture, and the steps."""
    total = schedule.cycles or 1
    rows = "\n".join(
        f"<tr><td>{number}</td><td>{step.kind}</td><td>{step.operator}</td>"
        f"<td>{html.escape(step.tensor)}</td><td>{step.num_tiles}</td><td>{step.cycles:,}</td>"
        f"<td>{step.cycles / total:.1%}</td>"
        f"<td>{step.instruction_bytes:,}</td><td>{step.streamed_bytes:,}</td></tr>"
        for number, step in enumerate(schedule.steps)
    )
    advice = "".join(f"<li>{html.escape(each)}</li>" for each in schedule.advice)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title><style>
body {{ font: 15px/1.5 sans-serif; margin: 2em; max-width: 100em; }}
table {{ border-collapse: collapse; }} td, th {{ padding: 2px 10px; text-align: right; }}
td:nth-child(-n+4), th:nth-child(-n+4) {{ text-align: left; }}
tr:nth-child(even) {{ background: #f3f3f3; }} svg {{ background: #fafafa; }}
</style></head><body>
<h1>{html.escape(title)}</h1>
<p>{len(schedule.steps)} steps, {schedule.cycles:,} cycles of the busiest tile's arithmetic, and
{schedule.input_cycles:,} before them to bring the inputs to their places. Computed from the
program; not measured on a chip.</p>
<h2>What would help</h2><ul>{advice or "<li>nothing stands out</li>"}</ul>
<h2>Narrow memory of a tile</h2>
<p>From left to right the steps, from bottom to top the addresses that the program uses, of
{schedule.narrow_bytes:,} bytes. A box is a tensor while it is needed; point at it for its name.</p>
{_picture(schedule)}
<h2>Steps</h2>
<table><tr><th>step</th><th>kind</th><th>operator</th><th>tensor</th><th>tiles</th><th>cycles</th>
<th>share</th><th>instruction bytes</th><th>streamed bytes</th></tr>
{rows}
</table></body></html>
"""


def _picture(schedule: Schedule) -> str:
    number = len(schedule.steps) + 1  # the input comes before the first step
    width = min(_STEP_WIDTH, _MOST_WIDTH / number)
    used = max((region.address + region.size_bytes for region in schedule.memory), default=1)
    grid = next(size for size in _GRIDS if size * _MOST_LINES >= used)
    top = grid * -(-used // grid)

    def y(address: int) -> float:
        return _TOP + _HEIGHT * (1 - address / top)

    boxes = []
    for index, region in enumerate(schedule.memory):
        last = min(region.last_step, number - 2)
        left = _LEFT + width * (region.first_step + 1)
        name = html.escape(region.tensor)
        size = f"{region.size_bytes:,} bytes at {region.address:,}"
        boxes.append(
            f'<rect x="{left:.1f}" y="{y(region.address + region.size_bytes):.1f}" '
            f'width="{width * (last - region.first_step + 1):.1f}" '
            f'height="{_HEIGHT * region.size_bytes / top:.1f}" '
            f'fill="{_COLOURS[index % len(_COLOURS)]}" stroke="#555" stroke-width="0.5">'
            f"<title>{name}: {size}</title></rect>"
        )
    lines = [
        f'<text x="4" y="{y(address) + 4:.1f}" font-size="11">{address // 1024} KiB</text>'
        f'<line x1="{_LEFT}" x2="{_LEFT + width * number:.1f}" y1="{y(address):.1f}" '
        f'y2="{y(address):.1f}" stroke="#bbb" stroke-dasharray="3"/>'
        for address in range(0, top + 1, grid)
    ]
    lines += [
        f'<text x="{_LEFT + width * (step + 1):.1f}" y="{_TOP + _HEIGHT + 14}" font-size="11">'
        f"{step}</text>"
        for step in range(0, number - 1, max(1, round(_LABEL_WIDTH / width)))
    ]
    size = f'width="{_LEFT + width * number + 20:.0f}" height="{_HEIGHT + 2 * _TOP}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(lines)}{"".join(boxes)}</svg>'
