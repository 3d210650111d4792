# SPDX-License-Identifier: Apache-2.0
"""Give a model static shapes: values that are computed from shapes become constants.

The interpreter runs the model once; it knows the shape of every tensor, and the value of every
tensor that depends only on constants and shapes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, Callable, Collection, Mapping, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, Operator, Tensor, write_model
from edgekit.runtime.interpreters import InterpreterLibrary, load_library
from edgekit.runtime.session import one_line, prepare
from edgekit.runtime.trial import require_sound
from edgekit.runtime.trial_child import Trial

Shape = Tuple[int, ...]
RESOLVER = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
# Operators whose result depends only on the shape of their input.
SHAPE_OPERATORS = ("SHAPE", "RANK")
# Operators whose result differs each time.
_RANDOM = ("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL")

# Operators whose output may be their input's memory, in the shape that their second input gives.
_IN_PLACE = ("RESHAPE", "EXPAND_DIMS")


@dataclass(frozen=True)
class Propagated:
    """What one run of a model showed."""

    shapes: tuple[Shape, ...]  # of each tensor of the main subgraph
    values: Mapping[int, NDArray[Any]]  # of the tensors that were asked for


def constant_only(
    model: Model,
    ready: Collection[str] = (),
    may_fold: Callable[[Operator], bool] = lambda _op: True,
) -> set[int]:
    """Return the tensors of the main subgraph that are computed from constants, by index.

    Args:
        model: Any model.
        ready: Operators that need only the shape of their input, so that their results count as
            computed from constants.
        may_fold: Whether the results of an operator count at all.
    """
    graph = model.main
    constant = {i for i, tensor in enumerate(graph.tensors) if model.buffers[tensor.buffer].size}
    found: set[int] = set()
    for operator in graph.operators:
        is_known = operator.opcode in ready or _reads_only(operator, constant | found)
        if is_known and may_fold(operator):
            found.update(operator.outputs)
    return found


def _reads_only(operator: Operator, known: set[int]) -> bool:
    if operator.opcode in _RANDOM:
        return False
    indices = [index for index in operator.inputs if index >= 0]
    return bool(indices) and all(index in known for index in indices)


def propagate(
    model: Model,
    shapes: Sequence[Shape],
    wanted: Collection[int] = (),
    *,
    library: InterpreterLibrary | None = None,
    where: str = "",
) -> Propagated:
    """Run ``model`` once, with zeros of these shapes as inputs.

    Args:
        model: A model with one subgraph.
        shapes: The shape of each input.
        wanted: The tensors whose values are returned, by index.
        library: The runtime; None uses the first that is installed.
        where: The source, for the message.

    Raises:
        UnsupportedModelError: The model does not run with these shapes; ``why`` has the reason.
        MissingExtraError: No runtime is installed.
    """
    library = library or load_library()
    content = write_model(model)
    trial = Trial(content, library.runtime, (RESOLVER,), shapes=tuple(shapes))
    refused = require_sound(trial, model, library)
    if refused:
        raise _does_not_run(refused, shapes, where)
    try:
        interpreter = prepare(
            content, library, RESOLVER, 1, shapes=shapes, experimental_preserve_all_tensors=True
        )
        for detail, shape in zip(interpreter.get_input_details(), shapes):
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
    return Propagated(tuple(true_shapes), values)


def has_open_shapes(model: Model, library: InterpreterLibrary | None = None) -> bool:
    """Whether a tensor of a model with static inputs has a shape that depends on values.

    The interpreter does not allocate such tensors before the model runs.

    Raises:
        UnsupportedModelError: The model crashes the interpreter.
        MissingExtraError: No runtime is installed.
    """
    if any(map(functools.partial(_computes_shape, model), model.main.operators)):
        return True
    library = library or load_library()
    content = write_model(model)
    if require_sound(Trial(content, library.runtime, (RESOLVER,)), model, library):
        return True
    interpreter = prepare(content, library, RESOLVER, 1)
    made = {index for op in model.main.operators for index in op.outputs if index >= 0}
    return not all(_is_allocated(interpreter, index) for index in made)


def _computes_shape(model: Model, op: Operator) -> bool:
    """Whether ``op`` uses its input's memory for an output of a shape that is not constant."""
    if op.opcode not in _IN_PLACE or len(op.inputs) < 2:
        return False
    return not model.buffers[model.main.tensors[op.inputs[1]].buffer].size


def _is_allocated(interpreter: Any, index: int) -> bool:  # noqa: ANN401 - no types there
    try:
        interpreter.tensor(index)()
    except ValueError:  # "Tensor data is null."
        return False
    return True


def with_constants(
    model: Model, tensors: Sequence[Tensor], values: Mapping[int, NDArray[Any]]
) -> Model:
    """Return ``model`` with other tensors, of which those in ``values`` are constants.

    The operators that computed them are removed.
    """
    buffers = list(model.buffers)
    changed = list(tensors)
    for index, value in values.items():
        changed[index] = replace(changed[index], buffer=len(buffers))
        little = value.astype(value.dtype.newbyteorder("<"))
        buffers.append(np.frombuffer(little.tobytes(), np.uint8))
    operators = [
        each for each in model.main.operators if not each.outputs or set(each.outputs) - set(values)
    ]
    main = replace(model.main, tensors=tuple(changed), operators=tuple(operators))
    return replace(model, subgraphs=(main,), buffers=tuple(buffers))


def _does_not_run(why: str, shapes: Sequence[Shape], where: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the model does not run with inputs of shape {[list(shape) for shape in shapes]}",
        where=where,
        why=why[:300],
        fix="give the shape it was made for: --input-shape",
    )
