# SPDX-License-Identifier: Apache-2.0
"""Operators that edgekit's own rules and the compiler count differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from edgekit.edgetpu.chip import LATEST_RUNTIME
from edgekit.edgetpu.support import judge_operators
from edgekit.formats.tflite import read_model
from edgekit.host.compiler.log import CompilerReport
from edgekit.host.compiler.options import CompilerOptions
from edgekit.host.compiler.outputs import Made
from edgekit.opencompiler.result import Disagreement, OperatorCount

_TPU, _UNKNOWN = "tpu", "unknown"
# The runtime that a compiler targets without --min-runtime-version: google-coral/edgetpu
# CHANGES.md.
_DEFAULT_RUNTIME = {"1.0": 10, "2.0": 12, "2.1": 13, "14.1": 13, "15.0": 13}


def compare(
    made: Sequence[Made], options: CompilerOptions, report: CompilerReport
) -> tuple[Disagreement, ...]:
    """Return the operators that `edgekit check` counts differently from the compiler.

    Nothing is compared if the user cut the graph or let the compiler cut it, because the rules
    are about whole graphs.
    """
    cut = options.intermediate_tensors or options.enable_multiple_subgraphs
    if cut or len(report.attempts) > len(made):
        return ()
    version = ".".join(report.version.split(".")[:2])
    runtime = options.min_runtime_version or _DEFAULT_RUNTIME.get(version, LATEST_RUNTIME)
    found: list[Disagreement] = []
    for each in made:
        segment = each.uncompiled_segment
        model = read_model(segment if segment.is_file() else each.model)
        opcodes = [operator.opcode for operator in model.main.operators]
        verdicts = [(opcodes[one.index], one.verdict) for one in judge_operators(model, runtime)]
        found += disagreements(str(each.model), each.report.operators, verdicts)
    return tuple(found)


def disagreements(
    model: str, rows: Sequence[OperatorCount], verdicts: Iterable[tuple[str, str]]
) -> tuple[Disagreement, ...]:
    """Return each opcode that the compiler maps less or more often than edgekit's rules allow.

    The compiler's log counts operators and does not name them, so counts are compared. An
    ``unknown`` operation may be mapped or not.

    Args:
        model: The path, for the result.
        rows: The compiler's operator table.
        verdicts: (opcode, ``tpu`` | ``cpu`` | ``unknown``) of each operation.
    """
    by_compiler: Counter[str] = Counter()
    for row in rows:
        by_compiler[row.opcode] += row.count if row.mapped else 0
    mapped: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for opcode, verdict in verdicts:
        mapped[opcode] += verdict == _TPU
        unknown[opcode] += verdict == _UNKNOWN
    return tuple(
        Disagreement(model, opcode, by_compiler[opcode], mapped[opcode], unknown[opcode])
        for opcode in sorted({*by_compiler, *mapped})
        if not mapped[opcode] <= by_compiler[opcode] <= mapped[opcode] + unknown[opcode]
    )
