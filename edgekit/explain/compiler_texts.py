# SPDX-License-Identifier: Apache-2.0
"""The texts that edgetpu_compiler prints when it fails, versions 1.0 to 16.0."""

from __future__ import annotations

from edgekit.explain.known import Details, KnownText
from edgekit.formats.tflite.options import OPCODES


def _operator_name(details: Details) -> Details:
    name = OPCODES.get(int(details["number"]), "an operator that is unknown to edgekit too")
    return {"opcode": name}


COMPILER_TEXTS = (
    KnownText(
        code="compiler.not_quantized",
        title="The compiler finds a model that is not quantized",
        pattern=r"^Model not quantized",
        example="Invalid model: model.tflite\nModel not quantized",
        cause="Some tensors are still float; or the batch dimension is open (-1 in the shape "
        "signature), which compilers before 16 report with the same text.",
        fix="Convert with edgekit convert, which enforces integers and a fixed batch; edgekit "
        "check MODEL names each float tensor and open dimension.",
        source="google-coral/edgetpu issues 168, 313; Coral's tutorials",
    ),
    KnownText(
        code="compiler.op_version",
        title="An operator is newer than the program that reads it",
        pattern=r"Didn't find op for builtin opcode '(?P<opcode>\w+)\s*' "
        r"version '(?P<version>\d+)'",
        example="ERROR: Didn't find op for builtin opcode 'EXP' version '2'. An older version of "
        "this builtin might be supported. Are you using an old TFLite binary with a newer model?",
        cause="{opcode} has version {version} in this file. The TensorFlow Lite inside the "
        "compiler (2021, about 2.5) or inside this runtime does not support it. TensorFlow raises "
        "a version when the operator uses a newer feature.",
        fix="edgekit fix lowers versions if the meaning stays the same; edgekit convert writes "
        "files that compiler 16 can read. Otherwise avoid the feature, or convert with an older "
        "TensorFlow.",
        source="google-coral/edgetpu issues 631, 845, 879; libedgetpu issue 71",
    ),
    KnownText(
        code="compiler.op_unknown",
        title="An operator did not exist when the compiler was built",
        pattern=r"Op builtin_code out of range: (?P<number>\d+)",
        example="ERROR: Op builtin_code out of range: 150. Are you using old TFLite binary with "
        "newer model?",
        cause="Operator {number} is {opcode}. The schema inside the compiler does not contain it, "
        "so the compiler refuses the whole file.",
        fix="Replace the layer by older operators; edgekit fix does it for GELU.",
        source="google-coral/edgetpu issues 667, 818",
        derive=_operator_name,
    ),
    KnownText(
        code="compiler.not_parsed",
        title="The compiler cannot read the model",
        pattern=r"^(?:ERROR: )?Registration failed\.|^Model could not be parsed",
        example="ERROR: Registration failed.\n\nInvalid model: model.tflite\n"
        "Model could not be parsed",
        cause="The TensorFlow Lite inside the compiler refused the file. The line before shows "
        "why: usually an operator that is too new.",
        fix="edgekit check MODEL lists the operators that the compiler cannot read.",
        source="google-coral/edgetpu issues 34, 631",
        consequence=True,
    ),
    KnownText(
        code="compiler.custom_op",
        title="A custom or TensorFlow (Flex) operator",
        pattern=r"Encountered unresolved custom op: (?P<opcode>(?!edgetpu-custom-op)[\w:/-]+)",
        example="ERROR: Encountered unresolved custom op: Atan.",
        cause="{opcode} is not a built-in operator of TensorFlow Lite; the program has no code for "
        "it.",
        fix="Replace the layer by built-in ones, or cut the network before it.",
        source="recorded with compiler 16.0",
    ),
    KnownText(
        code="compiler.dynamic_shape",
        title="A dimension is unknown before run time",
        pattern=r"delegate that only supports static-sized tensors",
        example="ERROR: Attempting to use a delegate that only supports static-sized tensors with "
        "a graph that has dynamic-sized tensors.",
        cause="A tensor's shape is open (-1 in the shape signature, usually the batch), or is "
        "computed from values.",
        fix="Convert with fixed shapes: edgekit convert --batch-size 1 --input-shape ...; "
        "edgekit fix freezes the batch of a .tflite.",
        source="tensorflow/tensorflow issues 57905, 56273, 88361",
    ),
    KnownText(
        code="compiler.bias_scale",
        title="A bias does not have the scale of its input times its weights",
        pattern=r"scale_diff / output_scale <= 0\.02 was not true"
        r"|std::abs\(input_product_scale - bias_scale\).{0,999}was not true",
        example="ERROR: :317 scale_diff / output_scale <= 0.02 was not true.\n"
        "ERROR: Node number 3 (CONV_2D) failed to prepare.",
        cause="The scale of a bias must be the input's scale times the weights' scale. In this "
        "file they differ; hand-made or edited files and quantization-aware training can cause "
        "this.",
        fix="Convert again from the float model with edgekit convert; edgekit check MODEL names "
        "the operator.",
        source="tensorflow/lite/kernels/kernel_util.cc",
    ),
    KnownText(
        code="compiler.scale_overflow",
        title="Scales so small that the bias overflows",
        pattern=r"no_integer_overflow_from_quantization was not true",
        example="ERROR: :344 no_integer_overflow_from_quantization was not true.\n"
        "ERROR: Node number 12 (CONV_2D) failed to prepare.",
        cause="A channel's weights or the input's range are nearly zero: with such scales the bias "
        "does not fit into 32 bits.",
        fix="Calibrate with real samples, remove dead channels, clip the weights, and convert "
        "again; edgekit check MODEL names the operation.",
        source="google-coral/edgetpu issue 453",
    ),
    KnownText(
        code="compiler.shape_rule",
        title="Shapes that an old kernel does not accept",
        pattern=r"dims->data\[d\] != t0->dims->data\[d\]",
        example="ERROR: t->dims->data[d] != t0->dims->data[d] (2 != 1)",
        cause="The compiler's TensorFlow Lite computes different sizes for tensors that are "
        "joined: its rules for padding and shapes are those of 2021.",
        fix="Give the layer before it explicit padding, fix all shapes, and convert again.",
        source="google-coral/edgetpu issue 891",
    ),
    KnownText(
        code="compiler.large_activations",
        title="Feature maps larger than the compiler can cut",
        pattern=r"due to large activation tensors",
        example="ERROR: Restored original execution plan after delegate application failure.\n"
        "Compilation failed: Compilation failed due to large activation tensors in model.",
        cause="The tensors between operators are too large for the Edge TPU's memory, and the "
        "compiler did not find a way to cut them into tiles. Large images are the usual reason.",
        fix="Make the input smaller (640x640 to 512x512 or 320x320), or map what can be mapped: "
        "--search-delegate (with --delegate-search-step 10).",
        source="google-coral/edgetpu issues 444, 653, 671",
    ),
    KnownText(
        code="compiler.delegate_failed",
        title="The compiler could not build the Edge TPU part",
        pattern=r"Restored original execution plan after delegate application failure",
        example="ERROR: Restored original execution plan after delegate application failure.",
        cause="The part for the Edge TPU could not be built; the next line shows why.",
        fix="Look at the next line; if there is none, try --search-delegate.",
        source="google-coral/edgetpu issues 444, 651",
        consequence=True,
    ),
    KnownText(
        code="compiler.model_failed",
        title="The model does not run in the interpreter inside the compiler",
        pattern=r"Model failed in Tflite interpreter",
        example="Compilation failed: Model failed in Tflite interpreter. Please ensure model can "
        "be loaded/run in Tflite interpreter.",
        cause="The compiler first loads the model in TensorFlow Lite of 2021, and that failed; the "
        "line before shows why.",
        fix="Look at the line before; edgekit check MODEL finds the usual reasons.",
        source="recorded with compiler 16.0",
        consequence=True,
    ),
    KnownText(
        code="compiler.node_failed",
        title="An operator could not be prepared",
        pattern=r"Node number (?P<index>\d+) \((?P<opcode>[\w-]+)\) failed to prepare",
        example="ERROR: Node number 40 (FULLY_CONNECTED) failed to prepare.",
        cause="Operator {index}, a {opcode}, was refused by its kernel; the text before shows why.",
        fix="Look at the text before; edgekit inspect MODEL shows operator {index}.",
        source="tensorflow/lite/core/subgraph.cc",
        consequence=True,
    ),
    KnownText(
        code="compiler.internal",
        title="An internal error in compiler 16",
        pattern=r"Compilation failed: Internal error",
        example="Compilation failed: Internal error.",
        cause="The compiler failed in one of its own checks and did not print a reason.",
        fix="Try --search-delegate, which leaves more operators at the end on the CPU until it "
        "works.",
        source="google-coral/edgetpu issue 778",
    ),
    KnownText(
        code="compiler.timeout",
        title="The compiler reached its own time limit",
        pattern=r"^Compilation timeout\.",
        example="Compilation timeout. This is usually caused by large activations.\n"
        "Compilation failed!",
        cause="One attempt took longer than --timeout-sec (180 s by default).",
        fix="Raise --timeout-sec, or make the input smaller, or --search-delegate.",
        source="google-coral/edgetpu issue 707",
    ),
    KnownText(
        code="compiler.exception",
        title="The compiler crashed in its own code",
        pattern=r"terminating with uncaught exception of type (?P<exception>\w+(?:::\w+)*)",
        example="libc++abi: terminating with uncaught exception of type std::out_of_range: vector",
        cause="The compiler stopped with {exception}: a bug that this model triggers. The same "
        "file triggers it each time.",
        fix="Try --search-delegate; or cut the network, or change the last layers, to find the "
        "operator that triggers it.",
        source="google-coral/edgetpu issues 4, 728",
    ),
    KnownText(
        code="compiler.segfault",
        title="The compiler crashed with a segmentation fault",
        pattern=r"edgetpu_compiler: line \d+:.{0,999}Segmentation fault",
        example="/usr/bin/edgetpu_compiler: line 3:  1531 Segmentation fault      (core dumped)",
        cause="The compiler's process crashed. On some machines this happens, on others it does "
        "not.",
        fix="Try again (--retries), or on another machine: --via ssh://user@host.",
        source="google-coral/edgetpu issue 643",
        random=True,
    ),
    KnownText(
        code="compiler.silent",
        title="Compiler 16 failed without a reason",
        pattern=r"^Compilation child process completed within timeout period\.\s*\n"
        r"Compilation failed!",
        example="Compilation child process completed within timeout period.\nCompilation failed!",
        cause="The process that compiles crashed without a message. Seen with LSTM layers, edited "
        "files, and operators that the compiler supports only in part.",
        fix="Try --search-delegate; unroll or replace LSTM layers (edgekit convert unrolls them); "
        "edgekit check MODEL lists suspects.",
        source="google-coral/edgetpu issues 800, 903",
        consequence=True,
    ),
    KnownText(
        code="compiler.abort",
        title="Internal compiler error",
        pattern=r"^Internal compiler error\. Aborting!",
        example="Internal compiler error. Aborting!",
        cause="A crash without a reason, in compilers 2.0 to 15.0. Sometimes the same file "
        "compiles on the second or third try.",
        fix="Try again (--retries), use compiler 16.0, make the input smaller, or leave out the "
        "last operators (--intermediate-tensors).",
        source="google-coral/edgetpu issues 173, 206, 211",
        consequence=True,
        random=True,
    ),
    KnownText(
        code="compiler.tensor_lists",
        title="Lists of tensors and models do not match",
        pattern=r"number of lists given to intermediate_tensors",
        example="The number of lists given to intermediate_tensors doesn't match the number of "
        "input models.",
        cause="--intermediate-tensors expects one list for each model, with ':' between them. A "
        "tensor name that contains ':' is read as two lists.",
        fix="Give one list for each model. A name with ':' cannot be given: choose the tensor "
        "before or after it.",
        source="google-coral/edgetpu issue 778",
    ),
    KnownText(
        code="compiler.cannot_write",
        title="The compiler cannot write its output",
        pattern=r"Error opening file for writing: (?P<path>\S+)",
        example="Error opening file for writing: out/model_edgetpu.tflite",
        cause="The folder of {path} does not exist or is read-only.",
        fix="Create the folder, or name another: --output.",
        source="google-coral/edgetpu issue 400",
    ),
    KnownText(
        code="compiler.zero_mapped",
        title="Compiled, but nothing runs on the Edge TPU",
        pattern=r"^Number of operations that will run on Edge TPU: 0\b",
        example="Number of operations that will run on Edge TPU: 0",
        cause="The compiler reports success. But the model is float, its first operator does not "
        "map, or --min-runtime-version is lower than its operators need.",
        fix="Leave out --min-runtime-version; edgekit check MODEL shows the first operator that "
        "does not map.",
        source="google-coral/edgetpu issues 225, 358, 708",
    ),
)
