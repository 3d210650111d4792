# SPDX-License-Identifier: Apache-2.0
"""The results of a build's steps in words: a line for each, and the README of the folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgekit.building.result import BuildStep
from edgekit.evaluate.metrics import NO_SHARES, difference_text, metric_text
from edgekit.runtime.quality import BAD, DOUBTFUL, GOOD, NOT_SHOWN, UNKNOWN

_Document = Mapping[str, Any]
NOT_GOOD = (DOUBTFUL, BAD)
# Verdicts of `evaluate --against`: samples that calibrated the model do not show its accuracy.
_AGAINST_FLOAT = {
    GOOD: "answers like float",
    NOT_SHOWN: "these samples do not show how accurate it is",
    DOUBTFUL: "answers perhaps worse than float",
    BAD: "answers much worse than float",
    UNKNOWN: "not judged against float",
}
# Ends of file names; the first that fits counts.
_FILES = {
    "_float.tflite": "the network in float, to compare with",
    "_edgetpu.tflite": "the compiled model, for an Edge TPU",
    ".tflite": "the int8 model, for any TensorFlow Lite",
    ".recipe.toml": "how the int8 model is converted: edgekit convert --recipe",
    ".edgekit": "model, compiled model, labels, preprocessing and measurements in one file",
    ".html": "everything measured, on one page for a browser",
    ".toml": "repeats this build: edgekit build edgekit.toml",
}


def of_step(name: str, result: _Document) -> str:
    """Return what matters most of a step's result, given as JSON."""
    return _SAYS[name](result)


def quality_of(documents: Mapping[str, _Document]) -> _Document:
    """Return the agreement with the float model: of the evaluation, else of the conversion."""
    comparison = documents.get("evaluate", {}).get("against") or {}
    return comparison.get("quality") or documents.get("convert", {}).get("agreement") or {}


def verdict(documents: Mapping[str, _Document]) -> str:
    """Return the verdict on the int8 model."""
    return str(quality_of(documents).get("verdict", ""))


def readme(source: str, steps: Sequence[BuildStep], again: str) -> str:
    """Return the README of a build's folder: what was made of ``source``, and how to continue.

    ``again`` is the command that repeats the build.
    """
    written = [name for step in steps for name in step.outputs] + ["report.html", "edgekit.toml"]
    models = [name for name in written if name.endswith(".tflite")]
    best = next((name for name in models if name.endswith("_edgetpu.tflite")), models[-1])
    is_compiled = best.endswith("_edgetpu.tflite")
    bundle = next((name for name in written if name.endswith(".edgekit")), "")
    described = [(name, _described(name)) for name in written if not name.endswith(".json")]
    lines = [
        f"# {source}, built by edgekit",
        "",
        "| file | what it is |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, text in described),
        "",
        "| step | result |",
        "|---|---|",
        *(f"| {step.name} | {_cell(step)} |" for step in steps),
        "",
        "Next commands, in this folder:",
        "",
        "```",
        "# again, but only what changed:",
        again,
        "# on a USB Accelerator:" if is_compiled else "# on the CPU (nothing is compiled):",
        f"edgekit run {shlex.quote(best)} INPUT" + " --device usb" * is_compiled,
        *(
            ["# onto a Dev Board:", f"edgekit deploy {shlex.quote(bundle)} mendel@BOARD"]
            * bool(bundle)
        ),
        "```",
        "",
    ]
    return "\n".join(lines)


def _described(name: str) -> str:
    return next(text for end, text in _FILES.items() if name.endswith(end))


def _cell(step: BuildStep) -> str:
    text = step.says if step.outputs else f"not done: {step.says}"
    return text.replace("|", "\\|")


def _float(result: _Document) -> str:
    return f"{result['bytes']:,} bytes, read by {result['loader']}"


def _convert(result: _Document) -> str:
    words = [f"{result['bytes']:,} bytes"]
    outcome = result.get("outcome")
    if outcome is not None:
        now, was = outcome["now"], outcome["was"]
        words.append(f"maps {now['num_mapped']} of {now['num_operators']} operators")
        if outcome["rewrites"]:
            words[-1] += f" (was {was['num_mapped']} of {was['num_operators']})"
    agreement = result.get("agreement")
    if agreement is not None:
        words.append(f"accuracy {agreement['verdict']} on {result['num_judged']} samples")
    return ", ".join(words)


def _tune(result: _Document) -> str:
    best = next(each for each in result["trials"] if each["number"] == result["best"])
    met = result["outcome"].replace("_", " ")
    return f"{len(result['trials'])} trials, the best: {best['step']}; --max-drop is {met}"


def _fix(result: _Document) -> str:
    count = sum(result["operators_after"].values())
    return f"maps {result['mapped_after']} of {count} operators (was {result['mapped_before']})"


def _check(result: _Document) -> str:
    words = f"{result['num_mapped']} of {result['num_operators']} operators map"
    blocker = result.get("blocker")
    if blocker is not None:
        words += f"; first on the CPU: {blocker['opcode']}, {blocker['reason']}"
    return words


def _compile(result: _Document) -> str:
    model = result["models"][0]
    whose = "edgekit's own compiler" if result["compiler"] == "edgekit" else "Google's compiler"
    words = f"by {whose}: {model['num_mapped']} of {model['num_operators']} operators"
    verified = ", verified in the emulator" if model.get("verification") else ""
    return f"{words}, {model['output_bytes']:,} bytes{verified}"


def _evaluate(result: _Document) -> str:
    comparison = result.get("against") or {}
    differences = comparison.get("difference", {})
    words = [f"{result['num_samples']:,} samples"]
    for name, value in list(result["metrics"].items())[:1]:
        text = f"{name} {metric_text(name, value)}"
        if differences.get(name) is not None:
            points = "" if name in NO_SHARES else " points"
            text += f", {difference_text(name, differences[name])}{points} against float"
        words.append(text)
    if comparison.get("agreement") is not None:
        words.append(f"same answer on {comparison['agreement']:.2%}")
    quality = comparison.get("quality") or {}
    if quality.get("verdict"):
        words.append(_AGAINST_FLOAT[quality["verdict"]])
    return ", ".join(words)


def _debug(result: _Document) -> str:
    causes = result["causes"]
    if not causes:
        return "no single operator is the cause"
    first = causes[0]
    return f"operator {first['index']} {first['opcode']}: {first['advice']}"


def _benchmark(result: _Document) -> str:
    latency, device = result["latency_ms"], result["environment"]["device"]
    words = f"p50 {latency['p50']:.3f} ms, p99 {latency['p99']:.3f} ms on {device}"
    return words if device != "cpu" else f"{words}; Edge TPU: not measured"


def _estimate(result: _Document) -> str:
    latency = result["latency_ms"]
    return (
        f"{latency['mid']:.2f} ms ({latency['low']:.2f} to {latency['high']:.2f}) "
        f"on {result['device']}, not measured"
    )


def _bundle(result: _Document) -> str:
    return f"{result['bytes']:,} bytes"


def _report(result: _Document) -> str:
    return f"{result['verdict']['headline']}"


_SAYS: Mapping[str, Callable[[_Document], str]] = {
    "float": _float,
    "convert": _convert,
    "tune": _tune,
    "fix": _fix,
    "check": _check,
    "compile": _compile,
    "evaluate": _evaluate,
    "debug": _debug,
    "benchmark": _benchmark,
    "estimate": _estimate,
    "bundle": _bundle,
    "report": _report,
}
