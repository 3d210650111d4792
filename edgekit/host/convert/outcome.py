# SPDX-License-Identifier: Apache-2.0
"""What maps of a converted model, what does not, what that costs, and what would change it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from edgekit.edgetpu.advice import advice_for, advice_for_layer
from edgekit.edgetpu.check import check_model
from edgekit.edgetpu.limits import TPU
from edgekit.edgetpu.macs import count_macs, model_macs
from edgekit.edgetpu.operation import Operation
from edgekit.edgetpu.partition import partition
from edgekit.edgetpu.report import CheckReport
from edgekit.edgetpu.support import BORDERS, HOST_CUSTOM, OperatorVerdict, judge, judge_operators
from edgekit.fix.certificate import Certificate
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.as_integers import as_integers
from edgekit.host.convert.on_host import OnHost
from edgekit.host.convert.preparing import Prepared, Start
from edgekit.host.convert.rewriting import Rewritten
from edgekit.host.convert.times import estimated_ms, is_slower
from edgekit.result import Result


@dataclass(frozen=True)
class Mapped(Result):
    """How much of a model maps, as `check` says."""

    num_operators: int
    num_mapped: int
    num_unknown: int
    macs_share: float | None  # mapped multiply-accumulates over all; None for a model without any
    estimated_ms: float  # on a USB Accelerator; operators that are not known count as the CPU's

    def __str__(self) -> str:
        share = "" if self.macs_share is None else f", {percent(self.macs_share)} % of the work"
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
    # The network before every rewrite, as if its numbers were integers; None if not examined.
    network: Mapped | None = None
    prepared: tuple[Prepared, ...] = ()  # the rewrites before quantization
    cpu_ms: float | None = None  # estimated, if all of the model runs on the host's CPU
    freed_ms: float | None = None  # estimated, if everything in ``unmapped`` maps
    on_host: OnHost | None = None  # what was cut off; every number above includes it


def outcome_of(
    before: ModelFile,
    after: ModelFile,
    rewritten: Rewritten,
    start: Start | None = None,
    advice: Callable[[str, str], str] = lambda _opcode, fix: fix,
) -> Outcome:
    """Return what `check` says of an int8 model before and after its rewrites.

    Args:
        before: As the quantizer made it.
        after: The model to be written; may be ``before`` itself.
        rewritten: The rewrites between them.
        start: The network before them, and the rewrites before quantization.
        advice: (operator, its fix) -> the fix to print.
    """
    report = check_model(after)
    host = None if start is None else start.on_host
    host_ms = 0.0 if host is None else host.estimated_ms
    now = _mapped(report, after.model, host)
    was = now if before is after else _mapped(check_model(before), before.model, host)
    refusals = [each for each in report.issues if each.severity == "error"]
    first = report.first_blocker
    unmapped, freed_ms = _unmapped(
        after.model, now.estimated_ms - host_ms, -1 if first is None else first
    )
    unmapped = tuple(
        replace(each, options=tuple(advice(each.opcode, option) for option in each.options))
        for each in unmapped
    )
    refused = str(refusals[0]) if report.refused else ""
    offer = rewritten.offer
    fixed = None if offer is None else _judged(offer, host)
    return Outcome(
        now,
        was,
        unmapped,
        refused,
        tuple(_longer(each, host_ms) for each in rewritten.certificates),
        fixed,
        network=None if start is None else _judged(as_integers(start.network, start.io), host),
        prepared=() if start is None else start.prepared,
        cpu_ms=estimated_ms(after.model, ()) + host_ms,
        freed_ms=None if freed_ms is None else freed_ms + host_ms,
        on_host=host,
    )


def slower_note(outcome: Outcome) -> str:
    """Return a warning if the rewritten network is probably slower; empty if not."""
    network, now = outcome.network, outcome.now
    if network is None or not is_slower(network.estimated_ms, now.estimated_ms):
        return ""
    others = {"before the rewrites": network.estimated_ms, "on the host's CPU": outcome.cpu_ms}
    times = ", ".join(f"{milliseconds(ms)} ms {where}" for where, ms in others.items() if ms)
    return (
        f"more operators map than before the rewrites, but the model is probably slower: estimated "
        f"{milliseconds(now.estimated_ms)} ms, {times}; --no-fix leaves the rewrites out"
    )


def milliseconds(value: float) -> str:
    """Return a time with two digits, without an exponent."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def percent(share: float) -> str:
    """Return a share in percent with one digit; 100 only if it is all."""
    return "100" if share == 1 else f"{min(share * 100, 99.9):.1f}".replace(".0", "")


def _judged(model: Model, host: OnHost | None) -> Mapped:
    return _mapped(check_model(ModelFile.of(model)), model, host)


def _mapped(report: CheckReport, model: Model, host: OnHost | None) -> Mapped:
    """Return what maps of ``model`` and of what the host does after it, which never maps."""
    mapped = [each.index for each in report.operators if each.verdict == TPU]
    found = Mapped(
        num_operators=report.num_operators,
        num_mapped=report.num_mapped,
        num_unknown=report.num_unknown,
        macs_share=report.mapped_macs_share,
        estimated_ms=estimated_ms(model, mapped),
    )
    if host is None:
        return found
    share, macs = found.macs_share, model_macs(model)
    return replace(
        found,
        num_operators=found.num_operators + host.num_operators,
        macs_share=None if share is None else share * macs / (macs + host.macs),
        estimated_ms=found.estimated_ms + host.estimated_ms,
    )


def _longer(certificate: Certificate, by_ms: float) -> Certificate:
    """Return the certificate with times of the whole network."""
    before, after = certificate.estimated_ms_before, certificate.estimated_ms_after
    return replace(
        certificate,
        estimated_ms_before=None if before is None else before + by_ms,
        estimated_ms_after=None if after is None else after + by_ms,
    )


def _unmapped(model: Model, now_ms: float, first: int) -> tuple[tuple[Unmapped, ...], float | None]:
    """Return the kinds of operators that do not map, and the estimate if all of them did."""
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
    gone = {index for group in kinds.values() for index in _indices(group)}
    freed_ms = estimated_ms(model, _mapped_without(model, verdicts, gone)) if gone else None
    return tuple(sorted(found, key=lambda each: not each.is_first_blocker)), freed_ms


def _kind(
    model: Model,
    verdicts: Sequence[OperatorVerdict],
    group: Sequence[OperatorVerdict],
    now_ms: float,
) -> Unmapped:
    gone = _indices(group)
    mapped = _mapped_without(model, verdicts, gone)
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


def _mapped_without(
    model: Model, verdicts: Sequence[OperatorVerdict], gone: Collection[int]
) -> list[int]:
    """Return the operators that map if those in ``gone`` do."""
    own = [TPU if each.index in gone else each.alone for each in verdicts]
    places = partition(model.main, own)
    return [index for index, place in enumerate(places) if place.verdict == TPU]


def _options(own: OperatorVerdict, *, at_end: bool) -> tuple[str, ...]:
    """Return what would change it: an edit or an option of convert, a cut."""
    if at_end:
        return ("leave it on the CPU", "edgekit split MODEL -o FOLDER")
    if own.rule == "unsupported_op":
        return (advice_for(own.label, own.layer, at_source=True),)
    is_of_layer = own.rule == "rank" or own.rule.endswith(".never_seen")
    return ((advice_for_layer(own.layer) if is_of_layer else "") or own.fix,)


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
