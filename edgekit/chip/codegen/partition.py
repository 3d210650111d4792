# SPDX-License-Identifier: Apache-2.0
"""Which operators run on the Edge TPU: Google's data-flow rule over what this compiler takes.

An operator that depends on one that stays on the CPU behind a mapped one stays on the CPU too, so
that the program is one custom operator.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.legalize import Legalizer
from edgekit.chip.codegen.nodes import Network
from edgekit.formats.tflite import Model

BEHIND_CPU = "it depends on an operator on the CPU that is behind the Edge TPU's part"


@dataclass(frozen=True)
class Partition:
    """Operator indices: mapped ones, and the reasons of the others."""

    mapped: tuple[int, ...]
    reasons: dict[int, str]
    network: Network


def partition(model: Model) -> Partition:
    """Take every operator that this compiler and the data flow allow."""
    graph = model.main
    legalizer = Legalizer(model)
    mapped: list[int] = []
    reasons: dict[int, str] = {}
    on_device: set[int] = set()  # tensors that mapped operators make
    behind: set[int] = set()  # tensors that depend on the CPU behind a mapped operator
    for number, operator in enumerate(graph.operators):
        sources = [i for i in operator.inputs if i >= 0 and not legalizer.is_constant(i)]
        reason = BEHIND_CPU if any(i in behind for i in sources) else ""
        if not reason:
            try:
                legalizer.take(operator)
            except Unsupported as refusal:
                reason = str(refusal)
        if not reason:
            mapped.append(number)
            on_device.update(operator.outputs)
            continue
        reasons[number] = reason
        if any(i in on_device or i in behind for i in sources):
            behind.update(operator.outputs)
    rest = [op for number, op in enumerate(graph.operators) if number in reasons]
    inputs: list[int] = []
    for number in mapped:
        for index in graph.operators[number].inputs:
            if index < 0 or index in on_device or index in inputs:
                continue
            if not legalizer.is_constant(index):
                inputs.append(index)
    wanted = set(graph.outputs).union(*(op.inputs for op in rest))
    outputs = [
        index for number in mapped for index in graph.operators[number].outputs if index in wanted
    ]
    return Partition(tuple(mapped), reasons, legalizer.network(inputs, outputs))
