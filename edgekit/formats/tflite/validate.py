# SPDX-License-Identifier: Apache-2.0
"""Check, once after reading, what an interpreter does not check and crashes on."""

from __future__ import annotations

import numpy as np

from edgekit.errors import ModelFormatError
from edgekit.formats.tflite.model import NUMPY_DTYPES, Model, Operator, Subgraph, Tensor

# Larger tensors overflow the 32-bit sizes of flatbuffers and of most kernels.
MAX_TENSOR_BYTES = (1 << 31) - 1
# A zero here is a division by zero (SIGFPE) inside the kernels of convolutions and poolings.
_POSITIVE_OPTIONS = (
    "stride_w",
    "stride_h",
    "dilation_w_factor",
    "dilation_h_factor",
    "filter_width",
    "filter_height",
    "block_size",
    "num_splits",
)

# Operators with weights: the index of that input and its rank, which the kernels do not check.
_WEIGHTS = {
    "CONV_2D": (1, 4),
    "DEPTHWISE_CONV_2D": (1, 4),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 4),
}
# An operator has an input and an output; these need not.
_WITHOUT_ENDS = (
    "ASSIGN_VARIABLE",
    "CALL",
    "CALL_ONCE",
    "CUSTOM",
    "HASHTABLE",
    "HASHTABLE_IMPORT",
    "IF",
    "VAR_HANDLE",
    "WHILE",
)
_NOT_KNOWN = (
    "BUILTIN_",
    "STABLEHLO_",
)  # newer operators, whose inputs and outputs edgekit does not check


def validate(model: Model) -> None:
    """Check that indices, shapes, constants and the order of operators are consistent.

    Raises:
        ModelFormatError: They are not; ``where`` names the subgraph and the tensor or operator.
    """
    if not model.subgraphs:
        raise ModelFormatError("the model has no subgraph")
    for name, index in model.metadata.items():
        _require(
            0 <= index < len(model.buffers), f"buffer {index} does not exist", f"metadata {name}"
        )
    for index, subgraph in enumerate(model.subgraphs):
        where = f"subgraph {index}"
        for number, tensor in enumerate(subgraph.tensors):
            _check_tensor(model, tensor, f"{where}, tensor {number} {tensor.name!r}")
        for number, operator in enumerate(subgraph.operators):
            _check_operator(subgraph, operator, f"{where}, operator {number} {operator.label}")
        _check_edges(subgraph, where)
        _check_order(model, subgraph, where)
    for signature in model.signature_defs:
        where = f"signature {signature.signature_key!r}"
        _require(
            0 <= signature.subgraph_index < len(model.subgraphs),
            "its subgraph does not exist",
            where,
        )
        count = len(model.subgraphs[signature.subgraph_index].tensors)
        indices = (*signature.inputs.values(), *signature.outputs.values())
        _require(
            all(0 <= i < count for i in indices), "it names a tensor that does not exist", where
        )


def _check_tensor(model: Model, tensor: Tensor, where: str) -> None:
    _require(
        0 <= tensor.buffer < len(model.buffers), f"buffer {tensor.buffer} does not exist", where
    )
    _require(
        all(size >= 0 for size in tensor.shape), f"shape {tensor.shape} has a negative size", where
    )
    _require(
        len(tensor.shape_signature) in (0, len(tensor.shape)),
        f"shape signature {tensor.shape_signature} does not fit shape {tensor.shape}",
        where,
    )
    quantization = tensor.quantization
    if quantization is not None:
        _require(
            len(quantization.zero_point) == len(quantization.scale),
            f"{len(quantization.scale)} scales but {len(quantization.zero_point)} zero points",
            where,
        )
    dtype = NUMPY_DTYPES.get(tensor.dtype)
    if dtype is None:
        return
    expected = tensor.num_elements * np.dtype(dtype).itemsize
    _require(expected <= MAX_TENSOR_BYTES, f"shape {tensor.shape} needs {expected} bytes", where)
    given = model.buffers[tensor.buffer].size
    if tensor.sparsity is not None:
        size = np.dtype(dtype).itemsize
        _require(given > 0 and given % size == 0, f"its constant has {given} bytes", where)
        tensor.sparsity.check(tensor.shape, given // size, where)
    elif given:
        _require(
            given == expected,
            f"its constant has {given} bytes, shape {tensor.shape} needs {expected}",
            where,
        )


def _check_operator(subgraph: Subgraph, operator: Operator, where: str) -> None:
    count = len(subgraph.tensors)
    _require(all(-1 <= i < count for i in operator.inputs), "an input tensor does not exist", where)
    _require(
        all(0 <= i < count for i in operator.outputs), "an output tensor does not exist", where
    )
    _require(
        all(0 <= i < count for i in operator.intermediates),
        "an intermediate tensor does not exist",
        where,
    )
    _check_form(subgraph, operator, where)
    for option in _POSITIVE_OPTIONS:
        value = operator.options.get(option, 1)
        _require(
            not isinstance(value, int) or value > 0,
            f"{option} is {value}, expected at least 1",
            where,
        )


def _check_form(subgraph: Subgraph, operator: Operator, where: str) -> None:
    if operator.opcode in _WITHOUT_ENDS or operator.opcode.startswith(_NOT_KNOWN):
        return
    number, rank = _WEIGHTS.get(operator.opcode, (0, 0))
    inputs = operator.inputs[: number + 1]
    _require(
        len(inputs) == number + 1 and operator.outputs != (),
        f"it has {len(operator.inputs)} inputs and {len(operator.outputs)} outputs",
        where,
    )
    weights = subgraph.tensors[inputs[number]]
    _require(
        not rank or (inputs[number] >= 0 and len(weights.shape) == rank),
        f"its weights have shape {weights.shape}, expected {rank} dimensions",
        where,
    )


def _check_edges(subgraph: Subgraph, where: str) -> None:
    count = len(subgraph.tensors)
    for kind, indices in (("input", subgraph.inputs), ("output", subgraph.outputs)):
        _require(all(0 <= i < count for i in indices), f"an {kind} tensor does not exist", where)


def _check_order(model: Model, subgraph: Subgraph, where: str) -> None:
    """Check that every tensor is a constant, an input or a variable, or is written before use."""
    ready: set[int] = {-1, *subgraph.inputs}
    ready.update(
        index
        for index, tensor in enumerate(subgraph.tensors)
        if tensor.is_variable or model.buffers[tensor.buffer].size or tensor.num_elements == 0
    )
    for number, operator in enumerate(subgraph.operators):
        missing = [index for index in operator.inputs if index not in ready]
        _require(
            not missing,
            f"it reads tensor {missing[:1]} before any operator has written it",
            f"{where}, operator {number} {operator.label}",
        )
        ready.update(operator.outputs)


def _require(holds: bool, what: str, where: str) -> None:
    if not holds:
        raise ModelFormatError(
            f"the model is damaged: {what}", where=where, fix="export or copy the file again"
        )
