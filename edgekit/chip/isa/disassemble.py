# SPDX-License-Identifier: Apache-2.0
"""Instructions as assembly text: addresses, loop nests, every other field that is not 0."""

from __future__ import annotations

from typing import Iterator, Mapping, Sequence

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.slots import LOAD_AT, LOAD_NEXT, STORE_AT, load_word, store_word
from edgekit.chip.isa.walks import Walk, as_float, coarse_walk, fine_walk

# Tile sync counters in the order of the chip's registers (tinycoral, docs/isa/scalar.md).
COUNTERS = (
    "AVDATA", "PARAMETERS", "PARTIAL_SUMS",
    "MESH_NORTH_IN", "MESH_EAST_IN", "MESH_SOUTH_IN", "MESH_WEST_IN",
    "MESH_NORTH_OUT", "MESH_EAST_OUT", "MESH_SOUTH_OUT", "MESH_WEST_OUT",
    "WIDE_TO_NARROW", "WIDE_TO_SCALING", "NARROW_TO_WIDE",
    "RING_READ_A", "RING_READ_B", "RING_WRITE", "RING_PRODUCER_A", "RING_PRODUCER_B",
)  # fmt: skip
_ALU_NAMES = (
    "nop", "add", "sub", "and", "or", "xor", "shl", "shr", "asr", "eq", "ne", "gt", "lt", "ge",
    "ges", "mov", "i2f", "f2i", "fadd", "fsub", "fmul", "fmax", "fmin",
)  # fmt: skip
_COMPARES = range(9, 15)
# Name -> (prefix, dims, address field, unit of an increment) of each walk except those of ops.
_WALKS = {
    "ring.send": (("", 4, "addr", 4),),
    "ring.recv0": (("", 4, "addr", 4),),
    "ring.recv1": (("", 4, "addr", 4),),
    "n2w": (("n_", 6, "n_addr", 4), ("w_", 4, "w_addr", 4)),
    "w2n": (("w_", 4, "w_addr", 4), ("n_", 6, "n_addr", 1)),
    "pop": (("", 3, "", 1),),
    "infeed": (("", 3, "offset", 1),),
    "outfeed": (("", 3, "base", 1),),
    **{f"mesh.{side}": (("o_", 4, "o_addr", 4), ("i_", 4, "i_addr", 4))
       for side in ("south", "west", "north", "east")},
}  # fmt: skip
_FLOATS = frozenset({"mult", "clamp_max", "clamp_min"})
_HEX = frozenset({"fill", "imm", "mode", "dest"})


def disassemble(
    instructions: Sequence[Instruction], labels: Mapping[int, str] | None = None
) -> Iterator[str]:
    """Yield one line for each instruction; ``labels`` are comments by program counter."""
    depth: list[int] = []
    for each in instructions:
        line = f"{each.pc:6}  {'  ' * len(depth)}{text(each)}"
        label = (labels or {}).get(each.pc)
        yield f"{line}  ; {label}" if label else line
        depth = [left - 1 for left in depth if left > 1]
        if each.layout.name == "loop":
            depth.append(each["body"])


def text(instruction: Instruction) -> str:
    """Return an instruction as text, without its program counter."""
    unnamed = f" unnamed={instruction.rest:#x}" if instruction.rest else ""
    if instruction.layout.name == "alu":
        return _alu(instruction) + unnamed
    return " ".join(_parts(instruction)) + unnamed


def _parts(instruction: Instruction) -> list[str]:
    name = instruction.layout.name
    parts = [name]
    if "tiles" in instruction.fields and instruction.layout.on_tiles:
        parts.append(f"tiles={instruction['tiles']:04x}")
    walks, used = _walk_texts(instruction)
    parts += walks
    if name == "nlu.load":
        parts.append(_spline(instruction))
        used |= {
            f.name for f in instruction.layout.fields if f.name[0] in "cb" and f.name != "mode"
        }
    used |= {"opcode", "tiles"} if instruction.layout.on_tiles else {"opcode"}
    parts += _rest_of_fields(instruction, used)
    return parts


