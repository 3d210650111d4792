# SPDX-License-Identifier: Apache-2.0
"""The first screen: one line of verdict and three numbers, each with its basis."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit.formats.tflite_metadata import IN_EMULATOR
from edgekit.report.answers import (
    VERDICTS,
    accuracy_number,
    accuracy_words,
    agreement_detail,
    answers_level,
    is_settled,
    quality_of,
)
from edgekit.report.evidence import Evidence
from edgekit.report.node import Node
from edgekit.report.subject import Subject
from edgekit.report.words import (
    NOT_MEASURED,
    file_name,
    ms,
    plural,
    share,
)
from edgekit.result import Result
from edgekit.runtime.quality import SNR_LIMITS_DB

# The basis of a number.
MEASURED, PREDICTED, ESTIMATED, RECORDED = "measured", "predicted", "estimated", "recorded"
_GOOD, _PARTLY, _BAD, _OPEN = "good", "partly", "bad", "open"
_HEADLINES = {_GOOD: "good so far", _PARTLY: "with reservations", _BAD: "no", _OPEN: "open"}
_CPU = "cpu"
_MOST_OF = 0.5


@dataclass(frozen=True)
class Number(Result):
    """One of the three numbers."""

    name: str
    value: str
    detail: str
    evidence: str  # measured | predicted | estimated | not measured


@dataclass(frozen=True)
class Verdict(Result):
    """The summary at the top of the page."""

    level: str  # good | partly | bad | open
    headline: str
    text: str
    numbers: tuple[Number, ...]


def judge(evidence: Evidence, subject: Subject) -> Verdict:
    """Return the summary of the evidence about ``subject``."""
    check = first(evidence, "check", subject)
    evaluation = first(evidence, "evaluate", subject)
    quality = quality_of(evaluation, first(evidence, "convert", subject))
    compiled = compiled_model(evidence, subject)
    mapping, level = _mapping_words(check, compiled, first(evidence, "inspect", subject))
    numbers = (
        _mapped(check, compiled),
        _accuracy(evaluation, quality),
        _latency(evidence, subject),
    )
    sentences = [mapping, *accuracy_words(evaluation, quality), _latency_words(numbers[2])]
    gates = [each for doc in evidence.of("compare") for each in doc.node.entries("failures")]
    if gates:
        level = _BAD
        sentences.append(
            "A gate of compare was not met: " + "; ".join(g.text() for g in gates) + "."
        )
    level = _worse(level, answers_level(evaluation, quality))
    if not evaluation and not quality:
        words, answers = _error_words(first(evidence, "debug", subject))
        sentences.append(words)
        level = _worse(level, answers)
    is_whole = all(number.evidence in {MEASURED, RECORDED} for number in numbers)
    is_ready = level == _GOOD and is_whole and is_settled(evaluation, quality)
    headline = "ready" if is_ready else _HEADLINES[level]
    return Verdict(level, headline, " ".join(text for text in sentences if text), numbers)


def _error_words(found: Node) -> tuple[str, str]:
    """What `debug` says of the outputs, if nothing else was measured: words, and the level."""
    worst = min(
        ((each.number("snr_db"), each.text("name")) for each in found.entries("outputs")),
        key=lambda each: math.inf if each[0] is None else each[0],
        default=(None, ""),
    )
    ratio, name = worst
    bad, doubtful = SNR_LIMITS_DB
    if ratio is None or ratio >= doubtful:
        return "", ""
    words = (
        f"The output {name} differs clearly from the float model's: {ratio:.1f} dB about its mean."
    )
    return words, _BAD if ratio < bad else _PARTLY


def _worse(level: str, answers: str) -> str:
    """Return the worse of two levels, because good answers do not compensate for bad mapping."""
    if _BAD in {level, answers}:
        return _BAD
    return answers if level == _GOOD and answers else level


def first(evidence: Evidence, kind: str, subject: Subject) -> Node:
    """Return the first document of a kind that is about the subject; empty if there is none.

    A document about another model is used only if the subject's hash is unknown.
    """
    for document in evidence.of(kind, subject.sha256):
        if not subject.sha256 or document.body.get("sha256") == subject.sha256:
            return document.node
    return Node()


def compiled_model(evidence: Evidence, subject: Subject) -> Node:
    """Return the compiler's report on the subject."""
    for document in evidence.of("compile"):
        for model in document.node.entries("models"):
            if not subject.sha256 or model.text("sha256") == subject.sha256:
                return model
    return Node()


def device_timing(evidence: Evidence, subject: Subject) -> Node:
    """Return a benchmark of the subject, or its compiled file, on an Edge TPU; empty if none."""
    for document in evidence.of("benchmark", subject.sha256):
        node = document.node
        is_on_device = node.text("device") not in {"", _CPU}
        if is_on_device and _is_of(node, subject) and node.number("latency_ms", "p50") is not None:
            return node
    return Node()


def _is_of(node: Node, subject: Subject) -> bool:
    compiled = file_name(subject.name).replace(".tflite", "_edgetpu.tflite")
    is_compiled = file_name(node.text("model")) == compiled
    return is_compiled or not subject.sha256 or node.text("sha256") == subject.sha256


