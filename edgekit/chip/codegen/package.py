# SPDX-License-Identifier: Apache-2.0
"""Instructions, parameters and layers to a package, as libedgetpu reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.chip.arithmetic.scales import scale_of, zero_point_of
from edgekit.chip.codegen.caching import caching_program
from edgekit.chip.codegen.emitter import Chunk, Emitter, Transfer
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import Block
from edgekit.chip.codegen.layout import Layout
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.nodes import Shape
from edgekit.chip.codegen.parameters import Parameters
from edgekit.chip.codegen.stages.input import InputStage
from edgekit.chip.codegen.stages.output import HOST_BYTES, output_layout, own_bytes
from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.formats.darwinn import (
    DataType,
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

INT8_SINCE = 12  # libedgetpu, api/runtime_version.h: older ones take uint8 only
_CHIP = "beagle"  # libedgetpu's name of the Edge TPU
_DATA_TYPES = {"UINT8": DataType.FIXED_POINT8, "INT8": DataType.SIGNED_FIXED_POINT8}


@dataclass(frozen=True)
class Content:
    """What a package is made of."""

    layout: Layout
    parameters: Parameters
    tensors: dict[int, Tensor]  # the network's inputs and outputs
    execution: Emitter
    used_narrow_bytes: int  # of a tile


def make_package(content: Content, token: int, runtime: int = LATEST_RUNTIME) -> Package:
    """Return the program, and the one that caches its parameters under ``token`` if it has any.

    Raises:
        Unsupported: The runtime version ``runtime`` does not take the types of its ends.
    """
    layout, parameters, tensors = content.layout, content.parameters, content.tensors
    network, cached = layout.network, parameters.cached_bytes
    for tensor in (*network.inputs, *network.outputs):
        if runtime < INT8_SINCE and tensors[tensor].dtype == "INT8":
            raise Unsupported(
                f"{tensors[tensor].name!r} is INT8, which runtime {runtime} does not take; "
                f"runtime {INT8_SINCE} does"
            )
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
            content.execution,
            parameters.streamed_bytes,
            token,
            name="model",
            layers=(input_layers, output_layers),
            used_narrow_bytes=content.used_narrow_bytes,
        )
    ]
    if cached:
        caching = caching_program(parameters)
        executables.append(
            _executable(ExecutableType.PARAMETER_CACHING, caching, cached, token, name="Unknown")
        )
    return Package(runtime, tuple(executables), compiler_version="edgekit")


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
