# SPDX-License-Identifier: Apache-2.0
"""The signature of an instruction: its form and its level pattern, without its numbers.

A signature is read with a few masks. Its text names each part that is not 0::

    op cfg0=0x21 cfg2=7 cfg3=8 in_flag=3 par_rows bias=1
    in_levels=15 reduce=7 in:++++ par:+..+

``name=value`` are bits of a field, a bare name means that the field is not 0. A walk has one letter
for each level, innermost first: ``+`` for a level that moves, ``=`` for one that repeats the same
address, ``.`` for one that is not in use; these are left out at the end. Whether a level moves up
or down is a number: every rewind moves down.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Mapping, Tuple

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.memories import NUM_TILES, TILES_PER_ROW
from edgekit.chip.isa.table import LAYOUTS, Field, Layout
from edgekit.chip.vocabulary.rules import RECEIVERS, WALKS, rule_of

Form = Tuple[int, int, int]  # opcode, bits of the form, which fields are not 0
Pattern = Tuple[int, Tuple[str, ...]]  # bits of the level pattern, walks and receivers
BETWEEN = " | "  # between a form and its level pattern
_UNNAMED = "unnamed"


class _Reader:
    """Reads the signatures of one layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.form_mask, self.level_mask = ~layout.named_bits, 0
        self.form_fields: list[tuple[Field, int]] = []
        self.level_fields: list[tuple[Field, int]] = []
        self.used_fields: list[Field] = []
        for field in layout.fields:
            rule = rule_of(layout.name, field.name)
            whole = (1 << field.width) - 1
            if rule.form:
                self.form_fields.append((field, rule.form & whole))
                self.form_mask |= (rule.form & whole) << field.first_bit
            if rule.level:
                self.level_fields.append((field, rule.level & whole))
                self.level_mask |= (rule.level & whole) << field.first_bit
            if rule.used:
                self.used_fields.append(field)
        self._used_bits = [(1 << k, field.mask) for k, field in enumerate(self.used_fields)]
        names = {field.name for field in layout.fields}
        self.walks = [
            (
                prefix,
                [
                    (
                        f"{prefix}inc{k}",
                        f"{prefix}lo{k}" if f"{prefix}lo{k}" in names else "",
                        f"{prefix}cnt{k}",
                    )
                    for k in range(levels)
                ],
            )
            for prefix, levels in WALKS.get(layout.name, ())
        ]
        self.receivers = RECEIVERS.get(layout.name, "")

    def form(self, instruction: Instruction) -> Form:
        code, used = instruction.code, 0
        for bit, mask in self._used_bits:
            if code & mask:
                used |= bit
        return self.layout.opcode, code & self.form_mask, used

    def pattern(self, instruction: Instruction) -> Pattern:
        fields = instruction.fields
        parts = [_walk_shape(fields, levels) for _, levels in self.walks]
        if self.receivers:
            parts.append(tiles_kind(fields[self.receivers]))
        return instruction.code & self.level_mask, tuple(parts)

    def form_text(self, form: Form) -> str:
        _, code, used = form
        parts = [self.layout.name, *_values(code, self.form_fields)]
        rest = code & ~self.layout.named_bits
        if rest:
            parts.append(f"{_UNNAMED}={rest:#x}")
        parts += [field.name for k, field in enumerate(self.used_fields) if used >> k & 1]
        return " ".join(parts)

    def pattern_text(self, pattern: Pattern) -> str:
        code, shapes = pattern
        parts = list(_values(code, self.level_fields))
        for (prefix, _), shape in zip(self.walks, shapes):
            if shape:
                parts.append(f"{prefix[:-1] or 'at'}:{shape}")
        if self.receivers:
            parts.append(f"{self.receivers}:{shapes[-1]}")
        return " ".join(parts)


@lru_cache(None)
def _reader(opcode: int) -> _Reader:
    return _Reader(LAYOUTS[opcode])


def form_of(instruction: Instruction) -> Form:
    """Return the form of an instruction as `decode` returns it."""
    return _reader(instruction.layout.opcode).form(instruction)


def pattern_of(instruction: Instruction) -> Pattern:
    """Return the level pattern of an instruction as `decode` returns it."""
    return _reader(instruction.layout.opcode).pattern(instruction)


def form_text(form: Form) -> str:
    """Return a form as text; different forms have different texts."""
    return _reader(form[0]).form_text(form)


def full_text(form: Form, pattern: Pattern) -> str:
    """Return a form with a level pattern as text: both, with a bar between them."""
    return f"{form_text(form)}{BETWEEN}{_reader(form[0]).pattern_text(pattern)}"


def parts_of(text: str) -> dict[str, str]:
    """Return the parts of a text by name: values, "used", or the shape of a walk."""
    parts = {}
    for token in text.split():
        name, equals, value = token.partition("=")
        if not equals or ":" in name:
            name, _, value = token.partition(":")
        parts[name] = value or "used"
    return parts


def tiles_kind(mask: int) -> str:
    """Return how the lower 16 bits of ``mask`` lie on the grid of tiles."""
    rows = [
        mask >> TILES_PER_ROW * row & (1 << TILES_PER_ROW) - 1
        for row in range(NUM_TILES // TILES_PER_ROW)
    ]
    used = [row for row in rows if row]
    if not used:
        return "none"
    if len(set(used)) > 1:
        return "scattered"
    is_row, is_column = len(used) == 1, used[0] & (used[0] - 1) == 0
    if is_row and is_column:
        return "one"
    if len(used) == len(rows) and used[0] == (1 << TILES_PER_ROW) - 1:
        return "all"
    return "row" if is_row else "column" if is_column else "block"


def _values(code: int, fields: list[tuple[Field, int]]) -> list[str]:
    values = []
    for field, mask in fields:
        value = code >> field.first_bit & mask
        if value and field.name != "opcode":
            values.append(f"{field.name}={value:#x}" if value > 9 else f"{field.name}={value}")
    return values


def _walk_shape(fields: Mapping[str, int], levels: list[tuple[str, str, str]]) -> str:
    """Return a letter for each level; see the module's documentation.

    An unused level holds the way back to the start (its stride is then 0) or its own stride.
    """
    shape, rewind = "", 0
    for increment, low, count in levels:
        stride = 4 * fields[increment] + fields[low] + rewind if low else fields[increment] + rewind
        last = fields[count]
        if stride:
            shape += "+"
            rewind += stride * last
        else:
            shape += "=" if last else "."
    return shape.rstrip(".")
