# SPDX-License-Identifier: Apache-2.0
"""Groups of tensors that share one scale, and how the range of a group fits the float network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping

from edgekit.debug.twin import is_stored
from edgekit.rewrite.copied_scales import copied_inputs
from edgekit.rewrite.edit import same_quantization

if TYPE_CHECKING:
    from edgekit.debug.sums import TensorSums
    from edgekit.formats.tflite import Model
    from edgekit.quant import QuantParams

# Quantizers often give their output the scale of their input, although their kernels can rescale.
_CLIPPING = ("RELU", "RELU6")
# Their outputs have scales that the quantizer does not choose.
FIXED_RANGE = ("LOGISTIC", "SOFTMAX", "LOG_SOFTMAX", "TANH", "L2_NORMALIZATION")


@dataclass(frozen=True)
class Group:
    """Tensors with one scale, because operators between them do not rescale."""

    tensors: tuple[int, ...]  # in the order of execution
    params: QuantParams
    is_fixed: bool
    joins: bool  # a CONCATENATION or PACK joins them

    @property
    def stored(self) -> tuple[float, float]:
        """The range of the integer model."""
        return self.params.real_min, self.params.real_max


def find_groups(model: Model, tensors: Mapping[int, TensorSums]) -> list[Group]:
    """Return the groups of the tensors that were measured, in the order of execution."""
    graph = model.main
    leader = {index: index for index in tensors}

    def first(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    joined, fixed = set(), set()
    for op in graph.operators:
        copied = copied_inputs(op) or (op.inputs[:1] if op.opcode in _CLIPPING else ())
        for index in op.outputs:
            if index not in leader:
                continue
            if op.opcode in FIXED_RANGE:
                fixed.add(index)
            for source in copied:
                if source in leader and same_quantization(
                    graph.tensors[source], graph.tensors[index]
                ):
                    leader[first(index)] = first(source)
            if op.opcode in ("CONCATENATION", "PACK"):
                joined.add(index)
    members: dict[int, list[int]] = {}
    for index in tensors:
        members.setdefault(first(index), []).append(index)
    groups = []
    for each in members.values():
        params = tensors[each[0]].params
        if params is not None and is_stored(graph.tensors[each[0]]):
            inside = set(each)
            groups.append(Group(tuple(each), params, bool(inside & fixed), bool(inside & joined)))
    return groups


def with_zero(low: float, high: float) -> tuple[float, float]:
    """Return a range widened to contain 0, as quantizers do."""
    return min(low, 0.0), max(high, 0.0)


def needed(group: Group, tensors: Mapping[int, TensorSums]) -> tuple[float, float]:
    """Return the range of the float network's values in a group."""
    ends = [tensors[index].range for index in group.tensors]
    return with_zero(min(low for low, _ in ends), max(high for _, high in ends))


def width(ends: tuple[float, float]) -> float:
    """The width of a range."""
    return ends[1] - ends[0]
