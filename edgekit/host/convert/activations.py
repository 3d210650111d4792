# SPDX-License-Identifier: Apache-2.0
"""``--replace-activations``: replace activations of the float model before calibration."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from edgekit.errors import UsageError
from edgekit.formats.tflite import Model
from edgekit.formats.tflite.part import live_operators
from edgekit.rewrite import apply_rule, pointwise
from edgekit.rewrite.float_activations import FORMS, MAPPABLE_FORMS, replace_activations
from edgekit.rewrite.group_normalization import has_groups, normalize_groups
from edgekit.rewrite.normalization import has_normalization, normalize

_OTHER_NAMES = {
    "hard_silu": "hard_swish",
    "hardswish": "hard_swish",
    "group_norm": "normalization",
    "instance_norm": "normalization",
    "layer_norm": "normalization",
    "silu": "swish",
}
_NORMALIZATION, _MAPPABLE = "normalization", "mappable"
_REPLACED = re.compile(r"(--replace-activations )([\w=,]+)")


def parse_replacements(text: str | None) -> dict[str, str]:
    """Parse ``mappable`` or ``gelu=relu6,elu=relu`` to kind -> form; empty for None.

    Raises:
        UsageError: A kind or a form is unknown.
    """
    forms: dict[str, str] = {}
    for word in (text or "").split(","):
        if not word.strip():
            continue
        left, equals, right = word.strip().lower().partition("=")
        kind, form = (_OTHER_NAMES.get(left, left), right) if equals else ("", left)
        is_known = form in FORMS and (not kind or kind in MAPPABLE_FORMS)
        if not is_known or (kind == _NORMALIZATION and form != _MAPPABLE):
            raise UsageError(
                f"--replace-activations {word.strip()!r} is unknown",
                fix=f"give one of {', '.join(FORMS)} for all, or KIND=FORM with one of "
                f"{', '.join(MAPPABLE_FORMS)}",
            )
        forms.update({kind: form} if kind else dict.fromkeys(MAPPABLE_FORMS, form))
    return forms


def with_replacements(
    model: Model,
    forms: Mapping[str, str],
    prepare: Callable[[Model], Model] = lambda model: model,
    watch: Callable[[Model, Model], object] = lambda _before, _after: None,
) -> tuple[Model, list[str]]:
    """Return the float ``model`` prepared and with activations replaced, and what was replaced.

    Args:
        model: As it was read.
        forms: Of `parse_replacements`.
        prepare: Gives it the operators that can be quantized. Normalizations are found after it,
            when they are over the last axis.
        watch: Called with the model before and after each replacement.
    """
    replaced = model
    counts: dict[tuple[str, str], int] = {}
    if forms:
        named = apply_rule(pointwise.RULE, model) or model
        replaced, counts = replace_activations(named, forms)
        replaced = replaced if counts else model
    if replaced is not model:
        watch(model, replaced)
    replaced = prepare(replaced)
    if forms.get(_NORMALIZATION) == _MAPPABLE:
        normalized, in_rows = normalize(replaced)
        normalized, in_groups = normalize_groups(normalized)
        count = in_rows + in_groups
        if count:
            watch(replaced, normalized)
            replaced = prepare(normalized)
            counts = {**counts, (_NORMALIZATION, _MAPPABLE): count}
    if forms and not counts:
        return replaced, ["--replace-activations: the model does not have any of these"]
    notes = [
        f"{count} {kind} replaced by {MAPPABLE_FORMS[kind] if form == _MAPPABLE else form}"
        for (kind, form), count in sorted(counts.items())
    ]
    return replaced, notes


def normalization_option(model: Model) -> str:
    """Return how the normalizations of a prepared float ``model`` map; empty if none would."""
    if not has_normalization(model) and not has_groups(model):
        return ""
    return (
        f"edgekit convert --replace-activations {_NORMALIZATION}=mappable replaces it by operators "
        "that map; or use BatchNormalization and train again"
    )


def replaceable(model: Model, blockers: Collection[int]) -> dict[int, str]:
    """Return the operators of a float ``model`` that a replacement removes, each with its kind.

    These are parts of activations that are spelled out, such as EXP and LOG of Mish.

    Args:
        model: The network.
        blockers: Indices of operators.
    """
    graph, found = model.main, {}
    for kind in MAPPABLE_FORMS:
        replaced, counts = replace_activations(model, {kind: _MAPPABLE})
        if not counts:
            continue
        left = replaced.main
        names = {
            left.tensors[index].name
            for place in live_operators(left)
            for index in left.operators[place].outputs
        }
        for index in blockers:
            outputs = {graph.tensors[i].name for i in graph.operators[index].outputs}
            if index not in found and not outputs & names:
                found[index] = kind
    return found


def keep_replacements(text: str, given: str | None) -> str:
    """Return an advice whose ``--replace-activations`` contain those that were ``given``."""
    if not given:
        return text

    def joined(found: re.Match[str]) -> str:
        words = [*given.split(","), *found[2].split(",")]
        return f"{found[1]}{','.join(dict.fromkeys(word.strip() for word in words))}"

    return _REPLACED.sub(joined, text)
