# SPDX-License-Identifier: Apache-2.0
"""The sources of all results, and the commands that reproduce them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.data.opening import FUNCTION
from edgekit.data.random_samples import RANDOM
from edgekit.opencompiler.compilers import EDGEKIT
from edgekit.report.evidence import Evidence
from edgekit.report.node import Node
from edgekit.report.subject import COMPUTED

_MAX_INPUTS = 6
# demo names its own files; the compiler's command is not one of edgekit's.
_WITHOUT_FILE = {"demo", "compile"}
_DATA_IN_PYTHON = "edgekit {}: the data was passed in Python"
_UNNAMED = {"", "array", "samples", "python"}


@dataclass(frozen=True)
class Command:
    """A complete command line; or an empty one, with a note on what is missing for it."""

    line: str
    note: str = ""
    files: tuple[str, ...] = ()  # the files that it reads


def commands(evidence: Evidence) -> list[Command]:
    """Return the commands that reproduce these results, as far as the results contain them."""
    found: list[Command] = []
    for kind, maker in _MAKERS.items():
        for document in evidence.of(kind):
            command = _checked(maker(document.node))
            is_file = not document.nested and document.path != COMPUTED
            if command.line and kind not in _WITHOUT_FILE and is_file:
                path = shlex.quote(str(evidence.folder / document.path))
                command = replace(command, line=f"{command.line} --json > {path}")
            if command not in found:
                found.append(command)
    return found


def _checked(command: Command) -> Command:
    """Return ``command``, with a note if it reads files that do not exist here."""
    missing = [each for each in command.files if not Path(each).exists()]
    if not command.line or not missing:
        return command
    note = f"where {', '.join(missing[:_MAX_INPUTS])} can be read"
    return replace(command, note="; ".join(each for each in (command.note, note) if each))


def versions(evidence: Evidence) -> list[tuple[str, str]]:
    """Return name and version of each program involved; if several versions, all of them."""
    seen: dict[str, dict[str, None]] = {}
    for document in evidence.documents:
        for name, value in document.node.fields("versions"):
            if value.text():
                seen.setdefault(name, {})[value.text()] = None
        compiler = document.node.text("compiler_version")
        if compiler:
            is_ours = document.node.text("compiler") == EDGEKIT
            seen.setdefault("compiler" if is_ours else "edgetpu_compiler", {})[compiler] = None
    return sorted((name, ", ".join(values)) for name, values in seen.items())


def _demo(node: Node) -> Command:
    words = ["demo", "-o", node.text("folder"), "--dataset", node.text("dataset")]
    return _command([*words, *_option("--epochs", node.count("epochs"))])


def _convert(node: Node) -> Command:
    num_samples, source = node.count("num_samples"), node.text("source")
    if not _is_named(source):
        return Command("", "edgekit convert: the network was passed in Python")
    data = _data(node) if num_samples else []
    if data is None:
        return Command("", _DATA_IN_PYTHON.format("convert"))
    words = ["convert", source, *data, "--mode", node.text("mode"), *_options_of(node)]
    has_recipe = bool(node.text("asked", "--recipe"))  # which states the number
    samples = [] if has_recipe else _option("--num-samples", num_samples or None)
    return _command([*words, *samples, "-o", node.text("output")], files=[source, *_paths(data)])


def _evaluate(node: Node) -> Command:
    data, model, other = _data(node), node.text("model"), node.text("against", "model")
    if data is None:
        return Command("", _DATA_IN_PYTHON.format("evaluate"))
    if not model or (node.at("against") and not other):
        return Command("", "edgekit evaluate: a model was passed in Python")
    words = ["evaluate", model, *data, *(["--against", other] if other else [])]
    files = [model, *([other] if other else []), *_paths(data)]
    return _command([*words, *_runtime(node), *_options_of(node)], files=files)


def _tune(node: Node) -> Command:
    source = node.text("source")
    data = [node.text(name, "source") for name in ("calibration", "evaluation")]
    if not _is_named(source) or any(each in _UNNAMED for each in data):
        return Command("", "edgekit tune: the network or the data were passed in Python")
    words = ["tune", source, "--data", data[0], "--eval", data[1], *_options_of(node)]
    output = node.text("output") or "OUT.tflite"
    return _command([*words, "-o", output], files=[source, *data])


def _benchmark(node: Node) -> Command:
    words = ["benchmark", node.text("model"), *_runtime(node)]
    words += _option("--num-runs", node.count("runs"))
    return _command([*words, *_option("--warmup-runs", node.count("warmup_runs"))])


def _run(node: Node) -> Command:
    sources = list(dict.fromkeys(each.text("source") for each in node.entries("answers")))
    note = f"and {len(sources) - _MAX_INPUTS} more inputs" if len(sources) > _MAX_INPUTS else ""
    words = ["run", node.text("model"), *sources[:_MAX_INPUTS]]
    words += ["--preprocess", node.text("preprocess"), *_device(node), *_options_of(node)]
    return _command(words, note)


def _check(node: Node) -> Command:
    source = node.text("converted_from") or node.text("model")
    return _command(["check", source, *_option("--min-runtime-version", node.count("target"))])


def _estimate(node: Node) -> Command:
    return _command(["estimate", node.text("model"), "--device", node.text("device") or "usb3"])


def _compile(node: Node) -> Command:
    words = [each.text() for each in node.entries("command")]
    via = node.text("via")
    return Command(shlex.join(words), f"run by edgekit compile{f' via {via}' if via else ''}")


def _inspect(node: Node) -> Command:
    return _command(["inspect", node.text("model")])


_MAKERS = {
    "demo": _demo,
    "convert": _convert,
    "tune": _tune,
    "check": _check,
    "compile": _compile,
    "estimate": _estimate,
    "inspect": _inspect,
    "evaluate": _evaluate,
    "benchmark": _benchmark,
    "run": _run,
}


def _is_named(source: str) -> bool:
    """Whether it is a path, not a placeholder for a Python object."""
    return source not in _UNNAMED and not source.startswith("Keras model ")


def _data(node: Node) -> list[str] | None:
    """Return the option for the samples; None if they were passed in Python."""
    source, preprocess = node.text("data", "source"), node.text("data", "preprocess")
    if source in _UNNAMED or node.text("data", "kind") == "python":
        return None
    return ["--data", source, *(["--preprocess", preprocess] if preprocess else [])]


def _paths(data: list[str]) -> list[str]:
    """Return the path in ``--data PATH``, if it is one."""
    return [each for each in data[1:2] if each != RANDOM and not FUNCTION.match(each)]


def _device(node: Node) -> list[str]:
    device = node.text("device")
    return ["--device", device] if device and device != "cpu" else []


def _options_of(node: Node) -> Iterator[str]:
    for option, value in node.fields("asked"):
        words = [option, value.text()] if value.text() else [option]  # flags do not have a value
        yield from words if option.startswith("--") else []


def _runtime(node: Node) -> Iterator[str]:
    threads = node.count("num_threads")
    yield from _device(node)
    yield from ["--num-threads", str(threads)] if threads and threads > 1 else []


def _option(name: str, value: int | None) -> list[str]:
    return [] if value is None else [name, str(value)]


def _command(words: list[str], note: str = "", files: Sequence[str] = ()) -> Command:
    return Command("edgekit " + shlex.join(words), note, tuple(files))
