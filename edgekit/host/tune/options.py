# SPDX-License-Identifier: Apache-2.0
"""The options of `tune`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgekit import files
from edgekit.data import Preprocess
from edgekit.errors import UsageError
from edgekit.evaluate.gates import refuse_share
from edgekit.evaluate.result import set_options
from edgekit.host.convert.options import ConvertOptions
from edgekit.host.convert.recipe import Recipe

_MOST_TRIALS = 100
_DEFAULTS = {"max_trials": _MOST_TRIALS, "io": "uint8", "batch_size": 1, "trust_source": False}


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to read the source, and what the int8 model is like; the fields are `convert`'s."""

    preprocess: str | Preprocess | None = None
    labels: files.PathLike | Sequence[str] | None = None
    io: str = "uint8"
    batch_size: int = 1
    input_shape: tuple[str, ...] = ()
    signature: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    converter_python: files.PathLike | None = None
    trust_source: bool = False

    def source_keywords(self) -> dict[str, Any]:
        """Return the arguments with which `convert` reads the source."""
        return {
            "batch_size": self.batch_size,
            "input_shape": self.input_shape or None,
            "signature": self.signature,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "converter_python": self.converter_python,
            "trust_source": self.trust_source,
        }

    def keywords(self) -> dict[str, Any]:
        """Return the arguments of `convert` besides source, data, output and recipe."""
        same = {"preprocess": self.preprocess, "labels": self.labels, "io": self.io}
        return {**same, **self.source_keywords()}

    def key(self) -> dict[str, Any]:
        """Return what must be equal for a run to be continued."""
        read = {name: str(value) for name, value in self.keywords().items()}
        del read["converter_python"]
        return read


@dataclass(frozen=True, kw_only=True)
class TuneOptions(SourceOptions):
    """How to search, and how to read the source; the fields are the arguments of `tune`."""

    max_drop: float
    max_trials: int = _MOST_TRIALS

    def __post_init__(self) -> None:
        refuse_share(self.max_drop)
        if self.max_trials < 1:
            raise UsageError(f"--max-trials is {self.max_trials}", fix="give 1 or more")

    def convert_options(self, recipe: Recipe, *, with_source: bool) -> ConvertOptions:
        """Return the options of a conversion by ``recipe``.

        Args:
            recipe: The choices.
            with_source: Include those that say how to read the source.
        """
        python = None if self.converter_python is None else str(self.converter_python)
        options = ConvertOptions(io=self.io, labels=self.labels, converter_python=python)
        if with_source:
            options = replace(
                options,
                batch_size=self.batch_size,
                input_shape=self.input_shape,
                inputs=self.inputs,
                outputs=self.outputs,
            )
        return options.with_recipe(recipe)

    def asked(self) -> dict[str, str]:
        """Return the options that the user set, as on the command line."""
        lists = {name: ",".join(getattr(self, name)) or None for name in ("inputs", "outputs")}
        shapes = ";".join(self.input_shape) or None
        values = {**self.__dict__, **lists, "input_shape": shapes}
        return set_options(_DEFAULTS, **values)
