# SPDX-License-Identifier: Apache-2.0
"""The instruction table, decode and encode."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.chip.isa import decode, disassemble, encode, encode_one
from edgekit.chip.isa.encode import make_instruction
from edgekit.chip.isa.table import LAYOUTS, WORD_BYTES, Layout
from edgekit.errors import ModelFormatError, UsageError
from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import read_model

_MAX_UNNAMED_SHARE = 0.0003


@st.composite
def _instruction_bytes(draw: st.DrawFn) -> bytes:
    layout = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    size = layout.num_words * WORD_BYTES
    code = int.from_bytes(draw(st.binary(min_size=size, max_size=size)), "little")
    opcode = next(field for field in layout.fields if field.name == "opcode")
    code = code & ~opcode.mask | layout.opcode << opcode.first_bit
    return code.to_bytes(size, "little")


@given(st.lists(_instruction_bytes(), max_size=6))
def test_encode_restores_any_decoded_bits(parts: list[bytes]) -> None:
    bitstream = b"".join(parts)
    assert encode(decode(bitstream)) == bitstream


@given(_instruction_bytes())
def test_any_instruction_has_a_line_of_assembly(content: bytes) -> None:
    (line,) = disassemble(decode(content))
    assert line


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_no_bit_belongs_to_two_fields(layout: Layout) -> None:
    seen = 0
    for field in layout.fields:
        assert not seen & field.mask, field.name
        seen |= field.mask
    assert seen < 1 << (8 * WORD_BYTES * layout.num_words)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_field_names_are_unique(layout: Layout) -> None:
    names = [field.name for field in layout.fields]
    assert len(names) == len(set(names))


def test_a_set_bit_outside_every_field_is_kept_and_printed() -> None:
    halt = int.from_bytes(encode_one(0x21, {"code": 4}), "little") | 1 << 100
    content = halt.to_bytes(WORD_BYTES, "little")
    (instruction,) = decode(content)
    assert instruction.rest == 1 << 100
    assert "unnamed=" in next(disassemble([instruction]))
    assert encode([instruction]) == content


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_a_bit_that_no_field_names_is_printed_with_every_instruction(layout: Layout) -> None:
    free = ~layout.named_bits & ((1 << (8 * WORD_BYTES * layout.num_words)) - 1)
    if not free:
        return
    bit = 1 << (free.bit_length() - 1)
    (line,) = disassemble(decode(encode_one(layout.opcode, {}, bit)))
    assert line.endswith(f" unnamed={bit:#x}")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"load": 1, "load_to": 4, "load_from": 31, "load_inc": 1, "load_rest": 63}, "s4 = [4095]"),
        ({"load": 2, "load_to": 4, "load_from": 7, "load_inc": 1}, "s4 = [s7]"),
        ({"load": 3, "load_to": 4, "load_from": 7, "load_inc": 1}, "s4 = [s7++]"),
        ({"vector": 2, "vector_slot": 254, "vector_cmd": 15, "vector_from": 4}, "[4094] = s4"),
        ({"vector": 6, "vector_slot": 39, "vector_from": 4}, "[s7++] = s4"),
    ],
)
def test_scalar_memory_is_printed_at_the_word_that_is_read_or_written(
    fields: dict[str, int], text: str
) -> None:
    (line,) = disassemble(decode(encode_one(0x20, fields)))
    assert line.endswith(text)


def test_an_unknown_opcode_stops_with_its_program_counter() -> None:
    content = encode_one(0x21, {}) + (0x3A << 6).to_bytes(WORD_BYTES, "little")
    with pytest.raises(ModelFormatError) as caught:
        decode(content)
    assert "pc 1" in caught.value.where
    assert "opcode" in caught.value.where


@pytest.mark.parametrize("opcode", [0x01, 0x14, 0x26])
def test_a_bitstream_that_ends_within_an_instruction_stops(opcode: int) -> None:
    with pytest.raises(ModelFormatError):
        decode(encode_one(opcode, {})[:-WORD_BYTES])


def test_half_a_word_stops() -> None:
    with pytest.raises(ModelFormatError):
        decode(b"\0" * 17)


def test_a_value_that_does_not_fit_its_field_is_refused() -> None:
    with pytest.raises(UsageError, match="channels"):
        encode_one(0x01, {"channels": 64})


def test_signed_fields_take_negative_values() -> None:
    (instruction,) = decode(encode_one(0x01, {"in_inc0": -5, "offset": -(1 << 31)}))
    assert instruction["in_inc0"] == -5
    assert instruction["offset"] == -(1 << 31)


def test_a_made_instruction_is_the_decoded_one() -> None:
    for opcode, layout in LAYOUTS.items():
        signed = {each.name: -1 if each.signed else 1 for each in layout.fields[1::3]}
        given = {name: value for name, value in signed.items() if name != "opcode"}
        made = make_instruction(opcode, given)
        (decoded,) = decode(encode_one(opcode, given))
        assert (made, made.fields) == (decoded, decoded.fields)


def test_an_instruction_whose_value_does_not_fit_is_not_made() -> None:
    with pytest.raises(UsageError, match="channels"):
        make_instruction(0x01, {"channels": 64})


@pytest.mark.corpus
def test_every_bitstream_of_the_corpus_is_decoded_and_restored(corpus: Path) -> None:
    words = unnamed = 0
    for path in sorted(corpus.glob("compiled/**/*_edgetpu.tflite")):
        for each in read_packages(read_model(path.read_bytes())):
            for executable in each.package.executables:
                for chunk in executable.instruction_bitstreams:
                    content = chunk.bitstream.tobytes()
                    instructions = decode(content)
                    assert encode(instructions) == content, path
                    words += len(content) // WORD_BYTES
                    unnamed += sum(1 for each in instructions if each.rest)
    assert words > 200_000
    assert unnamed <= words * _MAX_UNNAMED_SHARE


@pytest.mark.corpus
def test_tile_instructions_are_numbered_without_gaps(corpus: Path) -> None:
    """The sequence numbers show that the framing is right."""
    for path in sorted(corpus.glob("compiled/**/*_edgetpu.tflite")):
        for each in read_packages(read_model(path.read_bytes())):
            for executable in each.package.executables:
                numbers = [
                    instruction["seq"]
                    for chunk in executable.instruction_bitstreams
                    for instruction in decode(chunk.bitstream.tobytes())
                    if instruction.layout.on_tiles
                ]
                assert numbers == list(range(len(numbers))), path