def _mapping_words(check: Node, compiled: Node, inspected: Node) -> tuple[str, str]:
    mapped, total = compiled.count("num_mapped"), compiled.count("num_operators")
    if mapped is not None and total:
        level = _GOOD if mapped == total else _PARTLY if mapped else _BAD
        # If the compiler maps other operators, their share of the work is unknown.
        judged = check if check.count("num_mapped") == mapped else Node()
        words = f"The compiler maps {mapped} of {plural(total, 'operator')}."
        if compiled.at("verification"):
            words = f"{words[:-1]}; its program was {IN_EMULATOR}."
        return _on_cpu(words, level, _share_mapped(judged, mapped / total))
    if not check and inspected.text("kind") == "compiled":
        left = len(inspected.entries("cpu_operators"))
        words = f"leaves {plural(left, 'operator')} to" if left else "leaves nothing to"
        return f"{_compiled_by(inspected)} {words} the CPU.", _PARTLY if left else _GOOD
    if not check:
        return "Nothing is known yet of how the model maps.", _OPEN
    if check.flag("refused"):
        errors = [each for each in check.entries("issues") if each.text("severity") == "error"]
        why = f": {errors[0].text('message')}" if errors else ""
        return f"The Edge TPU compiler will refuse this file{why}.", _BAD
    mapped, total = check.count("num_mapped"), check.count("num_operators")
    if mapped is None or not total:
        return "Nothing is known yet of how the model maps.", _OPEN
    if mapped == total:
        return f"All {plural(total, 'operator')} should map to the Edge TPU.", _GOOD
    blocker = check.at("blocker")
    because = f"; the first blocker is operator {_named(blocker)}" if blocker else ""
    level = _PARTLY if mapped else _BAD
    words = f"{mapped} of {plural(total, 'operator')} should map to the Edge TPU{because}."
    return _on_cpu(words, level, _share_mapped(check, mapped / total))


def _compiled_by(inspected: Node) -> str:
    note = inspected.at("compiler_note")
    if not note:
        return "The file is compiled and"
    return f"The file was compiled by {note.text('compiler')} ({note.text('verified')}) and"


def _share_mapped(check: Node, operators: float) -> float:
    """Return the mapped share of multiply-accumulates if known, else of operators."""
    macs = check.number("mapped_macs_share")
    return operators if macs is None or (not macs and not operators) else min(macs, 1.0)


def _on_cpu(words: str, level: str, mapped: float) -> tuple[str, str]:
    """A model is bad for the Edge TPU if most of its work stays on the CPU."""
    if mapped >= _MOST_OF:
        return words, level
    return f"{words} Most of the work ({share(1 - mapped)}) stays on the CPU.", _BAD


def _named(blocker: Node) -> str:
    return f"{blocker.count('index')} {blocker.text('opcode')}"


def _mapped(check: Node, compiled: Node) -> Number:
    name = "operators on the Edge TPU"
    mapped, total = compiled.count("num_mapped"), compiled.count("num_operators")
    if mapped is not None and total:
        detail = f"{mapped} of {total}, as the compiler reports"
        return Number(name, share(mapped / total), detail, RECORDED)
    mapped, total = check.count("num_mapped"), check.count("num_operators")
    if mapped is None or not total:
        return Number(name, NOT_MEASURED, "edgekit check MODEL", NOT_MEASURED)
    details = [f"{mapped} of {total}"]
    macs = check.number("mapped_macs_share")
    if macs is not None and not check.flag("refused"):
        details.append(f"{share(macs)} of multiply-accumulates")
    unknown = check.count("num_unknown")
    if unknown:
        details.append(f"{unknown} unknown")
    return Number(name, share(mapped / total), ", ".join(details), PREDICTED)


def _accuracy(evaluation: Node, quality: Node) -> Number:
    known = accuracy_number(evaluation)
    if known is not None:
        title, value, detail = known
        return Number(title, value, detail, MEASURED)
    if quality.text("verdict") in VERDICTS:
        value, detail = agreement_detail(quality)
        return Number("agreement with float", value, detail, MEASURED)
    return Number("accuracy", NOT_MEASURED, "edgekit evaluate MODEL --data DATA", NOT_MEASURED)


def _latency(evidence: Evidence, subject: Subject) -> Number:
    timing = device_timing(evidence, subject)
    if timing:
        known = {name for name, value in timing.fields("latency_ms") if value.number() is not None}
        late = next(each for each in ("p95", "p90", "p99", "p50") if each in known)
        value, tail = timing.number("latency_ms", "p50"), timing.number("latency_ms", late)
        detail = f"{late} {ms(tail)}, on {timing.text('device')}"
        return Number("latency, median", ms(value), detail, MEASURED)
    cpu = first(evidence, "benchmark", subject).number("latency_ms", "p50")
    on_cpu = f"CPU here: {ms(cpu)}" if cpu is not None else "CPU: not measured"
    guess = first(evidence, "estimate", subject)
    middle = guess.number("latency_ms", "mid")
    if middle is None:
        return Number("latency on the Edge TPU", NOT_MEASURED, on_cpu, NOT_MEASURED)
    low, high = guess.number("latency_ms", "low"), guess.number("latency_ms", "high")
    detail = f"{ms(low)} to {ms(high)} on {guess.text('device')}, not measured; {on_cpu}"
    return Number("latency on the Edge TPU", f"about {ms(middle)}", detail, ESTIMATED)


def _latency_words(latency: Number) -> str:
    if latency.evidence == MEASURED:
        return f"One inference takes {latency.value} on the device."
    if latency.evidence == ESTIMATED:
        return f"On an Edge TPU one inference should take {latency.value}; that is not measured."
    return "Its latency on an Edge TPU is not measured."
