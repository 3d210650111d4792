# SPDX-License-Identifier: Apache-2.0
"""A model in pieces that can be exchanged: tensors, buffers and operators of its one subgraph."""

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
# Leaves what it was given in place, or keeps a state: never removed, never merged.
_EFFECTS = frozenset(
    [CUSTOM, "CALL_ONCE", "IF", "VAR_HANDLE", "ASSIGN_VARIABLE", "READ_VARIABLE", "WHILE"]
)
INT8, UINT8 = "INT8", "UINT8"
EIGHT_BIT = (INT8, UINT8)


def is_editable(model: Model) -> bool:
    """Whether rules may touch ``model``: one subgraph, not compiled."""
    return len(model.subgraphs) == 1 and not is_compiled(model)


def is_8bit(tensor: Tensor) -> bool:
    """Whether ``tensor`` holds 8-bit integers with one scale."""
    return tensor.dtype in EIGHT_BIT and bool(tensor.scale)


def same_quantization(left: Tensor, right: Tensor) -> bool:
    """Whether equal integers in the two tensors are equal real numbers."""
    return (left.dtype, left.scale, left.zero_point) == (right.dtype, right.scale, right.zero_point)


class Edit:
    """The main subgraph of a model as lists; `build` makes a model of them again.

    Indices stay valid until `build`, which drops what nothing uses any more.
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
        """The constant in tensor ``index``, in its shape; None for an activation."""
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
        """The operators that read tensor ``index``."""
        return [op for op in self.operators if index in op.inputs]

    def producers(self) -> dict[int, Operator]:
        """Tensor index -> the operator that writes it."""
        return {index: op for op in self.operators for index in op.outputs}

    def is_internal(self, index: int) -> bool:
        """Whether tensor ``index`` is neither an input nor an output of the model."""
        return index not in self.inputs and index not in self.outputs

    def constant(
        self, name: str, values: NDArray[Any], quantization: Quantization | None = None
    ) -> int:
        """Add a constant; the index of its tensor."""
        dtypes = {numpy: tflite for tflite, numpy in NUMPY_DTYPES.items()}
        array = np.ascontiguousarray(values)
        raw = np.frombuffer(array.astype(array.dtype.newbyteorder("<")).tobytes(), np.uint8)
        self.buffers.append(raw)
        dtype = dtypes[array.dtype.name]
        buffer = len(self.buffers) - 1
        # ascontiguousarray makes one dimension of none: the shape is that of ``values``.
        return self._add(Tensor(name, tuple(np.shape(values)), dtype, buffer, quantization))

    def reshaped_constant(self, index: int, shape: tuple[int, ...]) -> int:
        """Add a tensor with the constant of tensor ``index`` in another shape; its index."""
        tensor = self.tensors[index]
        return self._add(replace(tensor, name=f"{tensor.name}/reshaped", shape=shape))

    def rows(self, index: int, start: int, stop: int) -> int:
        """Add the rows ``start`` to ``stop`` of a constant, with the scales that are theirs."""
        tensor, values = self.tensors[index], self.data(index)
        quantization = tensor.quantization
        if quantization is not None and quantization.per_channel:
            quantization = replace(
                quantization,
                scale=quantization.scale[start:stop],
                zero_point=quantization.zero_point[start:stop],
                min=(),
                max=(),
            )
        part = np.asarray(values)[start:stop]
        return self.constant(f"{tensor.name}/{start}", part, quantization)

    def activation(self, like: Tensor, name: str, **change: Any) -> int:  # noqa: ANN401
        """Add a tensor as ``like``, but for ``change``; its index."""
        fresh = replace(like, name=name, buffer=0, shape_signature=(), is_variable=False)
        return self._add(replace(fresh, **change))

    def requantized(self, index: int, scale: float, zero_point: int, name: str) -> int:
        """Add a tensor in the shape of tensor ``index``, of another scale; its index."""
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
        """An operator of the lowest version that can do this; it is not inserted yet."""
        op = Operator(opcode, 1, tuple(inputs), tuple(outputs), dict(options or {}), options_type)
        return replace(op, version=needed_version(op, self.tensors) or 1)

    def rewire(self, old: int, new: int, *, outputs: bool = True) -> None:
        """Let every reader of tensor ``old`` read ``new``, the model's outputs included."""
        self.operators = [
            replace(op, inputs=tuple(new if i == old else i for i in op.inputs))
            if old in op.inputs
            else op
            for op in self.operators
        ]
        if outputs:
            self.rename_end(old, new, is_input=False)

    def rename_end(self, old: int, new: int, *, is_input: bool) -> None:
        """Make ``new`` the model's input or output where ``old`` was it, signatures included."""
        ends = self.inputs if is_input else self.outputs
        ends[:] = [new if i == old else i for i in ends]
        self.signatures = [
            replace(each, inputs=_exchanged(each.inputs, old, new))
            if is_input
            else replace(each, outputs=_exchanged(each.outputs, old, new))
            for each in self.signatures
        ]

    def unique(self, name: str) -> str:
        """``name``, with a number behind it if a tensor has it already."""
        found, count = name, 1
        while found in self._names:
            count += 1
            found = f"{name}_{count}"
        return found

    def build(self) -> Model:
        """The model as it is now, without operators, tensors and buffers that nothing uses."""
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
    """``model`` with what ``rewritten`` gives in the place of each operator; None if all stay.

    An operator stays where ``rewritten`` gives nothing.
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
    """Whether ``op`` does more than to compute its outputs from its inputs."""
    return op.opcode in _EFFECTS or any(op.mutating_variable_inputs) or "SEQUENCE" in op.opcode


def _live(operators: list[Operator], outputs: list[int]) -> list[Operator]:
    needed = set(outputs)
    kept = []
    for op in reversed(operators):
        # An operator without an output that is needed may still be there for its effect.
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
