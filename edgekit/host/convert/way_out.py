# SPDX-License-Identifier: Apache-2.0
"""Find where to cut a float .tflite so that the rest can become an Edge TPU model."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.formats.tflite import Model
from edgekit.formats.tflite.part import between
from edgekit.host.convert.blockers import float_blockers
from edgekit.host.convert.static_tflite import constant_tensors

FLOAT_FILE = "FLOAT.tflite"  # in commands: the float model of another source
_MOST_ENDS = 8  # with more, the command is too long to read


def cut_command(
    model: Model,
    blockers: Collection[int],
    io: str,
    where: str,
    more: Sequence[str] = (),
    names: Collection[str] | None = None,
) -> str:
    """Return the command that converts the part without ``blockers``; empty if none is useful.

    Args:
        model: The float model.
        blockers: Indices of the operators to leave out.
        io: As for `float_blockers`, which the part must pass.
        where: The file's path.
        more: Words of other options that the command needs.
        names: The tensors of the source, which the command can name; None for all of the model.
    """
    graph = model.main
    kept = _kept(model, blockers)
    inputs, outputs = _ends(model, kept)
    while names is not None:  # what a rewrite added is left out with the blocker
        added = {index for index in outputs if graph.tensors[index].name not in names}
        if not added:
            break
        kept -= {p for p in kept if added & set(graph.operators[p].outputs)}
        inputs, outputs = _ends(model, kept)
    if not outputs or max(len(inputs), len(outputs)) > _MOST_ENDS:
        return ""
    part = between(model, inputs, outputs)
    if part is None or float_blockers(part, io, open_shapes=True):
        return ""
    words = [("--inputs", inputs if set(inputs) != set(graph.inputs) else [])]
    words.append(("--outputs", outputs if set(outputs) != set(graph.outputs) else []))
    ends = [graph.tensors[index].name for _, indices in words for index in indices]
    if names is not None and not set(ends) <= set(names):
        return ""
    options = [
        f"{option} {shlex.quote(graph.tensors[index].name)}"
        for option, indices in words
        for index in indices
    ]
    options += [shlex.join(more)] if more else []
    return f"edgekit convert {shlex.quote(where)} {' '.join(options)} --data DATA -o OUT.tflite"


def _ends(model: Model, kept: Collection[int]) -> tuple[list[int], list[int]]:
    """Return the tensors that the operators ``kept`` read from others, and give to others."""
    graph = model.main
    made = {index for position in kept for index in graph.operators[position].outputs}
    read = [
        index
        for position in sorted(kept)
        for index in graph.operators[position].inputs
        if index >= 0 and not model.buffers[graph.tensors[index].buffer].size
    ]
    used = {
        index
        for position, operator in enumerate(graph.operators)
        if position not in kept
        for index in operator.inputs
    }
    inputs = [index for index in dict.fromkeys(read) if index not in made]
    return inputs, sorted((made - constant_tensors(model)) & (used | set(graph.outputs)))


def tensor_names(model: Model) -> frozenset[str]:
    """Return the names of the tensors of the main subgraph."""
    return frozenset(tensor.name for tensor in model.main.tensors)


def _kept(model: Model, blockers: Collection[int]) -> set[int]:
    """Return the operators that stay: after the blockers in front, before the later blockers.

    A blocker is in front if no operator before it multiplies. The rest must contain one that does.
    """
    operators = model.main.operators
    macs = [count_macs(Operation(model, position)) for position in range(len(operators))]
    maker = {index: p for p, operator in enumerate(operators) for index in operator.outputs}
    before: list[set[int]] = []  # for each operator: itself and all operators that it depends on
    for position, operator in enumerate(operators):
        sources = {maker[i] for i in operator.inputs if i in maker and maker[i] < position}
        before.append({position}.union(*(before[source] for source in sources)))
    front = {p for p in blockers if not any(macs[each] for each in before[p])}
    back = set(blockers) - front
    gone = {each for p in front for each in before[p]}
    gone |= {p for p in range(len(operators)) if before[p] & back}
    kept = set(range(len(operators))) - gone
    return kept if any(macs[position] for position in kept) else set()
