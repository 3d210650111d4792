# SPDX-License-Identifier: Apache-2.0
"""Activation memory: the bytes on the chip at once, and the transfers between chip and host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection

from edgekit.edgetpu.operation import count
from edgekit.formats.tflite import Model, Subgraph, Tensor
from edgekit.result import Result

_WORD = 4


@dataclass(frozen=True)
class Crossings(Result):
    """Tensors that pass between Edge TPU operators and CPU operators in one inference."""

    num_to_tpu: int
    to_tpu_bytes: int
    num_to_cpu: int
    to_cpu_bytes: int

    @property
    def num(self) -> int:
        """Both ways."""
        return self.num_to_tpu + self.num_to_cpu

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.to_tpu_bytes + self.to_cpu_bytes


@dataclass(frozen=True)
class Activations(Result):
    """The activations of the mapped operators: a byte per element, channels in words of four."""

    peak_bytes: int  # of all tensors that are alive at once
    peak_index: int | None  # the operator at which they are alive
    largest_bytes: int  # the largest single tensor
    input_bytes: int  # from the host to the Edge TPU in one inference
    output_bytes: int  # from the Edge TPU to the host in one inference


def measure_activations(model: Model, mapped: Collection[int]) -> Activations:
    """Find when each activation of the operators ``mapped`` is alive, in the order of execution.

    The peak is that of a plain schedule; the compiler may order, tile and overwrite better.
    """
    graph = model.main
    wanted = set(mapped)
    last_use = _last_use(graph, wanted)
    constant = _constants(model)
    alive: dict[int, int] = {}
    peak, peak_index, largest = 0, None, 0
    for index in sorted(wanted):
        operator = graph.operators[index]
        for number in (*operator.inputs, *operator.outputs):
            if number >= 0 and number not in constant:
                alive[number] = device_bytes(graph.tensors[number])
                largest = max(largest, alive[number])
        total = sum(alive.values())
        if total > peak:
            peak, peak_index = total, index
        alive = {number: size for number, size in alive.items() if last_use[number] > index}
    entering, leaving = _borders(model, wanted)
    return Activations(
        peak,
        peak_index,
        largest,
        sum(graph.tensors[number].num_elements for number in entering),
        sum(graph.tensors[number].num_elements for number in leaving),
    )


def count_crossings(model: Model, mapped: Collection[int]) -> Crossings:
    """Tensors between Edge TPU and CPU operators; the model's own inputs and outputs do not count.

    Each tensor counts once for each direction.
    """
    graph = model.main
    wanted = set(mapped)
    entering, leaving = _borders(model, wanted)
    ends = {*graph.inputs}
    to_tpu = [number for number in entering if number not in ends]
    used = {
        number
        for index, operator in enumerate(graph.operators)
        if index not in wanted
        for number in operator.inputs
    }
    to_cpu = [number for number in leaving if number in used]
    return Crossings(len(to_tpu), _bytes(graph, to_tpu), len(to_cpu), _bytes(graph, to_cpu))


def device_bytes(tensor: Tensor) -> int:
    """The bytes on the chip: one per element, the innermost dimension rounded up to four."""
    if not tensor.shape:
        return _WORD
    return count(tensor.shape[:-1]) * -(-tensor.shape[-1] // _WORD) * _WORD


def _borders(model: Model, mapped: set[int]) -> tuple[list[int], list[int]]:
    """The tensors that enter the mapped operators from outside, and those needed outside."""
    graph = model.main
    constant = _constants(model)
    made: set[int] = set()
    used: set[int] = set()
    used_outside = set(graph.outputs)
    for index, operator in enumerate(graph.operators):
        inputs = {number for number in operator.inputs if number >= 0} - constant
        if index in mapped:
            made.update(operator.outputs)
            used |= {number for number in inputs if not graph.tensors[number].is_variable}
        else:
            used_outside |= inputs
    return sorted(used - made), sorted(made & used_outside)


def _constants(model: Model) -> set[int]:
    return {
        number
        for number, tensor in enumerate(model.main.tensors)
        if model.buffers[tensor.buffer].size
    }


def _last_use(graph: Subgraph, mapped: set[int]) -> dict[int, int]:
    """Tensor -> the last mapped operator that uses it; outputs stay alive until the end."""
    last: dict[int, int] = {}
    for index in sorted(mapped):
        operator = graph.operators[index]
        last.update((number, index) for number in (*operator.inputs, *operator.outputs))
    return last


def _bytes(graph: Subgraph, numbers: list[int]) -> int:
    widths = {"FLOAT32": 4, "INT32": 4, "INT64": 8, "INT16": 2, "FLOAT16": 2}
    return sum(
        graph.tensors[number].num_elements * widths.get(graph.tensors[number].dtype, 1)
        for number in numbers
    )
