# SPDX-License-Identifier: Apache-2.0
"""Find where to cut a graph: multiplications before the cut, as few bytes as possible across."""

from __future__ import annotations

import collections
from typing import Iterable, Sequence

import numpy as np

from edgekit.formats.tflite import NUMPY_DTYPES, Model, Subgraph, Tensor

_INFINITE = 1 << 60
_SOURCE, _SINK = "source", "sink"
_Node = object  # an operator's index, ("tensor", index), or one of the two ends


def best_head(model: Model, mapped: Sequence[bool], macs: Sequence[int]) -> set[int]:
    """Return the indices of the operators of the head.

    The head has as many mapped multiplications as possible; then as few bytes across the cut as
    possible (a minimum cut); then as many operators as possible. CPU operators before mapped
    operators, such as QUANTIZE from float, belong to the head: they do not prevent mapping.

    Args:
        model: A model with one subgraph.
        mapped: For each operator, whether it maps.
        macs: For each operator, its number of multiplications.
    """
    graph = model.main
    wanted = [index for index, maps in enumerate(mapped) if maps]
    working = [index for index in wanted if macs[index]] or wanted
    largest, smallest = ancestors(graph, wanted), ancestors(graph, working)
    if largest == smallest or len(largest) == len(graph.operators):
        return largest  # nothing to choose, or no tail needed
    return _minimum_cut(graph, largest, smallest)


def ancestors(graph: Subgraph, indices: Iterable[int]) -> set[int]:
    """Return ``indices`` and the indices of all operators that they depend on."""
    made_by = producers(graph)
    found: set[int] = set()
    waiting = list(indices)
    while waiting:
        index = waiting.pop()
        if index in found:
            continue
        found.add(index)
        waiting.extend(made_by[i] for i in graph.operators[index].inputs if i in made_by)
    return found


def producers(graph: Subgraph) -> dict[int, int]:
    """Return tensor index -> index of the operator that writes it."""
    return {i: number for number, op in enumerate(graph.operators) for i in op.outputs}


def crossing_tensors(graph: Subgraph, head: set[int]) -> list[int]:
    """Return the tensors that the head writes and the tail reads, in the order of writing."""
    read = {i for number, op in enumerate(graph.operators) if number not in head for i in op.inputs}
    made = [i for number in sorted(head) for i in graph.operators[number].outputs]
    return [index for index in made if index in read]


def num_bytes(tensor: Tensor) -> int:
    """Return the size of ``tensor`` in memory."""
    return tensor.num_elements * np.dtype(NUMPY_DTYPES.get(tensor.dtype, "uint8")).itemsize


def _minimum_cut(graph: Subgraph, largest: set[int], smallest: set[int]) -> set[int]:
    """Return the set between ``smallest`` and ``largest`` with the fewest bytes on its border."""
    capacity = _network(graph, largest, smallest)
    while True:
        path = _augmenting_path(capacity)
        if not path:
            break
        room = min(capacity[a][b] for a, b in path)
        for a, b in path:
            capacity[a][b] -= room
            capacity[b][a] = capacity[b].get(a, 0) + room
    beyond = _reaching_sink(capacity)
    return {index for index in largest if index not in beyond}


def _network(
    graph: Subgraph, largest: set[int], smallest: set[int]
) -> dict[_Node, dict[_Node, int]]:
    """Return a flow network of operators and tensors; a cut tensor costs its size in bytes."""
    capacity: dict[_Node, dict[_Node, int]] = collections.defaultdict(dict)
    made_by = producers(graph)
    readers: dict[int, list[_Node]] = collections.defaultdict(list)
    for number, op in enumerate(graph.operators):
        for i in op.inputs:
            readers[i].append(number if number in largest else _SINK)
    for i in graph.outputs:
        readers[i].append(_SINK)
    for number in smallest:
        capacity[_SOURCE][number] = _INFINITE
    for number in largest:
        op = graph.operators[number]
        for i in op.inputs:
            if i in made_by:  # an operator in the head needs those that it depends on
                capacity[number][made_by[i]] = _INFINITE
        for i in op.outputs:
            tensor: _Node = ("tensor", i)
            capacity[number][tensor] = num_bytes(graph.tensors[i])
            for reader in readers[i]:
                capacity[tensor][reader] = _INFINITE
    for start, ends in list(capacity.items()):
        for end in list(ends):
            capacity[end].setdefault(start, 0)
    return capacity


def _augmenting_path(capacity: dict[_Node, dict[_Node, int]]) -> list[tuple[_Node, _Node]]:
    came_from: dict[_Node, _Node] = {_SOURCE: _SOURCE}
    waiting: collections.deque[_Node] = collections.deque([_SOURCE])
    while waiting and _SINK not in came_from:
        start = waiting.popleft()
        for end, room in capacity[start].items():
            if room > 0 and end not in came_from:
                came_from[end] = start
                waiting.append(end)
    path: list[tuple[_Node, _Node]] = []
    node: _Node = _SINK
    while node in came_from and node != _SOURCE:
        path.append((came_from[node], node))
        node = came_from[node]
    return path


def _reaching_sink(capacity: dict[_Node, dict[_Node, int]]) -> set[_Node]:
    """Return the nodes with capacity left to the sink: exactly those after the cut."""
    into: dict[_Node, list[_Node]] = collections.defaultdict(list)
    for start, ends in capacity.items():
        for end, room in ends.items():
            if room > 0:
                into[end].append(start)
    found: set[_Node] = {_SINK}
    waiting: list[_Node] = [_SINK]
    while waiting:
        for node in into[waiting.pop()]:
            if node not in found:
                found.add(node)
                waiting.append(node)
    return found
