# SPDX-License-Identifier: Apache-2.0
"""A network to a package: layout, places, parameters, instructions.

Each pass is a function of the one before; the emitter's counters are the only state.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from edgekit.chip.arithmetic.scales import scale_of, zero_point_of
from edgekit.chip.codegen.emitter import PARAMETER_TAG, Chunk, Emitter, Transfer
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import Block
from edgekit.chip.codegen.layout import Compute, Exchange, Layout, Receive
from edgekit.chip.codegen.memories import IDENTITY, SHARED_UNITS, TOP
from edgekit.chip.codegen.narrow import Places, scratch_bytes
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.nodes import Network, Shape
from edgekit.chip.codegen.parameters import Parameters, layer_parameters, place_parameters
from edgekit.chip.codegen.planner import plan_layout
from edgekit.chip.codegen.stages.convolution import ConvolutionStage
from edgekit.chip.codegen.stages.fields import dma_nest, stream_nest
from edgekit.chip.codegen.stages.halo import exchange_halo, fill_outside
from edgekit.chip.codegen.stages.identity import write_identity
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.codegen.stages.output import (
    HOST_BYTES,
    emit_output,
    output_layout,
    own_bytes,
)
from edgekit.chip.codegen.stages.spread import SpreadStage
from edgekit.chip.isa.memories import NUM_TILES, ROW_BYTES, ROW_UNITS
from edgekit.formats.darwinn import (
    DataType,
    Description,
    Direction,
    DmaDescriptorHint,
    DmaHint,
    Executable,
    ExecutableType,
    FieldOffset,
    InstructionBitstream,
    InstructionHint,
    InterruptHint,
    Layer,
    Meta,
    Package,
    Position,
)
from edgekit.formats.tflite import Tensor

MIN_RUNTIME_VERSION = 14  # of compiler 16, whose forms of instructions are used
_CHIP = "beagle"  # libedgetpu's name of the Edge TPU
_DATA_TYPES = {"UINT8": DataType.FIXED_POINT8, "INT8": DataType.SIGNED_FIXED_POINT8}
_UNIT_BYTES = 64  # of wide memory's addresses and of a parameter stream
_PARAMETER_BUFFER = 1 << 10  # units


@dataclass(frozen=True)
class Program:
    """What has been made, with what one wants to know of it."""

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
    if not network.nodes:
        raise Unsupported("there is nothing to compute")
    layout, inputs, places = plan_layout(network)
    parameters = _parameters(layout, inputs)
    execution, costs = _execution(layout, inputs, places, tensors)
    package = _package(layout, places, parameters, tensors, execution)
    left = parameters.room_bytes - len(parameters.cached_bytes)
    return Program(package, layout, parameters, places.used_bytes, left, costs)


def _convolutions(layout: Layout) -> dict[int, list[ConvolutionStage]]:
    """The stages of every convolution by node; several if it runs in slices."""
    stages: dict[int, list[ConvolutionStage]] = {}
    for step in layout.steps:
        if isinstance(step, Compute) and isinstance(step.stage, ConvolutionStage):
            stages.setdefault(step.index, []).append(step.stage)
    return dict(sorted(stages.items()))


def _parameters(layout: Layout, inputs: list[InputStage]) -> Parameters:
    """Wide memory: buffers at the top, cached parameters below."""
    convolutions = _convolutions(layout)
    while True:
        parameters = _placed_parameters(layout, inputs, convolutions)
        streamed = set(parameters.streamed)
        spread = _spread_stages(convolutions)
        # Where parameters are scarce, a dense layer runs on one tile, which need not cache it.
        if not streamed or not spread:
            return parameters
        for index in spread.keys() & streamed or spread.keys():
            for stage in spread[index]:
                stage.use_one_tile()


def _spread_stages(
    convolutions: dict[int, list[ConvolutionStage]],
) -> dict[int, list[SpreadStage]]:
    found: dict[int, list[SpreadStage]] = {}
    for index, stages in convolutions.items():
        for stage in stages:
            if isinstance(stage, SpreadStage) and stage.spread:
                found.setdefault(index, []).append(stage)
    return found


def _placed_parameters(
    layout: Layout, inputs: list[InputStage], convolutions: dict[int, list[ConvolutionStage]]
) -> Parameters:
    shared = scratch_bytes(layout) > 0
    for stages in convolutions.values():
        position_outer, chunk = max(stage.order for stage in stages)
        for stage in stages:
            stage.set_order(position_outer=position_outer, chunk=chunk)
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
    first = {index: stages[0] for index, stages in convolutions.items()}
    layers = {index: layer_parameters(stage) for index, stage in first.items()}
    limit = min(bottoms) // ROW_UNITS
    pieces = place_parameters(first, limit)
    depthwise = frozenset(index for index, stage in first.items() if stage.node.depthwise)
    parameters = Parameters(layers, pieces, depthwise, limit * ROW_BYTES * NUM_TILES)
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
    step.stage.emit(emitter, places.scratch)


def _caching(parameters: Parameters) -> Emitter:
    """The program that fills the parameter cache, once."""
    emitter = Emitter()
    emitter.begin(caching=True)
    for register, source in ((3, 1), (2, 0), (4, 3), (5, 2)):
        emitter.move(register, source)
    size = len(parameters.cached_bytes)
    emitter.push_descriptor(4, 5, size, PARAMETER_TAG, spare=6)
    emitter.transfers.append(
        Transfer(Direction.INFEED, Description.BASE_ADDRESS_PARAMETER, "", 0, size)
    )
    units = size // _UNIT_BYTES
    emitter.put(
        "pop",
        k121=1,
        k124=1,
        parameters=1,
        k174=1,
        k177=1,
        k178=1,
        k183=int(units % 2 == 0 or units >= 2048),
        rows_neg=-min(units // 2, 1024) % (1 << 15),
        k199=1,
        k215=1,
        **stream_nest(units, _PARAMETER_BUFFER, 16),
    )
    offset = 0
    for index, layer in parameters.layers.items():
        pieces = parameters.pieces.get(index)
        if pieces is None:
            continue
        for piece in pieces:
            emitter.put(
                "ring.recv0",
                tiles=1 << piece.tile,
                addr=ROW_UNITS * piece.row + 2,
                levels=1,
                **dma_nest([(1, piece.num_rows)]),
            )
        row_bytes = _UNIT_BYTES * layer.lanes
        for piece in pieces:
            part = piece.num_rows * row_bytes
            if index in parameters.depthwise:
                part = min(part, round_up(len(layer.data), _UNIT_BYTES))
            _parameter_infeed(
                emitter, offset // _UNIT_BYTES, part // _UNIT_BYTES, piece.tile, layer.lanes
            )
            offset += part
    if offset != size:
        raise Unsupported(f"{size} bytes of parameters, of which {offset} have a place")
    emitter.end(caching=True)
    return emitter


def _parameter_infeed(emitter: Emitter, offset: int, units: int, tile: int, lanes: int) -> None:
    emitter.put(
        "infeed",
        offset=offset % 2048,
        k157=1,
        k160=1,
        parameters=1,
        k311=1,
        k314=1,
        pop_wait=(offset + 1) % (1 << 16),
        k336=1,
        k352=1,
        k392=1,
        tiles=1 << tile,
        row=15,
        lanes=lanes - 1,
        **stream_nest(units, _PARAMETER_BUFFER, 21),
    )


# The package.


def _package(
    layout: Layout,
    places: Places,
    parameters: Parameters,
    tensors: dict[int, Tensor],
    execution: Emitter,
) -> Package:
    network = layout.network
    cached = parameters.cached_bytes
    # Equal parameters at equal places may share the cache.
    token = zlib.crc32(cached) << 20 | len(cached) << 8 & 0xFFFFF | 1 if cached else 0
    input_layers = tuple(
        _input_layer(tensors[tensor], network.shapes[network.root(tensor)])
        for tensor in network.inputs
    )
    output_layers = tuple(
        _output_layer(tensors[tensor], layout.block(tensor)) for tensor in network.outputs
    )
    executables = [
        _executable(
            ExecutableType.EXECUTION_ONLY if cached else ExecutableType.STAND_ALONE,
            execution,
            parameters.streamed_bytes,
            token,
            name="model",
            layers=(input_layers, output_layers),
            used_narrow_bytes=places.used_bytes,
        )
    ]
    if cached:
        caching = _caching(parameters)
        executables.append(
            _executable(ExecutableType.PARAMETER_CACHING, caching, cached, token, name="Unknown")
        )
    return Package(MIN_RUNTIME_VERSION, tuple(executables), compiler_version="edgekit")


def _input_layer(tensor: Tensor, shape: Shape) -> Layer:
    return _layer(tensor, shape, InputStage(Block(shape)).size_bytes)


def _layer(tensor: Tensor, shape: Shape, size_bytes: int) -> Layer:
    return Layer(
        name=tensor.name,
        size_bytes=size_bytes,
        y_dim=shape[0],
        x_dim=shape[1],
        z_dim=shape[2],
        zero_point=zero_point_of(tensor),
        dequantization_factor=float(scale_of(tensor)),
        data_type=_DATA_TYPES[tensor.dtype],
    )


def _output_layer(tensor: Tensor, block: Block) -> Layer:
    size = sum(round_up(part, HOST_BYTES) for part in own_bytes(block))
    plain = _layer(tensor, (block.height, block.width, block.channels), size)
    shape = tuple((0, each - 1) for each in tensor.shape)
    return Layer(**{**plain.__dict__, "shape": shape, "layout": output_layout(block)})


def _executable(
    kind: ExecutableType,
    emitter: Emitter,
    parameters: bytes,
    token: int,
    *,
    name: str,
    layers: tuple[tuple[Layer, ...], tuple[Layer, ...]] = ((), ()),
    used_narrow_bytes: int = 0,
) -> Executable:
    chunks = [
        DmaHint(InstructionHint(number), Direction.INFEED) for number in range(len(emitter.chunks))
    ]
    transfers = [_transfer_hint(each) for each in emitter.transfers]
    interrupt = DmaHint(InterruptHint(0), Direction.OUTFEED)
    return Executable(
        type=kind,
        instruction_bitstreams=tuple(_bitstream(chunk) for chunk in emitter.chunks),
        parameters=np.frombuffer(parameters, np.uint8),
        dma_hints=(*chunks, *transfers, interrupt),
        input_layers=layers[0],
        output_layers=layers[1],
        parameter_caching_token=token,
        used_narrow_memory_bytes_per_tile=used_narrow_bytes,
        name=name,
        chip=_CHIP,
        fully_deterministic=True,
    )


def _transfer_hint(transfer: Transfer) -> DmaHint:
    meta = Meta(transfer.description, 0, transfer.name, Position.LOWER_32BIT)
    hint = DmaDescriptorHint(meta, transfer.offset_bytes, transfer.size_bytes)
    return DmaHint(hint, transfer.direction)


def _bitstream(chunk: Chunk) -> InstructionBitstream:
    offsets = tuple(
        FieldOffset(Meta(each.description, 0, each.name, each.position), each.offset_bit)
        for each in chunk.relocations
    )
    return InstructionBitstream(np.frombuffer(chunk.code, np.uint8), offsets)
