# SPDX-License-Identifier: Apache-2.0
"""An editable model: the tensors, buffers and operators of its only subgraph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import (
    CUSTOM,
    NUMPY_DTYPES,
    Model,
    Operator,
    Quantization,
    SignatureDef,
    Subgraph,
    Tensor,
    is_compiled,
)
from edgekit.rewrite.versions import needed_version

_EMPTY: NDArray[np.uint8] = np.empty(0, np.uint8)
# They have an effect or keep a state: never removed, never merged.
_EFFECTS = frozenset(
    [CUSTOM, "CALL_ONCE", "IF", "VAR_HANDLE", "ASSIGN_VARIABLE", "READ_VARIABLE", "WHILE"]
)
RESHAPES = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
KEEP_ELEMENTS = (*RESHAPES, "TRANSPOSE")
INT8, UINT8 = "INT8", "UINT8"
EIGHT_BIT = (INT8, UINT8)


def is_editable(model: Model) -> bool:
    """Whether rules may touch ``model``: one subgraph, not compiled, with shapes that can be."""
    return len(model.subgraphs) == 1 and not is_compiled(model) and shapes_hold(model)


def shapes_hold(model: Model) -> bool:
    """Whether no operator that keeps all elements is declared to change their number.

    Some exporters write guesses (1) for the dimensions that they could not compute; only the
    interpreter computes the true ones.
    """
    return contradiction(model) is None


def contradiction(model: Model) -> tuple[int, Tensor, Tensor] | None:
    """Return the first operator that keeps all elements but not their number, and its ends."""
    tensors = model.main.tensors
    for index, op in enumerate(model.main.operators):
        if op.opcode in KEEP_ELEMENTS:
            x, y = tensors[op.inputs[0]], tensors[op.outputs[0]]
            if not (x.is_dynamic or y.is_dynamic) and x.num_elements != y.num_elements:
                return index, x, y
    return None


def is_8bit(tensor: Tensor) -> bool:
    """Whether ``tensor`` contains 8-bit integers with one scale."""
    return tensor.dtype in EIGHT_BIT and bool(tensor.scale)


def same_quantization(left: Tensor, right: Tensor) -> bool:
    """Whether equal integers in the two tensors are equal real numbers."""
    return (left.dtype, left.scale, left.zero_point) == (right.dtype, right.scale, right.zero_point)


class Edit:
    """The main subgraph of a model as lists; `build` creates a model from them.

    Indices stay valid until `build`, which removes everything that is not used any more.
    """

    def __init__(self, model: Model) -> None:
        graph = model.main
        self.model = model
        self.tensors: list[Tensor] = list(graph.tensors)
        self.buffers: list[NDArray[np.uint8]] = list(model.buffers)
        self.operators: list[Operator] = list(graph.operators)
        self.inputs: list[int] = list(graph.inputs)
        self.outputs: list[int] = list(graph.outputs)
        self.signatures: list[SignatureDef] = list(model.signature_defs)
        self._names = {tensor.name for tensor in self.tensors}

    def data(self, index: int) -> NDArray[Any] | None:
        """Return the constant in tensor ``index``, in its shape; None for an activation."""
        if index < 0:
            return None
        tensor = self.tensors[index]
        raw = self.buffers[tensor.buffer]
        if not raw.size or tensor.dtype not in NUMPY_DTYPES:
            return None
        dtype = np.dtype(NUMPY_DTYPES[tensor.dtype]).newbyteorder("<")
        values = raw.view(dtype)
        if tensor.sparsity is not None:
            return tensor.sparsity.dense(values, tensor.shape)
        return values.reshape(tensor.shape)

    def consumers(self, index: int) -> list[Operator]:
        """Return the operators that read tensor ``index``."""
        return [op for op in self.operators if index in op.inputs]

    def producers(self) -> dict[int, Operator]:
        """Return tensor index -> the operator that writes it."""
        return {index: op for op in self.operators for index in op.outputs}

    def is_internal(self, index: int) -> bool:
        """Whether tensor ``index`` is neither an input nor an output of the model."""
        return index not in self.inputs and index not in self.outputs

    def constant(
        self, name: str, values: NDArray[Any], quantization: Quantization | None = None
    ) -> int:
        """Add a constant; return the index of its tensor."""
        dtypes = {numpy: tflite for tflite, numpy in NUMPY_DTYPES.items()}
        array = np.ascontiguousarray(values)
        raw = np.frombuffer(array.astype(array.dtype.newbyteorder("<")).tobytes(), np.uint8)
        self.buffers.append(raw)
        dtype = dtypes[array.dtype.name]
        buffer = len(self.buffers) - 1
        # ascontiguousarray turns rank 0 into rank 1: use the shape of ``values``.
        return self._add(Tensor(name, tuple(np.shape(values)), dtype, buffer, quantization))

    def reshaped_constant(self, index: int, shape: tuple[int, ...]) -> int:
        """Add a tensor with the constant of tensor ``index`` in another shape; return its index."""
        tensor = self.tensors[index]
        return self._add(replace(tensor, name=f"{tensor.name}/reshaped", shape=shape))

    def rows(self, index: int, start: int, stop: int) -> int:
        """Add rows ``start`` to ``stop`` of a constant, with their scales; return the index."""
        return self.chosen_rows(index, range(start, stop), str(start))

    def chosen_rows(self, index: int, rows: Sequence[int], name: str = "chosen") -> int:
        """Add ``rows`` of a constant in this order, with their scales; return the index.

        The new tensor has the constant's name, then ``name``.
        """
        tensor, values = self.tensors[index], np.asarray(self.data(index))
        quantization = tensor.quantization
        if quantization is not None and quantization.per_channel:
            quantization = replace(
                quantization,
                scale=tuple(quantization.scale[row] for row in rows),
                zero_point=tuple(quantization.zero_point[row] for row in rows),
                min=(),
                max=(),
            )
        return self.constant(f"{tensor.name}/{name}", values[list(rows)], quantization)

    def activation(self, like: Tensor, name: str, **change: Any) -> int:  # noqa: ANN401
        """Add a copy of ``like`` with the fields in ``change`` replaced; return its index."""
        fresh = replace(like, name=name, buffer=0, shape_signature=(), is_variable=False)
        return self._add(replace(fresh, **change))

    def requantized(self, index: int, scale: float, zero_point: int, name: str) -> int:
        """Add a tensor of tensor ``index``'s shape with another scale; return its index."""
        quantization = Quantization((float(np.float32(scale)),), (zero_point,))
        return self.activation(self.tensors[index], name, quantization=quantization)

    def operator(
        self,
        opcode: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[str, Any] | None = None,
        options_type: str = "NONE",
    ) -> Operator:
        """Return an operator of the lowest version that can do this; it is not inserted yet."""
        op = Operator(opcode, 1, tuple(inputs), tuple(outputs), dict(options or {}), options_type)
        return replace(op, version=needed_version(op, self.tensors) or 1)

    def rewire(self, old: int, new: int, *, outputs: bool = True) -> None:
        """Make every reader of tensor ``old`` read ``new``, also the model's outputs."""
        self.operators = [
            replace(op, inputs=tuple(new if i == old else i for i in op.inputs))
            if old in op.inputs
            else op
            for op in self.operators
        ]
        if outputs:
            self.rename_end(old, new, is_input=False)

    def rename_end(self, old: int, new: int, *, is_input: bool) -> None:
        """Replace ``old`` by ``new`` as the model's input or output, also in signatures."""
        ends = self.inputs if is_input else self.outputs
        ends[:] = [new if i == old else i for i in ends]
        self.signatures = [
            replace(each, inputs=_exchanged(each.inputs, old, new))
            if is_input
            else replace(each, outputs=_exchanged(each.outputs, old, new))
            for each in self.signatures
        ]

    def unique(self, name: str) -> str:
        """Return ``name``, with a number appended if a tensor already has this name."""
        found, count = name, 1
        while found in self._names:
            count += 1
            found = f"{name}_{count}"
        return found

    def build(self) -> Model:
        """Return the edited model, without unused operators, tensors and buffers."""
        self.operators = _live(self.operators, self.outputs)
        used = set(self.inputs) | set(self.outputs)
        for op in self.operators:
            used.update(op.inputs, op.outputs, op.intermediates)
        for each in self.signatures:
            used.update(each.inputs.values(), each.outputs.values())
        used.discard(-1)
        order = sorted(used)
        moved = {old: new for new, old in enumerate(order)}
        moved[-1] = -1
        buffers, buffer_of, metadata = self._compact_buffers(order)
        graph = Subgraph(
            tensors=tuple(replace(self.tensors[i], buffer=buffer_of[i]) for i in order),
            inputs=tuple(moved[i] for i in self.inputs),
            outputs=tuple(moved[i] for i in self.outputs),
            operators=tuple(_renumbered(op, moved) for op in self.operators),
            name=self.model.main.name,
        )
        signatures = tuple(
            replace(
                each,
                inputs={key: moved[i] for key, i in each.inputs.items()},
                outputs={key: moved[i] for key, i in each.outputs.items()},
            )
            for each in self.signatures
        )
        return replace(
            self.model,
            subgraphs=(graph,),
            buffers=buffers,
            metadata=metadata,
            signature_defs=signatures,
        )

    def _add(self, tensor: Tensor) -> int:
        named = replace(tensor, name=self.unique(tensor.name))
        self._names.add(named.name)
        self.tensors.append(named)
        return len(self.tensors) - 1

    def _compact_buffers(
        self, order: list[int]
    ) -> tuple[tuple[NDArray[np.uint8], ...], dict[int, int], dict[str, int]]:
        buffers: list[NDArray[np.uint8]] = [_EMPTY]
        places: dict[int, int] = {}

        def place(old: int) -> int:
            if not self.buffers[old].size:
                return 0
            if old not in places:
                places[old] = len(buffers)
                buffers.append(self.buffers[old])
            return places[old]

        buffer_of = {index: place(self.tensors[index].buffer) for index in order}
        metadata = {name: place(old) for name, old in self.model.metadata.items()}
        return tuple(buffers), buffer_of, metadata


