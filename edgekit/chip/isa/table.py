# SPDX-License-Identifier: Apache-2.0
"""The table of instruction layouts: the only place where the bits of a field are defined.

Words have 128 bits, little-endian; bit 0 is the lowest bit of byte 0 of an instruction's first
word. Bits 6 to 11 of the first word are the opcode, which also decides the length.

Sources: the layouts published with tinycoral (github.com/FrederikRogalski/tinycoral, docs/isa),
refined on compiled models until decode and encode were exact and ``seq`` counted 0, 1, 2, ...
"""

from __future__ import annotations

from dataclasses import dataclass

WORD_BYTES = 16
OPCODE_FIRST_BIT, OPCODE_BITS = 6, 6


@dataclass(frozen=True)
class Field:
    """A named run of bits; a signed one is two's complement."""

    name: str
    first_bit: int
    width: int
    signed: bool = False

    @property
    def mask(self) -> int:
        """The field's bits within the instruction."""
        return ((1 << self.width) - 1) << self.first_bit


@dataclass(frozen=True)
class Layout:
    """An opcode: its name in assembly, its length, the unit that runs it, and its fields."""

    opcode: int
    name: str
    num_words: int
    unit: str  # one in-order queue in each tile: "op", "w2n", ...; not "scalar" and "control"
    fields: tuple[Field, ...]

    @property
    def named_bits(self) -> int:
        """The bits that belong to a field."""
        bits = 0
        for field in self.fields:
            bits |= field.mask
        return bits

    @property
    def on_tiles(self) -> bool:
        """Whether tiles run it: it has a tile mask and a sequence number."""
        return self.unit not in {"scalar", "control"}


def _fields(*rows: tuple[str, int, int] | tuple[str, int, int, bool]) -> tuple[Field, ...]:
    return tuple(Field(*row) for row in rows)


_HEADER = _fields(
    ("gate", 0, 1), ("pred", 1, 3), ("polarity", 4, 1), ("opcode", OPCODE_FIRST_BIT, OPCODE_BITS)
)
_TILES = (*_HEADER, Field("tiles", 12, 16))
# A scalar register may replace an address and the tiles.
_REGISTERS = _fields(("n_addr_reg", 28, 5), ("tiles_reg", 33, 5), ("tiles_reg_en", 38, 1))


def _walk(
    prefix: str, first_bit: int, dims: int, inc_bits: int, count_bits: int
) -> tuple[Field, ...]:
    """Return ``dims`` pairs: a signed increment and an iteration count minus 1, innermost first."""
    fields = []
    for dim in range(dims):
        at = first_bit + dim * (inc_bits + count_bits)
        fields.append(Field(f"{prefix}inc{dim}", at, inc_bits, signed=True))
        fields.append(Field(f"{prefix}cnt{dim}", at + inc_bits, count_bits))
    return tuple(fields)


def _fine_walk(
    prefix: str, base: int, base_bits: int, inc_bits: int, count_bits: int
) -> tuple[Field, ...]:
    """Return an op's address generator: base, then eight dims with two more low increment bits.

    The low bits of increment k are before its dim: after the base for k = 0, else after the
    count of dim k - 1. A flag follows dim 7.
    """
    at = base + base_bits
    fields = [Field(f"{prefix}base", base, base_bits), Field(f"{prefix}lo0", at, 2)]
    for dim in range(8):
        at += 2
        fields.append(Field(f"{prefix}inc{dim}", at, inc_bits, signed=True))
        at += inc_bits
        fields.append(Field(f"{prefix}cnt{dim}", at, count_bits))
        at += count_bits
        fields.append(Field(f"{prefix}lo{dim + 1}" if dim < 7 else f"{prefix}flag", at, 2))
    return tuple(fields)


def _sync_records(prefix: str, first_bit: int, number: int) -> tuple[Field, ...]:
    """42-bit records of a tile DMA: the counter it waits for, and the count to reach."""
    fields: list[Field] = []
    for k in range(number):
        at = first_bit + 42 * k
        fields += _fields(
            (f"{prefix}{k}_en0", at, 1),
            (f"{prefix}{k}_f1", at + 1, 1),
            (f"{prefix}{k}_f2", at + 2, 1),
            (f"{prefix}{k}_f3", at + 3, 1),
            (f"{prefix}{k}_id", at + 4, 5),
            (f"{prefix}{k}_level", at + 9, 2),
            (f"{prefix}{k}_f11", at + 11, 1),
            (f"{prefix}{k}_en1", at + 12, 1),
            (f"{prefix}{k}_val", at + 13, 29),
        )
    return tuple(fields)


