# SPDX-License-Identifier: Apache-2.0
"""What to change in a network whose operation cannot become an integer operation."""

from __future__ import annotations

from edgekit.formats.tflite import CUSTOM, Operator

_NORMALIZATION = (
    "LayerNormalization, GroupNormalization and the like have no integer form: use "
    "BatchNormalization, which is folded into the convolution"
)
_RECURRENT = (
    "give recurrent layers a fixed number of steps (--input-shape) and convert the Keras file, "
    "whose LSTM and GRU layers edgekit unrolls; a SavedModel or frozen graph keeps its loops"
)
_ATTENTION = "attention multiplies two activations: replace it by convolutions or pooling"
_ACTIVATION = "use ReLU, ReLU6, sigmoid or tanh, and train again"
_REWRITTEN = "edgekit fix puts operators in its place that map; or train with ReLU or ReLU6"
_OUTSIDE = "do this outside the network, before its input or after its output"
_GROUPS = "use groups=1 or a DepthwiseConv2D: compiler 16 does not know grouped convolutions"
_DROPOUT = "the graph draws random numbers, as dropout does in training: save it for inference"
_MATH = "leave it to code before or behind the network, or replace the layer that needs it"

# By the operator's name in TensorFlow Lite, or in TensorFlow for Flex operations.
_ADVICE = {
    "ARG_MAX": _OUTSIDE,
    "ARG_MIN": _OUTSIDE,
    "AudioSpectrogram": _OUTSIDE,
    "BATCH_MATMUL": _ATTENTION,
    "CALL_ONCE": "take tables, hash maps and other state out of the network",
    "CAST": _OUTSIDE,
    "DecodeWav": _OUTSIDE,
    "EMBEDDING_LOOKUP": _OUTSIDE,
    "ERF": _ACTIVATION,
    "EXP": _ACTIVATION,
    "ELU": _ACTIVATION,
    "Erf": _ACTIVATION,
    "GATHER": _OUTSIDE,
    "GELU": _REWRITTEN,
    "IF": "take the branch out of the network: build one network for each case",
    "LOG": _MATH,
    "DIV": "multiply by the reciprocal of a constant, or divide outside the network",
    "FLOOR_DIV": _OUTSIDE,
    "FLOOR_MOD": _OUTSIDE,
    "GATHER_ND": _OUTSIDE,
    "HARD_SWISH": _REWRITTEN,
    "LEAKY_RELU": _REWRITTEN,
    "Mfcc": _OUTSIDE,
    "NEG": _MATH,
    "NON_MAX_SUPPRESSION_V4": _OUTSIDE,
    "NON_MAX_SUPPRESSION_V5": _OUTSIDE,
    "RANDOM_STANDARD_NORMAL": _DROPOUT,
    "RANDOM_UNIFORM": _DROPOUT,
    "RSQRT": _NORMALIZATION,
    "SQRT": _NORMALIZATION,
    "SQUARE": _NORMALIZATION,
    "SQUARED_DIFFERENCE": _NORMALIZATION,
    "TFLite_Detection_PostProcess": "it belongs on the CPU, behind the network: leave it",
    "TOPK_V2": _OUTSIDE,
    "UNPACK": _OUTSIDE,
    "WHILE": _RECURRENT,
}
# By the operator whose version compiler 16 does not read.
_VERSIONS = {
    "CONV_2D": f"{_GROUPS}; edgekit fix takes the groups apart",
    "FULLY_CONNECTED": "its weights have one scale a channel: convert again with edgekit convert, "
    "or let edgekit fix give them one scale",
    "TRANSPOSE_CONV": "use UpSampling2D and Conv2D: compiler 16 does not know a transposed "
    "convolution with a fused activation; edgekit fix makes the activation an operation of its own",
}
_VERSION_DEFAULT = "edgekit fix lowers the version where the meaning allows it"
_DEFAULT = (
    "replace the layer by convolutions, dense layers, poolings, additions and ReLU, or cut the "
    "network before it"
)


# In the name that Keras gives a layer -> what to do about any operation of it.
_LAYERS = (("attention", _ATTENTION), ("norm", _NORMALIZATION))

# In what TFLiteConverter prints when it gives up -> what to do.
_FAILURES = (("TensorArray", _RECURRENT), ("TensorList", _RECURRENT), ("HashTable", _OUTSIDE))


def advice_for_failure(message: str) -> str:
    """What to do about a failure of TFLiteConverter; "" where its message tells nothing."""
    return next((advice for mark, advice in _FAILURES if mark in message), "")


def advice_for(operation: str, layer: str = "") -> str:
    """One edit that gets rid of ``operation``, which is part of ``layer`` (a name in the model)."""
    by_layer = next((text for mark, text in _LAYERS if mark in layer.lower()), None)
    return f"{operation}: {by_layer or _ADVICE.get(operation, _DEFAULT)}"


def advice_for_version(operation: str) -> str:
    """One edit that gets ``operation`` down to a version that the compiler knows."""
    return f"{operation}: {_VERSIONS.get(operation, _VERSION_DEFAULT)}"


def advice_for_real(operation: str) -> str:
    """One edit for an ``operation`` that has an integer form and works on real numbers."""
    return (
        f"{operation}: convert the network to integers (edgekit convert); where that was done, an "
        "operation beside it has no integer form"
    )


def advice_for_indices(operation: str) -> str:
    """One edit for ``operation`` on indices, counts or other wide integers."""
    return f"{operation}: it works on indices or counts; {_OUTSIDE}"


def advice_for_operator(operator: Operator) -> str:
    """One edit that gets rid of ``operator``, by its own name where it is a custom one."""
    label = operator.label.replace("Flex", "", 1)
    known = operator.opcode != CUSTOM or label in _ADVICE
    return advice_for(label if known else CUSTOM)
