# SPDX-License-Identifier: Apache-2.0
"""Lower operator versions if the meaning stays the same: old compilers read only old versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Sequence

from edgekit.formats.tflite import Model, Operator, Tensor
from edgekit.rewrite.rule import Rule

_SMALL_RANK = 4
_BIAS_INPUT, _WEIGHTS = 2, 1
# Version 1 supports float and uint8, version 2 added int8 (and version 3 int16).
_SINCE_INT8 = frozenset(
    [
        "ADD",
        "ARG_MAX",
        "ARG_MIN",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "DEPTH_TO_SPACE",
        "L2_NORMALIZATION",
        "LOGISTIC",
        "LOG_SOFTMAX",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MUL",
        "PACK",
        "PAD",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU",
        "RELU6",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SQUARED_DIFFERENCE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "TANH",
        "TRANSPOSE",
        "UNPACK",
    ]
)
_ALWAYS_1 = frozenset(["EXPAND_DIMS", "HARD_SWISH", "PRELU", "RESHAPE", "SQUEEZE", "TILE"])
# Their higher versions add ranks above four.
_SMALL_RANKS_ONLY = frozenset(
    ["ADD", "MAXIMUM", "MINIMUM", "MUL", "PAD", "STRIDED_SLICE", "SUB", "TRANSPOSE"]
)
_Rule = Callable[[Operator, Sequence[Tensor]], "int | None"]


def needed_version(op: Operator, tensors: Sequence[Tensor]) -> int | None:
    """Return the lowest version that means the same as ``op``; None if it is not known.

    Only 8-bit integer and float operators without hybrid or packed weights are known.

    Source:
        tensorflow/lite/tools/versioning/op_version.cc, GetBuiltinOperatorVersion.
    """
    data = [tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    if any(tensor.dtype not in _KNOWN_DTYPES for tensor in data):
        return None
    if op.opcode in _SMALL_RANKS_ONLY and any(len(t.shape) > _SMALL_RANK for t in data):
        return None
    rule = _RULES.get(op.opcode)
    if rule is not None:
        return rule(op, data)
    if op.opcode in _ALWAYS_1:
        return 1
    if op.opcode in _SINCE_INT8:
        return 2 if any(tensor.dtype == "INT8" for tensor in data) else 1
    return None


def lower_versions(model: Model) -> Model | None:
    """Return ``model`` with every operator at the lowest version that means the same."""
    tensors = model.main.tensors
    operators = tuple(_lowered(op, tensors) for op in model.main.operators)
    if operators == model.main.operators:
        return None
    return replace(model, subgraphs=(replace(model.main, operators=operators),))


def _lowered(op: Operator, tensors: Sequence[Tensor]) -> Operator:
    changed = op
    if op.opcode == "FULLY_CONNECTED" and op.options.get("keep_num_dims"):
        ranks = {len(tensors[i].shape) for i in (op.inputs[0], op.outputs[0])}
        if ranks == {2}:  # it keeps two dimensions anyway
            changed = replace(op, options={**op.options, "keep_num_dims": False})
    needed = needed_version(changed, tensors)
    return changed if needed is None or needed >= op.version else replace(changed, version=needed)


_KNOWN_DTYPES = ("BOOL", "FLOAT32", "INT32", "INT64", "INT8", "UINT8")


def _has_int8(data: Sequence[Tensor]) -> bool:
    return any(tensor.dtype == "INT8" for tensor in data)


def _is_hybrid(data: Sequence[Tensor]) -> bool:
    """Whether activations are float and weights integer."""
    return data[0].dtype == "FLOAT32" and data[_WEIGHTS].dtype != "FLOAT32"


def _conv(op: Operator, data: Sequence[Tensor]) -> int | None:
    if _is_hybrid(data) or len(op.inputs) <= _BIAS_INPUT or op.options.get("quantized_bias_type"):
        return None
    if data[0].shape[-1:] != data[_WEIGHTS].shape[-1:]:
        return 6  # grouped
    return 3 if _has_int8(data) else 1


def _depthwise(op: Operator, data: Sequence[Tensor]) -> int | None:
    if _is_hybrid(data):
        return None
    if _has_int8(data):
        return 3
    dilations = (op.options.get(name, 1) for name in ("dilation_w_factor", "dilation_h_factor"))
    return 2 if any(value != 1 for value in dilations) else 1


def _dense(op: Operator, data: Sequence[Tensor]) -> int | None:
    per_channel = any(t.quantization and t.quantization.per_channel for t in data)
    if _is_hybrid(data) or op.options.get("weights_format") or per_channel:
        return None
    if op.options.get("quantized_bias_type"):
        return None
    if len(op.inputs) <= _BIAS_INPUT:
        return 6
    if op.options.get("keep_num_dims"):
        return 5
    return 4 if _has_int8(data) else 1


def _transpose_conv(op: Operator, data: Sequence[Tensor]) -> int | None:
    if op.options.get("quantized_bias_type"):
        return None
    if op.options.get("fused_activation_function", "NONE") != "NONE":
        return 4
    if len(op.inputs) > 3 and op.inputs[3] >= 0:
        return 3
    return 2 if _has_int8(data) else 1


def _mul(_op: Operator, data: Sequence[Tensor]) -> int | None:
    if not _has_int8(data):
        return 1
    scales = [tensor.scale for tensor in data]
    if not all(scales):
        return None
    left, right, out = (float(scale or 1) for scale in scales)
    return 3 if left * right / out >= 1 else 2


def _quantize(_op: Operator, data: Sequence[Tensor]) -> int | None:
    return 1 if data[-1].scale else None


def _dequantize(_op: Operator, data: Sequence[Tensor]) -> int | None:
    if not data[0].scale:
        return None
    return 2 if data[0].dtype == "INT8" else 1


def _resize(op: Operator, data: Sequence[Tensor]) -> int:
    if op.options.get("half_pixel_centers") or op.options.get("align_corners"):
        # Bilinear has had align_corners since version 1; nearest since 3.
        is_new = op.options.get("half_pixel_centers") or op.opcode == "RESIZE_NEAREST_NEIGHBOR"
        if is_new:
            return 3
    return 2 if _has_int8(data) else 1


def _leaky(_op: Operator, data: Sequence[Tensor]) -> int:
    # int8 and uint8 are in version 1; version 2 added int16.
    del data
    return 1


def _strided_slice(op: Operator, data: Sequence[Tensor]) -> int | None:
    if (
        op.options.get("ellipsis_mask")
        or op.options.get("new_axis_mask")
        or op.options.get("offset")
    ):
        return None
    if data[0].dtype == "BOOL":
        return 3
    return 2 if data[0].dtype == "INT8" else 1


_RULES: dict[str, _Rule] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": _dequantize,
    "FULLY_CONNECTED": _dense,
    "LEAKY_RELU": _leaky,
    "MUL": _mul,
    "QUANTIZE": _quantize,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE_CONV": _transpose_conv,
}

RULE = Rule(
    "versions",
    "operator versions are lowered if the meaning stays the same",
    exact=True,
    apply=lower_versions,
)
