# SPDX-License-Identifier: Apache-2.0
"""Where everything came from, and the commands that make it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgekit.report.evidence import Evidence
from edgekit.report.node import Node

_TO_NAME = "DATA"
_MAX_INPUTS = 6
# What demo writes it names itself; a compiler's command is not edgekit's.
_WITHOUT_FILE = {"demo", "compile"}
_UNNAMED = {"", "array", "samples", "python"}


@dataclass(frozen=True)
class Command:
    """A command line, and what has to be filled in by hand."""

    line: str
    note: str = ""


def commands(evidence: Evidence) -> list[Command]:
    """The commands that give these results again, as far as the results tell them."""
    found: list[Command] = []
    for kind, maker in _MAKERS.items():
        for document in evidence.of(kind):
            command = maker(document.node)
            if kind not in _WITHOUT_FILE and not document.nested:
                path = shlex.quote(str(evidence.folder / document.path))
                command = replace(command, line=f"{command.line} --json > {path}")
            if command not in found:
                found.append(command)
    return found


def versions(evidence: Evidence) -> list[tuple[str, str]]:
    """Name and version of what took part; several versions are all named."""
    seen: dict[str, dict[str, None]] = {}
    for document in evidence.documents:
        for name, value in document.node.fields("versions"):
            if value.text():
                seen.setdefault(name, {})[value.text()] = None
        compiler = document.node.text("compiler_version")
        if compiler:
            seen.setdefault("edgetpu_compiler", {})[compiler] = None
    return sorted((name, ", ".join(values)) for name, values in seen.items())


def _demo(node: Node) -> Command:
    words = ["demo", "-o", node.text("folder"), "--dataset", node.text("dataset")]
    return _command([*words, *_option("--epochs", node.count("epochs"))])


def _convert(node: Node) -> Command:
    num_samples = node.count("num_samples")
    data, note = _data(node) if num_samples else ([], "")
    words = ["convert", node.text("source"), *data, "--mode", node.text("mode")]
    samples = _option("--num-samples", num_samples or None)
    return _command([*words, *samples, "-o", node.text("output")], note)


def _evaluate(node: Node) -> Command:
    data, note = _data(node)
    words = ["evaluate", node.text("model"), *data]
    other = node.text("against", "model")
    words += ["--against", other] if other else []
    return _command([*words, *_runtime(node), *_asked(node)], note)


def _benchmark(node: Node) -> Command:
    words = ["benchmark", node.text("model"), *_runtime(node)]
    words += _option("--num-runs", node.count("runs"))
    return _command([*words, *_option("--warmup-runs", node.count("warmup_runs"))])


def _run(node: Node) -> Command:
    sources = list(dict.fromkeys(each.text("source") for each in node.entries("answers")))
    note = f"and {len(sources) - _MAX_INPUTS} more inputs" if len(sources) > _MAX_INPUTS else ""
    words = ["run", node.text("model"), *sources[:_MAX_INPUTS]]
    words += ["--preprocess", node.text("preprocess"), *_device(node), *_asked(node)]
    return _command(words, note)


def _check(node: Node) -> Command:
    source = node.text("converted_from") or node.text("model")
    return _command(["check", source, *_option("--target", node.count("target"))])


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
    "check": _check,
    "compile": _compile,
    "estimate": _estimate,
    "inspect": _inspect,
    "evaluate": _evaluate,
    "benchmark": _benchmark,
    "run": _run,
}


def _data(node: Node) -> tuple[list[str], str]:
    source, preprocess = node.text("data", "source"), node.text("data", "preprocess")
    how = ["--preprocess", preprocess] if preprocess else []
    if source in _UNNAMED or node.text("data", "kind") == "python":
        return ["--data", _TO_NAME, *how], f"{_TO_NAME}: the data was handed over in Python"
    return ["--data", source, *how], ""


def _device(node: Node) -> list[str]:
    device = node.text("device")
    return ["--device", device] if device and device != "cpu" else []


def _asked(node: Node) -> Iterator[str]:
    for option, value in node.fields("asked"):
        words = [option, value.text()] if value.text() else [option]  # a flag has no value
        yield from words if option.startswith("--") else []


def _runtime(node: Node) -> Iterator[str]:
    threads = node.count("num_threads")
    yield from _device(node)
    yield from ["--num-threads", str(threads)] if threads and threads > 1 else []


def _option(name: str, value: int | None) -> list[str]:
    return [] if value is None else [name, str(value)]


def _command(words: list[str], note: str = "") -> Command:
    return Command("edgekit " + shlex.join(words), note)
