# SPDX-License-Identifier: Apache-2.0
"""``edgekit build``: from a trained network to a bundle and a report."""

from __future__ import annotations

import json
import os
import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit import files
from edgekit.building import words
from edgekit.building.gates import failures_of
from edgekit.building.plan import (
    FILE_NAME,
    PATHS,
    BuildGates,
    BuildPlan,
    acts_in,
    read_plan,
    refuse_acts,
    refuse_missing,
)
from edgekit.building.record import Record, one_build
from edgekit.building.result import DONE, KEPT, NOT_DONE, BuildResult, BuildStep
from edgekit.bundle.pack import bundle
from edgekit.checking import check
from edgekit.compiling import compile as compile_models
from edgekit.debugging import debug
from edgekit.errors import (
    BundleError,
    DataError,
    EdgeKitError,
    ExternalToolError,
    GateError,
    InputError,
    MissingExtraError,
    UnsupportedModelError,
    UsageError,
)
from edgekit.evaluate import benchmark, evaluate
from edgekit.fix import fix
from edgekit.formats.damage import JSON_DAMAGE
from edgekit.formats.json_text import parse_json
from edgekit.host.convert.child import kept_converters
from edgekit.host.convert.conversion import convert
from edgekit.host.convert.sources import find_source
from edgekit.host.tune import tune
from edgekit.opencompiler.compilers import AUTO, chosen_compiler
from edgekit.opencompiler.estimate import estimate
from edgekit.progress import Progress, no_progress
from edgekit.report.evidence import kind_of
from edgekit.report.page import report
from edgekit.result import Result
from edgekit.version import __version__

_REPORT, _RESULT, _README = "report.html", "build.json", "README.md"
# What the results depend on beside edgekit, the inputs and the options.
_LIBRARIES = ("ai-edge-litert", "keras", "numpy", "tensorflow", "tf-keras", "tflite-runtime")
# How to read a source: options of `convert` that matter to the float model too.
_OF_SOURCE = (
    "batch_size",
    "input_shape",
    "signature",
    "inputs",
    "outputs",
    "converter_python",
    "trust_source",
    "timeout_s",
)
_OF_TUNE = (*_OF_SOURCE[:-1], "preprocess", "labels", "io")
_FILES = PATHS | {"recipe", "compiled"}  # options that count by the content of their file
Document = Mapping[str, Any]  # a result as JSON
Starting = Callable[[str], Progress]
Finished = Callable[[BuildStep], None]


def _not_shown(_name: str) -> Progress:
    return no_progress


def _not_told(_step: BuildStep) -> None:
    """Report nothing: the default."""


@dataclass(frozen=True)
class _Work:
    """A step to do."""

    name: str
    run: Callable[[Progress], Result]
    reads: Mapping[str, str]  # what it is -> path, or another word such as ``random``
    options: Mapping[str, Any]  # all that the result depends on beside the files
    writes: tuple[str, ...] = ()  # files in the folder, beside NAME.json
    optional: tuple[type[EdgeKitError], ...] = ()  # errors that do not end the build
    journal: Path | None = None  # of a step that continues where it was interrupted


