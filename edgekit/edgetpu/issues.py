# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a model: stable codes, each with its cause and its way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from edgekit.result import Result


@dataclass(frozen=True)
class Issue(Result):
    """One thing wrong in one place; an entry of ``issues`` in JSON."""

    code: str  # a key of ISSUE_CODES
    where: str  # operator index, opcode and layer, or the tensor
    message: str
    fix: str
    severity: str = "error"  # error | warning | note

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.code}]"


@dataclass(frozen=True)
class IssueCode:
    """What a code means, wherever it occurs; the text of its page in the documentation."""

    code: str
    title: str
    cause: str
    fix: str
    source: str = ""  # where the knowledge comes from


ISSUE_CODES: Mapping[str, IssueCode] = {
    each.code: each
    for each in (
        IssueCode(
            "io.dtype",
            "An input or output has another type than asked for",
            "The converter keeps an input or output real, or in 32 or 64 bits, where the first or "
            "last operation has no integer form: a table look-up, a cast, an arg-max.",
            "Move that operation out of the network, before its input or behind its output.",
        ),
        IssueCode(
            "map.op_unknown",
            "The compiler does not know the operator",
            "edgetpu_compiler 16 was built in 2021 with TensorFlow Lite of about release 2.5. It "
            "refuses a whole file with an operator that did not exist then.",
            "Replace the layer by one of older operators, or convert again with edgekit.",
            "tensorflow/lite/kernels/register.cc, tag v2.5.0",
        ),
        IssueCode(
            "map.op_version",
            "The compiler does not know this version of the operator",
            "TensorFlow raises an operator's version when it gains a feature. edgetpu_compiler 16 "
            "refuses a file with a version above those of TensorFlow Lite 2.5.",
            "Avoid the feature (grouped convolutions, dense layers with one scale a channel, "
            "fused activations on transposed convolutions), or convert again with edgekit.",
            "tensorflow/lite/kernels/register.cc, tag v2.5.0",
        ),
        IssueCode(
            "model.custom_op",
            "The model holds a custom or TensorFlow (Flex) operator",
            "No kernel for it is in the compiler, and none is in the usual interpreters.",
            "Replace the layer by built-in ones, or cut the network before it.",
        ),
        IssueCode(
            "model.dynamic_shape",
            "A dimension is unknown before run time",
            "The model was saved or converted with an open batch or image size, or computes a size "
            "from values. The compiler refuses it: the Edge TPU's program has fixed sizes.",
            "Convert with fixed shapes (--batch-size, --input-shape).",
        ),
        IssueCode(
            "model.subgraphs",
            "The model has more than one subgraph",
            "A loop (WHILE), a branch (IF) or an initialization (CALL_ONCE) runs another graph; "
            "the compiler takes a file with one.",
            "Give recurrent layers a fixed number of steps and convert the Keras file, whose LSTM "
            "and GRU layers edgekit unrolls; take branches and tables out of the network.",
        ),
        IssueCode(
            "quant.float_tensor",
            "An operation works on real numbers",
            "The converter found no integer form of the operation and left it, with DEQUANTIZE and "
            "QUANTIZE around it; TFLITE_BUILTINS_INT8 does not make it fail any more.",
            "Replace the layer: BatchNormalization instead of other normalizations, ReLU, ReLU6, "
            "sigmoid or tanh instead of other activations.",
        ),
        IssueCode(
            "quant.not_int8",
            "An operation works on integers of another width than 8 bits",
            "Indices, counts and casts are 32 or 64 bit integers; the Edge TPU computes with 8.",
            "Move the operation out of the network.",
        ),
        IssueCode(
            "quant.per_channel_dense",
            "A dense layer's weights have one scale a channel",
            "TensorFlow 2.17 and later quantize dense layers so; the Edge TPU's dense layers have "
            "one scale for all weights.",
            "Convert from the float model with edgekit convert.",
        ),
    )
}