def rewrite_operators(
    model: Model, rewritten: Callable[[Edit, Operator], Sequence[Operator]]
) -> Model | None:
    """Return ``model`` with each operator replaced by what ``rewritten`` returns; None if all stay.

    An operator stays if ``rewritten`` returns an empty sequence for it.
    """
    edit = Edit(model)
    found = False
    operators: list[Operator] = []
    for op in list(edit.operators):
        instead = rewritten(edit, op)
        found = found or bool(instead)
        operators.extend(instead or [op])
    edit.operators = operators
    return edit.build() if found else None


def _exchanged(indices: Mapping[str, int], old: int, new: int) -> dict[str, int]:
    return {key: new if index == old else index for key, index in indices.items()}


def has_effects(op: Operator) -> bool:
    """Whether ``op`` has an effect besides its outputs."""
    return op.opcode in _EFFECTS or any(op.mutating_variable_inputs) or "SEQUENCE" in op.opcode


def _live(operators: list[Operator], outputs: list[int]) -> list[Operator]:
    needed = set(outputs)
    kept = []
    for op in reversed(operators):
        # An operator whose outputs are not needed may still have an effect.
        if needed.intersection(op.outputs) or (has_effects(op) and op.opcode != CUSTOM):
            kept.append(op)
            needed.update(op.inputs)
    return kept[::-1]


def _renumbered(op: Operator, moved: Mapping[int, int]) -> Operator:
    return replace(
        op,
        inputs=tuple(moved[i] for i in op.inputs),
        outputs=tuple(moved[i] for i in op.outputs),
        intermediates=tuple(moved[i] for i in op.intermediates),
    )
