# SPDX-License-Identifier: Apache-2.0
"""Dense layers in the forms that the Edge TPU accepts: one weight scale, rank 2, not too large."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator, Quantization
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import INT8, Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule

_DENSE = "FULLY_CONNECTED"
_X, _WEIGHTS, _BIAS = 0, 1, 2
_INT32_MAX = (1 << 31) - 1
# A layer is cached on the chip as a whole or streamed as a whole, and the chip has 8 MiB. The
# compiler does not accept about 100,000 outputs; libcoral has split_fc for such layers.
_LARGEST_BYTES = 8 << 20
_LARGEST_OUTPUTS = 16384
_LANES = 64  # output channels are laid out in groups of this size


def unify_scales(model: Model) -> Model | None:
    """Return ``model`` with a single weight scale in dense layers that have one for each output.

    The largest weight keeps code 127 or -127; weights and bias of the other outputs are rounded to
    the new scale, which loses resolution in outputs with small weights.
    """
    return rewrite_operators(model, _with_one_scale)


def _with_one_scale(edit: Edit, op: Operator) -> list[Operator]:
    if not _is_int8_dense(edit, op) or not _per_channel(edit, op):
        return []
    unified = _unified(edit, op)
    return [] if unified is None else [unified]


def _is_int8_dense(edit: Edit, op: Operator) -> bool:
    return (
        op.opcode == _DENSE
        and is_8bit(edit.tensors[op.inputs[_X]])
        and is_8bit(edit.tensors[op.outputs[0]])
        and edit.tensors[op.inputs[_WEIGHTS]].dtype in ("INT8", "UINT8")
        and edit.data(op.inputs[_WEIGHTS]) is not None
    )


def _per_channel(edit: Edit, op: Operator) -> bool:
    quantization = edit.tensors[op.inputs[_WEIGHTS]].quantization
    return (
        quantization is not None
        and quantization.per_channel
        and quantization.quantized_dimension == 0
        and not any(quantization.zero_point)
        and edit.tensors[op.inputs[_WEIGHTS]].dtype == INT8
    )


def _bias_index(op: Operator) -> int:
    return op.inputs[_BIAS] if len(op.inputs) > _BIAS else -1


def _unified(edit: Edit, op: Operator) -> Operator | None:
    weights = edit.tensors[op.inputs[_WEIGHTS]]
    codes = np.asarray(edit.data(op.inputs[_WEIGHTS]), np.float64)
    scales = np.asarray(weights.quantization.scale if weights.quantization else (), np.float64)
    bias = edit.data(_bias_index(op))
    if _bias_index(op) >= 0 and (bias is None or bias.dtype != np.int32):
        return None
    scale = float(scales[0])
    if scales.min() != scales.max():
        scale = float(np.float32((scales * np.abs(codes).max(axis=1)).max() / 127)) or scale
    ratio = scales / scale
    if bias is not None:  # a smaller scale makes larger codes
        worst = float(np.abs(bias * ratio).max())
        if worst > _INT32_MAX:
            scale = float(np.float32(scale * worst / _INT32_MAX * (1 + 1e-6)))
            ratio = scales / scale
    q = np.clip(np.rint(codes * ratio[:, None]), -127, 127).astype(np.int8)
    new_weights = edit.constant(weights.name, q, Quantization((scale,), (0,)))
    inputs = [op.inputs[_X], new_weights, *op.inputs[_BIAS:]]
    if bias is not None:
        inputs[_BIAS] = _rescaled_bias(edit, op, bias * ratio, scale)
    # Version 12 means that there are many scales; other versions are kept.
    changed = replace(op, inputs=tuple(inputs))
    lowest = edit.operator(op.opcode, inputs, op.outputs, op.options, op.options_type).version
    return replace(changed, version=min(op.version, lowest))


def _rescaled_bias(edit: Edit, op: Operator, values: NDArray[Any], scale: float) -> int:
    x_scale = float(edit.tensors[op.inputs[_X]].scale or 1)
    quantization = Quantization((float(np.float32(x_scale * scale)),), (0,))
    codes = np.rint(values).clip(-_INT32_MAX - 1, _INT32_MAX).astype(np.int32)
    return edit.constant(edit.tensors[op.inputs[_BIAS]].name, codes, quantization)


def flatten_rank(model: Model) -> Model | None:
    """Return ``model`` with dense layers of one row on rank 2: RESHAPE before and after them."""
    return _reshape_dense(model, many=False)


def convolve_rows(model: Model) -> Model | None:
    """Return ``model`` with dense layers of several rows as 1x1 CONV_2D.

    The Edge TPU's dense layer has a single row. The convolution may keep a weight scale for each
    output. Its kernel rounds like that of the dense layer, except for ties in some releases.
    """
    return _reshape_dense(model, many=True)


def _reshape_dense(model: Model, *, many: bool) -> Model | None:
    def reshaped(edit: Edit, op: Operator) -> list[Operator]:
        rows = _num_rows(edit, op)
        if not rows or many != (rows > 1):
            return []
        if many:
            return _many_rows(edit, op, rows)
        # The operator itself flattens a wider input of one row; the compiler accepts that.
        return _one_row(edit, op) if len(edit.tensors[op.outputs[0]].shape) != 2 else []

    return rewrite_operators(model, reshaped)


def _is_float_dense(edit: Edit, op: Operator) -> bool:
    data = [edit.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    return (
        op.opcode == _DENSE
        and all(tensor.dtype == "FLOAT32" for tensor in data)
        and edit.data(op.inputs[_WEIGHTS]) is not None
    )


def _num_rows(edit: Edit, op: Operator) -> int:
    """Return the number of rows of an 8-bit or float dense layer; 0 for any other operator."""
    if not (_is_int8_dense(edit, op) or _is_float_dense(edit, op)):
        return 0
    if op.options.get("weights_format"):
        return 0
    x, y = (edit.tensors[i] for i in (op.inputs[_X], op.outputs[0]))
    units, depth = edit.tensors[op.inputs[_WEIGHTS]].shape
    if x.is_dynamic or y.is_dynamic or not units or not depth:
        return 0
    rows = y.num_elements // units
    return rows if rows * depth == x.num_elements else 0


def _one_row(edit: Edit, op: Operator) -> list[Operator]:
    units, depth = edit.tensors[op.inputs[_WEIGHTS]].shape
    options = {**op.options, "keep_num_dims": False}
    source, before = _reshaped(edit, op.inputs[_X], (1, depth))
    row, after = _unshaped(edit, op.outputs[0], (1, units))
    inputs = (source, *op.inputs[1:])
    return [before, edit.operator(_DENSE, inputs, (row,), options, op.options_type), after]


def _many_rows(edit: Edit, op: Operator, rows: int) -> list[Operator]:
    weights = edit.tensors[op.inputs[_WEIGHTS]]
    units, depth = weights.shape
    source, before = _reshaped(edit, op.inputs[_X], (1, 1, rows, depth))
    image, after = _unshaped(edit, op.outputs[0], (1, 1, rows, units))
    kernel = edit.reshaped_constant(op.inputs[_WEIGHTS], (units, 1, 1, depth))
    bias = _bias_index(op)
    if bias < 0:
        bias = _zero_bias(edit, op, units)
    fused = str(op.options.get("fused_activation_function", "NONE"))
    return [before, pieces.convolve(edit, source, kernel, bias, image, fused), after]


def _zero_bias(edit: Edit, op: Operator, units: int) -> int:
    """Add a bias of zeros at the scale of the products (CONV_2D always gets one)."""
    x, weights = (edit.tensors[i] for i in (op.inputs[_X], op.inputs[_WEIGHTS]))
    if x.dtype == "FLOAT32":
        return edit.constant(f"{weights.name}/bias", np.zeros(units, np.float32))
    scales = weights.quantization.scale if weights.quantization else ()
    products = tuple(float(np.float32(float(x.scale or 1) * scale)) for scale in scales)
    quantization = Quantization(products, (0,) * len(products))
    return edit.constant(f"{weights.name}/bias", np.zeros(units, np.int32), quantization)


def _reshaped(edit: Edit, index: int, shape: tuple[int, ...]) -> tuple[int, Operator]:
    tensor = edit.tensors[index]
    fresh = edit.activation(tensor, f"{tensor.name}/rows", shape=shape)
    return fresh, pieces.reshape(edit, index, fresh)


def _unshaped(edit: Edit, index: int, shape: tuple[int, ...]) -> tuple[int, Operator]:
    tensor = edit.tensors[index]
    fresh = edit.activation(tensor, f"{tensor.name}/rows", shape=shape)
    return fresh, pieces.reshape(edit, fresh, index)


def split_large(model: Model) -> Model | None:
    """Return ``model`` with dense layers too large for the chip cut into blocks of outputs.

    Each output is computed as before; CONCATENATION of equal scales only copies.
    """
    return rewrite_operators(model, _cut)


def _cut(edit: Edit, op: Operator) -> list[Operator]:
    if not _is_int8_dense(edit, op) or len(edit.tensors[op.outputs[0]].shape) != 2:
        return []
    units, depth = edit.tensors[op.inputs[_WEIGHTS]].shape
    block = _block(units, depth)
    movable = _bias_index(op) < 0 or edit.data(_bias_index(op)) is not None
    return _blocks(edit, op, block) if block < units and movable else []


def _block(units: int, depth: int) -> int:
    """Return the outputs of one block: as even as possible, in whole groups of lanes."""
    if units <= _LARGEST_OUTPUTS and units * depth <= _LARGEST_BYTES:
        return units
    most = max(min(_LARGEST_OUTPUTS, _LARGEST_BYTES // max(depth, 1)) // _LANES * _LANES, _LANES)
    count = -(-units // most)
    even = -(-units // count)
    return -(-even // _LANES) * _LANES


def _blocks(edit: Edit, op: Operator, block: int) -> list[Operator]:
    out = edit.tensors[op.outputs[0]]
    units = out.shape[-1]
    operators, parts = [], []
    for start in range(0, units, block):
        stop = min(start + block, units)
        name = f"{out.name}/outputs_{start}"
        part = edit.activation(out, name, shape=(*out.shape[:-1], stop - start))
        inputs = [op.inputs[_X], edit.rows(op.inputs[_WEIGHTS], start, stop)]
        if len(op.inputs) > _BIAS:
            bias = _bias_index(op)
            inputs.append(edit.rows(bias, start, stop) if bias >= 0 else -1)
        operators.append(replace(op, inputs=tuple(inputs), outputs=(part,)))
        parts.append(part)
    return [*operators, pieces.concatenate(edit, parts, len(out.shape) - 1, op.outputs[0])]


PER_TENSOR = Rule(
    "dense-per-tensor",
    "FULLY_CONNECTED with a weight scale for each output gets one scale",
    exact=False,
    apply=unify_scales,
)
RANK_2 = Rule(
    "dense-rank2",
    "FULLY_CONNECTED on rank 3 gets rank 2, with RESHAPE around it",
    exact=True,
    apply=flatten_rank,
)
ROWS = Rule(
    "dense-rows",
    "FULLY_CONNECTED on several rows becomes a 1x1 CONV_2D",
    exact=False,
    apply=convolve_rows,
)
SPLIT = Rule(
    "dense-split",
    "FULLY_CONNECTED above 8 MiB or 16,384 outputs is cut into blocks of outputs",
    exact=True,
    apply=split_large,
)
