# SPDX-License-Identifier: Apache-2.0
"""What to change in a network if an operator cannot become an integer operator."""

from __future__ import annotations

import re
from typing import Iterable, Sequence

from edgekit.edgetpu.readable import REAL_ONLY
from edgekit.formats.tflite import Operator

_NORMALIZATION = (
    "LayerNormalization, GroupNormalization and the like do not have an integer form: use "
    "BatchNormalization, which is folded into the convolution"
)
_ROOTS = (
    f"if it is part of a normalization: {_NORMALIZATION}; else compute it in code before or after "
    "the network"
)
_RECURRENT = (
    "give recurrent layers a fixed number of steps (--input-shape) and convert the Keras file, or "
    "the exported program (.pt2) of PyTorch, whose LSTM and GRU layers are unrolled; a SavedModel "
    "or frozen graph keeps its loops"
)
_ATTENTION = (
    "attention multiplies two activations; edgekit convert replaces the products of a float "
    "network if at most 2,048 operators take the place of all large ones: make the image or the "
    "number of tokens smaller, or replace attention by convolutions or pooling"
)
_ACTIVATION = "use ReLU, ReLU6, sigmoid or tanh, and train again"
_OUTSIDE = "do this outside the network, before its input or after its output"
_SPECTRUM = "compute the spectrum outside the network and make it the network's input"
_GROUPS = "use groups=1 or a DepthwiseConv2D: compiler 16 does not support grouped convolutions"
_FIX = "edgekit fix MODEL -o OUT.tflite"
# For a dense layer of one vector whose output has more than two dimensions.
FLATTENED = f"FULLY_CONNECTED: {_FIX} gives it two dimensions"
_DROPOUT = "the graph draws random numbers, as dropout does in training: save it for inference"
_MATH = "compute it in code before or after the network, or replace the layer that needs it"

_CHOICE = (
    "comparisons and choices do not map; edgekit convert replaces continuous activations that are "
    "spelled out so; otherwise use ReLU, minimum or maximum, or do it outside the network"
)

# Operator's name in TensorFlow Lite, or in TensorFlow for Flex operators -> what to do.
_ADVICE = {
    "ADD_N": "add two at a time",
    "ARG_MAX": _OUTSIDE,
    "ARG_MIN": _OUTSIDE,
    "AudioSpectrogram": _OUTSIDE,
    "BATCH_MATMUL": _ATTENTION,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _RECURRENT,
    "BIDIRECTIONAL_SEQUENCE_RNN": _RECURRENT,
    "CALL_ONCE": "take tables, hash maps and other state out of the network",
    "CAST": _OUTSIDE,
    "COMPLEX_ABS": _SPECTRUM,
    "DENSIFY": f"{_FIX} stores the weights with their zeros",
    "DecodeWav": _OUTSIDE,
    "EMBEDDING_LOOKUP": _OUTSIDE,
    "ERF": _ACTIVATION,
    "EXP": _ACTIVATION,
    "Erf": _ACTIVATION,
    "GATHER": _OUTSIDE,
    "IF": "take the branch out of the network: build one network for each case",
    "LOG": _MATH,
    "DIV": "multiply by the reciprocal of a constant, or divide outside the network",
    **dict.fromkeys(
        ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL"), _CHOICE
    ),
    **dict.fromkeys(("SELECT", "SELECT_V2", "WHERE"), _CHOICE),
    "FLOOR_DIV": _OUTSIDE,
    "FLOOR_MOD": _OUTSIDE,
    "GATHER_ND": _OUTSIDE,
    "Mfcc": _OUTSIDE,
    "NEG": _MATH,
    "ONE_HOT": _OUTSIDE,
    "NON_MAX_SUPPRESSION_V4": _OUTSIDE,
    "NON_MAX_SUPPRESSION_V5": _OUTSIDE,
    "RANDOM_STANDARD_NORMAL": _DROPOUT,
    "RANDOM_UNIFORM": _DROPOUT,
    "RELU_0_TO_1": (
        "ReLU6(6 * x) / 6 gives the same values and maps; a hard sigmoid is ReLU6(x + 3) / 6"
    ),
    "RFFT2D": _SPECTRUM,
    "RNN": _RECURRENT,
    "RSQRT": _NORMALIZATION,
    "SQRT": _ROOTS,
    "SQUARE": _ROOTS,
    "SQUARED_DIFFERENCE": _NORMALIZATION,
    "TFLite_Detection_PostProcess": "it belongs on the CPU, after the network: leave it",
    "TOPK_V2": _OUTSIDE,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _RECURRENT,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _RECURRENT,
    "UNPACK": _OUTSIDE,
    "WHILE": _RECURRENT,
}
# Activations that `edgekit convert --replace-activations KIND=...` replaces.
_KINDS = {
    "ELU": "elu",
    "GELU": "gelu",
    "HARD_SWISH": "hard_swish",
    "LEAKY_RELU": "leaky_relu",
    "PRELU": "prelu",
}
# Those of them that `edgekit fix` replaces in an integer model.
_FIXED_IN_FILE = ("GELU", "HARD_SWISH", "LEAKY_RELU", "PRELU")
# Operator whose version compiler 16 does not read -> fix in the network, fix in a .tflite file.
_VERSIONS = {
    "CONV_2D": (_GROUPS, f"{_FIX} splits the groups"),
    "FULLY_CONNECTED": (
        "convert from the float model with edgekit convert, which gives its weights one scale",
        f"{_FIX} gives its weights one scale",
    ),
    "TRANSPOSE_CONV": (
        "use UpSampling2D and Conv2D: compiler 16 does not support a transposed convolution with a "
        "fused activation",
        f"{_FIX} makes the activation a separate operator",
    ),
}
_VERSION_DEFAULT = f"{_FIX} lowers the version if the meaning stays the same"
_DEFAULT = (
    "replace the layer by convolutions, dense layers, poolings, additions and ReLU, or cut the "
    "network before it"
)


