# SPDX-License-Identifier: Apache-2.0
"""`estimate`: the latency of a model, by the counts of its compiled program.

A compiled file contains a program. A plain model is compiled with edgekit's own compiler, in memory
and without running it; a model that this compiler refuses is counted by formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgekit.edgetpu.calibration import read_calibration
from edgekit.edgetpu.demand import Demand, demand_of_compiled, demand_of_programs
from edgekit.edgetpu.estimate import (
    Estimate,
    Subject,
    check_estimable,
    demand_by_formulas,
    estimate_demand,
    remarks_on,
    remarks_on_formulas,
)
from edgekit.edgetpu.limits import CPU, TPU
from edgekit.edgetpu.support import judge_operators
from edgekit.edgetpu.work import operator_cycles
from edgekit.formats.darwinn import read_packages
from edgekit.formats.model_file import PROGRAM, ModelSource, read_model_file
from edgekit.formats.tflite import Model
from edgekit.opencompiler.errors import NotCompiledError
from edgekit.opencompiler.translate import translate

if TYPE_CHECKING:
    from edgekit.chip.codegen import Partition, Program

FROM_PROGRAM, FROM_FORMULAS = "program", "formulas"
# Of the cycles: if edgekit's compiler leaves more to the CPU than Google's, formulas are closer.
_LARGE_SHARE = 0.1


def estimate(model: ModelSource, *, device: str = "usb3") -> Estimate:
    """Estimate the latency of a compiled or an int8 model on a device.

    Args:
        model: A .tflite file: compiled, or static and quantized; or a bundle, whose compiled model
            is used if it has one.
        device: ``usb3``, ``usb2``, ``pcie``, ``dev-board``, ``dev-board-mini``, or
            ``dev-board-micro``, for which only the least possible time is known.

    Raises:
        InputError: The file cannot be read.
        ModelFormatError: It is not a .tflite file, or is damaged.
        UnsupportedModelError: It computes with real numbers.
        UsageError: The device is none of these.
    """
    calibration = read_calibration(device)
    file = read_model_file(model, PROGRAM)
    where = file.path
    parsed = file.model
    packages = read_packages(parsed, where)
    if packages:
        demand = demand_of_compiled(parsed, packages)
        subject = Subject(where, file.sha256, "compiled", FROM_PROGRAM)
        return estimate_demand(subject, demand, calibration)
    check_estimable(parsed, where)
    counted = count_plain(parsed)
    subject = Subject(where, file.sha256, "plain", counted.cost_from, counted.note)
    remarks = remarks_on(parsed, counted.demand)
    if counted.cost_from == FROM_FORMULAS:
        remarks += remarks_on_formulas(parsed, counted.demand)
    return estimate_demand(subject, counted.demand, calibration, remarks)


@dataclass(frozen=True)
class Counted:
    """The counts of a plain model, and where they come from."""

    demand: Demand
    cost_from: str  # program | formulas
    note: str  # which program, or why formulas


def count_plain(model: Model) -> Counted:
    """Count a plain model in the program that edgekit's compiler makes of it, else by formulas."""
    try:
        demand = demand_of_program(model)
    except NotCompiledError as refusal:
        note = f"edgekit's compiler refuses the model ({refusal.why or refusal.what})"
        return Counted(demand_by_formulas(model), FROM_FORMULAS, note)
    return Counted(demand, FROM_PROGRAM, "the one that edgekit's compiler makes of the model")


def demand_of_program(model: Model) -> Demand:
    """Count the program that edgekit's compiler makes of a plain model.

    Operators that Google's compiler leaves to the CPU stay there, as in the published latencies;
    edgekit's maps some of them.

    Raises:
        NotCompiledError: The compiler refuses the model, or much of it.
    """
    verdicts = judge_operators(model)
    part, program = translate(model, excluded={i.index for i in verdicts if i.verdict == CPU})
    _check_complete(model, part, [each.index for each in verdicts if each.verdict == TPU])
    demand = demand_of_programs(model, [program.package], sorted(part.reasons))
    crossing = _first_streamed(model, program)
    return replace(demand, num_tpu_operators=len(part.mapped), crossing_layer=crossing)


def _check_complete(model: Model, part: Partition, on_tpu: list[int]) -> None:
    """Check that the operators which only Google's compiler maps are a small part of the work.

    Raises:
        NotCompiledError: They are not.
    """
    graph = model.main
    cycles = {index: operator_cycles(graph, graph.operators[index]) for index in on_tpu}
    left = [index for index in on_tpu if index in part.reasons]
    if sum(cycles[index] for index in left) > _LARGE_SHARE * sum(cycles.values()):
        most = max(left, key=lambda index: cycles[index])
        raise NotCompiledError(
            f"edgekit's compiler leaves {len(left)} operators to the CPU that Google's maps",
            why=f"operator {most} {graph.operators[most].label}: {part.reasons[most]}",
        )


def _first_streamed(model: Model, program: Program) -> str:
    """Return the first layer that the host sends with each inference; empty if all fit."""
    for layer in program.parameters.streamed:
        made = program.layout.network.nodes[layer].output
        for index, operator in enumerate(model.main.operators):
            if made in operator.outputs:
                return f"{index} {operator.label}"
    return ""
