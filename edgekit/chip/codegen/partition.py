# SPDX-License-Identifier: Apache-2.0
"""Which operators run on the Edge TPU: Google's data-flow rule over what this compiler takes.

An operator that depends on one that stays on the CPU behind a mapped one stays on the CPU too, so
that the program is one custom operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.legalize import Legalizer
from edgekit.chip.codegen.nodes import Network
from edgekit.edgetpu.limits import CPU, TPU
from edgekit.edgetpu.partition import DataFlow
from edgekit.formats.tflite import Model
from edgekit.formats.tflite.part import ends_of

BEHIND_CPU = "it depends on an operator on the CPU that is behind the Edge TPU's part"
EXCLUDED = "it is kept on the CPU"


@dataclass(frozen=True)
class Partition:
    """Operator indices: mapped ones, and the reasons of the others."""

    mapped: tuple[int, ...]
    reasons: dict[int, str]
    network: Network
    owners: tuple[int, ...]  # the operator of each node of the network


def partition(model: Model, excluded: Collection[int] = ()) -> Partition:
    """Take every operator that this compiler and the data flow allow.

    Args:
        model: Integer-only.
        excluded: Indices of operators that stay on the CPU in any case.
    """
    legalizer = Legalizer(model)
    flow = DataFlow()
    reasons: dict[int, str] = {}
    owners: list[int] = []
    made: set[int] = set()
    for number, operator in enumerate(model.main.operators):
        reason = BEHIND_CPU if flow.is_blocked(operator) else ""
        if not reason and number in excluded:
            reason = EXCLUDED
        if not reason:
            try:
                for tensor in operator.inputs:
                    if tensor >= 0 and tensor not in made and not legalizer.is_constant(tensor):
                        legalizer.shape(tensor)  # it comes from the host, so it must have a form
                legalizer.take(operator)
                made.update(operator.outputs)
            except Unsupported as refusal:
                reason = str(refusal)
            owners += [number] * (len(legalizer.nodes) - len(owners))
        flow.place(operator, CPU if reason else TPU)
        if reason:
            reasons[number] = reason
    mapped = tuple(n for n in range(len(model.main.operators)) if n not in reasons)
    inputs, outputs = ends_of(model, mapped)
    network = legalizer.network(inputs, outputs)
    owners += mapped[-1:] * (len(network.nodes) - len(owners))  # copies of inputs to outputs
    return Partition(mapped, reasons, network, tuple(owners))
