# SPDX-License-Identifier: Apache-2.0
"""Keep the ranges that quantization-aware training stored in a graph as FakeQuant operations.

TFLiteConverter turns them into 8-bit tensors with a zero point even in a float model, which no
kernel runs. So they are taken out of the graph: weights become the values that FakeQuant makes of
them, and the range of an activation is passed on, in place of one from calibration.
"""

from __future__ import annotations

from typing import Any

from edgekit.host.worker.assignments import prune
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.source import Function

Graph = Any  # tf.compat.v1.GraphDef
Node = Any
Range = tuple[float, float]
_KINDS = "FakeQuantWithMinMax"  # ...Args, ...Vars, ...VarsPerChannel
_FEEDS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")


class TrainedRanges:
    """A function without FakeQuant operations, and the ranges that they had."""

    def __init__(self, function: Function) -> None:
        """Take them out of a ``function`` without variables.

        Raises:
            Refused: A range is computed from the input: the graph is one for training.
        """
        self.function = function
        self._num_outputs = len(function.outputs)
        self._inputs: dict[int, Range] = {}
        self._ranges: list[Range] = []  # of the additional outputs of ``function``
        graph = function.graph.as_graph_def()
        found = [node for node in graph.node if node.op.startswith(_KINDS)]
        if found:
            self._take_out(graph, found)

    def _take_out(self, graph: Graph, found: list[Node]) -> None:
        computed = _computed(graph)
        weights = [node for node in found if _source(node) not in computed]
        activations = [node for node in found if _source(node) in computed]
        values = _evaluated(graph, weights, activations, computed)
        feeds = [tensor.op.name for tensor in self.function.inputs]
        marked: list[str] = []
        for node in weights:
            _set_constant(node, values[node.name])
        for node in activations:
            low, high = values[node.name]
            if _source(node) in feeds:
                self._inputs[feeds.index(_source(node))] = (low, high)
            else:
                marked.append(node.input[0])
                self._ranges.append((low, high))
            _set_identity(node)
        self.function = _function(graph, self.function, marked)

    def __bool__(self) -> bool:
        """Whether there were any."""
        return bool(self._inputs or self._ranges)

    def of_tensors(self, content: bytes) -> tuple[bytes, dict[str, Range]]:
        """Return the .tflite made of ``function`` with its own outputs, and ranges by tensor."""
        if not self:
            return content, {}
        from tensorflow.lite.tools import flatbuffer_utils  # noqa: PLC0415

        model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
        graph = model.subgraphs[0]
        marked = list(map(int, graph.outputs))[self._num_outputs :]
        graph.outputs = list(map(int, graph.outputs))[: self._num_outputs]
        for signature in model.signatureDefs or ():
            own = set(graph.outputs)
            signature.outputs = [each for each in signature.outputs if each.tensorIndex in own]
        found = dict(zip(marked, self._ranges))  # noqa: B905
        found.update((int(graph.inputs[index]), each) for index, each in self._inputs.items())
        names = {graph.tensors[index].name.decode(): each for index, each in found.items()}
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model)), names


def _computed(graph: Graph) -> set[str]:
    """Return the nodes whose values depend on an input."""
    readers: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(_plain(name), []).append(node.name)
    waiting = [node.name for node in graph.node if node.op in _FEEDS]
    found = set(waiting)
    while waiting:
        more = [name for name in readers.get(waiting.pop(), ()) if name not in found]
        found.update(more)
        waiting.extend(more)
    return found


def _evaluated(
    graph: Graph, weights: list[Node], activations: list[Node], computed: set[str]
) -> dict[str, Any]:
    """Return the values of FakeQuant on weights, and (lowest, highest) of the others."""
    import tensorflow as tf  # noqa: PLC0415

    fetches = {node.name: f"{node.name}:0" for node in weights}
    ranges: dict[str, Any] = {}
    for node in activations:
        if node.op == f"{_KINDS}Args":
            ranges[node.name] = (node.attr["min"].f, node.attr["max"].f)
            continue
        if any(_plain(name) in computed for name in node.input[1:3]):
            raise Refused(
                "model.unsupported",
                f"{node.name} (FakeQuant) computes its range from the input",
                why="the graph is the one for training, or its quantization is dynamic",
                fix="freeze the graph for evaluation (create_eval_graph), where ranges are stored",
            )
        fetches.update({f"{node.name}/low": node.input[1], f"{node.name}/high": node.input[2]})
    with tf.Graph().as_default() as whole:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=whole) as session:
            values = session.run({name: _tensor(each) for name, each in fetches.items()})
    for node in activations:
        if node.name not in ranges:
            low, high = values[f"{node.name}/low"], values[f"{node.name}/high"]
            ranges[node.name] = (float(low.min()), float(high.max()))
    return {**{node.name: values[node.name] for node in weights}, **ranges}


def _set_constant(node: Node, values: Any) -> None:  # noqa: ANN401 - a numpy array
    import tensorflow as tf  # noqa: PLC0415

    node.op = "Const"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values, tf.float32))


def _set_identity(node: Node) -> None:
    import tensorflow as tf  # noqa: PLC0415

    node.op = "Identity"
    source = node.input[0]
    del node.input[:]
    node.input.append(source)
    node.attr.clear()
    node.attr["T"].type = tf.float32.as_datatype_enum


def _function(graph: Graph, like: Function, marked: list[str]) -> Function:
    """Return ``graph`` as a function; its outputs are those of ``like``, then ``marked``."""
    import tensorflow as tf  # noqa: PLC0415

    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    more = [wrapped.graph.get_tensor_by_name(_tensor(name)) for name in marked]
    return prune(wrapped, like.inputs, [*like.outputs, *more])


def _source(node: Node) -> str:
    return _plain(node.input[0])


def _plain(name: str) -> str:
    return name.lstrip("^").split(":")[0]


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"