def build(  # noqa: PLR0913 - public: its options are keywords
    source: files.PathLike,
    *,
    data: str | Path | None = None,
    output: files.PathLike | None = None,
    eval_data: str | Path | None = None,
    gates: BuildGates | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    trust_source: bool = False,
    is_forced: bool = False,
    is_reported: bool = True,
    on_start: Starting = _not_shown,
    on_step: Finished = _not_told,
) -> BuildResult:
    """Go the whole way, from a trained network to a bundle and a report, in one folder.

    The steps are ``float``, ``convert`` (of an integer .tflite: ``fix``), ``check``, ``compile``,
    ``evaluate`` (against float), ``debug`` (if the int8 model is not good), ``benchmark``,
    ``estimate``, ``bundle`` and ``report``. A step whose inputs, options and outputs have not
    changed since it was done is kept: files are compared by their content.

    Args:
        source: Anything that `convert` takes, a .tflite that is quantized already, or an
            ``edgekit.toml`` of an earlier build, which contains all the rest.
        data: Calibration samples: a path or ``package.module:function``. Only a quantized .tflite
            does not need them.
        output: The folder; created if missing. By default that of the ``edgekit.toml``.
        eval_data: Samples to evaluate on, of their own; None uses ``data``.
        gates: What the result must reach; the result's ``failures`` name those that are not met.
        options: Step (``convert``, ``compile``, ``evaluate``, ``benchmark``, ``estimate``,
            ``bundle``) -> keywords of its function. With ``tune``, even empty, the recipe for the
            conversion is searched for on ``eval_data`` first.
        trust_source: As for `convert`; an ``edgekit.toml`` may then also name functions, programs,
            hosts and keys.
        is_forced: Do every step again.
        is_reported: Write the report; it can also be made later, of the folder.
        on_start: Called with the name of each step that begins; returns where its progress goes.
        on_step: Called with each finished step.

    Raises:
        UsageError: Arguments are missing, contradict each other, or no step has such an option;
            in an ``edgekit.toml`` this is an InputError.
        UnsafeModelError: An ``edgekit.toml`` that is not trusted would run code.
        EdgeKitError: As the functions of the steps. The files of finished steps stay, and the next
            build continues from there.
    """
    if Path(source).suffix == ".toml":
        if data is not None or eval_data is not None or gates is not None or options:
            raise UsageError(
                f"{Path(source).name} contains the data and the options",
                fix="leave them out, or change them in the file",
            )
        with _blamed_on(source):
            plan = read_plan(source)
            if not trust_source:
                refuse_acts(plan, source)
            folder = Path(source).parent if output is None else Path(output)
            repeated = _Build(plan, folder, is_forced, on_start, on_step)
            return repeated.run(is_reported=is_reported)
    else:
        if output is None:
            earlier = Path(source) / FILE_NAME
            if earlier.is_file():
                raise UsageError(
                    f"{source} is the folder of an earlier build",
                    fix=f"to repeat it: edgekit build {shlex.quote(str(earlier))}",
                )
            raise UsageError(
                "a folder for the results is needed",
                fix="edgekit build SOURCE --data DATA -o FOLDER",
            )
        plan = BuildPlan(
            source=str(source),
            data=None if data is None else str(data),
            eval_data=None if eval_data is None else str(eval_data),
            gates=gates or BuildGates(),
            **_with_trust(options or {}, trust_source),
        )
        folder = Path(output)
    return _Build(plan, folder, is_forced, on_start, on_step).run(is_reported=is_reported)


@contextmanager
def _blamed_on(file: files.PathLike) -> Iterator[None]:
    """Raise that options contradict each other as an error of the file that contains them.

    Raises:
        InputError: The block raised UsageError.
    """
    try:
        yield
    except UsageError as error:
        place = f"{file}, {error.where}" if error.where else str(file)
        raise InputError(error.what, where=place, why=error.why, fix=error.fix) from error


def _with_trust(
    options: Mapping[str, Mapping[str, Any]], trust_source: bool
) -> dict[str, dict[str, Any]]:
    """Return the options of the steps; those of ``convert`` say whether the source is trusted."""
    given = {name: dict(each) for name, each in options.items()}
    if trust_source:
        given["convert"] = {**given.get("convert", {}), "trust_source": True}
    return given


