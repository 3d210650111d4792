# SPDX-License-Identifier: Apache-2.0
"""Instructions in order, the counters of every tile, and the frame of a program.

The counters are the only state between the stages of a program: an instruction waits until a
counter has a value, and that value is the number of events since the last reset.

Sources of the frame: tinycoral, docs/isa (MIT); fields read off Google's programs for runtime 12
to 14, see docs/compiler.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Sequence

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.nests import NARROW_DMA_LEVELS, OP_LEVELS, Fields
from edgekit.chip.isa.encode import encode_one
from edgekit.chip.isa.memories import NUM_TILES, tiles_of
from edgekit.chip.isa.table import LAYOUTS, RELOCATED_BIT, WORD_BYTES
from edgekit.errors import UsageError
from edgekit.formats.darwinn import Description, Direction, Position

ALL_TILES = 0xFFFF
CHUNK_WORDS = 16384  # a bitstream of Google's compiler has at most 256 KiB
_RESERVED_WORDS = 16  # room for the instructions that end a chunk
OPCODES = {layout.name: opcode for opcode, layout in LAYOUTS.items()}
ALU = {"add": 1, "and": 3, "ne": 10, "lt": 12, "move": 15}  # codes of the scalar core
_PUSH_WORD, _PUSH_DESCRIPTOR = 10, 12  # codes of its vector slot

# Counters of a tile.
AVDATA, PARAMETERS = 0, 1
NORTH_IN, EAST_IN, SOUTH_IN, WEST_IN = 3, 4, 5, 6
WIDE_TO_SCALING = 12
NARROW_TO_WIDE = 13
RING_PRODUCER_A, RING_PRODUCER_B = 17, 18
NUM_COUNTERS = 19
# All counters except those of the two ring producers, which the scalar core counts along.
_RESETTABLE = (1 << RING_PRODUCER_A) - 1
_EVERY_UNIT = 0x3FF
# Tags of a host transfer.
INPUT_TAG, PARAMETER_TAG, OUTPUT_TAG, INTERRUPT_TAG = 1, 2, 3, 4


@dataclass(frozen=True)
class Relocation:
    """An immediate that the runtime replaces by half an address."""

    description: Description
    name: str  # of the layer; empty for parameters and scratch memory
    position: Position
    offset_bit: int


@dataclass(frozen=True)
class Transfer:
    """A host transfer, in the order of the program."""

    direction: Direction
    description: Description
    name: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class Chunk:
    """One bitstream and its relocations."""

    code: bytes
    relocations: tuple[Relocation, ...]


@dataclass
class Counters:
    """What has been counted since the last reset, by tile, and by the ring since its restart."""

    by_tile: list[list[int]] = field(
        default_factory=lambda: [[0] * NUM_COUNTERS for _ in range(NUM_TILES)]
    )
    fills: tuple[list[int], list[int]] = field(
        default_factory=lambda: ([0] * NUM_TILES, [0] * NUM_TILES)
    )  # parameter fills by ring consumer 0 and 1
    last_groups: list[int] = field(
        default_factory=lambda: [1] * NUM_TILES
    )  # of each tile's last op

    rows_made: list[int] = field(
        default_factory=lambda: [0] * NUM_TILES
    )  # by copies to wide memory
    rows_used: list[int] = field(default_factory=lambda: [0] * NUM_TILES)  # of these, by ops

    def num_fills(self, tile: int) -> int:
        """The fills of both consumers."""
        return self.fills[0][tile] + self.fills[1][tile]


def same_fields(by_tile: Sequence[Fields | None]) -> list[tuple[int, Fields]]:
    """Tiles with equal fields share an instruction: (mask of tiles, fields), by lowest tile."""
    groups: list[tuple[int, Fields]] = []
    for tile, fields in enumerate(by_tile):
        if fields is None:
            continue
        for place, (tiles, same) in enumerate(groups):
            if fields == same:
                groups[place] = tiles | 1 << tile, same
                break
        else:
            groups.append((1 << tile, fields))
    return groups


class Emitter:
    """Collects a program; one emitter makes the chunks of one executable."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.transfers: list[Transfer] = []
        self.counters = Counters()
        self.packets_a = self.packets_b = 0  # of ring producers A and B
        self.loop_rows = self.loop_units = 0  # of the scalar core's parameter loop
        self.parameter_units = 0  # streamed from the host so far, 64 bytes each
        self.cycles = [0] * NUM_TILES  # of each tile's arithmetic so far
        # Blocks that ops read since the last fence (their `id`).
        self.read_by_ops: set[int] = set()
        # Whether a reset is due before the next op; until then the mesh can wait for the last op.
        self.resets_late = False
        self.num_words = 0  # of all chunks, without those that frame a chunk
        self._code: list[bytes] = []
        self._words = 0
        self._sequence = 0
        self._relocations: list[Relocation] = []

    def put(self, name: str, **fields: int) -> None:
        """Append an instruction; a tile instruction gets its number, and all tiles by default."""
        opcode = OPCODES[name]
        layout = LAYOUTS[opcode]
        if layout.on_tiles:
            if self._words + layout.num_words > CHUNK_WORDS - _RESERVED_WORDS:
                self._continue_in_next_chunk()
            bits = 15 if name == "fence" else 14
            fields["seq"] = self._sequence % (1 << bits)
            fields.setdefault("tiles", ALL_TILES)
            self._sequence += 1
        if name == "n2w":
            self._count_rows(fields)
        elif layout.unit == "op" and fields.get("cfg1", 0) & 31 == NARROW_TO_WIDE:
            self._await_row(fields)
        try:
            self._code.append(encode_one(opcode, fields))
        except UsageError as error:
            raise Unsupported(f"a number does not fit into an instruction: {error}") from error
        self._words += layout.num_words
        self.num_words += layout.num_words
        if layout.unit == "op" and "loop0" in fields:
            self._count_cycles(fields)

    def _count_rows(self, copy: Fields) -> None:
        rows = 1
        for level in range(copy.get("tail", 0) >> 1, NARROW_DMA_LEVELS):
            rows *= copy.get(f"n_cnt{level}", 0) + 1
        for tile in tiles_of(copy["tiles"]):
            self.counters.rows_made[tile] += rows

    def _await_row(self, op: Fields) -> None:
        """Set which row of the copies to wide memory the op waits for: the next one, if any.

        The count and what each iteration adds lie across cfg1, sync0 and sync1.
        """
        tiles, counters = tiles_of(op["tiles"]), self.counters
        first = tiles[0]
        waits = op.get("par_rows", 0) > 0 or counters.rows_made[first] > 0
        count = counters.rows_used[first] + 1 if waits else 0
        op["cfg1"] = op["cfg1"] & 0xFF | (count & 3) << 8
        op["sync0"] = op["sync0"] & 0xC000 | count >> 2
        used = op["sync0"] >> 14 | (op["sync1"] & 0x3FFF) << 2
        for level in range(op["cfg1"] >> 5 & 7, OP_LEVELS):
            used *= op.get(f"loop{level}", 0) + 1
        for tile in tiles:
            counters.rows_used[tile] += used

    def _count_cycles(self, fields: Fields) -> None:
        cycles = 1
        for level in range(OP_LEVELS):
            cycles *= fields.get(f"loop{level}", 0) + 1
        for tile in range(NUM_TILES):
            self.cycles[tile] += cycles * (fields["tiles"] >> tile & 1)

    def put_by_tile(self, name: str, by_tile: Sequence[Fields | None]) -> None:
        """Append one instruction for each set of tiles with equal fields."""
        for mask, fields in same_fields(by_tile):
            self.put(name, **{**fields, "tiles": mask})

    def _continue_in_next_chunk(self) -> None:
        self.put("halt", code=1)
        for _ in range(4):
            self.alu()
        self._close()

    def _close(self) -> None:
        body = b"".join([*self._code, encode_one(OPCODES["end"], {"bits": 8 * WORD_BYTES})])
        start = encode_one(OPCODES["start"], {"bits": 8 * (len(body) - WORD_BYTES)})
        self.chunks.append(Chunk(start + body, tuple(self._relocations)))
        self._code, self._words, self._relocations = [], 0, []

    # The scalar core.

    def alu(self, **fields: int) -> None:
        """A bundle of the scalar core; without fields it does nothing."""
        self.put("alu", **fields)

    def move_immediate(self, register: int, value: int = 0) -> None:
        """``register = value``."""
        self.alu(alu_op=ALU["move"], immediate=1, x=register, imm=value)

    def move_address(
        self, high: int, low: int, description: Description, name: str = "", *, low_first: bool
    ) -> None:
        """Load the 64-bit address of a buffer, which the runtime writes into the program."""
        halves = [(high, Position.UPPER_32BIT), (low, Position.LOWER_32BIT)]
        for register, position in reversed(halves) if low_first else halves:
            # The `start` word, which is added last, counts too.
            bit = (self._words + 1) * 8 * WORD_BYTES + RELOCATED_BIT
            self._relocations.append(Relocation(description, name, position, bit))
            self.move_immediate(register)

    def move(self, register: int, source: int) -> None:
        """``register = source``, both registers."""
        self.alu(alu_op=ALU["move"], x=register, imm=source)

    def add_to_address(
        self, source: tuple[int, int], offset: int, result: tuple[int, int], scratch: int
    ) -> None:
        """``result = source + offset`` for (high, low) pairs; the carry goes through predicates."""
        high, low = source
        out_high, out_low = result
        add = ALU["add"]
        self.alu(alu_op=ALU["lt"], immediate=1, x=0, y=low)
        self.alu(alu_op=ALU["ne"], x=1, y=low, imm=low)
        self.alu(alu_op=ALU["and"], immediate=1, x=scratch, y=low, imm=0x7FFFFFFF)
        self.alu(
            gate=1, pred=0, polarity=1, alu_op=add, immediate=1, x=scratch, y=scratch, imm=offset
        )
        self.alu(gate=1, pred=0, polarity=1, alu_op=ALU["lt"], immediate=1, x=1, y=scratch)
        self.alu(alu_op=add, immediate=1, x=out_low, y=low, imm=offset)
        self.alu(alu_op=add, immediate=1, x=out_high, y=high)
        self.alu(gate=1, pred=1, polarity=1, alu_op=add, immediate=1, x=out_high, y=out_high, imm=1)

    def push_descriptor(self, low: int, high: int, size: int, tag: int, *, spare: int) -> None:
        """Start a host transfer of ``size`` bytes; also overwrites registers spare, spare + 1."""
        move, size_register, tag_register = ALU["move"], spare, spare + 1
        self.alu(vector=_PUSH_WORD, vector_slot=0, vector_from=low)
        self.alu(
            vector=_PUSH_WORD,
            vector_slot=1,
            vector_from=high,
            alu_op=move,
            immediate=1,
            x=size_register,
            imm=size,
        )
        self.alu(
            vector=_PUSH_WORD,
            vector_slot=2,
            vector_from=size_register,
            alu_op=move,
            immediate=1,
            x=tag_register,
            imm=tag,
        )
        self.alu(vector=_PUSH_WORD, vector_slot=3, vector_from=tag_register)
        self.alu(vector=_PUSH_DESCRIPTOR)

    # Synchronization.

    def scalar_sync(self, **fields: int) -> None:
        """The scalar core waits for counters."""
        self.put("scalar.sync", **{"units": 12, **fields})

    def wait_for_tokens(self, **fields: int) -> None:
        """The scalar core waits until every tile has passed a signalling fence."""
        self.scalar_sync(tiles=ALL_TILES, token_wait=1, token_tiles=ALL_TILES, **fields)

    def fence(self, **fields: int) -> None:
        """The tiles wait until their units have finished."""
        self.put("fence", **{"units": _EVERY_UNIT, **fields})
        if "units" not in fields and "tiles" not in fields:
            self.read_by_ops.clear()
        if fields.get("counters", 0) >> NARROW_TO_WIDE & 1:
            for tile in tiles_of(fields.get("tiles", ALL_TILES)):
                self.counters.rows_made[tile] = self.counters.rows_used[tile] = 0

    def signal(self, **fields: int) -> None:
        """A fence whose end the scalar core waits for."""
        self.fence(signal=1, **fields)
        self.wait_for_tokens()

    def reset(self) -> None:
        """Finish all units and set the tiles' counters to 0, except those of the ring producers."""
        self.fence(counters=_RESETTABLE)
        self.counters = Counters()
        self.resets_late = False

    def finish(self) -> None:
        """Reset if it is due."""
        if self.resets_late:
            self.reset()

    def restart_ring(self) -> None:
        """Wait for every packet of the ring producers; their counters begin again."""
        self.reset()
        thresholds = {"threshold5": self.packets_a, "wait": 0x20, "counters": 0x20}
        counters = 1 << RING_PRODUCER_A
        if self.packets_b:
            thresholds.update(threshold6=self.packets_b, wait=0x60, counters=0x60)
            counters |= 1 << RING_PRODUCER_B
        self.scalar_sync(tiles=ALL_TILES, **thresholds)
        self.signal(counters=counters)
        self.packets_a = self.packets_b = 0

    # The frame.

    def begin(self, *, caching: bool = False) -> None:
        """The first instructions: counters to 0, addresses of parameters and scratch memory."""
        self.fence(counters=(1 << NUM_COUNTERS) - 1, signal=1, **_caching_flag(caching))
        self.wait_for_tokens(counters=0x1FF, units=0x1F)
        self.move_address(0, 1, Description.BASE_ADDRESS_PARAMETER, low_first=True)
        if not caching:
            self.move_address(2, 3, Description.BASE_ADDRESS_SCRATCH, low_first=True)

    def end(self, *, caching: bool = False) -> None:
        """The last instructions: everything finished, then the interrupt for the host."""
        self.fence(signal=1, last=3, **_caching_flag(caching))
        self.wait_for_tokens()
        first = 2 if caching else 4
        self.move_immediate(first)
        self.move_immediate(first + 1)
        self.move(first + 2, first + 1)
        self.move(first + 3, first)
        self.push_descriptor(first + 2, first + 3, 0, INTERRUPT_TAG, spare=first + 4)
        self.put("halt", code=4)
        for _ in range(4):
            self.alu()
        self._close()


def _caching_flag(caching: bool) -> Fields:
    return {"caching": 1} if caching else {}
