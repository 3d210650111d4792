# SPDX-License-Identifier: Apache-2.0
"""The lines that `convert` prints about what maps, what that costs, and what would change it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from edgekit.edgetpu.advice import merge_advice
from edgekit.fix.certificate import Certificate
from edgekit.host.convert.outcome import Mapped, Outcome, Unmapped, milliseconds

_LITTLE_MS = 0.05  # the estimate's own rounding


def render_outcome(outcome: Outcome, output: str) -> list[tuple[str, str]]:
    """Return (label, text) for each line that people read."""
    now = outcome.now
    lines = [("maps", _mapped_text(outcome)), *_host_lines(outcome), *_time_lines(outcome)]
    if outcome.rewrites:
        lines.append(("rewritten", f"by {_rules(outcome.rewrites)}: {_evidence(outcome.rewrites)}"))
    lines += _blocker_lines([each for each in outcome.unmapped if not each.at_end], outcome, output)
    behind = [each for each in outcome.unmapped if each.at_end]
    if behind:
        lines.extend(_end_lines(behind, output))
    if outcome.with_fix is not None:
        lines += _fix_lines(outcome.with_fix, now.estimated_ms, output)
    return lines


def _mapped_text(outcome: Outcome) -> str:
    now, was = outcome.now, outcome.network or outcome.was
    text = str(now)
    if outcome.refused:
        text = f"nothing: the compiler refuses the file: {outcome.refused}"
    if now.num_unknown:
        text += f"; {now.num_unknown} not known"
    if outcome.rewrites or outcome.prepared:
        text += f"; was {was.num_mapped} of {was.num_operators}"
    return text


def _host_lines(outcome: Outcome) -> Iterator[tuple[str, str]]:
    host = outcome.on_host
    if host is not None:
        yield (
            "on host",
            f"{host.num_operators} of these operators, about {milliseconds(host.estimated_ms)} ms: "
            "edgekit decodes the head after the model (--no-fix leaves that in the model)",
        )


def _time_lines(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Yield the estimated times: of the model, before its rewrites, and on the CPU alone."""
    if outcome.cpu_ms is None:
        return
    text = f"about {milliseconds(outcome.now.estimated_ms)} ms on a USB Accelerator"
    if outcome.network is not None and (outcome.rewrites or outcome.prepared):
        text += f", before the rewrites {milliseconds(outcome.network.estimated_ms)} ms"
    yield "estimated", f"{text}, on the host's CPU alone {milliseconds(outcome.cpu_ms)} ms"
    steps = ", ".join(
        f"{each.rule} ({_change(each.estimated_ms_before, each.estimated_ms_after)})"
        for each in outcome.prepared
    )
    if steps:
        yield "prepared", f"before quantization, by {steps}"


def _rules(rewrites: Sequence[Certificate]) -> str:
    """Return the rules of each certificate, with the estimated time before and after it."""
    texts = []
    for each in rewrites:
        names = each.rule.replace("+", ", ")
        before, after = each.estimated_ms_before, each.estimated_ms_after
        if before is not None and after is not None:
            names += f" ({_change(before, after)})"
        texts.append(names)
    return ", ".join(texts)


def _change(before_ms: float, after_ms: float) -> str:
    return f"{milliseconds(before_ms)} to {milliseconds(after_ms)} ms"


def _blocker_lines(
    blockers: Sequence[Unmapped], outcome: Outcome, output: str
) -> Iterator[tuple[str, str]]:
    """Yield each blocker with its cost and what would change it, then the cost of all."""
    total_ms = outcome.now.estimated_ms
    total = f"{milliseconds(total_ms)} ms (estimated for a USB Accelerator)"
    left = merge_advice(option for each in blockers for option in each.options)
    for each in blockers:
        cost = f"costs less than {_LITTLE_MS} of {total}"
        if each.costs_ms >= _LITTLE_MS:
            cost = f"costs about {milliseconds(each.costs_ms)} of {total}"
        more = f" and {each.count - 1} more" if each.count > 1 else ""
        layer = f", layer {each.layer}" if each.layer else ""
        place = f"operator {each.index} {each.opcode}{more}{layer}"
        yield "blocked by" if each.is_first_blocker else "not mapped", f"{place}: {cost}"
        yield "", each.reason
        for option in each.options:
            merged = next((text for text in left if _answers(text, option)), None)
            if merged is None:
                yield "", "to change: as above"
                continue
            left.remove(merged)
            yield "", f"to change: {_for_output(merged, output)}"
    if len(blockers) > 1 and outcome.freed_ms is not None:
        saved = f"about {milliseconds(outcome.freed_ms)} ms instead of {total}"
        yield "together", f"{saved}, if all of these map; the costs above are of each alone"


def _answers(merged: str, option: str) -> bool:
    """Whether ``merged``, of `merge_advice`, contains the advice ``option``."""
    names, option_names = merged.partition(": ")[0], option.partition(": ")[0]
    return merged == option or (
        "--replace-activations" in option and option_names in names.split(", ")
    )


def _for_output(option: str, output: str) -> str:
    # The advice writes to OUT.tflite, which may be the name of ``output``.
    named = option.replace("edgekit fix MODEL -o OUT.tflite", _fix_command(output))
    # An option to add to the command that was just run.
    return named.replace("edgekit convert --", "edgekit convert ... --")


def _end_lines(ends: Sequence[Unmapped], output: str) -> list[tuple[str, str]]:
    names = ", ".join(f"{each.opcode} {each.count}" for each in ends)
    cost = sum(each.costs_ms for each in ends)
    little = (
        f"about {milliseconds(cost)} ms" if cost >= _LITTLE_MS else f"less than {_LITTLE_MS} ms"
    )
    return [
        (
            "at the end",
            f"{names}: not mapped, costs {little} (estimated); no multiplication depends on them",
        ),
        ("", f"leave them, or cut the model: edgekit split {shlex.quote(output)} -o FOLDER"),
    ]


def _fix_lines(fixed: Mapped, now_ms: float, output: str) -> list[tuple[str, str]]:
    after, before = milliseconds(fixed.estimated_ms), milliseconds(now_ms)
    times = f"about {after} ms instead of {before} ms (estimated)"
    return [
        ("with fix", f"{fixed}, {times}: {_fix_command(output)}"),
        ("", "it changes values, and perhaps inputs and outputs, and measures the difference"),
    ]


def _evidence(rewrites: Sequence[Certificate]) -> str:
    unproved = next((each for each in rewrites if not each.identical), None)
    if unproved is not None:
        why = f"; not confirmed: {unproved.note}" if unproved.note else ""
        return f"exact by construction{why}"
    least = min(each.num_random for each in rewrites)
    kernels = " and ".join(dict.fromkeys(each.kernels for each in rewrites))
    return f"bit-identical on {least} random inputs, {kernels} kernels"


def _fix_command(output: str) -> str:
    return f"edgekit fix {shlex.quote(output)} -o FIXED.tflite"
