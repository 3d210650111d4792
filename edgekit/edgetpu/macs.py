# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulates of one inference, operator by operator."""

from __future__ import annotations

from edgekit.edgetpu.operation import Operation, count
from edgekit.formats.tflite import Model

_LSTM_WEIGHTS = range(1, 9)


def model_macs(model: Model) -> int:
    """Return the multiply-accumulates of one inference of subgraph 0."""
    return sum(count_macs(Operation(model, index)) for index in range(len(model.main.operators)))


def count_macs(op: Operation) -> int:
    """Return the multiply-accumulates of one run of ``op``; 0 if it does not use any."""
    weights = op.input(1)
    opcode = op.operator.opcode
    if weights is None:
        return 0
    if opcode == "CONV_2D":
        return count(op.out_shape) * count(weights.shape[1:])
    if opcode == "DEPTHWISE_CONV_2D":
        return count(op.out_shape) * count(weights.shape[1:3])
    if opcode == "TRANSPOSE_CONV":
        return count(op.in_shape) * count(weights.shape[:3])
    if opcode == "FULLY_CONNECTED":
        return count(op.out_shape) * weights.shape[-1]
    if opcode == "BATCH_MATMUL" and op.in_shape:
        return count(op.out_shape) * op.in_shape[-1]
    if opcode == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        gates = [op.input(number) for number in _LSTM_WEIGHTS]
        per_step = sum(each.num_elements for each in gates if each is not None)
        return per_step * count(op.out_shape[:-1])
    return 0
