# SPDX-License-Identifier: Apache-2.0
"""Wide memory: buffers of the stages at the top, parameters that stay on the chip below.

Programs that share a chip have separate parameters. Their buffers may lie over each other, but
never over the parameters of any of them.
"""

from __future__ import annotations

from typing import Dict, List, Sequence

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.layout import Compute, Layout, Receive
from edgekit.chip.codegen.memories import SHARED_UNITS, TOP
from edgekit.chip.codegen.narrow import scratch_bytes
from edgekit.chip.codegen.nests import divide_up
from edgekit.chip.codegen.parameters import (
    TILE_ORDER,
    Parameters,
    layer_parameters,
    place_parameters,
)
from edgekit.chip.codegen.stages.convolution import ConvolutionStage, Order
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.codegen.stages.spread import SpreadStage
from edgekit.chip.isa.memories import NUM_TILES, ROW_BYTES, ROW_UNITS

_MOST_BELOW_TOP = TOP * 3 // 4  # the lowest unit of buffers, for an order that is not Google's
_UNIT_BYTES = 64  # of wide memory's addresses
Convolutions = Dict[int, List[ConvolutionStage]]  # by node; several stages if it runs in slices


def share_wide_memory(plans: Sequence[tuple[Layout, Sequence[InputStage]]]) -> list[Parameters]:
    """Give the stages of all programs their buffers and parameters; the first one goes first.

    Raises:
        Unsupported: The buffers of a layer, or depthwise weights, do not fit.
    """
    convolutions = [_convolutions(layout) for layout, _ in plans]
    while True:
        limit = min(
            _place_buffers(layout, inputs, each)
            for (layout, inputs), each in zip(plans, convolutions)
        )
        placed = _place_all(convolutions, limit)
        if placed is not None:
            return placed


def _convolutions(layout: Layout) -> Convolutions:
    stages: Convolutions = {}
    for step in layout.steps:
        if isinstance(step, Compute) and isinstance(step.stage, ConvolutionStage):
            stages.setdefault(step.index, []).append(step.stage)
    return dict(sorted(stages.items()))


def _place_buffers(layout: Layout, inputs: Sequence[InputStage], convolutions: Convolutions) -> int:
    """Place the buffers of a program's stages; returns the number of rows below them."""
    shared = scratch_bytes(layout) > 0
    for stages in convolutions.values():
        _choose_order(stages)
    bottoms = [TOP - SHARED_UNITS if shared else TOP]
    bottoms += [stage.bottom for stage in inputs]
    for step in layout.steps:
        if isinstance(step, Compute):
            if isinstance(step.stage, ConvolutionStage):
                step.stage.place(shared=shared)
            bottoms.append(step.stage.bottom)
        elif isinstance(step, Receive):
            bottoms.append(step.stage.bottom)
    if min(bottoms) < 0:
        raise Unsupported(
            f"the buffers of a layer need {(TOP - min(bottoms)) * _UNIT_BYTES:,} bytes of wide "
            f"memory, a tile has {TOP * _UNIT_BYTES:,}"
        )
    return min(bottoms) // ROW_UNITS


def _choose_order(stages: Sequence[ConvolutionStage]) -> None:
    """Give the slices of a layer one order: Google's, or another one if only that is seen."""
    usual = max(stage.order for stage in stages)
    _set_order(stages, usual)
    if all(stage.is_seen() for stage in stages):
        return
    limit = min(_MOST_BELOW_TOP, *(stage.bottom for stage in stages))
    for order in stages[0].other_orders():
        _set_order(stages, order)
        if all(stage.is_seen() and stage.bottom >= limit for stage in stages):
            return
    _set_order(stages, usual)


def _set_order(stages: Sequence[ConvolutionStage], order: Order) -> None:
    for stage in stages:
        stage.set_order(order)


def _place_all(programs: Sequence[Convolutions], limit: int) -> list[Parameters] | None:
    """Place the parameters below row ``limit``; None if a stage had to be changed for it."""
    used = dict.fromkeys(TILE_ORDER, 0)
    placed = []
    for number, convolutions in enumerate(programs):
        free = max(0, limit - _kept_rows(programs[number + 1 :]))
        parameters = _place_parameters(convolutions, free, used)
        parameters.room_bytes = limit * ROW_BYTES * NUM_TILES
        streamed = set(parameters.streamed)
        spread = _spread_stages(convolutions)
        if streamed and spread:
            # Where parameters are scarce, a dense layer runs on one tile: it need not be cached.
            for index in spread.keys() & streamed or spread.keys():
                for stage in spread[index]:
                    stage.use_one_tile()
            return None
        for piece in (piece for pieces in parameters.pieces.values() for piece in pieces):
            used[piece.tile] = max(used[piece.tile], piece.row + piece.num_rows)
        placed.append(parameters)
    return placed


def _kept_rows(later: Sequence[Convolutions]) -> int:
    """Rows of every tile that are kept for depthwise weights of later programs.

    These have to be on the chip. With so many rows in every tile, the emptiest tile always takes
    the next layer.
    """
    rows = [
        stages[0].parameter_rows
        for convolutions in later
        for stages in convolutions.values()
        if stages[0].node.depthwise
    ]
    return divide_up(sum(rows), NUM_TILES) + max(rows, default=0)


def _place_parameters(convolutions: Convolutions, limit: int, used: dict[int, int]) -> Parameters:
    """The parameters of one program, in the rows from ``used`` of each tile to ``limit``."""
    first = {index: stages[0] for index, stages in convolutions.items()}
    layers = {index: layer_parameters(stage) for index, stage in first.items()}
    reads = {index: len(stages) for index, stages in convolutions.items()}
    pieces = place_parameters(first, limit, dict(used), reads)
    depthwise = frozenset(index for index, stage in first.items() if stage.node.depthwise)
    parameters = Parameters(layers, pieces, depthwise)
    for index, stages in convolutions.items():
        for stage in stages:
            stage.pieces = pieces.get(index)
    offset = 0
    for index in parameters.streamed:
        layer = layers[index]
        for stage in convolutions[index]:
            stage.stream = offset, len(layer.data), layer.lanes
        offset += len(layer.data)
    return parameters


def _spread_stages(convolutions: Convolutions) -> dict[int, list[SpreadStage]]:
    found: dict[int, list[SpreadStage]] = {}
    for index, stages in convolutions.items():
        for stage in stages:
            if isinstance(stage, SpreadStage) and stage.spread:
                found.setdefault(index, []).append(stage)
    return found
