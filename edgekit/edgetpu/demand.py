# SPDX-License-Identifier: Apache-2.0
"""What one inference requires of the chip, the bus and the host's CPU, counted from the file.

For programs the counts are exact: they come from their transfer schedules and instructions. For an
int8 file without one they are those of its compiled form, by formulas that compiled files confirm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection, Iterable, Sequence

from edgekit.edgetpu.chip import LATEST_RUNTIME, PARAMETER_CACHE_BYTES
from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.edgetpu.parameters import ParameterLayout, lay_out_parameters
from edgekit.edgetpu.work import operator_cycles, operator_elements
from edgekit.formats.darwinn import EdgeTpuOperator, Package, arithmetic_cycles
from edgekit.formats.tflite import CUSTOM, Model, Operator, Subgraph, is_edgetpu_operator

# Instruction bytes, typical of the compiled models: of a program, of an operator that computes
# something, and of one that joins or splits. Compilers after 1.0 spread the classes of a softmax
# over the tiles; if their number is not a multiple of 16, each class needs instructions, up to a
# limit (seen with 965 and 1,001 classes, but not with 256 and 16,384).
_INSTRUCTION_BYTES = 5000
_INSTRUCTION_BYTES_PER_OPERATOR = 2300
_INSTRUCTION_BYTES_PER_JOIN = 6500
_JOINS = ("CONCATENATION", "SPLIT", "SPLIT_V", "PACK")
_SOFTMAX_INSTRUCTION_BYTES_PER_CLASS = 110
_SOFTMAX_INSTRUCTION_BYTES = 140_000
_SOFTMAX_EVEN = 16
_CACHING_INSTRUCTION_BYTES = 5000


@dataclass(frozen=True)
class CpuWork:
    """The work left to the host's CPU."""

    macs: int
    elements: int
    opcodes: tuple[str, ...]
    custom_opcodes: tuple[str, ...] = ()  # those of opcodes whose work does not follow from shapes


@dataclass(frozen=True)
class Demand:
    """The counts of one inference. Bytes are those on the bus, in the device's padded layout."""

    cycles: int  # of the busiest tile, summed over the executables
    num_tpu_operators: int | None  # None for a compiled file, which does not contain it
    num_executables: int  # runs of the Edge TPU for one inference
    input_bytes: int
    output_bytes: int
    instruction_bytes: int
    scratch_bytes: int  # activations sent to host memory and back
    streamed_bytes: int  # parameters sent with every inference
    cached_bytes: int  # parameters sent once
    caching_instruction_bytes: int
    cpu: CpuWork
    crossing_layer: str  # the first layer that does not fit the cache; empty if all fit or unknown

    @property
    def bus_bytes(self) -> int:
        """All bytes over the bus in one inference."""
        return (
            self.input_bytes
            + self.output_bytes
            + self.instruction_bytes
            + self.scratch_bytes
            + self.streamed_bytes
        )

    @property
    def upload_bytes(self) -> int:
        """Bytes over the bus before the first inference."""
        return self.cached_bytes + self.caching_instruction_bytes


def demand_of_compiled(model: Model, packages: Iterable[EdgeTpuOperator]) -> Demand:
    """Count a compiled model; all operators except the edgetpu-custom-ops run on the CPU."""
    rest = [i for i, op in enumerate(model.main.operators) if not is_edgetpu_operator(op)]
    return demand_of_programs(model, [each.package for each in packages], rest)


def demand_of_programs(model: Model, programs: Sequence[Package], on_cpu: Sequence[int]) -> Demand:
    """Count programs of the Edge TPU, and the operators of ``model`` at ``on_cpu``."""
    transfers = [each.inference.transfer_bytes() for each in programs]

    def moved(kind: str) -> int:
        return sum(size for each in transfers for (what, _), size in each.items() if what == kind)

    caching = [each.caching for each in programs if each.caching]
    return Demand(
        cycles=sum(max(arithmetic_cycles(each.inference)) for each in programs),
        num_tpu_operators=None,
        num_executables=len(programs),
        input_bytes=moved("INPUT_ACTIVATION"),
        output_bytes=moved("OUTPUT_ACTIVATION"),
        instruction_bytes=moved("INSTRUCTION"),
        scratch_bytes=moved("SCRATCH"),
        streamed_bytes=moved("PARAMETER"),
        cached_bytes=sum(each.parameter_bytes for each in caching),
        caching_instruction_bytes=sum(each.instruction_bytes for each in caching),
        crossing_layer="",
        cpu=_cpu_work(model, on_cpu),
    )