def _walk_texts(instruction: Instruction) -> tuple[list[str], set[str]]:
    name = instruction.layout.name
    texts, used = [], set()
    if name.startswith("op"):
        loops = [instruction[f"loop{k}"] + 1 for k in range(8)]
        reduced = instruction["reduce"]
        nest = [f"{n}{'*' * (reduced >> k & 1)}" for k, n in enumerate(loops)]
        texts.append(f"loops {'x'.join(_cut(nest, '1'))}")
        used |= {f"loop{k}" for k in range(8)} | {"reduce"}
        for prefix in ("in_", "par_", "out_", "psum_"):
            texts.append(f"{prefix[:-1]} {_walk(fine_walk(instruction, prefix))}")
            used |= {f"{prefix}{part}{k}" for part in ("inc", "cnt", "lo") for k in range(8)}
            used.add(f"{prefix}base")
        return texts, used
    for prefix, dims, address, unit in _WALKS.get(name, ()):
        base = instruction[address] if address else 0
        walk = coarse_walk(instruction, prefix, dims, base, unit=unit)
        texts.append(f"{prefix[:-1] or 'at'} {_walk(walk)}")
        used |= {f"{prefix}{part}{k}" for part in ("inc", "cnt") for k in range(dims)} | {address}
    return texts, used


def _walk(walk: Walk) -> str:
    """Return base and ``count(stride)`` of each level, innermost first, without trailing 1s."""
    levels = [f"{n}({s:+d})" if n > 1 else "1" for s, n in zip(walk.strides, walk.counts)]
    return f"{walk.base:#x}[{' '.join(_cut(levels, '1'))}]"


def _cut(parts: list[str], end: str) -> list[str]:
    while len(parts) > 1 and parts[-1] == end:
        parts = parts[:-1]
    return parts


def _rest_of_fields(instruction: Instruction, used: set[str]) -> Iterator[str]:
    for field in instruction.layout.fields:
        value = instruction[field.name]
        if not value or field.name in used:
            continue
        if field.name in _FLOATS:
            yield f"{field.name}={float(as_float(value)):.9g}"
        elif field.name == "counters" and instruction.layout.on_tiles:
            yield f"counters={_counters(value)}"
        elif field.name in _HEX or field.name in {"units", "tiles", "token_tiles", "counters"}:
            yield f"{field.name}={value:#x}"
        else:
            yield f"{field.name}={value}"


def _counters(mask: int) -> str:
    if mask == (1 << len(COUNTERS)) - 1:
        return "ALL"
    return "|".join(name for k, name in enumerate(COUNTERS) if mask >> k & 1)


def _spline(instruction: Instruction) -> str:
    breaks = ", ".join(f"{float(as_float(instruction[f'b{k}'])):.6g}" for k in range(7))
    return f"spline of 8 quartics, breaks ({breaks})"


def _alu(instruction: Instruction) -> str:
    """Return a bundle: its slots in the order of the scalar core's fields."""
    slots = []
    guard = f"[{'' if instruction['polarity'] else '!'}p{instruction['pred']}] "
    op = instruction["alu_op"]
    if op:
        name = _ALU_NAMES[op] if op < len(_ALU_NAMES) else f"op{op}"
        operand = (
            f"{instruction['imm']:#x}"
            if instruction["immediate"]
            else f"s{instruction['imm'] & 31}"
        )
        target = f"p{instruction['x'] & 7}" if op in _COMPARES else f"s{instruction['x']}"
        source = "" if name in {"mov", "i2f", "f2i"} else f"s{instruction['y']}, "
        slots.append(f"{name} {target} = {source}{operand}")
    if instruction["load"]:
        slots.append(f"load s{instruction['load_to']} = [{_load_address(instruction)}]")
    if instruction["vector"]:
        slots.append(_vector(instruction))
    if instruction["special"]:
        name = {2: "reciprocal", 3: "exp2"}.get(instruction["special"], "special")
        slots.append(f"{name} s{instruction['special_to']} = s{instruction['special_from']}")
    return f"{guard if instruction['gate'] else ''}{'; '.join(slots) or 'nop'}"


def _load_address(instruction: Instruction) -> str:
    if instruction["load"] == LOAD_AT:
        return str(load_word(instruction))
    steps = instruction["load"] == LOAD_NEXT and instruction["load_inc"]
    return f"s{instruction['load_from']}{'++' if steps else ''}"


def _vector(instruction: Instruction) -> str:
    source, slot = f"s{instruction['vector_from']}", instruction["vector_slot"]
    texts = {
        STORE_AT: f"store [{store_word(instruction)}] = {source}",
        4: f"store [s{slot & 31}] = {source}",
        6: f"store [s{slot & 31}{'++' if slot >> 5 & 1 else ''}] = {source}",
        8: f"host {source}",
        10: f"descriptor[{slot}] = {source}",
        12: "issue descriptor",
    }
    return texts.get(instruction["vector"], f"vector{instruction['vector']} slot={slot} {source}")
