# SPDX-License-Identifier: Apache-2.0
"""A network to a package: layout, places, parameters, instructions.

Each pass is a function of the one before; the emitter's counters are the only state.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Sequence

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.layout import Compute, Exchange, Layout, Receive
from edgekit.chip.codegen.memories import IDENTITY
from edgekit.chip.codegen.narrow import Places, scratch_bytes
from edgekit.chip.codegen.nodes import Network
from edgekit.chip.codegen.package import Content, make_package
from edgekit.chip.codegen.parameters import Parameters
from edgekit.chip.codegen.planner import plan_layout
from edgekit.chip.codegen.stages.halo import exchange_halo, fill_outside
from edgekit.chip.codegen.stages.identity import write_identity
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.codegen.stages.output import emit_output
from edgekit.chip.codegen.wide import share_wide_memory
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.formats.darwinn import Package
from edgekit.formats.tflite import Tensor


@dataclass(frozen=True)
class Program:
    """A finished program and the numbers that describe it."""

    package: Package
    layout: Layout
    parameters: Parameters
    used_narrow_bytes: int
    cache_left_bytes: int  # of wide memory, for parameters of other models
    costs: tuple[StepCost, ...]  # of the steps of ``layout``


@dataclass(frozen=True)
class StepCost:
    """What one step of the layout takes in the program."""

    cycles: int  # of the busiest tile's arithmetic
    num_words: int  # of instructions, 16 bytes each


def make_program(network: Network, tensors: dict[int, Tensor]) -> Program:
    """Compile ``network``; ``tensors`` are those of its inputs and outputs.

    Raises:
        Unsupported: It does not fit the chip, or needs something that is not implemented.
    """
    (program,) = make_programs([(network, tensors)])
    return program


def make_programs(
    sources: Sequence[tuple[Network, dict[int, Tensor]]], runtime: int = LATEST_RUNTIME
) -> tuple[Program, ...]:
    """Compile networks that share one chip: each keeps its parameters while the others run.

    The first one gets its place first; what does not fit is sent with every inference.

    Args:
        sources: Each network with the tensors of its inputs and outputs.
        runtime: The oldest version of the Edge TPU runtime that must run them.

    Raises:
        Unsupported: One does not fit the chip, or needs something that is not implemented.
    """
    if not all(network.nodes for network, _ in sources):
        raise Unsupported("there is nothing to compute")
    plans = [plan_layout(network) for network, _ in sources]
    parameters = share_wide_memory([(layout, inputs) for layout, inputs, _ in plans])
    cached = sum(len(each.cached_bytes) for each in parameters)
    left = min(each.room_bytes for each in parameters) - cached
    contents, costs = [], []
    for (_, tensors), (layout, inputs, places), each in zip(sources, plans, parameters):
        execution, cost = _execution(layout, inputs, places, tensors)
        contents.append(Content(layout, each, tensors, execution, places.used_bytes))
        costs.append(cost)
    token = _token(contents)
    return tuple(
        Program(
            make_package(content, token, runtime),
            content.layout,
            content.parameters,
            content.used_narrow_bytes,
            left,
            cost,
        )
        for content, cost in zip(contents, costs)
    )


def _token(contents: Sequence[Content]) -> int:
    """The name under which the runtime keeps the parameters of these programs on the chip.

    While it sees the same token, it does not send parameters again. So the token depends on all
    that decides what the chip's memory contains: also on the places, and on the instructions, whose
    buffers may lie where another program keeps its parameters.
    """
    digest = hashlib.sha256()
    for content in contents:
        for chunk in content.execution.chunks:
            digest.update(chunk.code)
        digest.update(repr(sorted(content.parameters.pieces.items())).encode())
        digest.update(content.parameters.cached_bytes)
    return int.from_bytes(digest.digest()[:8], "little") or 1


def _execution(
    layout: Layout,
    inputs: list[InputStage],
    places: Places,
    tensors: dict[int, Tensor],
) -> tuple[Emitter, tuple[StepCost, ...]]:
    """The program that runs for every inference, and what each step takes in it."""
    network = layout.network
    emitter = Emitter()
    emitter.begin()
    received = [i for i in network.inputs if network.root(i) not in layout.streamed_inputs]
    for tensor, stage in zip(received, inputs):
        at = places.staging[id(stage)]
        stage.emit(emitter, at.slots, at.constants, tensors[tensor].name)
    if scratch_bytes(layout):
        write_identity(emitter, places.scratch, IDENTITY)
        emitter.reset()
    costs = []
    was_whole = True
    for step in layout.steps:
        before, words = list(emitter.cycles), emitter.num_words
        is_whole = isinstance(step, Exchange) or (isinstance(step, Compute) and step.whole)
        if isinstance(step, Receive):
            emitter.reset()
            at = places.staging[id(step.stage)]
            name = next(tensors[i].name for i in network.inputs if network.root(i) == step.tensor)
            step.stage.emit(emitter, at.slots, at.constants, name)
            is_whole = was_whole
        elif is_whole and not was_whole:
            emitter.reset()
        was_whole = is_whole
        if isinstance(step, Exchange):
            exchange_halo(emitter, step.block, step.rows, step.columns, step.padding)
        elif isinstance(step, Compute):
            _compute(emitter, step, places)
        cycles = max(after - first for after, first in zip(emitter.cycles, before))
        costs.append(StepCost(cycles, emitter.num_words - words))
    emitter.finish()
    for number, tensor in enumerate(network.outputs):
        if number:
            emitter.reset()
        emitter.signal()
        emit_output(emitter, layout.block(tensor), tensors[tensor].name)
    emitter.restart_ring()
    emitter.end()
    return emitter, tuple(costs)


def _compute(emitter: Emitter, step: Compute, places: Places) -> None:
    padding = step.node.padding
    for block, (rows, columns) in zip(step.sources, step.stage.reads):
        if step.whole:
            exchange_halo(emitter, block, rows, columns, padding)
        elif block.local and step.node.pads:
            fill_outside(emitter, block, padding)
    emitter.finish()
    step.stage.emit(emitter, places.scratch)
    emitter.read_by_ops.update(id(block) for block in step.sources)
