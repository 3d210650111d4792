# SPDX-License-Identifier: Apache-2.0
"""Which bits of an instruction are its form, which its level pattern, and which only numbers.

A number is a value that a unit counts with or carries: an address, an increment, a count, a
multiplier, a total that the program has reached. The chip treats 17 like 16. A form selects what
the unit does, so a form that no program of Google's has may do anything. Between the two are
the level masks: they say which levels of a loop nest take part in something.

A field without a row belongs to the form with all its bits; so does a bit without a field.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from edgekit.chip.isa.table import LAYOUTS

WHOLE = -1
_TEXTS = 2  # raised when the letters of a walk or the kinds of an order change


@dataclass(frozen=True)
class Rule:
    """How the fields whose name matches take part, in the instructions whose name matches."""

    instructions: str  # a regular expression for the whole name, as the next one
    fields: str
    meaning: str = ""  # what the value decides; for the text of a finding
    form: int = 0  # the bits that belong to the form
    level: int = 0  # the bits that belong to the level pattern
    used: bool = False  # whether the form contains that the value is not 0


# The first row that matches counts. The sources are isa-facts of the emulator's table, the
# formulas of the open compiler's prototype that were equal to Google's bytes, and tinycoral.
RULES = (
    Rule(".*", "opcode|seq|tiles|token_tiles"),
    # op: nest, class, waits
    Rule("op.*", "loop[0-7]|last_loop"),
    Rule("op.*", "cfg0", "what the op signals, and at which levels", form=0x31, level=0x1CE),
    Rule("op.*", "cfg1", "which stream feeds the op, and at which level", form=0x1F, level=0xE0),
    Rule("op.*", "cfg2", "the width of activations and weights", form=WHOLE),
    Rule("op.*", "cfg3", "whether words, bytes or halves are read", form=WHOLE),
    # An awaited count begins in cfg1; what a round adds to it begins in sync0 and ends in sync1.
    Rule("op.*", "sync0"),
    Rule("op.*", "sync1", "flags of the wait for data", form=0xC000),
    Rule("op.*", "sync2", "flags of the wait for scaling rows", form=0x0F, level=0x70),
    Rule("op.*", "sync3", "flag of the wait for scaling rows", form=0x80),
    Rule("op.*", "in_flag", "flag of the activations' walk", form=WHOLE),
    Rule("op.*", "zp_row_step", "rows between two sets of zero points", level=WHOLE),
    Rule("op.*", "zp_row_.*", "rows of weight zero points", used=True),
    # All but their lowest bits: a group is a number of whole words.
    Rule("op.*", "channels(_last)?", "whether a group is whole words", form=3),
    Rule("op.*", "(in|w|out)_zp|mult|clamp_.*|offset"),
    Rule("op.*", "group_level", "the level that advances the output channels", level=WHOLE),
    Rule("op.*", "reduce", "the levels that are summed", level=WHOLE),
    Rule("op.*", "in_ring_bytes", "a staging area of two slots", used=True),
    Rule("op.*", "par_rows", "a ring of parameter rows", used=True),
    Rule("op.*", "psum_last", "flags of the partial sums", form=0xFF, used=True),
    Rule("op.*", "(in|par)_last(_en)?|out_last_skip", "a short last round", used=True),
    Rule("op.*", "out_last_(inc|cnt)"),
    Rule("op.*", "out_last_mode", "the level of the short last round", level=WHOLE),
    Rule("nlu.load", "[bc][0-9]+"),
    # transfers
    Rule("mesh.*", "fill"),
    Rule("mesh.*", "[oi]_slots", "slots of the relay buffer", form=WHOLE),
    Rule("mesh.*", "[oi]_mode", "whether and at which level it signals", form=1, level=WHOLE),
    # Awaited counts are numbers with their sign too: a credit is negative until it is used up.
    Rule("mesh.*", "s[0-4]_val", "the level of an awaited count", level=3),
    Rule("mesh.*", "s[0-4]_id", "the counter that it waits for", form=WHOLE),
    Rule("ring.send", "r[0-2]_val"),
    Rule("ring.send", "r[0-2]_id", "the counter that it waits for", form=WHOLE),
    Rule("ring.send", "dest", "whether the scalar core is a receiver", form=1 << 16),
    Rule("ring.recv.", "s_id", "the counter that it waits for", form=WHOLE),
    Rule("ring.recv.", "s_val"),
    Rule("ring.recv.", "s_cnt", "a count that it waits for", used=True),
    Rule("ring.recv.", "header_rows", "rows of a set of scaling rows", form=WHOLE),
    Rule("ring.recv.", "header_(addr|last)"),
    # A number of 32 bits begins at s_en1: an awaited count, and above it what a round adds to it.
    Rule("n2w", "s[0-5]_val", "whether a round adds to an awaited count", form=0x8000),
    Rule("n2w|w2n", "s[0-5]_en1|s0_val"),
    Rule("n2w", "s[0-5]_f11", "the level of a wait", level=WHOLE),
    Rule("n2w|w2n", "s[0-5]_id", "the counter that it waits for", form=WHOLE),
    Rule("n2w", "[nw]_last", "a short last round", used=True),
    Rule("w2n", "head_tail", "whether words of the head are left out", form=1 << 17),
    Rule("w2n", "head|skip|skip_(base|end)"),  # last indices: 0 is one word
    Rule("w2n", "s0_dec|slot", used=True),
    Rule("fence", "count", "whether it waits for a count", used=True),
    Rule("fence", "group", "a field of old compilers", used=True),
    Rule("fence", "counters", "the counters that it resets", form=WHOLE),
    Rule("fence", "units", "the units that it waits for", form=WHOLE),
    # host transfers and the scalar core
    Rule("scalar.sync", "threshold[0-8]", "whether this counter is awaited", used=True),
    Rule("scalar.sync", "wait", "the counters that it waits for", form=WHOLE),
    Rule("pop", "flags13|rows_neg|k183"),
    Rule("pop|infeed|outfeed", "last(_neg)?|pop_wait|base|offset"),
    Rule("infeed", "k353", "the packets that it waits for", form=1 << 38 | 0x3F),
    Rule("outfeed", "inc3", "where the packets go", form=WHOLE),
    Rule("alu", "pred|x|y|imm|load_(to|from|rest)|special_(to|from)|vector_(from|cmd)"),
    Rule("alu", "vector_slot", "whether a store increments its address", form=0x20),
    Rule("alu", "alu_op", "the scalar operation", form=WHOLE),
    Rule("branch", "offset", "whether it jumps back", form=1 << 14),
    Rule("loop", "count|body"),
    Rule("start|end", "bits"),
    # all transfers and walks
    Rule(".*", "(.*_)?group_stride", "the level of the short last group", level=3, used=True),
    Rule(".*", "n_addr_reg|tiles_reg", used=True),
    Rule(".*", "(.*_)?slots|w_rows", "a ring of rows", used=True),
    Rule(".*", "(.*_)?addr", "flags of the address", level=3),
    Rule(".*", "(.*_)?level", "the level of a wait", level=WHOLE),
    Rule(".*", "(.*_)?levels", "the levels of the walk", level=WHOLE),
    Rule("n2w|w2n", "tail", "the level at which it signals", level=WHOLE),
    Rule(".*", "(.*_)?group|(.*_)?base|.*(inc|cnt|lo)[0-7]"),
)
# Instruction -> (prefix of the fields, levels) of its walks; the shape of a walk is in the pattern.
WALKS = {
    **dict.fromkeys(
        ("op", "op.max", "op.sum", "op.resize"),
        (("in_", 8), ("out_", 8), ("par_", 8), ("psum_", 8)),
    ),
    **dict.fromkeys(("ring.send", "ring.recv0", "ring.recv1"), (("", 4),)),
    **dict.fromkeys(("mesh.south", "mesh.west", "mesh.north", "mesh.east"), (("o_", 4), ("i_", 4))),
    **dict.fromkeys(("pop", "infeed", "outfeed"), (("", 3),)),
    "n2w": (("n_", 6), ("w_", 4)),
    "w2n": (("w_", 4), ("n_", 6)),
}
# Instruction -> its field that names the tiles which packets are sent to. Other tile masks only
# choose queues: each tile then works for itself. An infeed from scalar memory to all 16 tiles
# delivers nothing (tinycoral), so the kind of the mask is in the pattern here.
RECEIVERS = {"infeed": "tiles", "ring.send": "dest"}


def rule_of(instruction: str, field: str) -> Rule:
    """Return the row for a field; without one, the whole field belongs to the form."""
    for rule in RULES:
        if re.fullmatch(rule.instructions, instruction) and re.fullmatch(rule.fields, field):
            return rule
    return Rule(instruction, field, form=WHOLE)


def rules_id() -> str:
    """Return a hash of all decisions: texts made under other rules cannot be compared."""
    rows = [
        (layout.name, field.name, rule.form, rule.level, rule.used)
        for layout in LAYOUTS.values()
        for field in layout.fields
        for rule in (rule_of(layout.name, field.name),)
    ]
    decisions = repr((_TEXTS, rows, sorted(WALKS.items()), sorted(RECEIVERS.items())))
    return hashlib.sha256(decisions.encode()).hexdigest()[:12]
