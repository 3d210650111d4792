# SPDX-License-Identifier: Apache-2.0
"""The program that brings parameters to the chip once, before the first inference."""

from __future__ import annotations

from edgekit.chip.codegen.emitter import PARAMETER_TAG, Emitter, Transfer
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.parameters import Parameters
from edgekit.chip.codegen.stages.fields import dma_nest, stream_nest
from edgekit.chip.isa.memories import ROW_UNITS
from edgekit.formats.darwinn import Description, Direction

_UNIT_BYTES = 64  # of a parameter stream
_PARAMETER_BUFFER = 1 << 10  # units


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
