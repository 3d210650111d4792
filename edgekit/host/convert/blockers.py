# SPDX-License-Identifier: Apache-2.0
"""Find what prevents a float network from becoming an Edge TPU model, before calibration.

These are things that quantization does not change: operators and versions that compiler 16 does
not read, operators without an 8-bit form, numbers that are not real. `enforce` checks the result.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.edgetpu.advice import advice_for
from edgekit.edgetpu.issues import Issue
from edgekit.edgetpu.readable import REAL_ONLY
from edgekit.edgetpu.structure import layer_of, place_of, short_name, structural_rules
from edgekit.formats.tflite import Model
from edgekit.formats.tflite.part import live_operators
from edgekit.host.convert.enforce import io_type_rules
from edgekit.host.convert.static_tflite import constant_tensors

# If compiler 16 does not read the version of these, it is rewritten after quantization.
_REWRITTEN = ("CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def float_blockers(model: Model, io: str, *, open_shapes: bool = False) -> list[Issue]:
    """Return every rule that the integer form of ``model`` will certainly break.

    Args:
        model: A float model. Operators on constants or shapes, and operators that no output
            depends on, are ignored: they are folded or removed later.
        io: The required type of inputs and outputs: ``uint8``, ``int8``, ``float32``.
        open_shapes: Ignore unknown dimensions, which are set later.
    """
    return [issue for _, issue in find_blockers(model, io, open_shapes=open_shapes)]


def find_blockers(
    model: Model, io: str, *, open_shapes: bool = False
) -> list[tuple[int | None, Issue]]:
    """Return `float_blockers`, each with its operator's index, or None if it has no single one."""
    idle = _idle_operators(model)
    found: list[tuple[int | None, Issue]] = []
    places = {place_of(model.main, index): index for index in range(len(model.main.operators))}
    for issue in structural_rules(model, skip=idle, at_source=True):
        index = places.get(issue.where)
        if not (issue.code == "model.dynamic_shape" and open_shapes) and not _is_fixed_later(
            model, index, issue
        ):
            found.append((index, issue))
    named = {index for index, _ in found if index is not None}
    if len(model.subgraphs) == 1:
        found.extend((None, issue) for issue in io_type_rules(model, io, ("FLOAT32", io.upper())))
        found.extend(_number_types(model, idle | named))
    return found


def _idle_operators(model: Model) -> set[int]:
    graph = model.main
    constant = constant_tensors(model)
    live = live_operators(graph)
    return {
        index
        for index, operator in enumerate(graph.operators)
        if index not in live or (operator.outputs and set(operator.outputs) <= constant)
    }


def _is_fixed_later(model: Model, index: int | None, issue: Issue) -> bool:
    if issue.code != "map.op_version" or index is None:
        return False
    return model.main.operators[index].opcode in _REWRITTEN


def _number_types(model: Model, skip: set[int]) -> Iterator[tuple[int, Issue]]:
    """Find operators that work on real numbers only, or on numbers that are not real."""
    graph = model.main
    constant = constant_tensors(model)
    for index, operator in enumerate(graph.operators):
        if index in skip:
            continue
        numbers = [i for i in (*operator.inputs, *operator.outputs) if i >= 0 and i not in constant]
        wide = [i for i in numbers if graph.tensors[i].dtype not in ("FLOAT32", "INT8", "UINT8")]
        if operator.opcode not in REAL_ONLY and not wide:
            continue
        reason = f"{operator.label} has no 8-bit form that compiler 16 reads"
        if wide:
            tensor = graph.tensors[wide[0]]
            reason = f"{operator.label} works on {tensor.dtype.lower()}: {short_name(tensor)}"
        is_real = not wide or graph.tensors[wide[0]].dtype.startswith("FLOAT")
        yield (
            index,
            Issue(
                "quant.float_tensor" if is_real else "quant.not_int8",
                place_of(graph, index),
                reason,
                advice_for(operator.label, layer_of(graph, operator), at_source=True),
            ),
        )
