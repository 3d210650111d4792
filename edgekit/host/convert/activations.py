# SPDX-License-Identifier: Apache-2.0
"""``--replace-activations``: replace activations of the float model before calibration."""

from __future__ import annotations

from edgekit.errors import UsageError
from edgekit.formats.tflite import Model
from edgekit.rewrite.float_activations import FORMS, MAPPABLE_FORMS, replace_activations

_OTHER_NAMES = {"silu": "swish", "hardswish": "hard_swish", "hard_silu": "hard_swish"}


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
        if form not in FORMS or (kind and kind not in MAPPABLE_FORMS):
            raise UsageError(
                f"--replace-activations {word.strip()!r} is unknown",
                fix=f"give one of {', '.join(FORMS)} for all, or KIND=FORM with one of "
                f"{', '.join(MAPPABLE_FORMS)}",
            )
        forms.update({kind: form} if kind else dict.fromkeys(MAPPABLE_FORMS, form))
    return forms


def with_replacements(model: Model, forms: dict[str, str]) -> tuple[Model, list[str]]:
    """Return the float ``model`` with activations replaced, and a description of the changes."""
    if not forms:
        return model, []
    replaced, counts = replace_activations(model, forms)
    if not counts:
        return model, ["--replace-activations: the model does not have any of these activations"]
    notes = [
        f"{count} {kind} replaced by {MAPPABLE_FORMS[kind] if form == 'mappable' else form}"
        for (kind, form), count in sorted(counts.items())
    ]
    return replaced, notes
