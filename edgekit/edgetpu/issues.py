# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a model: stable codes, each with its cause and fix."""

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
    """The meaning of a code everywhere; the text of its page in the documentation."""

    code: str
    title: str
    cause: str
    fix: str
    source: str = ""  # where the knowledge comes from


# What makes the inputs and outputs of an int8 model integers.
INTEGER_ENDS = (
    "edgekit fix MODEL -o OUT.tflite makes inputs and outputs integers; or convert the network "
    "again, with --io uint8"
)

ISSUE_CODES: Mapping[str, IssueCode] = {
    each.code: each
    for each in (
        IssueCode(
            "io.dtype",
            "An input or output does not have the requested type",
            "The converter keeps an input or output in float, or in 32 or 64 bits, if the first or "
            "last operator does not have an integer form: a table look-up, a cast, an arg-max.",
            "Move that operator out of the network, before its input or after its output.",
        ),
        IssueCode(
            "io.float",
            "An input or output is float",
            "QUANTIZE from and DEQUANTIZE to real numbers run on the CPU. Other operators still "
            "map, but this costs a pass over the values and four times the bytes.",
            INTEGER_ENDS,
            "compiled models and the compiler's logs",
        ),
        IssueCode(
            "map.constraint",
            "The operator maps, but not in this form",
            "It is beyond a limit of its operator: a size, a stride, an axis. The compiler says "
            '"otherwise supported, but not mapped due to some unspecified limitation". Sizes '
            "between the largest seen mapped and the smallest seen refused are called unknown.",
            "Stay within the limit (the page of supported operations has them all), or do this "
            "outside the network.",
            "coral.ai, supported operations; sizes in compiled models",
        ),
        IssueCode(
            "map.dtype",
            "The operator works on numbers that the Edge TPU does not support",
            "Inputs and outputs are uint8 or int8. Real numbers, indices and counts stay on the "
            "CPU.",
            "Convert the whole model to integers; move indices and casts out of the network.",
            "compiled models: all 108 such operators are on the CPU",
        ),
        IssueCode(
            "map.first_blocker",
            "The network stays on the CPU from this operator on",
            "The compiler builds one Edge TPU part. This operator cannot map and depends on mapped "
            "ones: all operators that depend on it stay on the CPU, supported or not.",
            "Change this operator first. If it cannot be changed, cut the network before it "
            "(edgekit split).",
            "compiled models: 110 of 110 operators after such an operator are on the CPU",
        ),
        IssueCode(
            "map.nothing",
            "No operator maps",
            "The compiler reports success even for a file without any Edge TPU operator.",
            "Look at the first operators: one that cannot map keeps the others off the Edge TPU.",
        ),
        IssueCode(
            "map.rank",
            "A tensor has more than three dimensions above 1",
            "The Edge TPU supports height, width and channels. A batch, or a fifth dimension, "
            "has to be 1.",
            "Use batch 1 (--batch-size 1), and join dimensions before the operation.",
            "coral.ai, model requirements",
        ),
        IssueCode(
            "map.runtime",
            "The operator needs a later runtime than the requested one",
            "Each of the runtimes 10 to 14 added operators and number types. The compiler leaves "
            "to the CPU what the runtime on the device does not support.",
            "Compile for runtime 14 (--min-runtime-version 14); install libedgetpu 16 on the "
            "device.",
            "libedgetpu api/runtime_version.h; coral.ai, supported operations",
        ),
        IssueCode(
            "map.second_subgraph",
            "The operator depends on one that ended the Edge TPU part",
            "See map.first_blocker: another operator is the cause, not this one.",
            "Change the earlier operator that blocks it.",
            "compiled models: 110 of 110 such operators are on the CPU",
        ),
        IssueCode(
            "map.unsupported_op",
            "The Edge TPU does not have this operator",
            "About forty operators of TensorFlow Lite exist on the Edge TPU.",
            "Replace it (edgekit fix --list shows what edgekit replaces), or compute it outside "
            "the network.",
            "coral.ai, supported operations",
        ),
        IssueCode(
            "memory.activations",
            "The activations do not fit on the chip at once",
            "The tiles have 3 MiB for activations together. If more are needed, the compiler "
            'moves some to the host and back, or gives up: "Compilation failed due to large '
            'activation tensors in model", or a timeout.',
            "Use a smaller input, fewer channels in the first layers, or an earlier stride; "
            "compile with --search-delegate.",
            "libedgetpu driver constants; compiled models with up to 4.9 MB at once",
        ),
        IssueCode(
            "params.flatten_explodes",
            "A flattened image has a number of channels that is not a multiple of 4",
            "The chip stores pixels at multiples of 4 bytes. To close the gaps for a dense layer "
            "it needs a matrix of parameters, up to several times the layer's own (0.4 MB became "
            "2.5 MB).",
            "Give the last layer before Flatten a multiple of 4 channels, or pool to 1x1 first.",
            "compiled models of compilers 14.1 and 16",
        ),
        IssueCode(
            "params.streamed",
            "Parameters do not fit on the chip",
            "Parameters that are not cached are sent with every inference, at about 1.8 to 10 ms "
            "per megabyte: layers that do not fit on the chip, and constants of element-wise "
            "operators.",
            "Make the network smaller, or divide it over several Edge TPUs (--num-segments); "
            "keep the constants of element-wise operators, which are small.",
            "measured latencies; compiled models",
        ),
        IssueCode(
            "quant.activation_overflow",
            "A scale is too small for the fused activation",
            "The bound of ReLU6 or ReLU-1-to-1, divided by the output's scale, exceeds 32 bits. "
            'The compiler refuses the file: "no_integer_overflow_from_quantization was not true".',
            "Calibrate with data for which the layer's output is not constant; a dead layer has "
            "no range.",
            "tensorflow/lite/kernels/kernel_util.cc; google-coral/edgetpu issue 453",
        ),
        IssueCode(
            "quant.bias_overflow",
            "A bias is clipped to 32 bits",
            "Biases are stored in steps of input scale times weight scale. If that product is tiny "
            "(dead channels, a very small range), the bias does not fit.",
            "Calibrate with more varied data, or clip the weights so that scales grow.",
            "tensorflow/lite/kernels/kernel_util.cc",
        ),
        IssueCode(
            "quant.bias_scale",
            "A bias does not have the scale of its input times its weights",
            'The compiler refuses the file: "scale_diff / output_scale <= 0.02 was not true".',
            "Convert again from the float model; hand-made or edited files have this fault.",
            "tensorflow/lite/kernels/kernel_util.cc, tag v2.5.0",
        ),
        IssueCode(
            "quant.mixed_range_concat",
            "A concatenation joins very different ranges",
            "One tensor has one scale. If boxes in pixels and scores of 0 to 1 share it, only "
            "one or two steps remain for the scores: every confidence becomes 0 or 1.",
            "End the network before the concatenation and output the parts separately (edgekit fix "
            "does it if at most a reshape follows), or scale boxes to 0..1.",
            "ultralytics issues 1683, 2401, 2942",
        ),
        IssueCode(
            "quant.not_quantized",
            "The model contains only real numbers",
            'The compiler refuses it: "Model not quantized".',
            "Convert the network with edgekit convert.",
            "logs of compilers 14.1 and 15.0",
        ),
        IssueCode(
            "map.op_unknown",
            "The compiler does not support the operator",
            "edgetpu_compiler 16 was built in 2021 with TensorFlow Lite of about release 2.5. It "
            "refuses a whole file with an operator that did not exist then.",
            "Replace the layer by one that uses older operators, or convert again with edgekit.",
            "tensorflow/lite/kernels/register.cc, tag v2.5.0",
        ),
        IssueCode(
            "map.op_version",
            "The compiler does not support this version of the operator",
            "TensorFlow raises an operator's version when it adds a feature. edgetpu_compiler 16 "
            "refuses a file with a version above those of TensorFlow Lite 2.5.",
            "Avoid the feature (grouped convolutions, dense layers with one scale per channel, "
            "fused activations on transposed convolutions), or convert again with edgekit.",
            "tensorflow/lite/kernels/register.cc, tag v2.5.0",
        ),
        IssueCode(
            "model.custom_op",
            "The model contains a custom or TensorFlow (Flex) operator",
            "Neither the compiler nor the usual interpreters have a kernel for it.",
            "Replace the layer by built-in ones, or cut the network before it.",
        ),
        IssueCode(
            "model.dynamic_shape",
            "A dimension is unknown before run time",
            "The model was saved or converted with an open batch or image size, or computes a size "
            "from values. The compiler refuses sizes that are computed at run time: the Edge TPU's "
            "program has fixed sizes. It accepts an input that is only declared open, as batch 1.",
            "edgekit fix MODEL -o OUT.tflite fixes the sizes in the file; or convert the network "
            "again with --batch-size or --input-shape.",
            "compiled models of compiler 16 (11 with open inputs); the compiler's error texts",
        ),
        IssueCode(
            "model.subgraphs",
            "The model has more than one subgraph",
            "A loop (WHILE), a branch (IF) or an initialization (CALL_ONCE) runs another graph; "
            "the compiler accepts only one graph in a file.",
            "Give recurrent layers a fixed number of steps and convert the Keras file, whose LSTM "
            "and GRU layers edgekit unrolls; take branches and tables out of the network.",
        ),
        IssueCode(
            "quant.float_tensor",
            "An operator works on real numbers",
            "The converter did not find an integer form of the operator and left it in float, "
            "with DEQUANTIZE and QUANTIZE around it; TFLITE_BUILTINS_INT8 does not make it fail "
            "any more.",
            "Replace the layer: BatchNormalization instead of other normalizations, ReLU, ReLU6, "
            "sigmoid or tanh instead of other activations.",
        ),
        IssueCode(
            "quant.not_int8",
            "An operator works on integers that do not have 8 bits",
            "Indices, counts and casts are 32 or 64 bit integers; the Edge TPU computes with 8.",
            "Move the operator out of the network.",
        ),
        IssueCode(
            "quant.per_channel_dense",
            "A dense layer's weights have one scale per channel",
            "TensorFlow 2.17 and later quantize dense layers in this way, as version 12, which "
            "the compiler cannot read. It accepts lower versions, but then the kernels of "
            "TensorFlow Lite 2.5, which run operators left on the CPU, use one scale for all "
            "weights: the results are wrong.",
            "edgekit fix MODEL -o OUT.tflite gives them one scale; or convert from the float model "
            "with edgekit convert.",
        ),
    )
}
