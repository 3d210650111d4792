# SPDX-License-Identifier: Apache-2.0
"""What `build` does, as one value; ``edgekit.toml`` is its text, which repeats the build."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgekit.bundle.pack import bundle
from edgekit.compiling import compile as compile_models
from edgekit.data.opening import FUNCTION
from edgekit.data.random_samples import RANDOM
from edgekit.errors import DataError, InputError, UnsafeModelError, UsageError
from edgekit.evaluate import benchmark, evaluate
from edgekit.evaluate.gates import Gates, refuse_share
from edgekit.extras import require
from edgekit.files import PathLike, read_bytes
from edgekit.formats.damage import reason_of
from edgekit.host.convert.conversion import convert
from edgekit.host.tune import tune
from edgekit.opencompiler.estimate import estimate

FILE_NAME = "edgekit.toml"
_MOST_BYTES = 1 << 20
# Keywords that `build` sets itself.
_INPUTS = ("source", "model", "models", "data", "against", "compiled", "metrics")
_OUTPUTS = ("output", "out_dir", "journal", "resume", "progress", "on_line")
_SET_HERE = (
    "mode",
    "stop_early",
    "options",
    "num_segments",
    "eval_data",
    "recipe",
    "on_trial",
    "pool",
)
_GATES = ("min_agreement", "min_snr_db", "min_mapped")
_OWN = frozenset((*_INPUTS, *_OUTPUTS, *_SET_HERE, *_GATES))
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "convert": convert,
    "compile": compile_models,
    "evaluate": evaluate,
    "benchmark": benchmark,
    "estimate": estimate,
    "bundle": bundle,
    "tune": tune,
}
# Keywords that run code, or use other programs, hosts or keys.
_ACTS = frozenset(("trust_source", "custom_objects", "converter_python", "via", "sign"))
# Keywords whose values are paths: in the file they are relative to its folder.
PATHS = frozenset(("labels", "anchors", "licence", "sign", "converter_python"))


@dataclass(frozen=True)
class BuildGates(Gates):
    """What the result must reach, `Gates` included; None for a gate that is not set."""

    min_mapped: float | None = None  # share of the operators that map, 0 to 1
    max_drop: float | None = None  # of any metric below the float model's, in percentage points

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None:
                continue
            option = f"--{each.name.replace('_', '-')}"
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise UsageError(f"{option} is {value!r}", fix="give a number")
        if self.min_mapped is not None and not 0 <= self.min_mapped <= 1:
            raise UsageError(
                f"--min-mapped is {self.min_mapped:g}", fix="give a share from 0 to 1: 0.5 is half"
            )
        refuse_share(self.max_drop)
        super().__post_init__()


@dataclass(frozen=True)
class BuildPlan:
    """A build: its inputs, and the keywords of each step's function."""

    source: str
    data: str | None = None
    eval_data: str | None = None
    gates: BuildGates = field(default_factory=BuildGates)
    convert: Mapping[str, Any] = field(default_factory=dict)
    compile: Mapping[str, Any] = field(default_factory=dict)
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    benchmark: Mapping[str, Any] = field(default_factory=dict)
    estimate: Mapping[str, Any] = field(default_factory=dict)
    bundle: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Any] | None = None  # None: convert without a search

    def __post_init__(self) -> None:
        for table, function in _FUNCTIONS.items():
            parameters = inspect.signature(function).parameters
            known = set(parameters) - _OWN
            for name, value in (getattr(self, table) or {}).items():
                if name not in known:
                    raise UsageError(
                        f"[{table}] does not have an option {name!r}",
                        fix=f"it has: {', '.join(sorted(known))}",
                    )
                if not _is_plain(value) or not _fits(value, parameters[name].default):
                    raise UsageError(
                        f"[{table}] {name} is {value!r}",
                        fix="give a text, a number, true or false, or a list of texts",
                    )

    def to_toml(self, folder: Path) -> str:
        """Return ``edgekit.toml`` for ``folder``: paths are relative to it."""
        plan = self._with_paths(lambda path: _relative(path, folder))
        lines = [
            "# Repeat this build: edgekit build edgekit.toml",
            "# Paths are relative to the folder of this file.",
            f"source = {_toml(plan.source)}",
        ]
        given = {"data": plan.data, "eval": plan.eval_data}
        lines += [f"{name} = {_toml(text)}" for name, text in given.items() if text is not None]
        gates = {name: value for name, value in vars(plan.gates).items() if value is not None}
        tables: dict[str, Mapping[str, Any] | None] = {"gates": gates or None}
        tables.update({name: getattr(plan, name) or None for name in _FUNCTIONS})
        tables["tune"] = plan.tune
        for table, options in tables.items():
            if options is not None:
                lines += ["", f"[{table}]"]
                lines += [f"{name} = {_toml(options[name])}" for name in sorted(options)]
        return "\n".join(lines) + "\n"

    def _with_paths(self, change: Callable[[str], str]) -> BuildPlan:
        """Return the plan with every path in it changed."""
        changed: dict[str, Any] = {
            table: {
                name: change(value) if name in PATHS and isinstance(value, str) else value
                for name, value in getattr(self, table).items()
            }
            for table in _FUNCTIONS
            if getattr(self, table) is not None
        }
        for name in ("data", "eval_data"):
            text = getattr(self, name)
            if text is not None:
                changed[name] = change(text)
        return replace(self, source=change(self.source), **changed)


