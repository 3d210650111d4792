# SPDX-License-Identifier: Apache-2.0
"""Give a .tflite static shapes: values that are computed from shapes become constants."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.session import one_line, prepare
from edgekit.runtime.trial import require_sound
from edgekit.runtime.trial_child import Trial

_RESOLVER = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
# Operators whose result depends only on the shape of their input.
_SHAPE_OPERATORS = ("SHAPE", "RANK")
# Operators whose result differs each time.
_RANDOM = ("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL")


def make_static(model: Model, shapes: Sequence[tuple[int, ...]], where: str) -> Model:
    """Fix the inputs' shapes, and fold the operators that compute with shapes.

    The interpreter runs the network once with inputs of these shapes. The result is the shape of
    every tensor, and the value of every tensor that depends only on shapes.

    Args:
        model: A model with one subgraph and without custom operators.
        shapes: The shape of each input.
        where: The source, for the message.

    Raises:
        UnsupportedModelError: The network does not work with these shapes.
    """
    graph = model.main
    is_static = not any(tensor.is_dynamic for tensor in graph.tensors)
    if is_static and all(
        graph.tensors[i].shape == s for i, s in zip(graph.inputs, shapes, strict=True)
    ):
        return model
    folded = _constant_only(model, graph, _SHAPE_OPERATORS)
    true_shapes, values = _run(model, shapes, folded, where)
    tensors = [
        replace(tensor, shape=true_shapes[index], shape_signature=())
        for index, tensor in enumerate(graph.tensors)
    ]
    return _with_constants(model, tensors, values)


def fold_constants(model: Model, where: str) -> Model:
    """Replace operators that work only on constants, or on known shapes, by constants.

    Returns:
        The new model; ``model`` itself if there is nothing to replace.

    Raises:
        UnsupportedModelError: The network does not run.
    """
    folded = _constant_only(model, model.main, _ready(model))
    if not folded:
        return model
    shapes = [model.main.tensors[index].shape for index in model.main.inputs]
    _, values = _run(model, shapes, folded, where)
    return _with_constants(model, model.main.tensors, values)


def constant_tensors(model: Model) -> set[int]:
    """Return the tensors of the main subgraph that are constant once shapes are fixed, by index.

    They are stored, or computed only from constants and shapes.
    """
    stored = {i for i, each in enumerate(model.main.tensors) if model.buffers[each.buffer].size}
    return stored | _constant_only(model, model.main, _SHAPE_OPERATORS, ends=True)


def _ready(model: Model) -> Collection[str]:
    is_static = not any(tensor.is_dynamic for tensor in model.main.tensors)
    return _SHAPE_OPERATORS if is_static else ()


def require_runnable(model: Model, where: str) -> None:
    """Refuse a float model that the interpreter cannot run, because calibration would crash.

    Raises:
        UnsupportedModelError: The interpreter refuses the model, or crashes.
    """
    library = load_library()
    content = write_model(model)
    refused = require_sound(Trial(content, library.runtime, (_RESOLVER,)), model, library)
    if refused:
        raise UnsupportedModelError(
            "the float model cannot run, so it cannot be calibrated",
            where=where,
            why=refused[:300],
            fix="repair the operator that the reason names, and export the network again",
        )


def _with_constants(
    model: Model, tensors: Sequence[Tensor], values: dict[int, NDArray[Any]]
) -> Model:
    """Store ``values`` in ``tensors``, and remove the operators that computed them."""
    buffers = list(model.buffers)
    changed = list(tensors)
    for index, value in values.items():
        changed[index] = replace(changed[index], buffer=len(buffers))
        buffers.append(np.frombuffer(value.tobytes(), np.uint8))
    operators = tuple(each for each in model.main.operators if not set(each.outputs) <= set(values))
    main = replace(model.main, tensors=tuple(changed), operators=operators)
    return replace(model, subgraphs=(main,), buffers=tuple(buffers))


def _constant_only(
    model: Model, graph: Subgraph, ready: Collection[str] = (), *, ends: bool = False
) -> set[int]:
    """Return the tensors that are computed from constants, by index.

    Operators in ``ready`` need only the shape of their input, so their results count as computed
    from constants. The model's outputs are included only if ``ends``.
    """
    constant = {i for i, tensor in enumerate(graph.tensors) if model.buffers[tensor.buffer].size}
    found: set[int] = set()
    for operator in graph.operators:
        if operator.opcode in ready or _reads_only(operator, constant | found):
            found.update(operator.outputs)
    return found if ends else found - set(graph.outputs)


def _reads_only(operator: Operator, known: set[int]) -> bool:
    if operator.opcode in _RANDOM:
        return False
    indices = [index for index in operator.inputs if index >= 0]
    return bool(indices) and all(index in known for index in indices)


def _run(
    model: Model, shapes: Sequence[tuple[int, ...]], wanted: set[int], where: str
) -> tuple[list[tuple[int, ...]], dict[int, NDArray[Any]]]:
    library = load_library("litert")
    content = write_model(model)
    trial = Trial(content, library.runtime, (_RESOLVER,), shapes=tuple(shapes))
    refused = require_sound(trial, model, library)
    if refused:
        raise _does_not_run(refused, shapes, where)
    try:
        interpreter = prepare(
            content, library, _RESOLVER, 1, shapes=shapes, experimental_preserve_all_tensors=True
        )
        details = interpreter.get_input_details()
        for detail, shape in zip(details, shapes, strict=True):
            interpreter.set_tensor(detail["index"], np.zeros(shape, detail["dtype"]))
        interpreter.invoke()
        found = {each["index"]: each["shape"] for each in interpreter.get_tensor_details()}
        values = {index: np.array(interpreter.get_tensor(index)) for index in wanted}
    except (ValueError, RuntimeError) as error:
        raise _does_not_run(one_line(error), shapes, where) from error
    true_shapes = [
        tuple(int(size) for size in found.get(index, tensor.shape))
        for index, tensor in enumerate(model.main.tensors)
    ]
    return true_shapes, values


def _does_not_run(why: str, shapes: Sequence[tuple[int, ...]], where: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the model does not run with inputs of shape {[list(shape) for shape in shapes]}",
        where=where,
        why=why[:300],
        fix="give the shape it was made for: --input-shape",
    )
