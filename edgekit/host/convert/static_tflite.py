# SPDX-License-Identifier: Apache-2.0
"""Give a float .tflite the shapes that its source or the user states, and fold its constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgekit.edgetpu.structure import place_of
from edgekit.errors import UnsupportedModelError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, Tensor
from edgekit.rewrite.edit import contradiction, shapes_hold
from edgekit.rewrite.static_shapes import (
    RESOLVER,
    SHAPE_OPERATORS,
    constant_only,
    propagate,
    with_constants,
)
from edgekit.runtime.interpreters import load_library
from edgekit.runtime.trial import require_sound
from edgekit.runtime.trial_child import Trial

_RUNTIME = "litert"  # the host's
_REAL = ("FLOAT16", "FLOAT32")


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
    if (
        is_static
        and shapes_hold(model)
        and all(graph.tensors[i].shape == s for i, s in zip(graph.inputs, shapes, strict=True))
    ):
        return model
    folded = constant_only(model, SHAPE_OPERATORS) - set(graph.outputs)
    wrong = contradiction(model)
    try:
        found = propagate(model, shapes, folded, library=load_library(_RUNTIME), where=where)
    except UnsupportedModelError as error:
        if wrong is None:
            raise
        raise _impossible(model, wrong, where, error) from error
    tensors = [
        replace(tensor, shape=shape, shape_signature=())
        for tensor, shape in zip(graph.tensors, found.shapes, strict=True)
    ]
    return with_constants(model, tensors, found.values)


def _impossible(
    model: Model, wrong: tuple[int, Tensor, Tensor], where: str, error: UnsupportedModelError
) -> UnsupportedModelError:
    index, x, y = wrong
    shapes = f"from {list(x.shape)} to {list(y.shape)}"
    return UnsupportedModelError(
        "the shapes in the file contradict each other, and the network does not run",
        where=f"{where}, {place_of(model.main, index)}",
        why=f"its shape goes {shapes}: its exporter did not know the sizes; {error.why}",
        fix="export the network again with fixed input sizes; onnx2tf needs the program onnxsim "
        "on PATH for that (pip install onnxsim)",
    )


def fold_constants(model: Model, where: str) -> Model:
    """Replace operators that work only on constants, or on known shapes, by constants.

    Returns:
        The new model; ``model`` itself if there is nothing to replace.

    Raises:
        UnsupportedModelError: The network does not run.
    """
    graph = model.main
    is_static = not any(tensor.is_dynamic for tensor in graph.tensors)
    folded = constant_only(model, SHAPE_OPERATORS if is_static else ()) - set(graph.outputs)
    if not folded:
        return model
    shapes = [graph.tensors[index].shape for index in graph.inputs]
    found = propagate(model, shapes, folded, library=load_library(_RUNTIME), where=where)
    return with_constants(model, graph.tensors, found.values)


def constant_tensors(model: Model) -> set[int]:
    """Return the tensors of the main subgraph that are constant once shapes are fixed, by index.

    They are stored, or computed only from constants and shapes.
    """
    stored = {i for i, each in enumerate(model.main.tensors) if model.buffers[each.buffer].size}
    return stored | constant_only(model, SHAPE_OPERATORS)


def refuse_nan(model: Model, where: str) -> None:
    """Refuse a network whose weights contain NaN: training failed, and every answer is NaN.

    The quantizer leaves the operators behind such weights in real numbers, without a reason.

    Raises:
        UnsupportedModelError: A constant contains NaN.
    """
    for tensor in model.main.tensors:
        values = model.data(tensor) if tensor.dtype in _REAL else None
        count = 0 if values is None else int(np.isnan(values).sum())
        if values is not None and count:
            raise UnsupportedModelError(
                f"{count:,} of {values.size:,} weights are NaN",
                where=f"{where}, {tensor.name}",
                why="training failed; all answers that depend on them are NaN",
                fix="train again with a lower learning rate or clipped gradients, and check the "
                "training data for NaN",
            )


def require_runnable(file: ModelFile, where: str) -> None:
    """Refuse a float model that the interpreter cannot run, because calibration would crash.

    Raises:
        UnsupportedModelError: The interpreter refuses the model, or crashes.
    """
    library = load_library()
    trial = Trial(file.content, library.runtime, (RESOLVER,))
    refused = require_sound(trial, file.model, library)
    if refused:
        raise UnsupportedModelError(
            "the float model cannot run, so it cannot be calibrated",
            where=where,
            why=refused[:300],
            fix="repair the operator that the reason names, and export the network again",
        )
