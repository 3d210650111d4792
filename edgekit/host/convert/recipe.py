# SPDX-License-Identifier: Apache-2.0
"""A recipe: the choices of a conversion that decide how accurate the int8 model is, as TOML.

`edgekit tune` finds one, and ``convert --recipe`` repeats it to the same bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from edgekit import files
from edgekit.errors import EdgeKitError, InputError
from edgekit.extras import require
from edgekit.host.convert.activations import parse_replacements
from edgekit.host.convert.improve.improve import IMPROVEMENTS, Choice
from edgekit.host.convert.improve.range_rules import MIN_MAX, RangeRule
from edgekit.result import Result

SCHEMA = "edgekit.recipe/1"
_MOST_BYTES = 1 << 20
_HEAD = "# edgekit convert SOURCE --data DATA --recipe THIS_FILE -o OUT.tflite\n"


@dataclass(frozen=True)
class Recipe(Result):
    """How a network is calibrated and quantized; the defaults are those of `convert`."""

    num_samples: int = 100  # calibration samples
    # fold, equalize, dense, flat, outputs: those to apply; None applies each that helps in a trial
    improvements: tuple[str, ...] | None = None
    ranges: str = MIN_MAX  # minmax | mse | percentile:P
    clip_logits: bool = False  # limit output scores to -16..16
    replace_activations: str = ""  # as the option of convert; empty: none

    @property
    def choice(self) -> Choice:
        """What to do with the network before quantization."""
        rule = RangeRule.parse(self.ranges)
        return Choice(self.improvements, self.clip_logits, rule, is_tuned=True)

    def __str__(self) -> str:
        """The differences from `convert`'s defaults in words."""
        return ", ".join(self._words()) or "convert's defaults"

    def _words(self) -> list[str]:
        default, words = Recipe(), []
        if self.improvements is not None:
            words.append(" + ".join(self.improvements) if self.improvements else "plain")
        if self.num_samples != default.num_samples:
            words.append(f"{self.num_samples} samples")
        if self.ranges != default.ranges:
            words.append(f"ranges {self.ranges}")
        if self.clip_logits:
            words.append("clip logits")
        if self.replace_activations:
            words.append(f"activations {self.replace_activations}")
        return words

    def to_toml(self) -> str:
        """Return the text of the file."""
        rows = [
            ("schema", SCHEMA),
            *((each.name, getattr(self, each.name)) for each in fields(self)),
        ]
        lines = [f"{name} = {_toml(value)}" for name, value in rows if value not in (None, "")]
        return _HEAD + "\n".join(lines) + "\n"

    @classmethod
    def from_fields(cls, values: Mapping[str, Any], where: str = "") -> Recipe:
        """Return the recipe with these fields.

        Raises:
            InputError: A field is unknown, or its value cannot be used.
        """
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise _bad(f"the recipe has the unknown field {unknown[0]}", where)
        given = dict(values)
        for name, (kind, text) in _KINDS.items():
            if name in given and not (
                isinstance(given[name], kind) and isinstance(given[name], bool) == (kind is bool)
            ):
                raise _bad(f"{name} of the recipe is {given[name]!r}, expected {text}", where)
        if given.get("improvements") is not None:
            given["improvements"] = _improvements(given["improvements"], where)
        made = cls(**given)
        if made.num_samples < 1:
            raise _bad(
                f"num_samples of the recipe is {made.num_samples}, expected 1 or more", where
            )
        try:
            RangeRule.parse(made.ranges)
            parse_replacements(made.replace_activations or None)
        except EdgeKitError as error:
            raise _bad(f"{error.what} (in the recipe)", where, error.fix) from error
        return made


_KINDS: dict[str, tuple[type, str]] = {
    "num_samples": (int, "a number"),
    "ranges": (str, "a text"),
    "clip_logits": (bool, "true or false"),
    "replace_activations": (str, "a text"),
}


def read_recipe(path: files.PathLike) -> Recipe:
    """Read a recipe's file.

    Raises:
        InputError: It cannot be read, or is not a recipe.
    """
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    toml = require(name, extra="host", purpose="read a recipe")
    content = files.read_bytes(path, "recipe", _MOST_BYTES)
    try:
        values: dict[str, Any] = toml.loads(content.decode())
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise _bad(f"the recipe is not TOML: {error}", str(path)) from error
    schema = values.pop("schema", None)
    if schema != SCHEMA:
        raise _bad(
            f"the file is not a recipe: schema is {schema!r}, expected {SCHEMA!r}", str(path)
        )
    return Recipe.from_fields(values, str(path))


def _improvements(value: Any, where: str) -> tuple[str, ...]:  # noqa: ANN401 - checked here
    names = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not set(names) <= set(IMPROVEMENTS):
        raise _bad(
            f"improvements of the recipe is {value!r}, expected a list of these: "
            f"{', '.join(IMPROVEMENTS)}",
            where,
        )
    return names


def _bad(what: str, where: str, fix: str = "") -> InputError:
    return InputError(what, where=where, fix=fix or "give a file that edgekit tune wrote")


def _toml(value: Any) -> str:  # noqa: ANN401 - a field of `Recipe`
    """Return a value as TOML; its strings, lists, numbers and booleans are written as in JSON."""
    return json.dumps(value, ensure_ascii=False)
