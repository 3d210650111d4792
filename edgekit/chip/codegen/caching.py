# SPDX-License-Identifier: Apache-2.0
"""The program that brings parameters to the chip once, before the first inference."""

from __future__ import annotations

from edgekit.chip.codegen.emitter import PARAMETER_TAG, Emitter, Transfer
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.parameters import Parameters
from edgekit.chip.codegen.stages.fields import dma_nest
from edgekit.chip.codegen.stages.parameter_stream import (
    UNIT_BYTES,
    pop_parameters,
    send_parameters,
)
from edgekit.chip.isa.memories import ROW_UNITS
from edgekit.formats.darwinn import Description, Direction


def caching_program(parameters: Parameters) -> Emitter:
    """The instructions and transfers that fill the parameter cache.

    Raises:
        Unsupported: Some parameters have no place.
    """
    emitter = Emitter()
    emitter.begin(caching=True)
    for register, source in ((3, 1), (2, 0), (4, 3), (5, 2)):
        emitter.move(register, source)
    size = len(parameters.cached_bytes)
    emitter.push_descriptor(4, 5, size, PARAMETER_TAG, spare=6)
    emitter.transfers.append(
        Transfer(Direction.INFEED, Description.BASE_ADDRESS_PARAMETER, "", 0, size)
    )
    units = size // UNIT_BYTES
    pop_parameters(
        emitter,
        units,
        k183=int(units % 2 == 0 or units >= 2048),
        rows_neg=-min(units // 2, 1024) % (1 << 15),
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
        row_bytes = UNIT_BYTES * layer.lanes
        for piece in pieces:
            part = piece.num_rows * row_bytes
            if index in parameters.depthwise:
                part = min(part, round_up(len(layer.data), UNIT_BYTES))
            send_parameters(
                emitter,
                offset // UNIT_BYTES,
                part // UNIT_BYTES,
                tiles=1 << piece.tile,
                lanes=layer.lanes,
            )
            offset += part
    if offset != size:
        raise Unsupported(f"{size} bytes of parameters, of which {offset} have a place")
    emitter.end(caching=True)
    return emitter