def _wait_record(prefix: str, at: int, id_bits: int, value_bits: int) -> tuple[Field, ...]:
    """A record of a ring producer or a mesh transfer: counter and value."""
    return _fields(
        (f"{prefix}id", at, id_bits),
        (f"{prefix}val", at + id_bits, value_bits, True),
        (f"{prefix}en_a", at + id_bits + value_bits, 1),
        (f"{prefix}x", at + id_bits + value_bits + 1, 15),
        (f"{prefix}en_b", at + id_bits + value_bits + 16, 1),
    )


def _descriptor(prefix: str, offset: int, stride_bits: int) -> tuple[Field, ...]:
    """The common fields of ring and mesh transfers: address, four dims, buffer, last group."""
    return (
        Field(f"{prefix}addr", 60 + offset, 18),
        *_walk(prefix, 78 + offset, 4, 17, 16),
        *_fields(
            (f"{prefix}levels", 210 + offset, 4),
            (f"{prefix}circular", 214 + offset, 2),
            (f"{prefix}slots", 216 + offset, 11),
            (f"{prefix}group", 233 + offset, 10),
            (f"{prefix}group_stride", 249 + offset, stride_bits),
        ),
    )


_OP = (
    *_TILES,
    Field("seq", 46, 16),
    *(Field(f"loop{k}", 62 + 14 * k, 14) for k in range(8)),
    *_fields(("last_loop", 174, 14), ("last_loop_mode", 188, 2)),
    *_fine_walk("in_", 191, 18, 17, 18),
    *_fields(("in_levels", 507, 8), ("in_ring_bytes", 515, 20)),
    *_fields(("in_last_en", 535, 1), ("in_last", 536, 38)),
    *_fine_walk("out_", 574, 18, 17, 18),
    *_fields(
        ("out_levels", 890, 4),
        ("out_last_inc", 901, 17, True),
        ("out_last_cnt", 918, 18),
        ("out_last_mode", 936, 3),
        ("out_last_skip", 939, 18),
    ),
    *_fine_walk("par_", 957, 14, 13, 14),
    *_fields(
        ("par_levels", 1205, 8),
        ("par_circular", 1213, 1),
        ("par_rows", 1216, 13),
        ("par_last_en", 1229, 1),
        ("par_last", 1230, 30),
    ),
    *_fine_walk("psum_", 1260, 14, 13, 14),
    *_fields(("psum_levels", 1508, 15), ("psum_last", 1523, 40)),
    *_fields(("cfg0", 1563, 9), ("cfg1", 1578, 10)),
    *(Field(f"sync{k}", 1588 + 16 * k, 16) for k in range(5)),
    *_fields(
        ("cfg2", 1843, 5),
        ("cfg3", 1850, 4),
        ("w_zp", 1854, 16),
        ("in_zp", 1870, 16),
        ("zp_row_last", 1886, 12),
        ("zp_row_step", 1898, 12),
        ("zp_row_first", 1910, 13),
        ("group_level", 1923, 3),
        ("reduce", 1926, 8),
        ("channels_last", 1934, 6),
        ("channels", 1940, 6),
        ("nlu", 1946, 3),
        ("mult", 1949, 32),
        ("clamp_max", 1981, 32),
        ("clamp_min", 2013, 32),
        ("offset", 2045, 32, True),
        ("out_zp", 2077, 16),
        ("bias", 2093, 1),
        ("per_channel", 2094, 1),
        ("odd", 2095, 2),
    ),
)
_RING_PRODUCER = (
    *_TILES,
    *_REGISTERS,
    Field("seq", 46, 14),
    *_descriptor("", 0, 18),
    *_fields(("mode", 335, 2), ("config", 337, 6)),
    *_wait_record("r0_", 343, 7, 16),
    *_wait_record("r1_", 384, 7, 16),
    *_wait_record("r2_", 425, 7, 16),
    *_fields(("to_consumer1", 466, 1), ("dest", 467, 17)),
)
_RING_CONSUMER = (
    *_TILES,
    Field("seq", 46, 14),
    *_descriptor("", 0, 18),
    *_fields(
        ("header_en", 267, 1),
        ("header_level", 268, 2),
        ("header_addr", 270, 16),
        ("header_rows", 286, 2),
        ("header_last_flags", 300, 2),
        ("header_last", 302, 16),
        ("header_bias", 318, 1),
        ("header_per_channel", 319, 1),
        ("mode", 335, 2),
        ("s_id", 339, 7),
        ("s_val", 346, 16, True),
        ("s_en_a", 362, 1),
        ("s_cnt", 368, 10),
        ("s_en_b", 378, 1),
        ("s_y", 379, 1),
    ),
)
_MESH = (
    *_TILES,
    Field("seq", 46, 14),
    *_descriptor("o_", 0, 16),
    *_descriptor("i_", 205, 19),
    *_fields(("o_mode", 473, 4), ("i_mode", 477, 3)),
    *(field for k in range(5) for field in _wait_record(f"s{k}_", 480 + 41 * k, 6, 18)),
    *_fields(("fill_en", 727, 1), ("fill", 728, 32)),
)
_NARROW_TO_WIDE = (
    *_TILES,
    *_REGISTERS,
    *_fields(("seq", 46, 14), ("n_addr", 60, 18)),
    *_walk("n_", 78, 6, 17, 16),
    *_fields(("n_levels", 276, 6), ("n_last", 282, 53), ("w_addr", 335, 14)),
    *_walk("w_", 353, 4, 17, 16),
    *_fields(
        ("w_levels", 485, 4), ("w_circular", 489, 1), ("w_rows", 491, 11), ("w_last", 502, 40)
    ),
    Field("n_addr_reg_en", 542, 1),
    *_sync_records("s", 543, 6),
    *_fields(("transpose", 799, 1), ("tail", 800, 4)),
)
_WIDE_TO_NARROW = (
    *_TILES,
    *_fields(("seq", 46, 14), ("w_addr", 60, 14)),
    *_walk("w_", 78, 4, 17, 16),
    *_fields(
        ("w_levels", 210, 4),
        ("w_circular", 214, 1),
        ("w_rows", 216, 11),
        ("group", 233, 10),
        ("group_stride", 249, 18),
        ("n_addr", 267, 16),
    ),
    *_walk("n_", 283, 6, 17, 16),
    *_fields(
        ("n_levels", 481, 6),
        ("mode", 487, 2),
        ("slot", 489, 18),
        ("head", 507, 16),
        ("head_en", 523, 1),
        ("head_tail", 524, 18, True),
        ("skip_en", 542, 3),
        ("skip_base", 546, 16),
        ("skip", 562, 16),
        ("skip_end", 578, 16),
        ("s0_en0", 611, 1),
        ("s0_f1", 612, 1),
        ("s0_f2", 613, 1),
        ("s0_id", 615, 5),
        ("s0_level", 620, 2),
        ("s0_en1", 623, 1),
        ("s0_val", 624, 31),
        ("s0_en2", 655, 1),
        ("s0_f45", 656, 1),
        ("s0_dec_level", 662, 2),
        ("s0_dec", 665, 32, True),
        ("s0_dec_mode", 697, 2),
        ("scaling", 867, 1),
        ("tail", 870, 3),
    ),
)
_NLU_LOAD = (
    *_TILES,
    Field("seq", 46, 16),
    *(Field(f"c{k}", 62 + 32 * k, 32) for k in range(40)),
    *(Field(f"b{k}", 62 + 32 * (40 + k), 32) for k in range(7)),
    *_fields(("mode", 1566, 32), ("slot48", 1598, 32), ("slot49", 1630, 32)),
)
_TILE_FENCE = (
    *_TILES,
    *_fields(
        ("seq", 28, 15),
        ("caching", 43, 1),
        ("counters", 44, 19),
        ("count", 63, 16),
        ("units", 79, 10),
        ("group", 89, 18),
        ("signal", 107, 1),
        ("last", 109, 2),
    ),
)
_SCALAR_SYNC = (
    *_HEADER,
    *_fields(("tiles", 12, 16), ("counters", 32, 11), ("value", 43, 13), ("token_wait", 57, 1)),
    Field("token_tiles", 73, 16),
    *(Field(f"threshold{k}", 93 + 16 * k, 16) for k in range(9)),
    *_fields(("wait", 237, 9), ("units", 246, 5)),
)
_POP = (
    *_HEADER,
    *_fields(("stream", 12, 1), ("flags13", 13, 11)),
    *_walk("", 28, 3, 16, 15),
    *_fields(
        ("k121", 121, 1),
        ("k124", 124, 1),
        ("parameters", 136, 1),
        ("activations", 140, 1),
        ("last", 142, 14),
        ("last_en", 157, 1),
        ("last_neg", 159, 14),
        ("k174", 174, 1),
        ("k177", 177, 1),
        ("k178", 178, 1),
        ("k183", 183, 1),
        ("rows_neg", 184, 15),
        ("k199", 199, 1),
        ("k215", 215, 1),
    ),
)
_INFEED = (
    *_HEADER,
    *_fields(("stream", 12, 1), ("from_scalar", 13, 1), ("offset", 14, 20)),
    *_walk("", 34, 3, 21, 20),
    *_fields(
        ("k157", 157, 1),
        ("k160", 160, 1),
        ("k168", 168, 1),
        ("parameters", 172, 1),
        ("activations", 176, 1),
        ("last", 183, 14),
        ("last_en", 203, 1),
        ("last_neg", 205, 14),
        ("k308", 308, 2),
        ("k311", 311, 1),
        ("k314", 314, 1),
        ("k315", 315, 2),
        ("pop_wait", 320, 16),
        ("k336", 336, 1),
        ("k352", 352, 1),
        ("k353", 353, 39),
        ("k392", 392, 1),
        ("tiles", 409, 16),
        ("row", 434, 4),
        ("lanes", 438, 2),
    ),
)
_OUTFEED = (
    *_HEADER,
    Field("base", 12, 15),
    *_walk("", 27, 3, 16, 15),
    *_fields(
        ("inc3", 120, 16),
        ("k173", 173, 2),
        ("k178", 178, 1),
        ("k182", 182, 1),
        ("last_neg", 184, 15),
        ("k214", 214, 1),
        ("flags", 222, 7),
    ),
)
_ALU = (
    *_HEADER,
    *_fields(
        ("load", 12, 2),
        ("load_to", 14, 5),
        ("load_from", 19, 5),
        ("load_inc", 24, 1),
        ("load_rest", 25, 6),
        ("vector", 31, 5),
        ("vector_slot", 36, 8),
        ("vector_cmd", 44, 5),
        ("vector_from", 49, 5),
        ("alu_op", 54, 5),
        ("immediate", 59, 1),
        ("x", 60, 5),
        ("y", 65, 5),
        ("imm", 70, 32),
        ("special", 102, 3),
        ("special_from", 105, 5),
        ("special_to", 110, 5),
    ),
)

