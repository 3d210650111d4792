# SPDX-License-Identifier: Apache-2.0
"""The first blocker: the operator to change first, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from edgekit.edgetpu.limits import TPU
from edgekit.edgetpu.partition import NO, Place, partition
from edgekit.edgetpu.support import BORDERS, HOST_CUSTOM, OperatorVerdict
from edgekit.formats.tflite import Model
from edgekit.result import Result


@dataclass(frozen=True)
class Blocker(Result):
    """The first operator that keeps later operators off the Edge TPU, and what that costs."""

    index: int
    opcode: str
    layer: str
    verdict: str  # cpu | unknown
    num_operators: (
        int  # operators (it and those after it) that stay on the CPU, or may, because of it
    )
    macs: int  # multiply-accumulates of these operators
    num_regained: int  # those that would map if this one did; the others have another blocker
    reason: str
    rule: str
    source: str  # where the rule is known from
    fix: str


def find_blocker(
    model: Model, verdicts: Sequence[OperatorVerdict], macs: Sequence[int]
) -> Blocker | None:
    """Find the first blocker in data order; None if only float ends of the model do not map.

    Args:
        model: The model that was judged.
        verdicts: The verdicts on all operators of the main subgraph.
        macs: The multiply-accumulates of each.
    """
    graph = model.main
    own = [each.alone for each in verdicts]
    places = partition(graph, own)
    index = _first_blocker(model, verdicts, places)
    if index is None:
        return None
    victims = [index, *(each.index for each in verdicts if index in _chain(each, verdicts))]
    if not any(each.verdict == TPU for each in verdicts):
        victims = [each.index for each in verdicts]
    freed = partition(graph, [*own[:index], TPU, *own[index + 1 :]])
    before = sum(each.verdict == TPU for each in verdicts)
    found = verdicts[index]
    return Blocker(
        index=index,
        opcode=found.label,
        layer=found.layer,
        verdict=found.verdict,
        num_operators=len(victims),
        macs=sum(macs[number] for number in victims),
        num_regained=sum(each.verdict == TPU for each in freed) - before,
        reason=found.reason,
        rule=found.rule,
        source=found.source,
        fix=found.fix,
    )


def _first_blocker(
    model: Model, verdicts: Sequence[OperatorVerdict], places: Sequence[Place]
) -> int | None:
    """Find the first unmapped operator that depends on a mapped one; ends do not count."""
    operators = model.main.operators
    ends = set(model.main.outputs).union(
        *(each.inputs for each in operators if each.custom_code in HOST_CUSTOM)
    )
    for each, place in zip(verdicts, places):
        is_border = each.opcode in BORDERS and set(operators[each.index].outputs) <= ends
        is_end = is_border or each.custom_code in HOST_CUSTOM
        if each.verdict != TPU and place.behind_tpu != NO and not is_end:
            return each.index
    if any(each.verdict == TPU for each in verdicts):
        return None
    return next((each.index for each in verdicts if each.opcode not in BORDERS), None)


def _chain(verdict: OperatorVerdict, verdicts: Sequence[OperatorVerdict]) -> set[int]:
    """Return the earlier operators that are its blockers."""
    chain: set[int] = set()
    while verdict.blocker is not None and verdict.blocker not in chain:
        chain.add(verdict.blocker)
        verdict = verdicts[verdict.blocker]
    return chain
