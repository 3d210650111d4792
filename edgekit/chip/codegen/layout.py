# SPDX-License-Identifier: Apache-2.0
"""Nodes on blocks: which block each tensor has, which outputs each step makes.

Without slices every tensor has one whole block and every node is one step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Union

from edgekit.chip.codegen.geometry import Block, Span, held_by
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.nodes import (
    Addition,
    Convolution,
    Elementwise,
    Extreme,
    Flatten,
    L2Normalization,
    Network,
    Node,
    Permute,
    Pool,
    Product,
    Softmax,
)
from edgekit.chip.codegen.overlays import Overlay
from edgekit.chip.codegen.stages.addition import AdditionStage
from edgekit.chip.codegen.stages.convolution import ConvolutionStage
from edgekit.chip.codegen.stages.elementwise import ElementwiseStage
from edgekit.chip.codegen.stages.extreme import ExtremeStage
from edgekit.chip.codegen.stages.flatten import FlattenStage
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.codegen.stages.l2_normalization import L2NormalizationStage
from edgekit.chip.codegen.stages.output import HOST_BYTES, own_bytes
from edgekit.chip.codegen.stages.permute import PermuteStage
from edgekit.chip.codegen.stages.pool import PoolStage
from edgekit.chip.codegen.stages.product import ProductStage
from edgekit.chip.codegen.stages.softmax import SoftmaxStage
from edgekit.chip.codegen.stages.spread import SpreadStage, is_spread
from edgekit.chip.codegen.stages.stage import Placement, Stage

_STAGES: dict[type[Node], Callable[..., Stage]] = {
    Addition: AdditionStage,
    Convolution: ConvolutionStage,
    Elementwise: ElementwiseStage,
    Extreme: ExtremeStage,
    Flatten: FlattenStage,
    L2Normalization: L2NormalizationStage,
    Permute: PermuteStage,
    Pool: PoolStage,
    Product: ProductStage,
    Softmax: SoftmaxStage,
}


@dataclass
class Compute:
    """A node, for the outputs in ``stage.rows`` x ``stage.columns``."""

    node: Node
    index: int  # of the node in the network
    stage: Stage
    sources: tuple[Block, ...]
    output: Block
    whole: bool = True  # all of its outputs, with an exchange of halos before it

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that are alive during the step."""
        return (*self.sources, self.output)


@dataclass
class Exchange:
    """The halo exchange of what a slice reads, once for all slices."""

    block: Block
    rows: list[Span]
    columns: list[Span]
    padding: int
    index: int

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that are alive during the step."""
        return (self.block,)


@dataclass
class Receive:
    """A slice of an input, with its halos, from the host."""

    stage: InputStage
    tensor: int
    index: int

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that are alive during the step."""
        return (self.stage.block,)


Step = Union[Compute, Exchange, Receive]


@dataclass
class Layout:
    """The blocks and steps of a program."""

    network: Network
    blocks: dict[int, Block] = field(default_factory=dict)  # by tensor, aliases resolved
    steps: list[Step] = field(default_factory=list)
    streamed_inputs: frozenset[int] = frozenset()  # received slice by slice
    overlays: list[Overlay] = field(default_factory=list)
    grown: dict[int, str] = field(default_factory=dict)  # tensor -> "up" or "down", see `slices`

    def block(self, tensor: int) -> Block:
        """The whole block of a tensor."""
        root = self.network.root(tensor)
        if root not in self.blocks:
            self.blocks[root] = Block(self.network.shapes[root])
        return self.blocks[root]

    def add_whole(self, index: int) -> None:
        """A step that makes all outputs of node ``index``."""
        node = self.network.nodes[index]
        sources = tuple(self.block(tensor) for tensor in node.sources)
        output = self.block(node.output)
        at = Placement(sources, output, output.own_rows, output.own_columns)
        stage = make_stage(node, at)
        self.steps.append(Compute(node, index, stage, sources, output))

    def settle(self) -> None:
        """Grow blocks until consumers find their windows, and make operands of additions alike."""
        for tensor in self.network.outputs:
            block = self.block(tensor)
            sizes = [own_bytes(block)[tile] for tile in block.own_tiles()[:-1]]
            if any(size % HOST_BYTES for size in sizes):
                block.position_bytes = round_up(block.position_bytes, HOST_BYTES)
        for step in self.steps:
            if isinstance(step, Compute):
                for block in (step.stage.source, step.stage.output):
                    block.position_bytes = max(block.position_bytes, step.stage.least_bytes)
            if isinstance(step, Compute) and step.whole:
                for block, (rows, columns) in zip(step.sources, step.stage.reads):
                    block.cover(held_by(rows), held_by(columns))
        pairs = [
            step.sources
            for step in self.steps
            if isinstance(step, Compute) and step.stage.sources_lie_alike
        ]
        changed = True
        while changed:
            changed = any(_make_alike(first, second) for first, second in pairs)


def _make_alike(first: Block, second: Block) -> bool:
    """Give both the same step from row to row; blocks of a slice keep to their rows."""
    before = [(list(b.rows), list(b.columns), b.position_bytes) for b in (first, second)]
    whole = not (first.local or second.local)
    first.cover(second.rows if whole else first.rows, second.columns)
    second.cover(first.rows if whole else second.rows, first.columns)
    first.position_bytes = second.position_bytes = max(first.position_bytes, second.position_bytes)
    return before != [(list(b.rows), list(b.columns), b.position_bytes) for b in (first, second)]


def make_stage(node: Node, at: Placement) -> Stage:
    """The stage of a node."""
    if isinstance(node, Convolution) and is_spread(node, at.sources, at.output):
        return SpreadStage(node, at)
    return _STAGES[type(node)](node, at)


def whole_layout(network: Network) -> Layout:
    """Every node in one step."""
    layout = Layout(network)
    for tensor in network.inputs:
        layout.block(tensor)
    for index in range(len(network.nodes)):
        layout.add_whole(index)
    layout.settle()
    return layout
