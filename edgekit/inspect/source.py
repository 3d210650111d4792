# SPDX-License-Identifier: Apache-2.0
"""Find, by tensor names, the operators of the source model in the Edge TPU's part.

The compiler keeps names: an edgetpu-custom-op replaces the operators between its input tensors and
its output tensors.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.errors import UnsupportedModelError
from edgekit.formats.darwinn import EdgeTpuOperator
from edgekit.formats.tflite import Model, Subgraph
from edgekit.inspect.graph import describe_operators
from edgekit.inspect.result import OperatorInfo


def place_source(
    compiled: Model, packages: tuple[EdgeTpuOperator, ...], source: Model, where: str
) -> tuple[tuple[OperatorInfo, ...], tuple[tuple[int, ...], ...]]:
    """Return each operator of ``source`` with its place, and the operators in each package.

    Raises:
        UnsupportedModelError: ``source`` does not have a tensor that the compiled file names, so
            it is another model; ``where`` is its path.
    """
    graph = source.main
    inside = tuple(_between(compiled, each, graph, where) for each in packages)
    mapped = {index for part in inside for index in part}
    operators = tuple(
        replace(each, place="tpu" if each.index in mapped else "cpu")
        for each in describe_operators(source, compiled=False)
    )
    return operators, inside


def _between(
    compiled: Model, package: EdgeTpuOperator, graph: Subgraph, where: str
) -> tuple[int, ...]:
    """Return the indices of the operators between a custom op's outputs and its inputs."""
    subgraph = compiled.subgraphs[package.subgraph_index]
    operator = subgraph.operators[package.operator_index]
    numbers = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
    start = {_number(numbers, subgraph.tensors[i].name, where) for i in operator.inputs if i >= 0}
    wanted = [_number(numbers, subgraph.tensors[i].name, where) for i in operator.outputs]
    producers = {out: index for index, op in enumerate(graph.operators) for out in op.outputs}
    found: set[int] = set()
    while wanted:
        tensor = wanted.pop()
        index = producers.get(tensor)
        if tensor in start or index is None or index in found:
            continue
        found.add(index)
        wanted += [i for i in graph.operators[index].inputs if i >= 0]
    return tuple(sorted(found))


def _number(numbers: dict[str, int], name: str, where: str) -> int:
    if name not in numbers:
        raise UnsupportedModelError(
            f"the source model has no tensor {name!r}, which the compiled one names",
            where=where,
            why="the compiler keeps tensor names: this is not the model that was compiled",
            fix="give the .tflite file that was compiled",
        )
    return numbers[name]
