# SPDX-License-Identifier: Apache-2.0
"""One Edge TPU part: an operator after a CPU operator that follows mapped ones does not map.

The rule follows the data, not the order in the file: CPU operators at the start do not block
others, and operators that do not depend on a blocked one still map (measured on MoveNet, DeepLab
and YOLOv8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from edgekit.edgetpu.limits import CPU, TPU, UNKNOWN
from edgekit.formats.tflite import Operator, Subgraph

NO, MAYBE, YES = 0, 1, 2


@dataclass(frozen=True)
class Place:
    """Where one operator runs."""

    verdict: str  # tpu | cpu | unknown
    blocker: int | None = None  # the earlier operator that keeps it off the Edge TPU
    behind_tpu: int = NO  # whether its inputs depend on a mapped operator: NO, MAYBE or YES


@dataclass(frozen=True)
class _Flow:
    """What is known about a tensor."""

    from_tpu: int = NO  # it depends on a mapped operator
    blocked: int = NO  # it depends on a CPU operator after a mapped one
    blocker: int | None = None


class DataFlow:
    """The rule of one part, operator by operator in the order of the file."""

    def __init__(self) -> None:
        self._flows: dict[int, _Flow] = {}
        self._number = 0

    def is_blocked(self, operator: Operator) -> bool:
        """Whether the operator depends on one on the CPU that is behind the Edge TPU's part."""
        return self._before(operator).blocked == YES

    def place(self, operator: Operator, own: str) -> Place:
        """Place the next operator, whose ``own`` verdict is tpu, cpu or unknown."""
        before = self._before(operator)
        verdict = own
        if verdict != CPU and before.blocked == YES:
            verdict = CPU
        elif verdict == TPU and before.blocked == MAYBE:
            verdict = UNKNOWN
        after = _after(verdict, before, self._number)
        self._flows.update((number, after) for number in operator.outputs)
        self._number += 1
        is_blocked = verdict != own or before.blocked == YES
        return Place(verdict, before.blocker if is_blocked else None, before.from_tpu)

    def _before(self, operator: Operator) -> _Flow:
        return _merge([self._flows[i] for i in operator.inputs if i in self._flows])


def partition(graph: Subgraph, own: Sequence[str]) -> tuple[Place, ...]:
    """Apply the rule of one part to operators with their ``own`` verdicts.

    If it is unknown whether an operator maps, all operators that depend on it are unknown too.
    """
    flow = DataFlow()
    return tuple(flow.place(operator, each) for operator, each in zip(graph.operators, own))


def _merge(flows: Sequence[_Flow]) -> _Flow:
    blockers = [flow.blocker for flow in flows if flow.blocker is not None]
    return _Flow(
        max((flow.from_tpu for flow in flows), default=NO),
        max((flow.blocked for flow in flows), default=NO),
        min(blockers, default=None),
    )


def _after(verdict: str, before: _Flow, index: int) -> _Flow:
    if verdict == TPU:
        return _Flow(from_tpu=YES)
    reach = max(before.from_tpu, before.blocked)
    blocker = index if before.blocker is None and reach else before.blocker
    if verdict == CPU:
        return _Flow(before.from_tpu, reach, blocker)
    return _Flow(max(before.from_tpu, MAYBE), min(reach, MAYBE), blocker)
