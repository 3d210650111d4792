# SPDX-License-Identifier: Apache-2.0
"""Records are read with the types of their dataclass; anything else is a ValueError."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edgekit.host.convert.outcome import Mapped
from edgekit.host.convert.recipe import Recipe
from edgekit.host.records import record_of
from edgekit.host.tune.result import Trial
from edgekit.host.tune.score import Score

pytestmark = pytest.mark.host
_SCORE = Score("top1", 0.9, 0.95, 5.0, 22.5, "good", 100)
_TRIAL = Trial(
    1, Recipe(improvements=("fold",), tensors=(("a", "mse"),)), "x", _SCORE, Mapped(4, 3, 0, 1, 0.5)
)


def _fields(trial: Trial) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps(trial.to_dict()))
    return fields


@pytest.mark.parametrize("trial", [_TRIAL, Trial(2, Recipe(), "y", None, None, problem="no")])
def test_what_was_written_is_read(trial: Trial) -> None:
    assert Trial.from_fields(_fields(trial)) == trial


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("number",), "1"),
        (("number",), True),
        (("score",), []),
        (("score", "value"), None),
        (("score", "more"), 1),
        (("mapped", "num_mapped"), 1.5),
        (("recipe",), None),
        (("recipe", "tensors"), [["a"]]),
        (("recipe", "improvements"), [["fold"]]),
        (("step",), {}),
    ],
)
def test_another_type_or_field_is_refused(place: tuple[str, ...], value: object) -> None:
    fields = _fields(_TRIAL)
    holder = fields
    for name in place[:-1]:
        holder = holder[name]
    holder[place[-1]] = value
    with pytest.raises(ValueError, match=r"\w"):
        Trial.from_fields(fields)


def test_a_missing_field_is_refused() -> None:
    fields = _fields(_TRIAL)
    del fields["recipe"]
    with pytest.raises(ValueError, match="without recipe"):
        record_of(Trial, fields)