def demand_of_plain(
    model: Model, mapped: Collection[int], *, runtime: int = LATEST_RUNTIME
) -> tuple[Demand, ParameterLayout]:
    """Count what the compiled form of ``model`` would require.

    Args:
        model: Static and quantized.
        mapped: Indices of the operators of the main subgraph that go to the Edge TPU.
        runtime: The runtime version that it would be compiled for.

    Returns:
        The counts, and the parameter layout from which they were computed.
    """
    graph = model.main
    on_tpu = [graph.operators[index] for index in sorted(mapped)]
    layout = lay_out_parameters(model, mapped, runtime=runtime)
    inputs, outputs = _edges(model, graph, frozenset(mapped))
    rest = [index for index in range(len(graph.operators)) if index not in mapped]
    demand = Demand(
        cycles=sum(operator_cycles(graph, op) for op in on_tpu),
        num_tpu_operators=len(on_tpu),
        num_executables=1 if on_tpu else 0,
        input_bytes=sum(_up(graph.tensors[index].num_elements, 8) for index in inputs),
        output_bytes=sum(_padded_bytes(graph, index) for index in outputs),
        instruction_bytes=_instruction_bytes(graph, on_tpu, runtime),
        scratch_bytes=0,
        streamed_bytes=layout.streamed_bytes,
        cached_bytes=layout.cached_bytes,
        caching_instruction_bytes=_CACHING_INSTRUCTION_BYTES if layout.cached_bytes else 0,
        crossing_layer=_crossing_layer(layout),
        cpu=_cpu_work(model, rest),
    )
    return demand, layout


def _crossing_layer(layout: ParameterLayout) -> str:
    """Return the first layer that does not fit the cache ("12 CONV_2D"); empty if all fit."""
    filled = 0
    for layer in layout.layers:
        filled += layer.device_bytes
        if filled > PARAMETER_CACHE_BYTES:
            return f"{layer.index} {layer.opcode}"
    return ""


def _edges(
    model: Model, graph: Subgraph, mapped: frozenset[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tensors that enter the Edge TPU's part, and those that leave it."""
    made = {t for index in mapped for t in graph.operators[index].outputs}
    taken: dict[int, None] = {}
    for index in sorted(mapped):
        for tensor in graph.operators[index].inputs:
            is_constant = tensor >= 0 and model.buffers[graph.tensors[tensor].buffer].size
            if tensor >= 0 and tensor not in made and not is_constant:
                taken[tensor] = None
    wanted = set(graph.outputs)
    for index, operator in enumerate(graph.operators):
        if index not in mapped:
            wanted.update(operator.inputs)
    return tuple(taken), tuple(sorted(made & wanted))


def _padded_bytes(graph: Subgraph, index: int) -> int:
    """The bytes of an output: its channels are padded to 4, the whole to 8."""
    channels = (graph.tensors[index].shape or (1,))[-1]
    pixels = graph.tensors[index].num_elements // max(1, channels)
    return _up(pixels * _up(channels, 4), 8)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _instruction_bytes(graph: Subgraph, operators: list[Operator], runtime: int) -> int:
    working = [op for op in operators if operator_cycles(graph, op)]
    joins = sum(op.opcode in _JOINS for op in working)
    total = _INSTRUCTION_BYTES_PER_OPERATOR * (len(working) - joins)
    total += _INSTRUCTION_BYTES_PER_JOIN * joins + (_INSTRUCTION_BYTES if operators else 0)
    for operator in working:
        classes = (graph.tensors[operator.outputs[0]].shape or (1,))[-1]
        if operator.opcode == "SOFTMAX" and runtime > 10 and classes % _SOFTMAX_EVEN:
            total += min(_SOFTMAX_INSTRUCTION_BYTES_PER_CLASS * classes, _SOFTMAX_INSTRUCTION_BYTES)
    return total


def _cpu_work(model: Model, indices: Sequence[int]) -> CpuWork:
    graph = model.main
    operators = [graph.operators[index] for index in indices]
    return CpuWork(
        macs=sum(count_macs(Operation(model, index)) for index in indices),
        elements=sum(operator_elements(model, graph, each) for each in operators),
        opcodes=tuple(each.label for each in operators),
        custom_opcodes=tuple(each.label for each in operators if each.opcode == CUSTOM),
    )