class _Build:
    """The state of one build."""

    def __init__(
        self,
        plan: BuildPlan,
        folder: Path,
        is_forced: bool,
        on_start: Starting,
        on_step: Finished,
    ) -> None:
        self._plan, self._folder, self._is_forced = plan, folder, is_forced
        self._on_start, self._on_step = on_start, on_step
        self._steps: list[BuildStep] = []
        self._documents: dict[str, Document] = {}
        name = Path(os.path.normpath(plan.source)).stem or "model"
        self._float, self._model = f"{name}_float.tflite", f"{name}.tflite"
        self._compiled, self._bundle = f"{name}_edgetpu.tflite", f"{name}.edgekit"
        self._recipe = f"{name}.recipe.toml"

    def run(self, *, is_reported: bool) -> BuildResult:
        """Do all steps; the report only if ``is_reported``."""
        start = time.monotonic()
        plan, folder = self._plan, self._folder
        # A missing file is an error before anything is written.
        source = find_source(plan.source)
        kind, file = source.kind, source.file
        is_quantized = file is not None and kind_of(file.model) != "real"
        for data in filter(None, (plan.data, plan.eval_data)):
            refuse_missing(data)
        self._refuse_incomplete(is_quantized=is_quantized)
        files.make_folder(folder)
        with one_build(folder):
            self._run(kind, is_quantized=is_quantized)
            if is_reported:
                self._do(self._reported(self._path(self._model)))
            return self._result(time.monotonic() - start)

    def _run(self, kind: str, *, is_quantized: bool) -> None:
        """Do all steps but the report."""
        plan, folder = self._plan, self._folder
        self._record = Record(folder)
        given = (plan.source, plan.data, plan.eval_data, plan.convert.get("labels"))
        files.refuse_overwriting(folder / _RESULT, *given)
        files.write_text(folder / FILE_NAME, plan.to_toml(folder))
        with kept_converters():
            reference = None if is_quantized else self._convert(kind)
        if is_quantized:
            self._fix()
        model = self._path(self._model)
        self._do(self._checked(model))
        compiled = self._compile(model)
        self._measure(model, compiled, reference)
        self._do(self._estimated(compiled or model))
        self._do(self._bundled(model, compiled))
        self._record.keep_only([*(s.name for s in self._steps if s.status != NOT_DONE), "report"])
        command = again(needs_trust=bool(acts_in(plan)))
        self._write_readme(words.readme(Path(plan.source).name, self._steps, command))

    def _result(self, time_s: float) -> BuildResult:
        """Return the result, and write it."""
        plan, folder = self._plan, self._folder
        result = BuildResult(
            folder=str(folder),
            source=plan.source,
            again=again(folder, needs_trust=bool(acts_in(plan))),
            steps=tuple(self._steps),
            failures=tuple(failures_of(plan.gates, self._documents)),
            warnings=tuple(self._warnings()),
            time_s=time_s,
        )
        files.write_text(folder / _RESULT, result.to_json())
        return result

    def _write_readme(self, text: str) -> None:
        """Write the README, unless there is one that edgekit did not write."""
        path = self._folder / _README
        title = text.splitlines()[0]
        if not path.exists() or path.read_bytes().startswith(title.encode()):
            files.write_text(path, text)

    def _refuse_incomplete(self, *, is_quantized: bool) -> None:
        """Refuse a plan that lacks data, before anything is written."""
        plan = self._plan
        if plan.data is None and not is_quantized:
            raise UsageError(
                "calibration data are needed to convert a network",
                fix="edgekit build SOURCE --data DATA -o FOLDER",
            )
        if plan.tune is not None and plan.eval_data is None:
            raise UsageError(
                "the search for a recipe needs other samples than those of calibration",
                fix="--eval DATA, or leave --tune out",
            )

    def _fix(self) -> None:
        """Write the int8 model of a quantized source, which has no float one."""
        source = self._plan.source
        self._do(
            _Work(
                "fix",
                lambda progress: fix(source, self._path(self._model), progress=progress),
                reads={"source": source},
                options={},
                writes=(self._model,),
            )
        )

    def _convert(self, kind: str) -> str:
        """Write the int8 model of a source of this kind; return the float one."""
        source, options = self._plan.source, dict(self._plan.convert)
        data = str(self._plan.data)
        labels = options.get("labels")
        reads = {"source": source, **({"labels": labels} if isinstance(labels, str) else {})}
        reference = source if kind == "tflite" else self._path(self._float)
        if kind != "tflite":
            of_source = {name: options[name] for name in _OF_SOURCE if name in options}
            self._do(
                _Work(
                    "float",
                    lambda progress: convert(
                        source,
                        output=reference,
                        mode="float",
                        progress=progress,
                        **of_source,
                    ),
                    reads={"source": source},
                    options=of_source,
                    writes=(self._float,),
                )
            )
        if self._plan.tune is not None:
            self._tune(data, options)
            options["recipe"] = self._path(self._recipe)
            reads["recipe"] = self._path(self._recipe)
        self._do(
            _Work(
                "convert",
                lambda progress: convert(
                    source,
                    data=data,
                    output=self._path(self._model),
                    progress=progress,
                    **options,
                ),
                reads={**reads, "data": data},
                options=options,
                writes=(self._model,),
            )
        )
        return reference

    def _tune(self, data: str, of_convert: Mapping[str, Any]) -> None:
        """Write the recipe for the conversion."""
        plan, eval_data = self._plan, str(self._plan.eval_data)
        shared = {name: of_convert[name] for name in _OF_TUNE if name in of_convert}
        options = {**shared, **(plan.tune or {})}
        if plan.gates.max_drop is not None:
            options.setdefault("max_drop", plan.gates.max_drop)
        journal = self._folder / ".tune.journal"
        self._do(
            _Work(
                "tune",
                lambda _progress: tune(
                    plan.source,
                    data=data,
                    eval_data=eval_data,
                    output=self._folder / f".{self._model}",
                    recipe=self._path(self._recipe),
                    journal=journal,
                    **options,
                ),
                reads={"source": plan.source, "data": data, "eval": eval_data},
                options=options,
                writes=(self._recipe,),
                journal=journal,
            )
        )
        (self._folder / f".{self._model}").unlink(missing_ok=True)  # convert repeats it

    def _checked(self, model: str) -> _Work:
        return _Work("check", lambda _progress: check(model), reads={"model": model}, options={})

    def _compile(self, model: str) -> str | None:
        """Return the compiled model; None if no compiler here takes the model."""
        options = {"compiler": AUTO, **self._plan.compile}
        compiler = chosen_compiler(str(options["compiler"]))
        done = self._do(
            _Work(
                "compile",
                lambda _progress: compile_models([model], out_dir=self._folder, **options),
                reads={"model": model},
                options={**options, "chosen": compiler},
                writes=(self._compiled,),
                optional=(InputError, ExternalToolError, GateError),
            )
        )
        return None if done is None else self._path(self._compiled)

    def _measure(self, model: str, compiled: str | None, reference: str | None) -> None:
        """Evaluate and benchmark the model; find where it loses accuracy, if it does."""
        plan = self._plan
        on_device = compiled or model
        data = plan.eval_data or plan.data
        options = dict(plan.evaluate)
        self._benchmark(on_device if plan.benchmark.get("device", "cpu") != "cpu" else model)
        if data is None:
            no_data = BuildStep("evaluate", NOT_DONE, "no data were given", 0.0, (), "--eval DATA")
            self._finished(no_data, None)
            return
        evaluated = model if options.get("device", "cpu") == "cpu" else on_device
        reads = {"model": evaluated, "data": data}
        if reference is not None:
            reads["against"] = reference
        journal = self._folder / ".evaluate.journal"
        self._do(
            _Work(
                "evaluate",
                lambda progress: evaluate(
                    evaluated,
                    data,
                    against=reference,
                    progress=progress,
                    journal=journal,
                    resume=True,
                    **options,
                ),
                reads=reads,
                options=options,
                # Calibration data need no labels, and may have no end.
                optional=() if plan.eval_data else (DataError, UnsupportedModelError),
                journal=journal,
            )
        )
        if reference is not None and words.verdict(self._documents) in words.NOT_GOOD:
            self._do(
                _Work(
                    "debug",
                    lambda progress: debug(reference, model, data, progress=progress),
                    reads={**reads, "model": model},
                    options={},
                    optional=(DataError, UnsupportedModelError),
                )
            )

    def _benchmark(self, model: str) -> None:
        options = dict(self._plan.benchmark)
        self._do(
            _Work(
                "benchmark",
                lambda _progress: benchmark(model, **options),
                reads={"model": model},
                options={**options, "machine": platform.platform(), "node": platform.node()},
            )
        )

    def _estimated(self, model: str) -> _Work:
        options = dict(self._plan.estimate)
        return _Work(
            "estimate",
            lambda _progress: estimate(model, **options),
            reads={"model": model},
            options=options,
            optional=(InputError,),
        )

    def _bundled(self, model: str, compiled: str | None) -> _Work:
        options = {"compiled": compiled, **self._plan.bundle}
        measured = [
            self._path(f"{name}.json") for name in ("evaluate", "benchmark") if self._has(name)
        ]
        reads = {"model": model, **{f"result {i}": path for i, path in enumerate(measured)}}
        if compiled is not None:
            reads["compiled"] = compiled
        reads.update({name: options[name] for name in ("labels", "licence") if name in options})
        return _Work(
            "bundle",
            lambda _progress: bundle(
                model, output=self._path(self._bundle), metrics=measured, **options
            ),
            reads=reads,
            options=options,
            writes=(self._bundle,),
            optional=(BundleError,),
        )

    def _reported(self, model: str) -> _Work:
        documents = {step.name: self._path(f"{step.name}.json") for step in self._steps}
        return _Work(
            "report",
            lambda _progress: report(self._folder, self._path(_REPORT), model=Path(model).name),
            reads={name: path for name, path in documents.items() if self._has(name)},
            options={},
            writes=(_REPORT,),
            optional=(MissingExtraError,),
        )

    def _do(self, work: _Work) -> Document | None:
        """Do a step unless it was done already; return its result, None if it cannot be done."""
        key = self._key(work)
        document = self._folder / f"{work.name}.json"
        kept = None if self._is_forced else self._record.kept(work.name, key)
        outputs = (document.name, *work.writes)
        known = None if kept is None else _read_result(work.name, document)
        if kept is not None and known is not None:
            result, says = known
            return self._finished(BuildStep(work.name, KEPT, says, kept.time_s, outputs), result)
        # A journal names files as they were typed.
        typed = json.dumps([dict(work.reads), dict(work.options)], sort_keys=True)
        begun = files.sha256_hex(f"{key} {typed}".encode())
        if not self._record.begin(work.name, begun) and work.journal is not None:
            work.journal.unlink(missing_ok=True)
        start = time.monotonic()
        try:
            made = work.run(self._on_start(work.name))
        except work.optional as error:
            took = time.monotonic() - start
            step = BuildStep(work.name, NOT_DONE, error.what, took, (), error.fix)
            return self._finished(step, None)
        if work.journal is not None:
            work.journal.unlink(missing_ok=True)
        files.write_text(document, made.to_json())
        took = time.monotonic() - start
        self._record.finish(work.name, key, outputs, took)
        result = json.loads(document.read_bytes())
        says = words.of_step(work.name, result)
        return self._finished(BuildStep(work.name, DONE, says, took, outputs), result)

    def _finished(self, step: BuildStep, document: Document | None) -> Document | None:
        self._steps.append(step)
        if document is not None:
            self._documents[step.name] = document
        self._on_step(step)
        return document

    def _key(self, work: _Work) -> str:
        """Return a hash of everything that the step's result depends on."""
        prints = self._record.fingerprints
        hashes = {
            name: prints.of_data(path) if name in ("data", "eval") else prints.of(path)
            for name, path in work.reads.items()
        }
        # The samples of a function may be others the next time.
        is_known = all(
            digest is not None or path == "random"
            for digest, path in zip(hashes.values(), work.reads.values(), strict=True)
        )
        # A file counts by its content: the same one may be named by another path tomorrow.
        options = {
            name: _by_content(value, prints.of) if name in _FILES else value
            for name, value in sorted(work.options.items())
        }
        depends = {
            "step": work.name,
            "reads": [[name, hashes[name] or path] for name, path in work.reads.items()],
            "options": options,
            "versions": _versions(),
            "again": "" if is_known else time.time_ns(),
        }
        return files.sha256_hex(json.dumps(depends, sort_keys=True).encode())

    def _warnings(self) -> Sequence[str]:
        """The warnings of all results, each once."""
        found = [text for each in self._documents.values() for text in each.get("warnings", ())]
        return list(dict.fromkeys(found))

    def _has(self, name: str) -> bool:
        return name in self._documents

    def _path(self, name: str) -> str:
        return str(self._folder / name)


def _read_result(step: str, path: Path) -> tuple[Document, str] | None:
    """Return a result and its words; None if it is not one that the step writes."""
    try:
        result = parse_json(files.read_bytes(path, "result", files.MOST_TEXT_BYTES))
        return result, words.of_step(step, result)
    except (*JSON_DAMAGE, InputError, ArithmeticError, AttributeError, LookupError, TypeError):
        return None


def _by_content(value: Any, hash_of: Callable[[str], str | None]) -> Any:  # noqa: ANN401 - an option
    """Return the hash of the file or folder that an option names; a list of labels stays."""
    is_path = isinstance(value, str) and os.path.exists(value)  # noqa: PTH110 - no error for odd names
    return (hash_of(value) or value) if is_path else value


def again(folder: Path | None = None, *, needs_trust: bool = False) -> str:
    """Return the command that repeats a build."""
    path = FILE_NAME if folder is None else shlex.quote(str(folder / FILE_NAME))
    return f"edgekit build {path}" + " --trust-source" * needs_trust


def _versions() -> dict[str, str]:
    """The versions of edgekit and of the installed libraries that results depend on."""
    found = {"edgekit": __version__}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
