# SPDX-License-Identifier: Apache-2.0
"""MediaPipe's custom operator Convolution2DTransposeBias as the TRANSPOSE_CONV that it is."""

from __future__ import annotations

import struct

import numpy as np

from edgekit.formats.tflite import CUSTOM, Model, Operator
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.rule import Rule

_NAME = "Convolution2DTransposeBias"
_PADDINGS = {1: "SAME", 2: "VALID"}
_OPTIONS = struct.Struct("<3i")


def replace_custom(model: Model) -> Model | None:
    """Return ``model`` with TRANSPOSE_CONV and a bias in place of Convolution2DTransposeBias.

    Its options are TensorFlow Lite's TfLiteTransposeConvParams in memory: padding, stride in x,
    stride in y, each of 32 bits (mediapipe/util/tflite/operations/transpose_conv_bias.cc).
    """
    return rewrite_operators(model, _builtin)


def _builtin(edit: Edit, op: Operator) -> list[Operator]:
    if op.opcode != CUSTOM or op.custom_code != _NAME or len(op.inputs) != 3:
        return []
    options = bytes(op.custom_options)
    if len(options) < _OPTIONS.size:
        return []
    padding, across, down = _OPTIONS.unpack_from(options)
    out = edit.tensors[op.outputs[0]]
    if padding not in _PADDINGS or out.is_dynamic or len(out.shape) != 4:
        return []
    x, weights, bias = op.inputs
    shape = edit.constant(f"{out.name}/shape", np.array(out.shape, np.int32))
    made = {
        "padding": _PADDINGS[padding],
        "stride_w": across,
        "stride_h": down,
        "fused_activation_function": "NONE",
    }
    inputs = (shape, weights, x, bias)
    return [edit.operator("TRANSPOSE_CONV", inputs, op.outputs, made, "TransposeConvOptions")]


RULE = Rule(
    "mediapipe",
    "MediaPipe's Convolution2DTransposeBias becomes TRANSPOSE_CONV with a bias",
    exact=True,
    apply=replace_custom,
)
