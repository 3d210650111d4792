# SPDX-License-Identifier: Apache-2.0
"""The codes of `edgekit debug`: its errors, and the kinds of trouble that it finds."""

from __future__ import annotations

from edgekit.edgetpu.issues import IssueCode

_PAGE = "docs/debug-accuracy.md"
_OWN = "edgekit"

DEBUG_CODES = (
    *(
        IssueCode(code, title, cause, fix, _OWN)
        for code, title, cause, fix in (
            (
                "debug.different",
                "The two files are of different networks",
                "The inputs or outputs do not fit, or fewer than half of the operators with "
                "weights have the values or the weights of one in the float network. Exit status "
                "3.",
                "Give the float network that the integer model was made from.",
            ),
            (
                "debug.not_integer",
                "The second file is not a full-integer model",
                "Some of its operators compute with real numbers. QUANTIZE and DEQUANTIZE at the "
                "ends are allowed. Exit status 3.",
                "Give the int8 model second: edgekit debug FLOAT INT8 --data DATA.",
            ),
            (
                "debug.not_float",
                "The first file is not a float network",
                "It contains quantized tensors. Exit status 3.",
                "Give the float network first: edgekit debug FLOAT INT8 --data DATA.",
            ),
            (
                "debug.compiled",
                "A compiled model cannot be compared operator by operator",
                "Its operators are inside one program for the Edge TPU. Exit status 3.",
                "Give the .tflite that it was compiled from; it computes the same.",
            ),
            (
                "debug.not_finite",
                "NaN or infinity in the samples or in the float network's answers",
                "An error can only be measured between numbers. Exit status 3.",
                "Remove such samples; check the network's training and --preprocess.",
            ),
        )
    ),
    *(
        IssueCode(f"debug.{kind}", title, cause, fix, _PAGE)
        for kind, title, cause, fix in (
            (
                "preprocess",
                "The model was calibrated with another preprocessing",
                "The ranges stored in the int8 model fit those of the float network if the samples "
                "are preprocessed in another way (colours in the other order, pixels of 0..1 in "
                "place of -1..1), and fit the samples as given less.",
                "Convert again with the preprocessing of real use (--preprocess). If the model is "
                "right and the samples are not, give edgekit debug the right --preprocess.",
            ),
            (
                "calibration",
                "The model was calibrated with samples unlike these",
                "Two fifths or more of the ranges stored in the int8 model are 1.5 times as wide "
                "as those of the samples, or less than two thirds.",
                "Calibrate with samples like those of real use.",
            ),
            (
                "weights",
                "An operator has other weights than the float network",
                "With the float network's values as inputs, the operator computes values that "
                "differ by more than twice what the rounding of its weights explains: the int8 "
                "model was made from another checkpoint, or its weights were changed.",
                "Convert the float network again.",
            ),
            (
                "saturation",
                "The values of an operator are cut off",
                "The float network's values are outside the range that calibration stored for this "
                "operator.",
                "Calibrate with more samples, like those of real use: --num-samples 300.",
            ),
            (
                "wide_range",
                "The range of an operator is far wider than its values",
                "The values use less than half of the stored range, so that their steps are "
                "coarser than they need to be. A single far larger calibration sample does this.",
                "Calibrate with samples like those of real use, without single far larger ones.",
            ),
            (
                "few_samples",
                "Few samples set the range of an operator",
                "Half of the samples stay within two fifths of the range that all samples use.",
                "Leave extreme samples out of the calibration data, or limit the values of this "
                "layer in training (ReLU6).",
            ),
            (
                "mixed_range",
                "Values of different ranges are joined and share one scale",
                "The tensors of a CONCATENATION have one scale. This one uses less than half of "
                "the range, and its neighbours use the rest.",
                "Make the parts separate outputs, or scale them to one range in training. "
                "edgekit fix separates outputs where only moves follow the join.",
            ),
            (
                "outlier_channels",
                "Few channels are far larger than the others",
                "An activation has one scale. One channel is 6 times the median channel or more, "
                "so that the others use only a few steps.",
                "Train with batch normalization and ReLU6 behind this layer, or with int8 rounding "
                "in the loop (edgekit train).",
            ),
            (
                "per_tensor_weights",
                "One scale for weights of unequal rows",
                "The Edge TPU uses one scale for all weights of a dense layer. Most of the error "
                "of the weights would not be there with a scale for each row.",
                "Use a 1x1 convolution in place of the dense layer (Conv2D(units, 1) on a tensor "
                "of 1 x 1 x channels).",
            ),
            (
                "logits",
                "LOGISTIC or SOFTMAX reads values of a very wide range",
                "Only a range of about 32 matters to them, and the input has more than 64: its "
                "steps are coarse where the output changes.",
                "Limit the logits inside the network, in training too.",
            ),
            (
                "rounding",
                "No operator stands out",
                "All ranges and weights fit. What is left is the rounding to 8 bits, spread over "
                "the operators.",
                "Calibrate with other samples, or train with int8 rounding in the loop "
                "(edgekit train).",
            ),
        )
    ),
)
