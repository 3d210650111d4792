# SPDX-License-Identifier: Apache-2.0
"""A dense layer on many tiles: each has some groups of outputs, with their weights in its memory.

The input goes from the first tile to all others over the ring. Every tile computes its outputs from
the weights that it caches itself, and the mesh brings them together on the first tile.

Source: fields read off Google's programs (runtime 14).
"""

from __future__ import annotations

from typing import Sequence

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD, Block, Span, exchanged, held_by
from edgekit.chip.codegen.memories import OUTGOING, SHARED_UNITS, TOP
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    divide_up,
    nest_fields,
    op_nest_fields,
)
from edgekit.chip.codegen.nodes import Convolution
from edgekit.chip.codegen.seen import is_seen
from edgekit.chip.codegen.stages.convolution import (
    GROUP_CHANNELS,
    ConvolutionStage,
    Order,
    Piece,
)
from edgekit.chip.codegen.stages.fields import (
    UNSYNCHRONIZED,
    by_tile,
    dma_nest,
    float_bits,
    output_stage,
    words_of_packets,
)
from edgekit.chip.codegen.stages.halo import exchange_halo
from edgekit.chip.codegen.stages.output import row_to_outgoing, send_rows, to_outgoing
from edgekit.chip.codegen.stages.stage import SCRATCH_BYTES, Placement
from edgekit.chip.isa.memories import NUM_TILES, ROW_BYTES, ROW_UNITS, TILES_PER_ROW

_MOST_BYTES = 48 << 10  # of an input that every tile gets a copy of


def is_spread(node: Convolution, sources: Sequence[Block], output: Block) -> bool:
    """Whether a node is a dense layer that several tiles share."""
    (source,) = sources
    inputs = source.height * source.width * source.position_bytes
    return (
        node.dense
        and (output.height, output.width) == (1, 1)
        and not output.local
        and len(node.weights) > GROUP_CHANNELS
        and WORD < inputs <= _MOST_BYTES
    )


