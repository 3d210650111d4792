# SPDX-License-Identifier: Apache-2.0
"""A convolution: parameters arrive over the ring while the op walks over positions.

Two orders of the loops are used. *Position outer*: for every position all of its K words (taps
times channel words), so that every weight row is read once per position from a buffer that holds
them all. *K chunked*: a chunk of K for all positions, then the next chunk, with partial sums in
wide memory. The buffer of weights is a FIFO of rows, or a block that is filled as a whole.

Source: fields and rules read off Google's programs (runtime 12 to 14), see docs/compiler.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable, NamedTuple, Sequence

from edgekit.chip.codegen.emitter import (
    AVDATA,
    PARAMETER_TAG,
    WIDE_TO_SCALING,
    Emitter,
    Transfer,
    same_fields,
)
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import SHARED_UNITS, TOP
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    Nest,
    divide_up,
    level_mask,
    merged,
    nest_fields,
    op_nest_fields,
    round_up,
)
from edgekit.chip.codegen.nodes import Convolution
from edgekit.chip.codegen.seen import is_seen
from edgekit.chip.codegen.stages.fields import (
    by_tile,
    dma_nest,
    float_bits,
    output_stage,
)
from edgekit.chip.codegen.stages.parameter_stream import (
    UNIT_BYTES,
    pop_parameters,
    send_parameters,
)
from edgekit.chip.codegen.stages.stage import Placement, Stage
from edgekit.chip.isa.memories import ROW_BYTES, ROW_UNITS
from edgekit.formats.darwinn import Description, Direction

GROUP_CHANNELS = 64  # output channels that one row of weights serves
_DEPTHWISE_CHANNELS = 4  # of a group of a depthwise convolution
_DEPTHWISE_ROW_BYTES = 16
_STORED_TOGETHER = 16  # the weights of so many outputs
_MAX_PACKETS = 32_000  # of the ring's producers before their 16-bit counters begin again
_MANY_TAPS = 160  # from here on a chunk is one row of the window
_MOST_ROWS = 512  # of weights that are kept at once, if there is a choice
_SCALAR_CORE = 0x10000  # among the destinations of a ring producer


def uses_fifo(rows: int) -> bool:
    """Whether Google's compiler keeps so many weight rows in a FIFO, else in a block."""
    return rows <= 15 or rows >= 31


class Order(NamedTuple):
    """The order of a convolution's loops, and what its parameters contain."""

    position_outer: bool
    chunk: int  # rows of weights of one fill of the buffer
    has_bias: bool  # also if all are 0
    is_flat: bool = False  # whether it reads its window as one position
    group_channels: int = 0  # outputs of a group; 0: as many as possible


@dataclass(frozen=True)
class Piece:
    """A part of a layer's parameters in the wide memory of a tile, in rows of 256 bytes."""

    tile: int
    row: int
    num_rows: int


