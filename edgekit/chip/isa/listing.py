# SPDX-License-Identifier: Apache-2.0
"""A compiled model's programs as assembly, with the package's own data about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Iterator, Mapping

from edgekit.chip.isa.decode import Instruction, decode
from edgekit.chip.isa.disassemble import text
from edgekit.chip.isa.table import RELOCATED_BIT, WORD_BYTES
from edgekit.errors import UnsupportedModelError
from edgekit.formats.darwinn import (
    Description,
    DmaDescriptorHint,
    DmaHint,
    Executable,
    InstructionBitstream,
    InstructionHint,
    InterruptHint,
    Position,
    read_packages,
)
from edgekit.formats.model_file import PROGRAM, read_model_file
from edgekit.result import Result

if TYPE_CHECKING:
    from edgekit.files import PathLike

_WORD_BITS = 8 * WORD_BYTES
_KINDS = {
    Description.BASE_ADDRESS_OUTPUT_ACTIVATION: "output",
    Description.BASE_ADDRESS_INPUT_ACTIVATION: "input",
    Description.BASE_ADDRESS_PARAMETER: "parameters",
    Description.BASE_ADDRESS_SCRATCH: "scratch",
}


@dataclass(frozen=True)
class Line(Result):
    """One instruction: ``fields`` are those that are not 0, by their names in the table."""

    pc: int  # index of its first word in the bitstream
    name: str
    text: str
    fields: Mapping[str, int]
    unnamed_bits: tuple[int, ...]  # set bits outside every field
    label: str  # the address that a relocation puts into it; empty for most


@dataclass(frozen=True)
class Listing(Result):
    """One bitstream."""

    num_words: int
    num_unnamed_words: int  # words with a set bit outside every field
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class ProgramListing(Result):
    """One executable: its transfer schedule and its bitstreams."""

    operator_index: int
    type: str
    hints: tuple[str, ...]
    bitstreams: tuple[Listing, ...]


@dataclass(frozen=True)
class DisasmResult(Result):
    """Every program of a compiled model."""

    schema: ClassVar[str] = "edgekit.disasm/1"
    model: str
    sha256: str
    programs: tuple[ProgramListing, ...]

    @property
    def num_words(self) -> int:
        """The number of words of all bitstreams."""
        return sum(each.num_words for program in self.programs for each in program.bitstreams)

    @property
    def num_unnamed_words(self) -> int:
        """Words with a set bit outside every field."""
        return sum(
            each.num_unnamed_words for program in self.programs for each in program.bitstreams
        )


def disasm(model: PathLike) -> DisasmResult:
    """Read a compiled model and return its programs, disassembled.

    Raises:
        InputError: The model cannot be read.
        ModelFormatError: The model, its package or a bitstream is damaged.
        UnsupportedModelError: The model is not compiled for the Edge TPU.
    """
    file = read_model_file(model, PROGRAM)
    packages = read_packages(file.model)
    if not packages:
        raise UnsupportedModelError(
            "the model does not contain a program for the Edge TPU",
            where=str(model),
            fix="give a compiled model; their names end with _edgetpu.tflite",
        )
    programs = tuple(
        _program(executable, each.operator_index)
        for each in packages
        for executable in each.package.executables
    )
    return DisasmResult(str(model), file.sha256, programs)


def _program(executable: Executable, operator_index: int) -> ProgramListing:
    return ProgramListing(
        operator_index,
        executable.type.name,
        tuple(_hint(hint) for hint in executable.dma_hints),
        tuple(_listing(chunk) for chunk in executable.instruction_bitstreams),
    )


def _listing(chunk: InstructionBitstream) -> Listing:
    labels = relocation_labels(chunk)
    lines = tuple(
        _line(each, labels.get(each.pc, "")) for each in decode(chunk.bitstream.tobytes())
    )
    unnamed = sum(len({bit // _WORD_BITS for bit in line.unnamed_bits}) for line in lines)
    return Listing(chunk.bitstream.size // WORD_BYTES, unnamed, lines)


def _line(instruction: Instruction, label: str) -> Line:
    rest = instruction.rest
    return Line(
        instruction.pc,
        instruction.layout.name,
        text(instruction),
        {name: value for name, value in instruction.fields.items() if value},
        tuple(bit for bit in range(rest.bit_length()) if rest >> bit & 1),
        label,
    )


def relocation_labels(chunk: InstructionBitstream) -> dict[int, str]:
    """Return the address that the runtime patches into a word, by program counter."""
    labels = {}
    for each in chunk.field_offsets:
        pc, bit = divmod(each.offset_bit, _WORD_BITS)
        half = "lower" if each.meta.position is Position.LOWER_32BIT else "upper"
        name = f" {each.meta.name!r}" if each.meta.name else ""
        odd = "" if bit == RELOCATED_BIT else f" at bit {bit}"
        labels[pc] = f"{half} address of {_KINDS[each.meta.desc]}{name}{odd}"
    return labels


def _hint(hint: DmaHint) -> str:
    step = hint.any_hint
    if isinstance(step, DmaDescriptorHint):
        name = f" {step.meta.name!r}" if step.meta.name else ""
        at = f" from byte {step.offset_in_bytes}" if step.offset_in_bytes else ""
        way = "to the device" if hint.direction == 0 else "to the host"
        return f"{_KINDS[step.meta.desc]}{name}: {step.size_in_bytes} bytes{at} {way}"
    if isinstance(step, InstructionHint):
        return f"instructions: bitstream {step.instruction_chunk_index} to the device"
    if isinstance(step, InterruptHint):
        return f"interrupt {step.type}"
    return "fence"


def render(result: DisasmResult) -> Iterator[str]:
    """Yield the listing as text, line by line."""
    for program in result.programs:
        yield f"operator {program.operator_index}, {program.type}"
        for hint in program.hints:
            yield f"  host  {hint}"
        for number, listing in enumerate(program.bitstreams):
            unnamed = listing.num_unnamed_words
            note = f", {unnamed} with unnamed bits" if unnamed else ""
            yield f"bitstream {number}: {listing.num_words} words{note}"
            depth: list[int] = []
            for line in listing.lines:
                label = f"  ; {line.label}" if line.label else ""
                yield f"{line.pc:6}  {'  ' * len(depth)}{line.text}{label}"
                depth = [left - 1 for left in depth if left > 1]
                if line.name == "loop":
                    depth.append(line.fields.get("body", 0))
        yield ""
