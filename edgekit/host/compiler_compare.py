# SPDX-License-Identifier: Apache-2.0
"""Where edgekit's own rules and the compiler count otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from edgekit.host.compiler_log import OperatorCount
from edgekit.host.compiler_result import Disagreement

_TPU, _UNKNOWN = "tpu", "unknown"


def disagreements(
    model: str, rows: Sequence[OperatorCount], verdicts: Iterable[tuple[str, str]]
) -> tuple[Disagreement, ...]:
    """Each opcode of which the compiler maps fewer or more than edgekit's rules allow.

    The compiler's log counts operators and does not name them, so counts are compared. What
    edgekit does not know may be mapped or not.

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
