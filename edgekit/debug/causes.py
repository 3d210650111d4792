# SPDX-License-Identifier: Apache-2.0
"""Rank the causes of an integer model's error: what to change first.

An operator counts by the noise that its own error causes at the outputs, times the share of it that
could be avoided. Errors that it inherits do not count. Where many ranges are wrong at once, the
calibration is the cause, not each operator; where the weights of an operator are wrong, so are the
ranges that were calibrated behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping, Sequence

from edgekit.debug.advice import ADVICE, Commands
from edgekit.debug.result import DebugCause
from edgekit.debug.troubles import (
    ROUNDING,
    SATURATION,
    WEIGHTS,
    WIDE_RANGE,
    Place,
    Trouble,
    find_troubles,
)

if TYPE_CHECKING:
    from edgekit.debug.calibration import Calibrated
    from edgekit.debug.measure import Measured
    from edgekit.formats.tflite import Model

PREPROCESS, CALIBRATION = "preprocess", "calibration"
_RANGES = (SATURATION, WIDE_RANGE)
_LEAST_SHARE = 0.02  # of all noise at the outputs
_LEAST_WRONG = 0.001  # of all noise at the outputs: a range that matters
_MOST_CUT = 0.02  # of the values of an input
_MANY = 0.4  # of the groups of tensors with a range of their own
_LEAST_MANY = 2
_ALMOST_ALL = 0.8  # of what wrong ranges cost
_MINOR = 0.25  # of what wrong ranges cost
_BEHIND = 0.8  # of the wrong ranges
_MOST_ROUNDING = 1
INPUT = -1


@dataclass(frozen=True)
class Suspect:
    """A tensor, its troubles, and what it costs."""

    place: Place
    number: int  # of the operator; -1 for an input
    opcode: str
    name: str
    troubles: tuple[Trouble, ...]
    effect: float  # noise at the outputs, as a share of their variance

    def cost(self, *kinds: str) -> float:
        """The noise at the outputs that could be avoided; of some kinds of trouble only."""
        shares = [each.share for each in self.troubles if not kinds or each.kind in kinds]
        return self.effect * min(sum(shares), 1.0)


def suspects_of(model: Model, places: Sequence[Place], measured: Measured) -> list[Suspect]:
    """Return every tensor with an error of its own, in the order of execution."""
    number_of = {i: number for number, op in enumerate(model.main.operators) for i in op.outputs}
    found = []
    for place in places:
        effect = measured.effects.get(place.index, 0.0)
        if effect <= 0:
            continue
        number = number_of.get(place.index, INPUT)
        found.append(
            Suspect(
                place,
                number,
                place.operator.opcode if place.operator else "INPUT",
                layer_name(model.main.tensors[place.index].name),
                tuple(find_troubles(model, place, measured.tensors)),
                effect,
            )
        )
    return found


def layer_name(name: str) -> str:
    """Return a short name of a tensor: the converter joins the names of fused operations."""
    return name.partition(";")[0][-60:]


def rank_causes(
    suspects: Sequence[Suspect], calibrated: Calibrated, commands: Commands
) -> list[DebugCause]:
    """Return the causes, what explains most first.

    Args:
        suspects: The tensors with an error.
        calibrated: What the stored ranges show.
        commands: Makes the next commands.
    """
    total = max(sum(each.effect for each in suspects), 1e-30)
    weights = [each for each in suspects if each.cost(WEIGHTS) > _LEAST_SHARE * total]
    root = max(weights, key=lambda each: each.cost(WEIGHTS), default=None)
    wrong = [each for each in suspects if each.cost(*_RANGES) > _LEAST_WRONG * total]
    whole = _network_wide(calibrated, wrong, root, total)
    found: list[tuple[float, DebugCause]] = []
    left = list(suspects)
    if whole is not None:
        kind, text = whole
        cost = sum(each.cost(*_RANGES) for each in wrong)
        first = float("inf") if kind == PREPROCESS else cost
        found.append((first, _cause(None, kind, text, cost / total, commands)))
        left = [each for each in suspects if each.cost(*_RANGES) <= 0.5 * each.cost()]
    for each in left:
        cost = each.cost()
        if cost > _LEAST_SHARE * total and each.troubles:
            trouble = each.troubles[0]
            found.append((cost, _cause(each, trouble.kind, trouble.text, cost / total, commands)))
    if root is not None and whole is None:
        found = _root_first(found, root, wrong)
    found.sort(key=lambda pair: -pair[0])
    causes = [cause for _, cause in found]
    return causes or _only_rounding(suspects, total, commands)


def _network_wide(
    calibrated: Calibrated, wrong: Sequence[Suspect], root: Suspect | None, total: float
) -> tuple[str, str] | None:
    """Return the kind and text of a cause that is in the calibration as a whole."""
    by_ranges = sum(each.cost(*_RANGES) for each in wrong)
    is_minor = root is None or root.cost(WEIGHTS) < _MINOR * by_ranges
    if calibrated.preprocess and is_minor and wrong:
        return PREPROCESS, calibrated.text
    for each in (each for each in wrong if each.number == INPUT):
        if each.cost(*_RANGES) > _LEAST_SHARE * total or each.place.sums.saturated > _MOST_CUT:
            trouble = next(trouble for trouble in each.troubles if trouble.kind in _RANGES)
            return CALIBRATION, (
                f"the int8 model's input {each.name} was calibrated with other values: "
                f"{trouble.text}"
            )
    many = max(_LEAST_MANY, _MANY * calibrated.num_groups)
    if calibrated.num_far < many or not wrong:
        return None
    if root is not None and _share_behind(wrong, root) >= _BEHIND:
        return None
    if max(each.cost(*_RANGES) for each in wrong) > _ALMOST_ALL * by_ranges:
        return None  # one operator causes it, and the other ranges do not matter
    return CALIBRATION, (
        f"{calibrated.num_far} of {calibrated.num_groups} ranges of the int8 model are not those "
        "of these samples (1.5 times as wide, or less than two thirds): it was calibrated with "
        "other ones"
    )


def _share_behind(wrong: Sequence[Suspect], root: Suspect) -> float:
    """The share of the wrong ranges that were calibrated at or behind an operator."""
    behind = [each for each in wrong if each.number >= root.number]
    return len(behind) / max(len(wrong), 1)


def _root_first(
    found: list[tuple[float, DebugCause]], root: Suspect, wrong: Sequence[Suspect]
) -> list[tuple[float, DebugCause]]:
    """Drop wrong ranges behind an operator with wrong weights: they were calibrated with these."""
    if len(wrong) <= _LEAST_MANY or _share_behind(wrong, root) < _BEHIND:
        return found
    victims = {each.number for each in wrong if each.number > root.number}
    return [
        (float("inf") if cause.index == root.number else cost, cause)
        for cost, cause in found
        if cause.index not in victims or cause.kind not in _RANGES
    ]


def _only_rounding(
    suspects: Sequence[Suspect], total: float, commands: Commands
) -> list[DebugCause]:
    """Without trouble anywhere: the operators whose rounding costs most."""
    first = sorted(suspects, key=lambda each: -each.effect)[:_MOST_ROUNDING]
    return [
        _cause(
            each,
            ROUNDING,
            f"the rounding to 8 bits causes {each.effect / total:.0%} of the error; its range "
            "and its weights fit",
            each.effect / total,
            commands,
        )
        for each in first
    ]


def _cause(
    suspect: Suspect | None, kind: str, text: str, share: float, commands: Commands
) -> DebugCause:
    code = f"debug.{kind}"
    return DebugCause(
        index=None if suspect is None else suspect.number,
        opcode="" if suspect is None else suspect.opcode,
        name="" if suspect is None else suspect.name,
        kind=kind,
        code=code,
        share=min(share, 1.0),
        text=text,
        advice=ADVICE[code],
        command=commands.for_kind(kind),
    )


def kinds_by_tensor(suspects: Sequence[Suspect]) -> Mapping[int, tuple[str, ...]]:
    """Return the kinds of trouble of each tensor."""
    return {each.place.index: tuple(t.kind for t in each.troubles) for each in suspects}
