# SPDX-License-Identifier: Apache-2.0
"""The graph in a file, operator by operator, with the cost of each."""

from __future__ import annotations

from typing import Sequence

from edgekit.edgetpu.macs import count_macs
from edgekit.edgetpu.operation import Operation
from edgekit.edgetpu.timeline import activation_profile
from edgekit.formats.tflite import Model, Operator, Tensor, is_edgetpu_operator
from edgekit.inspect.result import OperatorInfo, TensorInfo


def describe_operators(model: Model, *, compiled: bool) -> tuple[OperatorInfo, ...]:
    """Describe each operator of the main subgraph; its place only if the file decides it."""
    graph = model.main
    profile = activation_profile(model)
    return tuple(
        OperatorInfo(
            index=index,
            opcode=operator.label,
            version=operator.version,
            place=_place(operator) if compiled else "",
            inputs=describe_tensors(model, operator.inputs),
            outputs=describe_tensors(model, operator.outputs),
            macs=count_macs(Operation(model, index)),
            parameter_bytes=parameter_bytes(model, operator),
            activation_bytes=profile[index],
        )
        for index, operator in enumerate(graph.operators)
    )


def describe_tensors(model: Model, indices: Sequence[int]) -> tuple[TensorInfo, ...]:
    """Describe the tensors of the main subgraph at ``indices``, without left-out ones."""
    return tuple(_describe(model, model.main.tensors[index]) for index in indices if index >= 0)


def parameter_bytes(model: Model, operator: Operator) -> int:
    """Return the bytes of the operator's constants in the file."""
    tensors = (model.main.tensors[index] for index in operator.inputs if index >= 0)
    return sum(int(model.buffers[tensor.buffer].size) for tensor in tensors)


def _describe(model: Model, tensor: Tensor) -> TensorInfo:
    quantization = tensor.quantization
    return TensorInfo(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        num_scales=len(quantization.scale) if quantization else 0,
        is_constant=bool(model.buffers[tensor.buffer].size),
    )


def _place(operator: Operator) -> str:
    return "tpu" if is_edgetpu_operator(operator) else "cpu"
