# SPDX-License-Identifier: Apache-2.0
"""Run a model and read any of its tensors; change a model so that tensors can be given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Collection, Mapping, Sequence

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, Operator, Tensor, write_model
from edgekit.runtime.session import one_line, prepare
from edgekit.runtime.trial import require_sound
from edgekit.runtime.trial_child import Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.runtime.interpreters import InterpreterLibrary

# The default delegate computes several operators at once and does not keep the values between.
_RESOLVER = "BUILTIN_WITHOUT_DEFAULT_DELEGATES"


class Recorder:
    """A model in an interpreter that keeps the values of all tensors of an inference."""

    def __init__(
        self,
        model: Model,
        library: InterpreterLibrary,
        where: str,
        *,
        shapes: Sequence[tuple[int, ...]] = (),
    ) -> None:
        """Load the model.

        Args:
            model: One with one subgraph.
            library: The runtime.
            where: Whose model it is, for messages.
            shapes: Shapes of the inputs, where they differ from those in the model.

        Raises:
            UnsupportedModelError: The interpreter refuses the model, or crashes on it.
        """
        content = write_model(model)
        trial = Trial(content, library.runtime, (_RESOLVER,), shapes=tuple(shapes))
        refused = require_sound(trial, model, library)
        if refused:
            raise _refusal(refused, where)
        self._where = where
        keep: Any = {"experimental_preserve_all_tensors": True}
        try:
            self._interpreter = prepare(content, library, _RESOLVER, 1, shapes=shapes, **keep)
        except (RuntimeError, ValueError) as error:
            raise _refusal(one_line(error), where) from error
        details = {each["index"]: each for each in self._interpreter.get_input_details()}
        self._details = [details[index] for index in model.main.inputs]

    def run(self, inputs: Sequence[NDArray[Any]]) -> None:
        """Run one inference; ``inputs`` are in the model's order and of its types."""
        for place, values in enumerate(inputs):
            self.give(place, values)
        self.again()

    def give(self, place: int, values: NDArray[Any]) -> None:
        """Set input number ``place``; the others keep their values."""
        detail = self._details[place]
        shaped = np.asarray(values, detail["dtype"]).reshape(detail["shape"])
        self._interpreter.set_tensor(detail["index"], shaped)

    def again(self) -> None:
        """Run one inference on the inputs as they are."""
        try:
            self._interpreter.reset_all_variables()
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise _refusal(one_line(error), self._where) from error

    def value(self, index: int) -> NDArray[Any]:
        """Return a copy of the values of tensor ``index`` in the last inference."""
        values: NDArray[Any] = self._interpreter.get_tensor(index)
        return values


def _refusal(why: str, where: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "the model cannot be run operator by operator",
        where=where,
        why=why[:300],
        fix="see whether it runs at all: edgekit run MODEL INPUT; and convert it again",
    )


def computed_tensors(model: Model) -> list[int]:
    """Return the tensors that operators write, in the order of execution."""
    return [index for op in model.main.operators for index in op.outputs if index >= 0]


def with_given(model: Model, tensors: Collection[int]) -> tuple[Model, tuple[int, ...]]:
    """Let the readers of ``tensors`` read inputs of the model instead.

    The operators that compute these tensors still do. Returns the model, and the tensors in the
    order of the inputs that were added after the model's own.
    """
    graph = model.main
    read = {index for op in graph.operators for index in op.inputs}
    own = set(graph.inputs)
    given = tuple(index for index in sorted(set(tensors)) if index in read and index not in own)
    first = len(graph.tensors)
    copies = {index: first + place for place, index in enumerate(given)}
    added = tuple(
        replace(graph.tensors[index], name=f"{graph.tensors[index].name}/given", buffer=0)
        for index in given
    )
    operators = tuple(
        replace(op, inputs=tuple(copies.get(index, index) for index in op.inputs))
        for op in graph.operators
    )
    main = replace(
        graph,
        tensors=(*graph.tensors, *added),
        inputs=(*graph.inputs, *(copies[index] for index in given)),
        operators=operators,
    )
    return replace(model, subgraphs=(main,), signature_defs=(), metadata={}), given


def with_errors(model: Model, tensors: Sequence[int]) -> Model:
    """Add an input to a float model for each of ``tensors``, which is added to its values.

    The inputs follow the model's own, in the order of ``tensors``.
    """
    graph = model.main
    table: list[Tensor] = list(graph.tensors)
    sums: dict[int, int] = {}
    added: list[int] = []
    for index in tensors:
        tensor = graph.tensors[index]
        table.append(replace(tensor, name=f"{tensor.name}/error", buffer=0))
        table.append(replace(tensor, name=f"{tensor.name}/sum", buffer=0))
        added.append(len(table) - 2)
        sums[index] = len(table) - 1
    place = dict(zip(tensors, added))
    operators = [_sum(each, place[each], sums[each]) for each in graph.inputs if each in sums]
    for op in graph.operators:
        operators.append(replace(op, inputs=tuple(sums.get(each, each) for each in op.inputs)))
        operators += [_sum(each, place[each], sums[each]) for each in op.outputs if each in sums]
    main = replace(
        graph,
        tensors=tuple(table),
        inputs=(*graph.inputs, *added),
        outputs=tuple(sums.get(each, each) for each in graph.outputs),
        operators=tuple(operators),
    )
    return replace(model, subgraphs=(main,), signature_defs=(), metadata={})


def _sum(left: int, right: int, output: int) -> Operator:
    options: Mapping[str, Any] = {"fused_activation_function": "NONE"}
    return Operator("ADD", 1, (left, right), (output,), options, "AddOptions")