# Part of the name that Keras gives a layer, in lower case -> what to do about its operators.
# "normalized_log" is not a normalization with weights.
_LAYERS = (
    (re.compile("attention"), _ATTENTION),
    (re.compile("norm(alization)?(?![a-z])"), _NORMALIZATION),
)

# Part of TFLiteConverter's message when it fails -> what to do.
_FAILURES = (("TensorArray", _RECURRENT), ("TensorList", _RECURRENT), ("HashTable", _OUTSIDE))


def advice_for_failure(message: str) -> str:
    """Return the fix for a failure of TFLiteConverter; empty if its message is not known."""
    return next((advice for mark, advice in _FAILURES if mark in message), "")


def advice_for_layer(layer: str) -> str:
    """Return what to do about a layer whose operators only map together; empty if not known."""
    return next((text for mark, text in _LAYERS if mark.search(layer.lower())), "")


def advice_for(operation: str, layer: str = "", *, at_source: bool = False) -> str:
    """Return one edit that removes ``operation``.

    Args:
        operation: The operator's name.
        layer: The name, in the model, of the layer that contains it.
        at_source: Whether there is only a network to convert and no .tflite file yet; then the
            edit changes the network or the conversion.
    """
    by_layer = advice_for_layer(layer)
    if operation in _KINDS and not by_layer:
        return f"{operation}: {_replacement(operation, at_source=at_source)}"
    return f"{operation}: {by_layer or _ADVICE.get(operation, _DEFAULT)}"


def replacement_advice(operation: str, kind: str) -> str:
    """Return the command that replaces an activation of this kind, of which an operator is part."""
    return f"{operation}: {_replacing(kind)}; or train with ReLU or ReLU6"


def _replacing(kind: str) -> str:
    option = f"--replace-activations {kind}=mappable"
    return f"edgekit convert {option} replaces it by operators that map"


def _replacement(operation: str, *, at_source: bool) -> str:
    convert = _replacing(_KINDS[operation])
    if at_source:
        return f"{convert}; or train with ReLU or ReLU6"
    in_file = f"; in a converted file {_FIX} does" if operation in _FIXED_IN_FILE else ""
    return f"from the source, {convert}{in_file}; or train with ReLU or ReLU6"


# The parts of `_replacement`: the operator, the command, the option's value, the rest.
_REPLACED = re.compile(r"(\w+): (.*--replace-activations )([\w=,]+)( replaces )it( .*)")


def merge_advice(fixes: Iterable[str]) -> list[str]:
    """Return ``fixes`` without repeated ones, and one command for all activations to replace."""
    merged: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    order: list[str | tuple[str, ...]] = []
    for fix in dict.fromkeys(fixes):
        found = _REPLACED.fullmatch(fix)
        if found is None:
            order.append(fix)
            continue
        name, start, how, verb, rest = found.groups()
        key = (start, verb, rest)
        if key not in merged:
            order.append(key)
        merged.setdefault(key, []).append((name, how))
    return [each if isinstance(each, str) else _all_replaced(each, merged[each]) for each in order]


def _all_replaced(key: tuple[str, ...], found: Sequence[tuple[str, str]]) -> str:
    start, verb, rest = key
    names = ", ".join(name for name, _ in found)
    pronoun = "them" if len(found) > 1 else "it"
    values = dict.fromkeys(word for _, how in found for word in how.split(","))
    return f"{names}: {start}{','.join(values)}{verb}{pronoun}{rest}"


def advice_for_version(operation: str, *, at_source: bool = False) -> str:
    """Return one edit that lowers ``operation`` to a version that the compiler supports."""
    if operation in REAL_ONLY:  # no lower version works on integers
        return advice_for(operation, at_source=at_source)
    in_network, in_file = _VERSIONS.get(operation, ("", _VERSION_DEFAULT))
    if at_source:
        return f"{operation}: {in_network or _DEFAULT}"
    return f"{operation}: {'; or '.join(text for text in (in_network, in_file) if text)}"


def advice_for_real(operation: str) -> str:
    """Return one edit for a float ``operation`` that has an integer form."""
    return (
        f"{operation}: convert the network to integers (edgekit convert); if that was done, a "
        "neighbouring operator does not have an integer form"
    )


def advice_for_16_bits(operation: str) -> str:
    """Return one edit for ``operation`` on 16-bit activations."""
    return (
        f"{operation}: its activations have 16 bits (16x8 quantization), the Edge TPU has 8 only: "
        "quantize with int8 activations, with edgekit convert from the float network; of onnx2tf's "
        "files take the one that ends in _full_integer_quant.tflite"
    )


def advice_for_indices(operation: str) -> str:
    """Return one edit for ``operation`` on indices, counts or other wide integers."""
    return f"{operation}: it works on indices or counts; {_OUTSIDE}"


def advice_for_operator(operator: Operator) -> str:
    """Return one edit that removes ``operator``; for a custom one, use its own name."""
    return advice_for(operator.label.replace("Flex", "", 1))