class ConvolutionStage(Stage):
    """A convolution on blocks, for the outputs in ``rows`` x ``columns`` of each tile."""

    scratch_bytes = 0

    def __init__(self, node: Convolution, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.node = node
        self.is_flat = False
        num_channels = node.weights.shape[0]
        self.num_channels = round_up(num_channels, WORD)
        self.positions = max(self._positions(tile) for tile in self.tiles)
        self.most_channels = (  # of a group
            _DEPTHWISE_CHANNELS if node.depthwise else min(GROUP_CHANNELS, self.num_channels)
        )
        self.words_of_position = self.source.position_bytes // WORD
        self.by_window_row = False
        self._choose_order()
        # Set later: addresses in wide memory, the place of the parameters.
        self.pieces: Sequence[Piece] | None = None  # None: the host streams the parameters
        self.header = self.weights = self.sums = 0
        self.stream: tuple[int, int, int] | None = None  # offset, bytes, lanes

    def _positions(self, tile: int) -> int:
        return self.rows[tile // 4].num_outputs * self.columns[tile % 4].num_outputs

    @property
    def groups(self) -> int:
        """The number of groups of outputs."""
        return divide_up(self.num_channels, self.group_channels)

    @property
    def stored_channels(self) -> int:
        """The outputs of a row of weights."""
        if self.node.depthwise or self.groups > 1:
            return self.group_channels
        return round_up(self.num_channels, _STORED_TOGETHER)

    @property
    def taps(self) -> int:
        """Positions of a window; a flat one is a single position with all its words."""
        return 1 if self.is_flat else self.node.window.taps

    @property
    def channel_words(self) -> int:
        """Words of each of these positions."""
        return self.words_of_position * (self.node.window.taps if self.is_flat else 1)

    @property
    def k(self) -> int:
        """Rows of weights of a group."""
        return self.taps if self.node.depthwise else self.taps * self.channel_words

    @property
    def header_rows(self) -> int:
        """Rows in front of a group's weights: [multipliers, biases, zero points] or biases."""
        return 2 + self.has_bias if self.node.per_channel else 1

    def _choose_order(self) -> None:
        """Google's choice, as far as it shows in its programs."""
        if self.node.depthwise:
            self.set_order(Order(True, self.k, self.node.has_bias))
            return
        k, words = self.k, self.channel_words
        self.by_window_row = self.taps > _MANY_TAPS and self.node.window.columns.size > 1
        if self.by_window_row:
            chunk = self.node.window.columns.size
        else:
            chunk = max(_chunks(self.taps, words), default=1)
        if words == 1:  # a dense layer on a large map goes row by row of the window
            outer = not (self.by_window_row and k > _MOST_ROWS)
        elif k <= 30:
            outer = k <= self.positions + self.taps
        else:
            chunked = 8 * chunk + 8 if uses_fifo(chunk) else 4 * chunk + 4
            outer = 8 * k + 8 < 4 * self.positions + chunked
        outer = outer or (chunk == 1 and k > 1)
        self.set_order(Order(outer, k if outer else chunk, self.node.has_bias))

    def set_order(self, order: Order) -> None:
        """Fix the order of the loops; slices of a layer agree on it: they share its parameters."""
        self.order = order
        self.position_outer, self.chunk, self.has_bias, self.is_flat, channels = order
        self.group_channels = channels or self.most_channels
        self.num_chunks = self.k // self.chunk
        self.fifo = uses_fifo(self.chunk)
        rows = self.groups * (self.header_rows + self.k)
        self.parameter_rows = (
            divide_up(rows * _DEPTHWISE_ROW_BYTES, ROW_BYTES) if self.node.depthwise else rows
        )

    def other_orders(self) -> list[Order]:
        """The orders that compute the same; one without biases may also add zeros.

        Smaller groups are possible if all have one size, and if there are at most a third more.
        """
        orders = [(self.position_outer, self.chunk, False)]
        if not self.node.depthwise and not self.by_window_row:
            orders += [(True, self.k, False)]
            orders += [(False, chunk, False) for chunk in _chunks(self.taps, self.channel_words)]
        if self.can_be_flat:
            k = self.node.window.taps * self.words_of_position
            orders += [(False, chunk, True) for chunk in _chunks(1, k)] + [(True, k, True)]
        biases = [True] if self.node.has_bias else [False, True]
        channels, most = self.num_channels, 4 * self.groups // 3
        smaller = range(self.most_channels - _STORED_TOGETHER, 0, -_STORED_TOGETHER)
        equal = [size for size in smaller if not channels % size and channels // size <= most]
        return [
            Order(outer, chunk, bias, flat, size)
            for size in [0, *equal]
            for bias in biases
            for outer, chunk, flat in orders
        ]

    @property
    def can_be_flat(self) -> bool:
        """Whether the one window of each tile lies in narrow memory without gaps."""
        source, window = self.source, self.node.window
        return (
            not self.node.depthwise
            and self.positions == 1
            and window.taps > 1
            and (window.rows.dilation, window.columns.dilation) == (1, 1)
            and source.position_bytes == WORD * self.words_of_position
            and all(
                source.row_bytes(tile) == window.columns.size * source.position_bytes
                for tile in self.tiles
            )
        )

    def is_seen(self) -> bool:
        """Whether Google's programs have its instructions, but for their numbers."""
        emitter = Emitter()
        return self.place(shared=False) >= 0 and all(
            is_seen(name, fields)
            for name, fields_of in self._instructions(0 if self.node.depthwise else 1)
            for _, fields in same_fields(by_tile(self.tiles, partial(fields_of, emitter)))
        )

    def _instructions(self, consumer: int) -> list[tuple[str, Callable[[Emitter, int], Fields]]]:
        """The instructions of a tile in order, each with the function that returns its fields."""
        return [
            (f"ring.recv{consumer}", self._receive),
            ("w2n", partial(self._load_header, consumer=consumer)),
            ("op", partial(self._op, consumer=consumer)),
        ]

    def place(self, *, shared: bool) -> int:
        """Set the addresses in wide memory, largest part first; returns the lowest.

        With ``shared`` the top of the memory belongs to element-wise stages.
        """
        header = ROW_UNITS * self.header_rows * (2 if self.fifo else 1)
        parts = {
            "sums": 0 if self.position_outer else ROW_UNITS * self.positions,
            "header": header + (0 if shared else SHARED_UNITS),
            "weights": (8 if self.fifo else ROW_UNITS) * self.chunk,
        }
        top = TOP - SHARED_UNITS if shared else TOP
        at = dict.fromkeys(parts, 0)
        for name, size in sorted(parts.items(), key=lambda part: -part[1]):
            if size:
                top -= size
                at[name] = top
        self.sums, self.header, self.weights, self.bottom = (
            at["sums"],
            at["header"],
            at["weights"],
            top,
        )
        return top

    # Instructions.

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        del scratch
        emitter.signal()
        node, pieces = self.node, self.pieces
        consumer = 0 if node.depthwise or pieces is None else 1
        rows = (
            self.parameter_rows if node.depthwise else sum(each.num_rows for each in pieces or ())
        )
        if max(emitter.packets_a, emitter.packets_b) + rows > _MAX_PACKETS:
            emitter.restart_ring()
        for name, fields_of in self._instructions(consumer):
            emitter.put_by_tile(name, by_tile(self.tiles, partial(fields_of, emitter)))
        if node.depthwise:
            (piece,) = pieces or ()
            self._loop_rows(emitter, piece)
        elif pieces is None:
            self._stream(emitter)
        else:
            self._send(emitter, pieces)
        counters = emitter.counters
        for tile in self.tiles:
            counters.fills[consumer][tile] += self.num_chunks * self.groups
            counters.by_tile[tile][AVDATA] += self.groups
            counters.by_tile[tile][WIDE_TO_SCALING] += self.groups
            # The mesh moves pieces of 64 channels, and each waits for one more group. If groups
            # have fewer channels, as in a depthwise convolution, it has to wait for all at once.
            is_piece = self.group_channels == GROUP_CHANNELS or self.groups == 1
            counters.last_groups[tile] = self.groups if is_piece else 1

    @property
    def mask(self) -> int:
        """The tiles that compute."""
        return sum(1 << tile for tile in self.tiles)

    def _receive(self, emitter: Emitter, tile: int) -> Fields:
        node, header_row = self.node, self.header // ROW_UNITS
        sets = 2 if self.fifo else 1
        single = self.fifo or self.chunk == 1
        fields = {
            "header_en": 1,
            "header_addr": header_row,
            "header_rows": self.header_rows - 1,
            "header_last": header_row + sets * self.header_rows - 1,
            "header_bias": int(self.has_bias),
            "header_per_channel": int(node.per_channel),
            "s_en_a": 1,
            "s_en_b": 1,
            "s_y": 1,
            "s_val": emitter.counters.num_fills(tile) - int(single),
            "addr": self.weights,
        }
        if self.chunk == 1:
            fields.update(slots=1, mode=1, s_id=1, **dma_nest([(1, 1), (0, self.groups)]))
            return fields
        nest: Nest = [(1, self.chunk), (0, self.num_chunks), (0, 1), (0, self.groups)]
        if self.position_outer:
            del nest[1]
        fields.update(
            header_level=1 if self.position_outer else 2,
            levels=1,
            circular=1,
            slots=self.chunk if self.fifo else 0,
            mode=3,
            s_id=33,
            **dma_nest(nest),
        )
        return fields

    def _load_header(self, emitter: Emitter, tile: int, consumer: int) -> Fields:
        """Multipliers and biases of each group, on their way to the op."""
        node, counters = self.node, emitter.counters
        single = self.fifo or self.chunk == 1
        rows = int(self.has_bias) + int(node.per_channel)
        fill = self.num_chunks << 16 | 1 + counters.fills[consumer][tile]
        return {
            "w_addr": self.header,
            "w_levels": 1,
            "w_circular": int(single),
            "w_rows": self.header_rows if single else 0,
            "n_levels": 3,
            "mode": 2,
            "slot": 64,
            "s0_en0": 1,
            "s0_f2": 1,
            "s0_id": 14 + consumer,
            "s0_level": 1,
            "s0_en1": fill & 1,
            "s0_val": fill >> 1,
            "s0_en2": 1,
            "s0_dec_level": 2,
            "s0_dec": (counters.by_tile[tile][AVDATA] - 1) & 0xFFFF | 0x10000,
            "s0_dec_mode": 3,
            "scaling": 1,
            "tail": 1,
            **nest_fields("w_", [(1, rows), (0, self.groups)], DMA_LEVELS),
            **nest_fields(
                "n_",
                [(1, self.stored_channels // 2), (64, rows), (0, self.groups)],
                NARROW_DMA_LEVELS,
            ),
        }

    def _op(self, emitter: Emitter, tile: int, consumer: int) -> Fields:
        node, source, output = self.node, self.source, self.output
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        window = node.window
        positions = self._positions(tile)
        several = positions > 1
        step_x, step_y = source.position_bytes, source.row_bytes(tile)
        taps = [
            (window.columns.dilation * step_x, window.columns.size),
            (window.rows.dilation * step_y, window.rows.size),
        ]
        walk: Nest = []
        written: Nest = []
        if several:
            walk = merged(
                [
                    (window.columns.stride * step_x, columns.num_outputs),
                    (window.rows.stride * step_y, rows.num_outputs),
                ]
            )
            made_x, made_y = self.output_steps(tile)
            written = merged([(made_x, columns.num_outputs), (made_y, rows.num_outputs)])
        loops = self._loops(taps, walk, positions)
        group_words = self.group_channels // WORD
        last = self.num_channels - self.group_channels * (self.groups - 1)
        fill = 1 + emitter.counters.fills[consumer][tile]
        group_level = loops.group_level
        made = 0x80 * (emitter.counters.by_tile[tile][WIDE_TO_SCALING] + 1) | group_level << 4 | 6
        has_sums = not self.position_outer and several
        is_one_sum = not self.position_outer and not several and self.groups == 1
        out = [(WORD, group_words), *written, (WORD * group_words, self.groups)]
        unread = 2 if node.depthwise else 3  # levels of the input that do not count
        fields = {f"loop{k}": count - 1 for k, count in enumerate(loops.counts)}
        fields.update(output_stage(node.stage))
        fields.update(
            in_base=source.at(tile, rows.window, columns.window),
            in_flag=3,
            in_levels=level_mask(len(loops.read) - unread),
            out_base=output.at(tile, rows.output, columns.output),
            out_flag=3,
            out_levels=level_mask(len(written)),
            par_base=self.weights,
            par_flag=int(self.k > 1 or not several),
            par_levels=0x40 << (several and self.k > 1) if self.fifo else 0,
            par_rows=self.chunk if self.fifo else 0,
            psum_base=self.sums if has_sums else 0,
            psum_flag=2 if has_sums else 0,
            psum_levels=(
                0
                if has_sums or is_one_sum
                else 0x800 | (0x40 << loops.num_summed >> 1 if loops.num_summed else 0)
            ),
            cfg0=1 | (1 + len(written)) << 1 | 1 << 5 | loops.fill_level << 6,
            cfg1=(fill & 3) << 8 | loops.fill_level << 5 | 0x0E | consumer,
            sync0=0x4000 | fill >> 2,
            sync1=0x4000,
            sync2=made & 0xFFFF,
            sync3=0x80 | made >> 16,
            sync4=0x80,
            cfg2=3 if has_sums else 7,
            reduce=loops.summed,
            group_level=group_level,
            channels=self.group_channels - 1,
            channels_last=last - 1,
            bias=int(self.has_bias),
            **op_nest_fields("in_", loops.read),
            **op_nest_fields("out_", out),
            **op_nest_fields("par_", loops.weights),
            **op_nest_fields("psum_", loops.sums),
        )
        if last < self.group_channels:
            fields.update(
                out_last_cnt=last // WORD - 1,
                out_last_mode=len(out) - 1,
                out_last_skip=4 * (group_words - last // WORD),
            )
        if self.k == 1 and several:
            fields["cfg2"] = 6
        elif self.k == 1:
            fields["psum_lo0"] = 1
        if node.per_channel:
            fields.update(self._per_channel())
        else:
            fields["w_zp"] = int(node.weight_zero_points[0])
        return fields

    def _per_channel(self) -> Fields:
        """Multipliers come from the header, zero points of weights from their own rows."""
        first = self.header // ROW_UNITS
        sets = 2 if self.fifo else 1
        return {
            "cfg3": 8,
            "mult": float_bits(1.0),
            "per_channel": 1,
            "zp_row_first": first + self.header_rows - 1,
            "zp_row_last": first + sets * self.header_rows - 1,
            "zp_row_step": self.header_rows if sets == 2 else 1,
        }

    def _loops(self, taps: Nest, walk: Nest, positions: int) -> _Loops:
        """The loops of the op and the nests of its generators."""
        several = positions > 1
        position_loop = [positions] if several else []
        repeated = [(0, positions)] if several else []
        if self.position_outer:
            summed = [] if self.k == 1 and several else [self.k]
            group_step = WORD if self.node.depthwise else 0
            if self.node.depthwise:
                inner = [(WORD, 1), *merged(taps)]
            elif self.is_flat:
                inner = [(WORD, self.k)]
            else:
                inner = [
                    *merged([(WORD, self.channel_words), *taps]),
                    (self.source.position_bytes, 1),
                ]
            level = len(summed) + several
            return _Loops(
                counts=[*summed, *position_loop, self.groups],
                read=[*inner, *walk, (group_step, self.groups)],
                weights=[*((WORD, k) for k in summed), *repeated, (0, self.groups)],
                sums=[*((0, k) for k in summed), *repeated, (0, self.groups)],
                fill_level=level,
                group_level=level,
                summed=len(summed),
                num_summed=len(summed),
            )
        words = 1 if self.by_window_row else self.chunk // self.taps
        if self.is_flat:
            read = [(WORD, self.chunk), (WORD * self.chunk, self.num_chunks)]
        elif self.by_window_row:
            read = [(WORD, 1), taps[0], *walk, taps[1], (WORD, self.channel_words)]
        else:
            inner = [(WORD, words), *(merged(taps) if self.taps > 1 else [])]
            read = [*inner, *walk, (WORD * words, self.num_chunks)]
        level = 1 + several
        outer = [(0, self.num_chunks), (0, self.groups)]
        return _Loops(
            counts=[self.chunk, *position_loop, self.num_chunks, self.groups],
            read=[*read, (0, self.groups)],
            weights=[(WORD, self.chunk), *repeated, *outer],
            sums=[(0, self.chunk), *((WORD, n) for n in position_loop), *outer],
            fill_level=level,
            group_level=level + 1,
            summed=1 | 1 << level,
            num_summed=1 if several else 2,
        )

    def _loop_rows(self, emitter: Emitter, piece: Piece) -> None:
        """Weights of a depthwise layer: 16-byte rows, through the scalar core to every tile."""
        rows = self.groups * (self.header_rows + self.k)
        units = rows * _DEPTHWISE_ROW_BYTES // WORD
        packets = divide_up(units, 64)
        last = units - 64 * (packets - 1)
        nest = nest_fields("", [(1, 64), (0, packets)], 3)
        short = {"last": last - 1, "last_en": 1, "last_neg": 64 - last} if last < 64 else {}
        emitter.put(
            "infeed",
            from_scalar=1,
            k157=1,
            k160=1,
            k168=1,
            k308=3,
            k311=1,
            k314=1,
            k315=3,
            pop_wait=(emitter.loop_units + 1) % (1 << 16),
            k336=1,
            k352=1,
            k392=1,
            tiles=self.mask,
            row=3,
            **nest,
            **short,
        )
        emitter.put(
            "outfeed",
            inc3=2057,
            k173=1,
            k178=1,
            k182=1,
            last_neg=0x4000 | (emitter.loop_rows - 32) % 0x4000,
            k214=1,
            flags=63,
            **nest,
        )
        emitter.loop_units += 64 * packets
        emitter.loop_rows += rows
        emitter.put(
            "ring.send",
            tiles=1 << piece.tile,
            addr=ROW_UNITS * piece.row,
            levels=3,
            config=12,
            r0_id=49,
            r0_val=emitter.packets_a - 1,
            r0_en_a=1,
            r0_en_b=1,
            r1_id=50,
            r1_val=emitter.packets_b,
            r1_en_a=1,
            r1_en_b=1,
            to_consumer1=1,
            dest=_SCALAR_CORE,
            **dma_nest([(1, 1), (1, packets)]),
        )
        emitter.packets_a += packets
        emitter.packets_b += packets

    def _stream(self, emitter: Emitter) -> None:
        """Parameters from the host, with every inference."""
        offset, size, lanes = self.stream or (0, 0, 0)
        units, before = size // UNIT_BYTES, emitter.parameter_units
        credit = (before + 4 - 2048) % (1 << 16)
        pop_parameters(emitter, units, flags13=before % 2048, k183=credit & 1, rows_neg=credit >> 1)
        emitter.add_to_address((0, 1), offset, (4, 5), 6)
        emitter.add_to_address((4, 5), 0, (7, 6), 10)
        emitter.push_descriptor(6, 7, size, PARAMETER_TAG, spare=8)
        parameters = Description.BASE_ADDRESS_PARAMETER
        emitter.transfers.append(Transfer(Direction.INFEED, parameters, "", offset, size))
        send_parameters(
            emitter,
            before,
            units,
            tiles=self.mask,
            lanes=lanes,
            k353=1 << 38 | emitter.packets_a << 6 | 37,
        )
        emitter.parameter_units += units

    def _send(self, emitter: Emitter, pieces: Sequence[Piece]) -> None:
        """Parameters from the tiles that cache them to those that compute."""
        for piece in pieces:
            emitter.put(
                "ring.send",
                tiles=1 << piece.tile,
                addr=ROW_UNITS * piece.row,
                levels=1,
                config=4,
                r0_id=50,
                r0_val=emitter.packets_b,
                r0_en_a=1,
                r0_en_b=1,
                to_consumer1=1,
                dest=self.mask,
                **dma_nest([(1, piece.num_rows)]),
            )
            emitter.packets_b += piece.num_rows


def _chunks(taps: int, words: int) -> list[int]:
    """The numbers of weight rows that fill a small buffer: those of one or several words."""
    if taps > 1:
        return [taps]
    return [d for d in range(min(15, words // 2), 1, -1) if words % d == 0]


@dataclass(frozen=True)
class _Loops:
    """The loops of a convolution's op; nests are innermost first."""

    counts: Sequence[int]
    read: Nest
    weights: Nest
    sums: Nest
    fill_level: int  # whose iterations each take one fill of weights
    group_level: int
    summed: int  # mask of the loops that are summed
    num_summed: int
