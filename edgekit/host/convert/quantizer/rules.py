# SPDX-License-Identifier: Apache-2.0
"""What 8-bit integer operators require of the scales of their tensors.

Source:
    The TensorFlow Lite 8-bit quantization specification, and the traits of the operators in
    tensorflow/compiler/mlir/lite/ir/tfl_ops.td (SameScales, FixedOutputRange, AffineQuantized).
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model
from edgekit.quant.same_scale import SAME_SCALE


@dataclass(frozen=True)
class Rule:
    """The requirements of an operator; the default is any scale for each tensor."""

    opcode: str
    weights: int | None = None  # index of the input that is symmetric, if it is constant
    channel_axis: int | None = None  # of the weights; None: one scale for the tensor
    bias: int | None = None  # index of the input that is int32 with scale input * weights
    same_scale: bool = False  # all real inputs and outputs have one scale
    fixed: tuple[float, int] | None = None  # scale and zero point of the output
    version: int = 2  # with int8, where `needed_version` does not know it


def _layer(opcode: str, axis: int | None, bias: int = 2) -> Rule:
    return Rule(opcode, weights=1, channel_axis=axis, bias=bias)


# No rule of these was compared with TensorFlow's quantizer, which gets the networks with them.
_NOT_COMPARED = ("BROADCAST_TO", "GATHER_ND", "REVERSE_V2")
_ANY_SCALE = (
    "ABS",
    "ADD",
    "ARG_MAX",
    "ARG_MIN",
    "BATCH_MATMUL",
    "EXP",
    "HARD_SWISH",
    "LEAKY_RELU",
    "MEAN",
    "MUL",
    "RELU",
    "RELU6",
    "RSQRT",
    "SQUARED_DIFFERENCE",
    "SUB",
    "SUM",
)
RULES = {
    rule.opcode: rule
    for rule in (
        _layer("CONV_2D", 0),
        _layer("DEPTHWISE_CONV_2D", 3),
        _layer("TRANSPOSE_CONV", 0, bias=3),
        _layer("FULLY_CONNECTED", None),
        Rule("PRELU", weights=1),
        Rule("RELU_N1_TO_1", version=1),
        Rule("RELU_0_TO_1", version=1),
        Rule("LOGISTIC", fixed=(1 / 256, -128)),
        Rule("SOFTMAX", fixed=(1 / 256, -128)),
        Rule("TANH", fixed=(1 / 128, 0)),
        Rule("L2_NORMALIZATION", fixed=(1 / 128, 0)),
        Rule("LOG_SOFTMAX", fixed=(16 / 256, 127)),
        *(Rule(opcode, same_scale=True) for opcode in SAME_SCALE if opcode not in _NOT_COMPARED),
        *(Rule(opcode) for opcode in _ANY_SCALE),
    )
}


def unknown_operators(model: Model) -> list[str]:
    """Return the operators of ``model`` that have no rule; empty if edgekit can quantize it."""
    labels = [operator.label for _, _, operator in model.operators()]
    return list(dict.fromkeys(label for label in labels if label not in RULES))


def refuse_unknown(model: Model) -> None:
    """Refuse a model with operators that have no rule.

    Raises:
        UnsupportedModelError: It has some.
    """
    unknown = unknown_operators(model)
    if unknown:
        raise UnsupportedModelError(
            f"edgekit's quantizer has no rule for {', '.join(unknown)}",
            fix="use TensorFlow's: --quantizer tensorflow",
        )
