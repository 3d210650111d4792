# SPDX-License-Identifier: Apache-2.0
"""What maps of a converted model, what does not, what that costs, and what would change it."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from edgekit.edgetpu.advice import advice_for
from edgekit.edgetpu.calibration import read_calibration
from edgekit.edgetpu.check import check_model
from edgekit.edgetpu.demand import demand_of_plain
from edgekit.edgetpu.latency import latency_parts
from edgekit.edgetpu.limits import TPU
from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.edgetpu.partition import partition
from edgekit.edgetpu.report import CheckReport
from edgekit.edgetpu.support import BORDERS, HOST_CUSTOM, OperatorVerdict, judge, judge_operators
from edgekit.fix.certificate import Certificate
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.result import Result

_DEVICE = "usb3"
_LITTLE_MS = 0.05  # the estimate's own rounding


@dataclass(frozen=True)
class Mapped(Result):
    """How much of a model maps, as `check` says."""

    num_operators: int
    num_mapped: int
    num_unknown: int
    macs_share: float | None  # mapped multiply-accumulates over all; None for a model without any
    estimated_ms: float  # on a USB Accelerator; operators that are not known count as the CPU's

    def __str__(self) -> str:
        share = "" if self.macs_share is None else f", {_percent(self.macs_share)} % of the work"
        return f"{self.num_mapped} of {self.num_operators} operators{share}"


@dataclass(frozen=True)
class Unmapped(Result):
    """Operators of one kind that do not map by themselves, whatever is before them."""

    index: int  # of the first
    opcode: str
    layer: str
    count: int
    verdict: str  # cpu | unknown
    reason: str
    costs_ms: float  # by how much the estimate falls if they map
    options: tuple[str, ...]  # each would change it
    at_end: bool = False  # no operator that multiplies depends on them
    is_first_blocker: bool = False  # one of them is the first blocker of `check`


@dataclass(frozen=True)
class Outcome(Result):
    """What maps, and what keeps the rest off the Edge TPU; the first blocker comes first."""

    now: Mapped
    was: Mapped  # as the quantizer made the model
    unmapped: tuple[Unmapped, ...]
    refused: str = ""  # why the compiler would refuse the file; empty if it does not
    rewrites: tuple[Certificate, ...] = ()
    # What `edgekit fix` would make of it with rules that change values; None if no more maps.
    with_fix: Mapped | None = None


def outcome_of(
    before: ModelFile,
    after: ModelFile,
    rewrites: tuple[Certificate, ...] = (),
    offer: Model | None = None,
) -> Outcome:
    """Return what `check` says of an int8 model before and after its rewrites.

    Args:
        before: As the quantizer made it.
        after: The model to be written; may be ``before`` itself.
        rewrites: The evidence for the rewrites between them.
        offer: What `edgekit fix` would make of ``after``, if more of that maps.
    """
    report = check_model(after)
    now = _mapped(report, after.model)
    was = now if before is after else _mapped(check_model(before), before.model)
    refusals = [each for each in report.issues if each.severity == "error"]
    first = report.first_blocker
    unmapped = _unmapped(after.model, now.estimated_ms, -1 if first is None else first)
    refused = str(refusals[0]) if report.refused else ""
    fixed = None if offer is None else _mapped(check_model(ModelFile.of(offer)), offer)
    return Outcome(now, was, unmapped, refused, rewrites, fixed)


def estimated_ms(model: Model, mapped: Collection[int]) -> float:
    """Return the estimated latency, on a USB Accelerator, if the operators ``mapped`` map."""
    demand, _ = demand_of_plain(model, frozenset(mapped))
    return sum(latency_parts(demand, read_calibration(_DEVICE)).values())


def certain_ms(model: Model) -> float:
    """Return the estimated latency if only those operators map of which that is known."""
    return estimated_ms(
        model, [each.index for each in judge_operators(model) if each.verdict == TPU]
    )


def _mapped(report: CheckReport, model: Model) -> Mapped:
    mapped = [each.index for each in report.operators if each.verdict == TPU]
    return Mapped(
        num_operators=report.num_operators,
        num_mapped=report.num_mapped,
        num_unknown=report.num_unknown,
        macs_share=report.mapped_macs_share,
        estimated_ms=estimated_ms(model, mapped),
    )


def _unmapped(model: Model, now_ms: float, first: int) -> tuple[Unmapped, ...]:
    verdicts = judge_operators(model)
    operators = model.main.operators
    ends = set(model.main.outputs).union(
        *(each.inputs for each in operators if each.custom_code in HOST_CUSTOM)
    )
    kinds: defaultdict[tuple[str, str], list[OperatorVerdict]] = defaultdict(list)
    for each in verdicts:
        is_start = set(operators[each.index].inputs) <= set(model.main.inputs)
        is_end = set(operators[each.index].outputs) <= ends
        is_border = each.opcode in BORDERS and (is_start or is_end)
        if each.alone != TPU and not is_border and each.custom_code not in HOST_CUSTOM:
            kinds[each.label, each.rule].append(each)
    found = [
        replace(_kind(model, verdicts, group, now_ms), is_first_blocker=first in _indices(group))
        for group in kinds.values()
    ]
    return tuple(sorted(found, key=lambda each: not each.is_first_blocker))


def _kind(
    model: Model,
    verdicts: Sequence[OperatorVerdict],
    group: Sequence[OperatorVerdict],
    now_ms: float,
) -> Unmapped:
    gone = _indices(group)
    own = [TPU if each.index in gone else each.alone for each in verdicts]
    places = partition(model.main, own)
    mapped = [index for index, place in enumerate(places) if place.verdict == TPU]
    head = group[0]
    at_end = _nothing_after(model, gone)
    own_verdict = replace(judge(Operation(model, head.index)), layer=head.layer)
    return Unmapped(
        index=head.index,
        opcode=head.label,
        layer=head.layer,
        count=len(group),
        verdict=head.alone,
        reason=own_verdict.reason,
        costs_ms=max(0.0, now_ms - estimated_ms(model, mapped)),
        options=_options(own_verdict, at_end=at_end),
        at_end=at_end,
    )


def _options(own: OperatorVerdict, *, at_end: bool) -> tuple[str, ...]:
    """Return what would change it: an edit or an option of convert, a cut."""
    if at_end:
        return ("leave it on the CPU", "edgekit split MODEL -o FOLDER")
    if own.rule == "unsupported_op":
        return (advice_for(own.label, own.layer, at_source=True),)
    return (own.fix,)


def _nothing_after(model: Model, indices: Collection[int]) -> bool:
    """Whether no operator that multiplies depends on those at ``indices``."""
    graph = model.main
    reached = {i for index in indices for i in graph.operators[index].outputs}
    for index in range(min(indices), len(graph.operators)):
        operator = graph.operators[index]
        if index in indices or not reached.intersection(operator.inputs):
            continue
        if count_macs(Operation(model, index)):
            return False
        reached.update(operator.outputs)
    return True


def _indices(group: Sequence[OperatorVerdict]) -> set[int]:
    return {each.index for each in group}


def render_outcome(outcome: Outcome, output: str) -> list[tuple[str, str]]:
    """Return (label, text) for each line that people read."""
    now, was = outcome.now, outcome.was
    text = str(now)
    if outcome.refused:
        text = f"nothing: the compiler refuses the file: {outcome.refused}"
    if now.num_unknown:
        text += f"; {now.num_unknown} not known"
    if outcome.rewrites:
        text += f"; was {was.num_mapped} of {was.num_operators}"
    lines = [("maps", text)]
    if outcome.rewrites:
        names = "+".join(each.rule for each in outcome.rewrites).split("+")
        unique = ", ".join(dict.fromkeys(names))
        lines.append(("rewritten", f"by {unique}: {_evidence(outcome.rewrites)}"))
    behind = [each for each in outcome.unmapped if each.at_end]
    for each in outcome.unmapped:
        lines.extend(() if each.at_end else _blocker_lines(each, now.estimated_ms, output))
    if behind:
        lines.extend(_end_lines(behind, output))
    if outcome.with_fix is not None:
        lines += _fix_lines(outcome.with_fix, now.estimated_ms, output)
    return lines


def _blocker_lines(each: Unmapped, total_ms: float, output: str) -> list[tuple[str, str]]:
    more = f" and {each.count - 1} more" if each.count > 1 else ""
    layer = f", layer {each.layer}" if each.layer else ""
    total = f"{_ms(total_ms)} ms (estimated for a USB Accelerator)"
    cost = f"costs less than {_LITTLE_MS} of {total}"
    if each.costs_ms >= _LITTLE_MS:
        cost = f"costs about {_ms(each.costs_ms)} of {total}"
    place = f"operator {each.index} {each.opcode}{more}{layer}"
    lines = [
        ("blocked by" if each.is_first_blocker else "not mapped", f"{place}: {cost}"),
        ("", each.reason),
    ]
    # The advice writes to OUT.tflite, which may be the name of ``output``.
    fix = _fix_command(output)
    for option in each.options:
        named = option.replace("edgekit fix MODEL -o OUT.tflite", fix)
        # An option to add to the command that was just run.
        named = named.replace("edgekit convert --", "edgekit convert ... --")
        lines.append(("", f"to change: {named}"))
    return lines


def _end_lines(ends: Sequence[Unmapped], output: str) -> list[tuple[str, str]]:
    names = ", ".join(f"{each.opcode} {each.count}" for each in ends)
    cost = sum(each.costs_ms for each in ends)
    little = f"about {_ms(cost)} ms" if cost >= _LITTLE_MS else f"less than {_LITTLE_MS} ms"
    return [
        (
            "at the end",
            f"{names}: not mapped, costs {little} (estimated); no multiplication depends on them",
        ),
        ("", f"leave them, or cut the model: edgekit split {shlex.quote(output)} -o FOLDER"),
    ]


def _fix_lines(fixed: Mapped, now_ms: float, output: str) -> list[tuple[str, str]]:
    times = f"about {_ms(fixed.estimated_ms)} ms instead of {_ms(now_ms)} ms (estimated)"
    return [
        ("with fix", f"{fixed}, {times}: {_fix_command(output)}"),
        ("", "it changes values, and perhaps inputs and outputs, and measures the difference"),
    ]


def _evidence(rewrites: Sequence[Certificate]) -> str:
    unproved = next((each for each in rewrites if not each.identical), None)
    if unproved is not None:
        why = f"; not confirmed: {unproved.note}" if unproved.note else ""
        return f"exact by construction{why}"
    least = min(each.num_random for each in rewrites)
    kernels = " and ".join(dict.fromkeys(each.kernels for each in rewrites))
    return f"bit-identical on {least} random inputs, {kernels} kernels"


def _fix_command(output: str) -> str:
    return f"edgekit fix {shlex.quote(output)} -o FIXED.tflite"


def _ms(value: float) -> str:
    """Return milliseconds with two digits, without an exponent."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def _percent(share: float) -> str:
    """Return a share in percent with one digit; 100 only if it is all."""
    return "100" if share == 1 else f"{min(share * 100, 99.9):.1f}".replace(".0", "")
