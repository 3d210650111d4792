# SPDX-License-Identifier: Apache-2.0
"""Make a traced function readable by TFLiteConverter: in float32 and without variables."""

from __future__ import annotations

from typing import Any

from edgekit.host.worker.assignments import (
    drop_waiting,
    has_assignments,
    prune,
    without_assignments,
)
from edgekit.host.worker.augmentation import without_random_layers
from edgekit.host.worker.refused import missing_function
from edgekit.host.worker.source import Function

Graph = Any  # tf.compat.v1.GraphDef


def freeze(function: Function) -> tuple[Function, list[str]]:
    """Turn the variables into constants, and 16-bit real numbers (mixed precision) into float32.

    The converter cannot read Keras 3 variables, and does not have kernels for float16 and bfloat16.
    Layers that draw random numbers are removed.

    Raises:
        Refused: This TensorFlow does not have the function for it.

    Returns:
        The function, and descriptions of the changes.
    """
    writes = has_assignments(function)
    if writes:
        function = without_assignments(function)
    frozen = _constants_converter()(function, lower_control_flow=False)
    graph = frozen.graph.as_graph_def()
    if writes:
        drop_waiting(graph)
    notes = []
    layers = without_random_layers(graph, [tensor.op.name for tensor in frozen.outputs])
    if layers:
        names = ", ".join(dict.fromkeys(scope.split("/")[-1] for scope in layers))
        notes.append(f"removed layers that draw random numbers, such as for augmentation: {names}")
    if _widen_graph(graph):
        notes.append("the network's 16-bit numbers (mixed precision) became float32")
    return (_function(graph, frozen) if notes or writes else frozen), notes


def _constants_converter() -> Any:  # noqa: ANN401 - a function of TensorFlow
    """Return TensorFlow's function that turns variables into constants, also in loops.

    TensorFlow 2 has no public name for it; `tf.lite.TFLiteConverter` calls it too, but does not
    return the graph, from which random layers and 16-bit numbers must be removed first.

    Raises:
        Refused: This TensorFlow has it elsewhere.
    """
    try:
        from tensorflow.python.framework.convert_to_constants import (  # noqa: PLC0415
            convert_variables_to_constants_v2,
        )
    except ImportError as error:
        raise missing_function("turn the variables of a network into constants", error) from error
    return convert_variables_to_constants_v2


def _function(graph: Graph, like: Function) -> Function:
    """Return ``graph`` as a function with the inputs and outputs of ``like``."""
    import tensorflow as tf  # noqa: PLC0415

    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    return prune(wrapped, like.inputs, like.outputs)


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
