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
from edgekit.formats.damage import reason_of
from edgekit.host.convert.activations import parse_replacements
from edgekit.host.convert.improve.improve import IMPROVEMENTS, Choice
from edgekit.host.convert.improve.range_rules import MIN_MAX, RangeRule
from edgekit.result import Result

SCHEMA = "edgekit.recipe/1"
_MOST_BYTES = 1 << 20
_TENSORS = "tensors"
_HEAD = "# edgekit convert SOURCE --data DATA --recipe THIS_FILE -o OUT.tflite\n"


@dataclass(frozen=True)
class Recipe(Result):
    """How a network is calibrated and quantized; the defaults are those of `convert`."""

    num_samples: int = 100  # calibration samples
    # fold, equalize, dense, flat, outputs: those to apply; None applies each that helps in a trial
    improvements: tuple[str, ...] | None = None
    ranges: str = MIN_MAX  # minmax | mse | entropy | percentile:P | samples:P
    clip_logits: bool = False  # limit output scores to -16..16
    replace_activations: str = ""  # as the option of convert; empty: none
    tensors: tuple[tuple[str, str], ...] = ()  # name of a tensor, its own rule for the range
    round_weights: bool = False  # round weights for the least error of each layer's output
    correct_biases: bool = False  # let biases cancel the mean error of rounded weights
    normalize_inputs: bool = False  # give every feature of an input the whole range
    split_channels: bool = False  # compute channels with extreme values or weights twice
    sample_set: int = 0  # which of the disjoint choices of ``num_samples`` samples

    @property
    def choice(self) -> Choice:
        """What to do with the network before quantization."""
        return Choice(
            self.improvements,
            self.clip_logits,
            RangeRule.parse(self.ranges),
            tuple((name, RangeRule.parse(rule)) for name, rule in self.tensors),
            self.normalize_inputs,
            self.split_channels,
            self.round_weights,
            self.correct_biases,
            is_tuned=True,
        )

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
        if self.sample_set:
            words.append(f"other samples ({self.sample_set})")
        if self.replace_activations:
            words.append(f"activations {self.replace_activations}")
        if self.tensors:
            words.append(f"own ranges of {len(self.tensors)} tensors")
        words += ["normalized inputs"] * self.normalize_inputs
        words += ["split channels"] * self.split_channels
        words += ["rounded weights"] * self.round_weights
        words += ["corrected biases"] * self.correct_biases
        return words

    def to_toml(self) -> str:
        """Return the text of the file."""
        rows = [
            ("schema", SCHEMA),
            *((each.name, getattr(self, each.name)) for each in fields(self)),
        ]
        lines = [
            f"{name} = {_toml(value)}"
            for name, value in rows
            if value not in (None, "") and name != _TENSORS
        ]
        if self.tensors:
            lines += ["", f"[{_TENSORS}]"]
            lines += [f"{_toml(name)} = {_toml(rule)}" for name, rule in self.tensors]
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
                raise _bad(f"{name} of the recipe is {given[name]!r:.100}, expected {text}", where)
        if given.get("improvements") is not None:
            given["improvements"] = _improvements(given["improvements"], where)
        if _TENSORS in given:
            given[_TENSORS] = _rules(given[_TENSORS], where)
        made = cls(**given)
        for name, least in (("num_samples", 1), ("sample_set", 0)):
            number = getattr(made, name)
            if number < least:
                raise _bad(f"{name} of the recipe is {number}, expected {least} or more", where)
        try:
            for rule in (made.ranges, *(rule for _, rule in made.tensors)):
                RangeRule.parse(rule)
            parse_replacements(made.replace_activations or None)
        except EdgeKitError as error:
            raise _bad(f"{error.what} (in the recipe)", where, error.fix) from error
        return made


PLAIN = Recipe(improvements=())  # what the quantizer makes of the network as it is
_KINDS: dict[str, tuple[type, str]] = {
    "num_samples": (int, "a number"),
    "ranges": (str, "a text"),
    "clip_logits": (bool, "true or false"),
    "replace_activations": (str, "a text"),
    "round_weights": (bool, "true or false"),
    "correct_biases": (bool, "true or false"),
    "normalize_inputs": (bool, "true or false"),
    "split_channels": (bool, "true or false"),
    "sample_set": (int, "a number"),
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
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError
        raise _bad(f"the recipe is not TOML: {reason_of(error)}", str(path)) from error
    schema = values.pop("schema", None)
    if schema != SCHEMA:
        raise _bad(
            f"the file is not a recipe: schema is {schema!r}, expected {SCHEMA!r}", str(path)
        )
    return Recipe.from_fields(values, str(path))


def _improvements(value: Any, where: str) -> tuple[str, ...]:  # noqa: ANN401 - checked here
    names = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not all(isinstance(name, str) and name in IMPROVEMENTS for name in names):
        raise _bad(
            f"improvements of the recipe is {value!r:.100}, expected a list of these: "
            f"{', '.join(IMPROVEMENTS)}",
            where,
        )
    return names


def _rules(value: Any, where: str) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - checked here
    """Return pairs from a table, or from a journal's list of pairs."""
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(pairs, (list, tuple)) or not all(
        isinstance(each, (list, tuple)) and len(each) == 2 and all(isinstance(t, str) for t in each)
        for each in pairs
    ):
        raise _bad(f"{_TENSORS} of the recipe is {value!r:.100}, expected a table of texts", where)
    return tuple((name, rule) for name, rule in pairs)


def _bad(what: str, where: str, fix: str = "") -> InputError:
    return InputError(what, where=where, fix=fix or "give a file that edgekit tune wrote")


def _toml(value: Any) -> str:  # noqa: ANN401 - a field of `Recipe`
    """Return a value as TOML; its strings, lists, numbers and booleans are written as in JSON."""
    return json.dumps(value, ensure_ascii=False)
