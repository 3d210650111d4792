# SPDX-License-Identifier: Apache-2.0
"""An output to the host: tile after tile, each tile's own part as it lies in narrow memory."""

from __future__ import annotations

import numpy as np

from edgekit.chip.codegen.emitter import OUTPUT_TAG, Emitter, Transfer
from edgekit.chip.codegen.geometry import WORD, Block
from edgekit.chip.codegen.memories import OUTGOING
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    Nest,
    divide_up,
    nest_fields,
    round_up,
)
from edgekit.chip.codegen.stages.fields import dma_nest
from edgekit.chip.isa.memories import NUM_TILES, ROW_BYTES
from edgekit.formats.darwinn import Description, Direction, OutputLayout

HOST_BYTES = 8  # the unit of a transfer to the host
_TO_HOST = 0x10000  # the scalar core among the destinations of a ring producer


def own_bytes(block: Block) -> list[int]:
    """Bytes of each tile's own part."""
    parts = (block.own(tile) for tile in range(NUM_TILES))
    return [rows * columns * block.position_bytes for _, rows, _, columns in parts]


def emit_output(emitter: Emitter, block: Block, name: str) -> None:
    """Send a block to the output ``name``."""
    output = Description.BASE_ADDRESS_OUTPUT_ACTIVATION
    emitter.move_address(10, 11, output, name, low_first=False)
    emitter.move(5, 11)
    emitter.move(4, 10)
    tiles = block.own_tiles()
    by_tile: list[Fields | None] = [None] * NUM_TILES
    for tile in tiles:
        by_tile[tile] = to_outgoing(block, tile, block.own(tile))
    emitter.put_by_tile("n2w", by_tile)
    sizes = own_bytes(block)
    total = sum(round_up(size, HOST_BYTES) for size in sizes)
    emitter.move(6, 5)
    emitter.move(7, 4)
    emitter.push_descriptor(6, 7, total, OUTPUT_TAG, spare=8)
    emitter.transfers.append(Transfer(Direction.OUTFEED, output, name, 0, total))
    for tile in tiles:
        units, rows = divide_up(sizes[tile], HOST_BYTES), divide_up(sizes[tile], ROW_BYTES)
        emitter.put("outfeed", inc0=int(units == 1), cnt0=units - 1, k173=3, flags=127)
        send_rows(emitter, tile, rows, _TO_HOST)


def send_rows(emitter: Emitter, tile: int, rows: int, destinations: int) -> None:
    """Send rows of 256 bytes, one after the other, as a copy to wide memory makes them."""
    emitter.put(
        "ring.send",
        tiles=1 << tile,
        addr=OUTGOING,
        levels=1,
        circular=1,
        slots=1,
        mode=3,
        config=20,
        r0_id=81,
        r0_val=emitter.packets_a,
        r0_en_a=1,
        r0_en_b=1,
        r1_id=45,
        r1_val=1,
        r1_en_a=1,
        r1_en_b=1,
        dest=destinations,
        **dma_nest([(1, 1), (0, rows)]),
    )
    emitter.packets_a += 1


def to_outgoing(block: Block, tile: int, area: tuple[int, int, int, int]) -> Fields:
    """A part of a block, row by row of 256 bytes, into the one row from which the ring sends.

    ``area`` is the first row, rows, first column, columns.
    """
    words = block.position_bytes // WORD
    top, height, left, width = area
    nest = [(1, words)]
    if width > 1:
        nest.append((words, width))
    if height > 1:
        nest.append((block.row_bytes(tile) // WORD, height))
    rows = divide_up(height * width * block.position_bytes, ROW_BYTES)
    return _to_outgoing(block.at(tile, top, left), nest, rows)


def row_to_outgoing(address: int, words: int) -> Fields:
    """At most 256 bytes of narrow memory into that row."""
    return _to_outgoing(address, [(1, words)], 1)


def _to_outgoing(address: int, nest: Nest, rows: int) -> Fields:
    fields: Fields = {
        "n_addr": address,
        "n_levels": sum(1 << k for k, (_, count) in enumerate(nest) if count > 1),
        "w_addr": OUTGOING,
        "w_rows": 1,
        "s0_en0": 1,
        "s0_id": 16,
        "s0_en1": 1,
        "s0_val": 65535,
        "s1_f2": 1,
        "s1_f3": 1,
        "tail": 2 * len(nest),
        **nest_fields("n_", nest, NARROW_DMA_LEVELS),
        **nest_fields("w_", [(int(rows == 1), rows)], DMA_LEVELS),
    }
    if rows == 1:
        fields.update(w_circular=1, s0_f1=1, s0_level=1)
    return fields


def output_layout(block: Block) -> OutputLayout:
    """Where the host finds each value, see `edgekit.formats.darwinn.OutputLayout`."""
    offsets, place = [], 0
    for size in own_bytes(block):
        offsets.append(place)
        place += round_up(size, HOST_BYTES)
    rows, columns = [n for _, n in block.own_rows], [n for _, n in block.own_columns]
    step = block.position_bytes
    return OutputLayout(
        *(
            np.array(values, np.int32)
            for values in (
                [4 * part for part, number in enumerate(rows) for _ in range(number)],
                [part for part, number in enumerate(columns) for _ in range(number)],
                offsets,
                [step * column for number in columns for column in range(number)],
                [row for number in rows for row in range(number)],
                [step * number for number in columns for _ in range(number)],
            )
        )
    )
