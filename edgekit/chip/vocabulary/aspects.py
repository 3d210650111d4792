# SPDX-License-Identifier: Apache-2.0
"""The aspects of an instruction: its form in independent parts, as the emulator interprets it.

A whole form is too fine to say what the emulator was proven on: every network combines waits,
rings and rows in its own way. The emulator reads some fields together (a ring of weight rows with
its last round) and others for themselves (each counter that a transfer waits for). An aspect is
what it reads together, as text::

    op weights: par_flag=1 par_rows par_last_en par_last
    mesh waits: out 1

The four directions of the mesh are one unit to it, and so are both consumers on the ring. Masks of
counters and units are read bit by bit. Numbers are in no aspect. Of the orders, those of fences are
aspects: all others follow from the data, whatever else is between.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Iterator, Sequence

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.walks import product
from edgekit.chip.vocabulary.orders import ISSUE, orders_of
from edgekit.chip.vocabulary.signature import BETWEEN, Form, Pattern, form_of, full_text, pattern_of

_KINDS = ((re.compile("mesh.*"), "mesh"), (re.compile("ring.recv."), "ring.recv"))
# (instructions, topic, parts of a form that the emulator reads together)
_TOGETHER = tuple(
    (re.compile(kinds), topic, re.compile(parts))
    for kinds, topic, parts in (
        ("op.*", "class", "cfg2|cfg3|nlu|odd"),
        ("op.*", "scaling", "cfg3|per_channel|bias|zp_row_(first|last)"),
        ("op.*", "activations", "in_flag|in_ring_bytes|in_last.*|last_loop_mode"),
        ("op.*", "weights", "par_flag|par_circular|par_rows|par_last.*"),
        ("op.*", "results", "out_flag|out_last_skip|channels.*|cfg0"),
        ("mesh", "sends", "o_(mode|slots|circular)|fill_en"),
        ("mesh", "receives", "i_(mode|slots|circular)|fill_en"),
        ("ring.recv", "headers", "header_(en|rows|bias|per_channel)"),
        ("ring.send", "sends", "mode|dest|to_consumer1"),
        ("n2w", "rows", "w_.*|transpose"),
        ("w2n", "scaling", "scaling|mode"),
        ("w2n", "head", "head.*"),
        ("fence|scalar.sync", "waits", "count|signal|last|token_wait|counters|wait|threshold.*"),
        ("infeed|outfeed", "transfer", "(?!unnamed).*"),
        ("alu", "operation", "alu_op|immediate"),
        ("alu", "vector", "vector.*"),
    )
)
# Of the level pattern, only what decides which values are read or written.
_LEVELS = re.compile("out_last_mode|(.*_)?group_stride|header_level|(o_|i_)?addr|n_addr")
_BITS = frozenset({"counters", "units", "wait"})
_RECORD = re.compile(r"s[0-5]_(.*)")  # of a transfer: each waits for itself
_CLASS_FLAGS = 0x5  # bits of cfg2 that are set and clear in the same class
_IN_COUNTERS, _OUT_COUNTERS = range(3, 7), range(7, 11)  # of the four directions
_FENCES = ("fence", "scalar.sync")


def aspects_of(instructions: Sequence[Instruction]) -> Iterator[tuple[int, str]]:
    """Yield (index of the instruction, aspect) for one program."""
    for index, instruction in enumerate(instructions):
        for aspect in _form_aspects(form_of(instruction), pattern_of(instruction)):
            yield index, aspect
        if instruction.layout.name.startswith("op"):
            yield index, f"{instruction.layout.name} sums: {_sums(instruction)}"
    for index, (relation, earlier, later) in orders_of(instructions):
        if relation == ISSUE and earlier.startswith(_FENCES) and later.startswith(_FENCES):
            yield index, f"order: {earlier} -> {later}"


def _sums(op: Instruction) -> str:
    """Return whether the levels in the mask of an op explain how many words it writes."""
    if op["last_loop_mode"]:
        return "with a partial last round"
    left = product([op[f"loop{k}"] + 1 for k in range(8) if not op["reduce"] >> k & 1])
    steps = product([op[f"out_cnt{k}"] + 1 for k in range(8)])
    per_emission = (op["channels"] + 1) // 4
    if steps % max(left, 1):
        return "not the mask's"
    times = steps // left
    if times in {per_emission, 2 * per_emission}:
        return "the mask's"
    return "none written" if steps == 1 else "not the mask's"


@lru_cache(maxsize=4096)
def _form_aspects(form: Form, pattern: Pattern) -> tuple[str, ...]:
    """Return the aspects of a form with a level pattern, in a fixed order."""
    text, _, levels = full_text(form, pattern).partition(BETWEEN)
    name, *tokens = text.split()
    kind = _kind(name)
    tokens += [each for each in levels.split() if _LEVELS.fullmatch(_name(each))]
    found: set[str] = {kind}
    joined: set[str] = set()
    for kinds, topic, parts in _TOGETHER:
        if kinds.fullmatch(kind):
            together = [each for each in tokens if parts.fullmatch(_name(each))]
            joined.update(each for each in together if _name(each) not in _BITS)
            found.add(f"{kind} {topic}: {' '.join(map(_joined, together)) or 'plain'}")
    for token in tokens:
        if _name(token) == "cfg2":
            found.update(f"{kind} cfg2: {each}" for each in _class_flags(token))
        if token not in joined:
            found.update(f"{kind} {each}" for each in _alone(token))
    return tuple(sorted(found))


def _alone(token: str) -> Iterator[str]:
    """Yield the aspects of a part that is read for itself."""
    name, _, value = token.partition("=")
    record = _RECORD.fullmatch(name)
    if name in _BITS:
        bits = int(value, 0)
        yield from (f"{name}: bit {bit}" for bit in range(bits.bit_length()) if bits >> bit & 1)
    elif record and record.group(1) == "id":
        yield f"waits: {_counter(int(value, 0))}"
    elif record:
        yield f"waits: {record.group(1)}={value or 'used'}"
    else:
        yield f"{name}: {value or 'used'}"


def _counter(record_id: int) -> str:
    """Return the counter of a wait, and its lowest bit, which says how it is compared."""
    counter, way = divmod(record_id, 2)
    if counter in _IN_COUNTERS:
        return f"in {way}"
    return f"out {way}" if counter in _OUT_COUNTERS else f"{counter} {way}"


def _class_flags(token: str) -> Iterator[str]:
    value = int(token.partition("=")[2], 0)
    for bit in range(3):
        if _CLASS_FLAGS >> bit & 1:
            yield f"bit {bit} {'set' if value >> bit & 1 else 'clear'}"


def _joined(token: str) -> str:
    """Return a part as it stands beside others: a class without its flags, a mask without bits."""
    name, _, value = token.partition("=")
    if name in _BITS:
        return name
    return f"{name}={int(value, 0) & ~_CLASS_FLAGS:#x}" if name == "cfg2" else token


def _name(token: str) -> str:
    return token.partition("=")[0]


def _kind(name: str) -> str:
    for pattern, kind in _KINDS:
        if pattern.fullmatch(name):
            return kind
    return name