class SpreadStage(ConvolutionStage):
    """A dense layer whose outputs are spread over the tiles.

    Its outputs are an image of some rows and columns of tiles while they are computed: a position
    for each tile, with the channels that this one computes.
    """

    def __init__(self, node: Convolution, at: Placement) -> None:
        super().__init__(node, at)
        self.spread = True
        self.set_order(Order(True, self.k, node.has_bias))
        self.turns = divide_up(self.groups, NUM_TILES)  # groups of a tile
        self.num_tiles = divide_up(self.groups, self.turns)
        self.tile_columns = min(TILES_PER_ROW, self.num_tiles)
        self.tile_rows = divide_up(self.num_tiles, self.tile_columns)
        self.input_bytes = WORD * self.k
        self.is_vector = (self.source.height, self.source.width) == (1, 1)
        if not self.is_vector:
            self.scratch_bytes = SCRATCH_BYTES + self.input_bytes
        made = self.tile_rows * self.tile_columns * self.turns * GROUP_CHANNELS
        self.output.spare_bytes = max(self.output.spare_bytes, made - self.output.position_bytes)
        self.buffer = 0

    def use_one_tile(self) -> None:
        """Compute on one tile, where parameters are scarce."""
        self.spread = False
        self._choose_order()

    def other_orders(self) -> list[Order]:
        """The orders that compute the same: weights cannot move, only biases can be added."""
        if not self.spread:
            return super().other_orders()
        return [Order(self.position_outer, self.chunk, has_bias=True)]

    def is_seen(self) -> bool:
        """Whether Google's programs have the instructions of a group, but for their numbers."""
        if not self.spread:
            return super().is_seen()
        header = Piece(0, 1, self.header_rows)
        groups = {0, self.groups - 1}
        outputs = [self._outputs(header, group, 0, 0) for group in groups]
        return is_seen("w2n", self._load_rows(header)) and all(
            is_seen("op", fields) for fields in outputs
        )

    @property
    def saved_steps(self) -> int:
        """How many steps are saved, compared with one tile."""
        return self.k * (self.groups - self.turns)

    @property
    def piece_rows(self) -> dict[int, int]:
        """Rows of parameters of each tile that computes."""
        each, left = self.header_rows + self.k, self.groups
        rows = {}
        for number in range(self.num_tiles):
            row, column = divmod(number, self.tile_columns)
            rows[TILES_PER_ROW * row + column] = each * min(self.turns, left)
            left -= self.turns
        return rows

    def place(self, *, shared: bool) -> int:
        """Set the addresses in wide memory; returns the lowest."""
        if not self.spread:
            return super().place(shared=shared)
        top = TOP - SHARED_UNITS if shared else OUTGOING
        self.bottom = self.buffer = top - ROW_UNITS * divide_up(self.input_bytes, ROW_BYTES)
        return self.bottom

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        if not self.spread:
            super().emit(emitter, scratch)
            return
        pieces = self.pieces or ()
        target = self.source.at(0, 0, 0) if self.is_vector else scratch + SCRATCH_BYTES
        emitter.reset()
        self._share_input(emitter, target, [piece.tile for piece in pieces])
        emitter.reset()
        made = self._made()
        for turn in range(self.turns):
            self._compute(emitter, target, made, turn)
        rows, columns = self._gathered(made)
        exchange_halo(emitter, made, rows, columns, 0)
        emitter.reset()

    # Over the ring.

    def _share_input(self, emitter: Emitter, target: int, tiles: Sequence[int]) -> None:
        """A copy of the input for every tile."""
        others = [tile for tile in tiles if tile or not self.is_vector]
        mask = sum(1 << tile for tile in others)
        source = self.source
        if source.row_bytes(0) == source.width * source.position_bytes:
            self._share_rows(emitter, target, mask)
            return
        self._receive_rows(emitter, target, self.k, mask)
        send_rows(emitter, 0, divide_up(self.input_bytes, ROW_BYTES), mask)
        area = 0, source.height, 0, source.width
        emitter.put("n2w", tiles=1, **to_outgoing(source, 0, area))

    def _share_rows(self, emitter: Emitter, target: int, mask: int) -> None:
        """Copy an input without gaps, 256 bytes at a time, as Google's programs do."""
        source = self.source.at(0, 0, 0)
        for first in range(0, self.input_bytes, ROW_BYTES):
            if first:
                emitter.reset()
            words = min(ROW_BYTES, self.input_bytes - first) // WORD
            self._receive_rows(emitter, target + first, words, mask)
            send_rows(emitter, 0, 1, mask)
            emitter.put("n2w", tiles=1, **row_to_outgoing(source + first, words))

    def _receive_rows(self, emitter: Emitter, target: int, words: int, mask: int) -> None:
        packets = divide_up(WORD * words, ROW_BYTES)
        emitter.put("w2n", tiles=mask, **words_of_packets(self.buffer, packets, target, words))
        emitter.put(
            "ring.recv0",
            tiles=mask,
            addr=self.buffer,
            levels=int(packets > 1),
            circular=1,
            slots=packets,
            mode=3,
            s_id=43,
            s_val=-(ROW_BYTES // WORD) * packets,
            s_cnt=packets,
            s_en_b=1,
            s_y=1,
            **dma_nest([(1, packets)]),
        )

    # On the tiles.

    def _made(self) -> Block:
        """The outputs as an image of tiles, at the place of the output."""
        block = Block((self.tile_rows, self.tile_columns, self.turns * GROUP_CHANNELS))
        block.own_rows, block.own_columns = (
            [(min(part, number), int(part < number)) for part in range(TILES_PER_ROW)]
            for number in (self.tile_rows, self.tile_columns)
        )
        block.rows, block.columns = [None] * TILES_PER_ROW, [None] * TILES_PER_ROW
        rows, columns = self._gathered(block)
        block.cover(held_by(rows), held_by(columns))
        block.address = self.output.at(0, 0, 0)
        return block

    @staticmethod
    def _gathered(block: Block) -> tuple[list[Span], list[Span]]:
        """The first tile reads everything."""
        rows, columns = (
            exchanged(
                [
                    Span(first, number, 0, int(part == 0), 0, size if part == 0 else 0)
                    for part, (first, number) in enumerate(own)
                ],
                size,
            )
            for own, size in (
                (block.own_rows, block.height),
                (block.own_columns, block.width),
            )
        )
        return rows, columns

    def _compute(self, emitter: Emitter, target: int, made: Block, turn: int) -> None:
        """One group of outputs of every tile."""
        chosen: dict[int, tuple[Piece, int]] = {}
        for number, piece in enumerate(self.pieces or ()):
            group = number * self.turns + turn
            if group < self.groups:
                first = piece.row + turn * (self.header_rows + self.k)
                chosen[piece.tile] = Piece(piece.tile, first, self.header_rows), group
        load = by_tile(list(chosen), lambda tile: self._load_rows(chosen[tile][0]))
        emitter.put_by_tile("w2n", load)
        output = GROUP_CHANNELS * turn
        emitter.put_by_tile(
            "op",
            by_tile(
                list(chosen),
                lambda tile: self._outputs(
                    *chosen[tile],
                    target,
                    made.at(tile, tile // TILES_PER_ROW, tile % TILES_PER_ROW) + output,
                ),
            ),
        )
        emitter.reset()

    def _load_rows(self, header: Piece) -> Fields:
        """Multipliers and biases of a group."""
        rows = int(self.has_bias) + int(self.node.per_channel)
        walk = [(1, GROUP_CHANNELS // 2), (GROUP_CHANNELS, rows)]
        return {
            "w_addr": ROW_UNITS * header.row,
            "w_levels": 1,
            "n_levels": 3,
            "mode": 2,
            "slot": 64,
            "s0_en0": 1,
            "s0_f2": 1,
            "s0_level": 2,
            "s0_en1": 1,
            "s0_val": 0xFFFF,
            "s0_en2": 1,
            "s0_f45": 1,
            "scaling": 1,
            "tail": 1,
            **nest_fields("w_", [(1, rows)], DMA_LEVELS),
            **nest_fields("n_", walk, NARROW_DMA_LEVELS),
        }

    def _outputs(self, header: Piece, group: int, source: int, output: int) -> Fields:
        node = self.node
        channels = min(GROUP_CHANNELS, self.num_channels - GROUP_CHANNELS * group)
        words = channels // WORD
        walk = [(WORD, self.k), (WORD * self.k, 1), (WORD * self.k, 1)]
        written = [(WORD, words), (channels, 1), (channels, 1)]
        fields = {
            "loop0": self.k - 1,
            "in_base": source,
            "in_flag": 3,
            "in_levels": 1,
            "out_base": output,
            "out_flag": 3,
            "out_levels": 1,
            "par_base": ROW_UNITS * (header.row + header.num_rows),
            "par_flag": 1,
            "cfg0": 0x65,
            "cfg1": 0x12C,
            "cfg2": 7,
            "group_level": 1,
            "reduce": 1,
            "channels": channels - 1,
            "channels_last": channels - 1,
            "bias": int(self.has_bias),
            **UNSYNCHRONIZED,
            **output_stage(node.stage),
            **op_nest_fields("in_", walk),
            **op_nest_fields("out_", written),
            **op_nest_fields("par_", [(WORD, self.k)]),
            **op_nest_fields("psum_", [(0, self.k)]),
        }
        if node.per_channel:
            zeros = header.row + header.num_rows - 1
            fields.update(
                cfg3=8,
                mult=float_bits(1.0),
                per_channel=1,
                zp_row_first=zeros,
                zp_row_last=zeros,
                zp_row_step=1,
            )
        else:
            fields["w_zp"] = int(node.weight_zero_points[0])
        return fields
