# SPDX-License-Identifier: Apache-2.0
"""Remove layers that draw random numbers from a graph: at inference they are the identity.

Keras 3's ``model.export`` traces augmentation layers as in training, because their ``training``
argument is true by default. The operations of such a layer share a name scope in the graph.
"""

from __future__ import annotations

from typing import Any

Graph = Any  # tf.compat.v1.GraphDef
Node = Any
_FEEDS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_SHAPE_ONLY = ("Shape", "ShapeN", "Rank", "Size")


def without_random_layers(graph: Graph, outputs: list[str]) -> list[str]:
    """Replace random layers by the identity; change ``graph`` in place.

    A layer is the smallest name scope around a random operation with one input tensor and one
    output tensor of the same shape and type.

    Args:
        graph: A graph without variables and function calls.
        outputs: Names of the function's output nodes.

    Returns:
        The names of the replaced scopes.
    """
    import tensorflow as tf  # noqa: PLC0415

    if not any(_is_random(node) for node in graph.node):
        return []
    with tf.Graph().as_default() as typed:
        tf.import_graph_def(graph, name="")
    scopes: list[str] = []
    nodes = {node.name: node for node in graph.node}
    variable = _computed(graph)
    for node in graph.node:
        if not _is_random(node) or any(node.name.startswith(scope) for scope in scopes):
            continue
        parts = node.name.split("/")
        for depth in range(len(parts) - 1, 0, -1):
            scope = "/".join(parts[:depth]) + "/"
            ends = _ends(graph, scope, variable, outputs)
            if ends is not None and _alike(typed, *ends):
                entering, leaving = ends
                dtype = typed.get_tensor_by_name(entering).dtype.as_datatype_enum
                _bypass(nodes[leaving.split(":")[0]], entering, dtype)
                scopes.append(scope)
                break
    return [scope.rstrip("/") for scope in scopes]


def _is_random(node: Node) -> bool:
    return "Random" in node.op and not node.op.endswith("Dataset")


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _computed(graph: Graph) -> set[str]:
    """Return the nodes that depend on a placeholder's values, not only on its shape."""
    found = {node.name for node in graph.node if node.op in _FEEDS}
    readers: dict[str, list[Node]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name.split(":")[0], []).append(node)
    waiting = list(found)
    while waiting:
        for node in readers.get(waiting.pop(), []):
            if node.name not in found and node.op not in _SHAPE_ONLY:
                found.add(node.name)
                waiting.append(node.name)
    return found


def _ends(
    graph: Graph, scope: str, variable: set[str], outputs: list[str]
) -> tuple[str, str] | None:
    """Return (input tensor, output tensor) of the scope; None if there are none or several."""
    entering, leaving = set(), set()
    for node in graph.node:
        inside = node.name.startswith(scope)
        for name in node.input:
            if name[:1] == "^":
                continue
            source = name.split(":")[0]
            is_inside = source.startswith(scope)
            if inside and not is_inside and source in variable:
                entering.add(_tensor(name))
            if is_inside and not inside:
                leaving.add(_tensor(name))
    leaving.update(_tensor(name) for name in outputs if name.startswith(scope))
    if len(entering) != 1 or len(leaving) != 1 or not next(iter(leaving)).endswith(":0"):
        return None
    return entering.pop(), leaving.pop()


def _alike(typed: Any, entering: str, leaving: str) -> bool:  # noqa: ANN401 - tf.Graph
    first, last = (typed.get_tensor_by_name(name) for name in (entering, leaving))
    return bool(first.dtype == last.dtype and first.shape.is_compatible_with(last.shape))


def _bypass(maker: Node, entering: str, dtype: int) -> None:
    """Make the layer's last operation an identity of the layer's input."""
    name = maker.name
    maker.Clear()
    maker.name, maker.op = name, "Identity"
    maker.input.append(entering)
    maker.attr["T"].type = dtype
