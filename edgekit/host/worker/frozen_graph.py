# SPDX-License-Identifier: Apache-2.0
"""TensorFlow 1 frozen graphs (.pb): find the inputs and outputs, or cut at given tensors."""

from __future__ import annotations

from typing import Any

from edgekit.host.worker.graph_ops import refuse_side_effects
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.source import Function, Source, TensorSpec, short

Graph = Any  # tf.compat.v1.GraphDef
Node = Any
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
# Operations at the end of a graph that are not outputs of the network.
_NO_OUTPUT = {"Assert", "Const", "NoOp", "Placeholder", "Print", "SaveV2", "RestoreV2"}
_LISTED = 8


def load_frozen_graph(
    path: str, *, inputs: list[str], outputs: list[str], trust_source: bool
) -> Source:
    """Load a frozen graph.

    Args:
        path: The .pb file.
        inputs: Tensor names; each becomes an input, and everything before it is cut off.
            ``name=value`` sets a placeholder to a constant instead. Empty: the graph's
            placeholders.
        outputs: Tensor names. Empty: the only node that no other node reads.
        trust_source: Accept a graph whose operations write files or call Python.

    Raises:
        Refused: The file is damaged, its graph has side effects, a name does not exist, or the
            choice is not clear.
    """
    import tensorflow as tf  # noqa: PLC0415

    graph = _parse(path)
    if not trust_source:
        refuse_side_effects([graph], path)
    nodes = {node.name: node for node in graph.node}
    feeds, constants = _feeds(nodes, inputs, path)
    fetches = [_node_name(name, nodes, path) for name in outputs] or _find_outputs(graph, path)
    with tf.Graph().as_default() as inferred:
        try:
            tf.import_graph_def(graph, name="")
        except (ValueError, KeyError, tf.errors.OpError) as error:
            raise _damaged(path, error) from error
        specs = [_spec(inferred.get_tensor_by_name(f"{name}:0")) for name in feeds]
    _refuse_strings(specs, graph, path)

    def trace(static: list[TensorSpec]) -> Function:
        cut = _cut(graph, dict(zip(feeds, static)), constants, fetches)  # noqa: B905
        _refuse_missing(cut, feeds, path)
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(cut, name=""), [])
        tensor = wrapped.graph.get_tensor_by_name
        return wrapped.prune(
            [tensor(f"{name}:0") for name in feeds], [tensor(f"{name}:0") for name in fetches]
        )

    return Source(f"tensorflow {tf.__version__}, frozen graph", specs, fetches, trace, [])


def _parse(path: str) -> Graph:
    import tensorflow as tf  # noqa: PLC0415
    from google.protobuf.message import (  # type: ignore[import-untyped] # noqa: PLC0415
        DecodeError,
    )

    graph = tf.compat.v1.GraphDef()
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - open() is enough here
            graph.ParseFromString(stream.read())
    except DecodeError as error:
        raise _damaged(path, error) from error
    if not graph.node:
        raise _damaged(path, ValueError("it does not have any nodes"))
    if any(node.op in ("VariableV2", "VarHandleOp") for node in graph.node):
        raise Refused(
            "model.unsupported",
            "the graph is not frozen: its variables do not contain values",
            where=path,
            fix="freeze it with its checkpoint (freeze_graph), or give the SavedModel",
        )
    return graph


def _damaged(path: str, error: BaseException) -> Refused:
    return Refused(
        "model.format",
        "this is not a frozen TensorFlow graph, or a damaged one",
        where=path,
        why=short(error),
        fix="give a frozen GraphDef (.pb), or the folder of a SavedModel",
    )


def _feeds(
    nodes: dict[str, Node], wanted: list[str], path: str
) -> tuple[list[str], dict[str, float]]:
    """Return the names of the nodes to feed, and the placeholders to replace by numbers."""
    constants = {}
    feeds = []
    for word in wanted:
        name, separator, value = word.partition("=")
        node = _node_name(name, nodes, path)
        if not separator:
            feeds.append(node)
            continue
        try:
            constants[node] = float(value)
        except ValueError as error:
            raise Refused("usage", f"--inputs {word!r} does not contain a number") from error
    if not feeds:
        feeds = [
            n.name for n in nodes.values() if n.op in _PLACEHOLDERS and n.name not in constants
        ]
    if not feeds:
        raise Refused(
            "model.unsupported",
            "the graph does not have a placeholder to feed",
            where=path,
            why=f"its first nodes are {[n.name for n in list(nodes.values())[:_LISTED]]}",
            fix="name the tensor to feed: --inputs NAME",
        )
    return feeds, constants