# Opcode -> layout. All other code of the package uses this table.
LAYOUTS = {
    layout.opcode: layout
    for layout in (
        Layout(0x01, "op", 17, "op", _OP),
        Layout(0x02, "op.max", 17, "op", _OP),
        Layout(0x03, "op.sum", 17, "op", _OP),
        Layout(0x05, "op.resize", 17, "op", _OP),
        Layout(0x10, "ring.send", 4, "ring_send", _RING_PRODUCER),
        Layout(0x11, "ring.recv0", 4, "ring_recv0", _RING_CONSUMER),
        Layout(0x12, "ring.recv1", 4, "ring_recv1", _RING_CONSUMER),
        Layout(0x13, "n2w", 7, "n2w", _NARROW_TO_WIDE),
        Layout(0x14, "w2n", 7, "w2n", _WIDE_TO_NARROW),
        Layout(0x15, "mesh.south", 6, "mesh_south", _MESH),
        Layout(0x16, "mesh.west", 6, "mesh_west", _MESH),
        Layout(0x17, "mesh.north", 6, "mesh_north", _MESH),
        Layout(0x18, "mesh.east", 6, "mesh_east", _MESH),
        Layout(0x19, "nlu.load", 13, "op", _NLU_LOAD),
        Layout(0x1A, "fence", 1, "fence", _TILE_FENCE),
        Layout(0x20, "alu", 1, "scalar", _ALU),
        Layout(0x21, "halt", 1, "control", (*_HEADER, Field("code", 14, 5))),
        Layout(
            0x22,
            "branch",
            1,
            "control",
            (*_HEADER, *_fields(("cond", 12, 5), ("offset", 17, 15, True), ("k33", 33, 1))),
        ),
        Layout(
            0x23, "loop", 1, "control", (*_HEADER, *_fields(("count", 12, 16), ("body", 28, 5)))
        ),
        Layout(0x24, "scalar.sync", 2, "scalar", _SCALAR_SYNC),
        Layout(0x25, "pop", 2, "scalar", _POP),
        Layout(0x26, "infeed", 4, "scalar", _INFEED),
        Layout(0x27, "outfeed", 2, "scalar", _OUTFEED),
        Layout(0x3E, "start", 1, "control", (*_HEADER, Field("bits", 19, 32))),
        Layout(0x3F, "end", 1, "control", (*_HEADER, Field("bits", 19, 32))),
    )
}
# The 32-bit immediate of a scalar MOVI, which relocations patch, starts at this bit of its word.
RELOCATED_BIT = next(field.first_bit for field in _ALU if field.name == "imm")