def acts_in(plan: BuildPlan) -> list[str]:
    """Return what in a plan runs code, or uses other programs, hosts or keys, in words."""
    found = [
        f"{name} = {text!r}"
        for name, text in (("data", plan.data), ("eval", plan.eval_data))
        if text is not None and FUNCTION.match(text) and not Path(text).exists()
    ]
    for table in _FUNCTIONS:
        options = getattr(plan, table) or {}
        found += [f"[{table}] {name}" for name in sorted(_ACTS & set(options)) if options[name]]
    return found


def refuse_acts(plan: BuildPlan, where: PathLike) -> None:
    """Refuse a plan from a file that would run code: the file may be somebody else's.

    Raises:
        UnsafeModelError: It names code, programs, hosts or keys.
    """
    found = acts_in(plan)
    if found:
        raise UnsafeModelError(
            f"the file runs code, or uses programs, hosts or keys: {', '.join(found)}",
            where=str(where),
            why="it may be somebody else's",
            fix="look at these lines; if you trust them: --trust-source",
        )


def refuse_missing(data: str) -> None:
    """Refuse data that do not exist, before any step.

    Raises:
        DataError: It is neither a path that exists, nor ``random`` or ``package.module:function``.
    """
    if not (Path(data).exists() or data == RANDOM or FUNCTION.match(data)):
        raise DataError("the data do not exist", where=data, fix="check the path")


def read_plan(path: PathLike) -> BuildPlan:
    """Read an ``edgekit.toml``.

    Raises:
        InputError: It cannot be read, is not TOML, or does not describe a build.
        UsageError: It has an option that a step does not have.
    """
    module = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    toml = require(module, extra="host", purpose=f"read {FILE_NAME}")
    where = str(path)
    try:
        document = toml.loads(read_bytes(path, most_bytes=_MOST_BYTES).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"this is not TOML: {reason_of(error)}",
            where=where,
            fix=f"{FILE_NAME} is written by edgekit build",
        ) from error
    known = {"source": str, "data": str, "eval": str, "gates": dict}
    known.update(dict.fromkeys(_FUNCTIONS, dict))
    for name, value in document.items():
        if name not in known or not isinstance(value, known[name]):
            raise InputError(
                f"a build does not have {name!r}" if name not in known else f"{name} is {value!r}",
                where=where,
                fix=f"it may contain {', '.join(known)}",
            )
    if "source" not in document:
        raise InputError("source is missing", where=where, fix='add source = "PATH"')
    gates = document.pop("gates", {})
    unknown = sorted(set(gates) - {each.name for each in fields(BuildGates)})
    if unknown:
        raise InputError(
            f"[gates] does not have {unknown[0]!r}",
            where=where,
            fix=f"it has: {', '.join(each.name for each in fields(BuildGates))}",
        )
    plan = BuildPlan(eval_data=document.pop("eval", None), gates=BuildGates(**gates), **document)
    base = Path(path).parent
    return plan._with_paths(lambda text: _from(base, text))  # noqa: SLF001 - its own module


def _relative(text: str, folder: Path) -> str:
    """Return a path relative to ``folder``; another word stays."""
    if not os.path.exists(text):  # noqa: PTH110 - no error for odd names
        return text
    try:
        return Path(os.path.relpath(text, folder)).as_posix()
    except ValueError:  # another drive of Windows
        return str(Path(text).resolve())


def _from(base: Path, text: str) -> str:
    """Return a path of the file in ``base``; a word that is not a file stays."""
    place = Path(os.path.normpath(base / text))
    return str(place) if os.path.exists(place) else text  # noqa: PTH110 - no error for odd names


def _fits(value: object, default: object) -> bool:
    """Whether a value has the type of a keyword's default; None does not show a type."""
    if isinstance(default, bool) or isinstance(value, bool):
        return default is None or isinstance(default, bool) == isinstance(value, bool)
    if isinstance(default, (int, float)):
        return isinstance(value, int) or (isinstance(default, float) and isinstance(value, float))
    return not isinstance(default, str) or isinstance(value, str)


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(each, str) for each in value)
    return isinstance(value, (bool, int, float, str))


def _toml(value: Any) -> str:  # noqa: ANN401 - any of `_is_plain`
    """Return a value as TOML, whose texts, numbers and lists of these are written as in JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