def _find_outputs(graph: Graph, path: str) -> list[str]:
    consumed = {_plain(name) for node in graph.node for name in node.input}
    leaves = [n.name for n in graph.node if n.name not in consumed and n.op not in _NO_OUTPUT]
    if len(leaves) != 1:
        raise Refused(
            "model.unsupported",
            f"the graph's output is not clear: {len(leaves)} nodes are not read by another",
            where=path,
            why=f"candidates: {leaves[:_LISTED]}",
            fix=f"--outputs {leaves[0] if leaves else 'NAME'}",
        )
    return leaves


def _node_name(name: str, nodes: dict[str, Node], path: str) -> str:
    plain, _, port = name.partition(":")
    if plain not in nodes:
        near = [each for each in nodes if plain.lower() in each.lower()][:_LISTED]
        raise Refused(
            "usage",
            f"the graph does not have a node {plain!r}",
            where=path,
            why=f"similar names: {near or list(nodes)[:_LISTED]}",
            fix="give a node's name, as in Netron",
        )
    if port not in ("", "0"):
        raise Refused("usage", f"{name} is not the first output of its node", where=path)
    return plain


def _spec(tensor: Any) -> TensorSpec:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    return tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.op.name)


def _refuse_strings(specs: list[TensorSpec], graph: Graph, path: str) -> None:
    """Refuse text and encoded files as inputs of an Edge TPU model; name the place to cut."""
    for spec in specs:
        if spec.dtype.name != "string":
            continue
        head, behind = _head(graph, spec.name)
        raise Refused(
            "model.unsupported",
            f"the input {spec.name} is a string, read by {' and '.join(head)}",
            where=path,
            why="the inputs of an Edge TPU model are numbers; decode files and text outside of it",
            fix=f"cut after it: --inputs {behind}, and give that tensor's values as --data",
        )


def _head(graph: Graph, start: str) -> tuple[list[str], str]:
    """Return the operations that decode ``start``, and the last of them: the place to cut."""
    decoding = ("Decode", "Audio", "Mfcc", "Parse", "String", "Substr", "ReadFile")
    reached, ops, last = {start}, [], start
    for node in graph.node:
        if any(_plain(name) in reached for name in node.input) and node.op.startswith(decoding):
            reached.add(node.name)
            ops.append(node.op)
            last = node.name
    if not ops:
        ops = [node.op for node in graph.node if start in [_plain(n) for n in node.input]][:1]
        last = next((n.name for n in graph.node if start in [_plain(i) for i in n.input]), start)
    return ops or ["nothing"], last


def _cut(
    graph: Graph, feeds: dict[str, TensorSpec], constants: dict[str, float], fetches: list[str]
) -> Graph:
    """Return the part from ``feeds``, now placeholders of known shape, to ``fetches``."""
    import tensorflow as tf  # noqa: PLC0415

    changed = tf.compat.v1.GraphDef()
    changed.CopyFrom(graph)
    for node in changed.node:
        if node.name not in feeds and node.name not in constants:
            continue
        dtype = tf.float32
        if node.name in feeds:
            dtype = feeds[node.name].dtype
        elif node.attr["dtype"].type:
            dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)
        del node.input[:]
        node.attr.clear()
        node.attr["dtype"].type = dtype.as_datatype_enum
        if node.name in feeds:
            node.op = "Placeholder"
            node.attr["shape"].shape.CopyFrom(feeds[node.name].shape.as_proto())
        else:
            node.op = "Const"
            value = tf.make_tensor_proto(constants[node.name], dtype)
            node.attr["value"].tensor.CopyFrom(value)
    return tf.compat.v1.graph_util.extract_sub_graph(changed, fetches)


def _refuse_missing(graph: Graph, feeds: list[str], path: str) -> None:
    left = [node.name for node in graph.node if node.op in _PLACEHOLDERS and node.name not in feeds]
    if left:
        raise Refused(
            "usage",
            f"the outputs depend on {left}, which nothing feeds",
            where=path,
            fix=f"add it to --inputs, or set it to a constant: --inputs {left[0]}=1.0",
        )


def _plain(name: str) -> str:
    return name.lstrip("^").split(":")[0]
