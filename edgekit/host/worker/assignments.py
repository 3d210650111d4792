# SPDX-License-Identifier: Apache-2.0
"""Remove assignments to variables from a traced function, also inside the functions that it calls.

Keras 3's augmentation layers count the random numbers that they draw, also at inference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from edgekit.host.worker.source import Function

Graph = Any  # tf.compat.v1.GraphDef
Node = Any  # tf.compat.v1.NodeDef
# Arguments, and the operations that wait for others.
_KEPT = ("NoOp", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_ASSIGNMENT = re.compile(r"Assign\w*VariableOp$|ResourceScatter")
_SCOPE = "edgekit_captured"
_SUFFIX = "_without_assignments"


def has_assignments(function: Function) -> bool:
    """Whether ``function``, or a function that it calls, writes a variable."""
    graph = function.graph.as_graph_def()
    return any(_ASSIGNMENT.match(node.op) for nodes in _bodies(graph) for node in nodes)


def without_assignments(function: Function) -> Function:
    """Return ``function`` with only the operations from whose values its outputs are computed.

    This assumes that no output depends on a variable that was written before it was read.
    """
    import tensorflow as tf  # noqa: PLC0415

    graph = function.graph.as_graph_def()
    _keep(graph.node, (tensor.name for tensor in function.outputs))
    for body in graph.library.function:
        _keep(body.node_def, body.ret.values())
        kept = {node.name for node in body.node_def}
        for output, node in list(body.control_ret.items()):
            if node not in kept:
                del body.control_ret[output]
                body.signature.control_output.remove(output)
    _rename_bodies(graph)
    captured = function.captured_inputs
    feeds = function.inputs[: len(function.inputs) - len(captured)]
    places = function.inputs[len(feeds) :]

    def build() -> None:
        with tf.name_scope(_SCOPE):
            for variable in function.variables:
                variable.read_value()  # the new function holds the variables that it reads
            tensors = [tf.identity(each) for each in captured]
        given = {place.name: tensor for place, tensor in zip(places, tensors)}  # noqa: B905 - the child's Python may be 3.9
        tf.import_graph_def(graph, name="", input_map=given)

    return prune(tf.compat.v1.wrap_function(build, []), feeds, function.outputs)


def drop_waiting(graph: Graph) -> None:
    """Remove the control inputs in ``graph``: what an operation waits for without reading it."""
    for node in graph.node:
        values = list(_values(node))
        del node.input[:]
        node.input.extend(values)


def prune(wrapped: Any, inputs: Iterable[Any], outputs: Iterable[Any]) -> Function:  # noqa: ANN401 - a WrappedFunction
    """Return the part of ``wrapped`` between the tensors with the names of these ones."""
    tensor = wrapped.graph.get_tensor_by_name
    feeds, fetches = ([tensor(each.name) for each in ends] for ends in (inputs, outputs))
    return wrapped.prune(feeds, fetches)


def _bodies(graph: Graph) -> Iterator[Any]:
    """Yield the nodes of ``graph``, then those of each function in it."""
    yield graph.node
    yield from (body.node_def for body in graph.library.function)


def _keep(nodes: Any, ends: Iterable[str]) -> None:  # noqa: ANN401 - repeated NodeDef
    """Keep the nodes from whose values ``ends`` are computed, and what waits for them.

    TensorFlow expands a call in place only if something waits for the operations with side effects.
    """
    needed = _needed(nodes, ends)
    kept = [node for node in nodes if node.name in needed or node.op in _KEPT]
    names = {node.name for node in kept}
    for node in kept:
        inputs = [name for name in node.input if name[:1] != "^" or name[1:] in names]
        del node.input[:]
        node.input.extend(inputs)
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del nodes[:]
    nodes.extend(copies)


def _needed(nodes: Iterable[Node], ends: Iterable[str]) -> set[str]:
    """Return the names of the nodes from whose values ``ends`` are computed."""
    by_name = {node.name: node for node in nodes}
    needed: set[str] = set()
    waiting = list(ends)
    while waiting:
        name = waiting.pop().split(":")[0]
        if name not in needed and name in by_name:
            needed.add(name)
            waiting.extend(_values(by_name[name]))
    return needed


def _values(node: Node) -> Iterator[str]:
    """Yield the inputs whose values ``node`` reads; a control input begins with ^."""
    return (name for name in node.input if name[:1] != "^")


def _rename_bodies(graph: Graph) -> None:
    """Give the functions in ``graph`` new names: TensorFlow still has the old ones under theirs."""
    names = {body.signature.name: body.signature.name + _SUFFIX for body in graph.library.function}
    for body in graph.library.function:
        body.signature.name = names[body.signature.name]
    del graph.library.gradient[:]
    for nodes in _bodies(graph):
        for node in nodes:
            node.op = names.get(node.op, node.op)
            for called in _called(node):
                called.name = names.get(called.name, called.name)


def _called(node: Node) -> Iterator[Any]:
    """Yield the references to functions among the attributes of ``node``."""
    for value in node.attr.values():
        if value.WhichOneof("value") == "func":
            yield value.func
        elif value.WhichOneof("value") == "list":
            yield from value.list.func
