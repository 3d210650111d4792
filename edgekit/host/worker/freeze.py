# SPDX-License-Identifier: Apache-2.0
"""Make a traced function readable by TFLiteConverter: in float32 and without variables."""

from __future__ import annotations

from typing import Any

from edgekit.host.worker.augmentation import without_random_layers
from edgekit.host.worker.source import Function

Graph = Any  # tf.compat.v1.GraphDef
_FEEDS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")


def freeze(function: Function) -> tuple[Function, list[str]]:
    """Turn the variables into constants, and 16-bit real numbers (mixed precision) into float32.

    The converter cannot read Keras 3 variables, and does not have kernels for float16 and bfloat16.
    Layers that draw random numbers are removed.

    Returns:
        The function, and descriptions of the changes.
    """
    from tensorflow.python.framework import convert_to_constants as library  # noqa: PLC0415

    try:
        frozen = library.convert_variables_to_constants_v2(function, lower_control_flow=False)
    except ValueError as error:
        if "Assign" not in str(error):
            raise
        frozen = _freeze_without_assignments(library, function)
    graph = frozen.graph.as_graph_def()
    notes = []
    layers = without_random_layers(graph, [tensor.op.name for tensor in frozen.outputs])
    if layers:
        names = ", ".join(dict.fromkeys(scope.split("/")[-1] for scope in layers))
        notes.append(f"removed layers that draw random numbers, such as for augmentation: {names}")
    if _widen_graph(graph):
        notes.append("the network's 16-bit numbers (mixed precision) became float32")
    return (_function(graph, frozen) if notes else frozen), notes


def _freeze_without_assignments(library: Any, function: Function) -> Function:  # noqa: ANN401
    """Freeze a network that also writes variables, if no output depends on them.

    Keras 3's augmentation layers count the random numbers that they draw, also at inference.
    TensorFlow's public function cannot leave out such operations, so this calls its parts.
    """
    data = library._FunctionConverterDataInEager(  # noqa: SLF001
        func=function, lower_control_flow=False, aggressive_inlining=False
    )
    graph, indices = library._replace_variables_by_constants(converter_data=data)  # noqa: SLF001
    needed = _needed(graph, [tensor.op.name for tensor in function.outputs])
    smaller = type(graph)()
    smaller.CopyFrom(graph)
    del smaller.node[:]
    for node in graph.node:
        if node.name in needed or node.op in _FEEDS:
            smaller.node.add().CopyFrom(node)
            # A control input (waited for, but not read) does not affect the value.
            del smaller.node[-1].input[:]
            smaller.node[-1].input.extend(name for name in node.input if name[:1] != "^")
    return library._construct_concrete_function(function, smaller, indices)  # noqa: SLF001


def _needed(graph: Graph, outputs: list[str]) -> set[str]:
    """Return the nodes from whose values the outputs are computed."""
    nodes = {node.name: node for node in graph.node}
    needed: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop().split(":")[0]
        if name in needed or name not in nodes:
            continue
        needed.add(name)
        waiting.extend(each for each in nodes[name].input if each[:1] != "^")
    return needed


def _function(graph: Graph, like: Function) -> Function:
    """Return ``graph`` as a function with the inputs and outputs of ``like``."""
    import tensorflow as tf  # noqa: PLC0415

    feeds, fetches = ([each.name for each in ends] for ends in (like.inputs, like.outputs))
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    tensor = wrapped.graph.get_tensor_by_name
    return wrapped.prune([tensor(name) for name in feeds], [tensor(name) for name in fetches])


def _widen_graph(graph: Graph) -> bool:
    """Change float16 and bfloat16 in ``graph`` to float32; return whether there were any."""
    bodies = [graph.node, *(body.node_def for body in graph.library.function)]
    for body in graph.library.function:
        for argument in (*body.signature.input_arg, *body.signature.output_arg):
            argument.type = _wide(argument.type)
    return sum(_widen(node) for nodes in bodies for node in nodes) > 0


def _widen(node: Any) -> bool:  # noqa: ANN401 - tf.compat.v1.NodeDef
    """Change 16-bit types and constants of ``node`` to float32; return whether there were any."""
    import tensorflow as tf  # noqa: PLC0415

    found = False
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "type" and _wide(value.type) != value.type:
            value.type, found = _wide(value.type), True
        elif kind == "list":
            types = [_wide(each) for each in value.list.type]
            found = found or types != list(value.list.type)
            value.list.type[:] = types
        elif kind == "tensor" and _wide(value.tensor.dtype) != value.tensor.dtype:
            numbers = tf.make_ndarray(value.tensor).astype("float32")
            value.tensor.CopyFrom(tf.make_tensor_proto(numbers, shape=numbers.shape))
            found = True
    return found


def _wide(number: int) -> int:
    """Return the number of float32 in types.proto for float16 and bfloat16; else ``number``."""
    import tensorflow as tf  # noqa: PLC0415

    narrow = (tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum)
    return int(tf.float32.as_datatype_enum) if number in narrow else number
