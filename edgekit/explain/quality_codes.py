# SPDX-License-Identifier: Apache-2.0
"""The codes of an agreement with the float model: what is worse (quality), and why (cause)."""

from __future__ import annotations

from edgekit.edgetpu.issues import IssueCode

_PAGE = "docs/quality.md"
_TRAIN = (
    "Train with batch normalization and ReLU6 behind these layers, or with quantization in the "
    "loop (quantization-aware training)."
)
_LOOK = "See the likely cause that is printed with it; each has a page, cause.* in docs/codes."

QUALITY_CODES = tuple(
    IssueCode(code, title, cause, fix, _PAGE)
    for code, title, cause, fix in (
        (
            "quality.noise",
            "The error of an output is large compared with how much it varies",
            "Signal to noise, the signal about each element's own mean over the samples, is below "
            "12 dB: the error is a quarter or more of how much the float model's answers vary. Up "
            "to 4 numbers that are no scores need 18 dB.",
            _LOOK,
        ),
        (
            "quality.element",
            "Some numbers of an output are lost beside others",
            "A row of few numbers may hold several targets. The error of some is 40 % or more of "
            "how much they vary, though that of all together is small.",
            _LOOK,
        ),
        (
            "quality.decisions",
            "Scores are on the wrong side of the decision",
            "Too many scores are above the decision (a logit above 0, a probability above 0.5) in "
            "only one of the two models.",
            _LOOK,
        ),
        (
            "quality.never_above",
            "A score output cannot reach the decision",
            "The largest value that the int8 output gives is at or below the decision, where the "
            "float model goes beyond: the int8 model never finds anything.",
            _LOOK,
        ),
        (
            "quality.coarse_logits",
            "Neighbouring scores are far apart",
            "A step of a logit output is above 0.3: near the decision there are hardly any values.",
            _LOOK,
        ),
        (
            "quality.classification",
            "The int8 model names other classes",
            "On too many samples the best class is not that of the float model; a class with 0.8 "
            "of the best score counts as the same. Or the classes that differ were sure: by the "
            "float model's own probabilities more than 1 % of all answers become wrong. Or a "
            "class with 10 answers or more keeps less than half of them.",
            _LOOK,
        ),
        (
            "quality.detection",
            "The int8 model finds other objects",
            "Too many objects with a score above 0.5 are lost or false, matched by class and at "
            "an IoU of 0.5; or more than half of the objects of one class; or the boxes of those "
            "found overlap by less than 0.8.",
            _LOOK,
        ),
        (
            "quality.segmentation",
            "The masks differ",
            "The mean IoU of the masks with those of the float model is below 0.88, or that of one "
            "class is below 0.5.",
            _LOOK,
        ),
        (
            "quality.pose",
            "The int8 model finds other people or points",
            "Too many people are lost or false, or their key points are off by more than a tenth "
            "of their size.",
            _LOOK,
        ),
        (
            "cause.constant_answers",
            "The float model gives the same answer for all samples",
            "The float model's output varies by less than a thousandth of its largest value: an "
            "untrained network, another preprocessing than in training, or samples of another "
            "kind. The agreement of the int8 model tells nothing then.",
            "Evaluate the float model first (edgekit convert --mode float, then edgekit evaluate); "
            "check --preprocess and the data.",
        ),
        (
            "cause.one_answer",
            "The float model names the same class on all samples",
            "A network of three classes or more that gives one answer on 50 samples or more: they "
            "are all of one class, or scaled in another way than in training. The ranges that "
            "calibration saw are then not those of use.",
            "Take samples of all classes; check --preprocess and the scaling of the data.",
        ),
        (
            "cause.features",
            "Features of very different ranges share the scale of one input",
            "An input tensor has one scale. Features that vary by less than a few steps of it are "
            "lost before the first layer; a normalization inside the network comes too late.",
            "Scale every feature to the same range outside the network (subtract its mean, divide "
            "by its deviation), in training and in use.",
        ),
        (
            "cause.offset_input",
            "An input is far from 0 for how much it varies",
            "The range of an int8 tensor holds 0: for 300 K and half a degree about it the steps "
            "are 1.2 K. A normalization inside the network comes too late.",
            "Subtract the mean from the samples outside the network, in training and in use.",
        ),
        (
            "cause.wide_input",
            "Few large values set the range of an input",
            "Most values are of the size of a few steps: calibration saw single samples that are "
            "far larger, or the values are of very different sizes, as the power of a sound.",
            "Leave single large samples out of the calibration; take the logarithm or root of "
            "values of very different sizes outside the network, in training and in use.",
        ),
        (
            "cause.offset_output",
            "An output is far from 0 for how much it varies",
            "The range of an int8 tensor holds 0: for answers between 2000 and 2010 the steps are "
            "8.",
            "Subtract a constant from the targets in training, and add it to the answers outside "
            "the network.",
        ),
        (
            "cause.mixed_output",
            "Values of very different ranges share one output",
            "One tensor has one scale: boxes in pixels leave scores of 0 to 1 a few steps, and a "
            "target up to 1000 leaves one up to 1 none.",
            "edgekit fix MODEL -o FIXED makes them separate outputs if at most a reshape follows "
            "the join; else end the network before the join, or scale the values to one range.",
        ),
        (
            "cause.wide_logits",
            "Logits have a far wider range than matters",
            "Scores from -600 to 3 share 256 steps, though only -16 to 16 matters. More samples "
            "widen the range further.",
            "Limit them inside the network: ReLU6 on logit + 3 keeps steps of 0.024; the decision "
            "is then at 3.",
        ),
        (
            "cause.saturation",
            "Values lie beyond the range that calibration saw",
            "Samples that did not calibrate have larger values, which are cut off.",
            "Calibrate with more samples (--num-samples 300), like those to come.",
        ),
        (
            "cause.coarse_output",
            "The step of an output is coarse for how much it varies",
            "Most of the error is the rounding of the output itself: its range is wide, and most "
            "values use little of it.",
            "Limit or scale that output inside the network, so that its range is used evenly.",
        ),
        (
            "cause.dense_rows",
            "A dense layer has one scale for weights of unequal size",
            "The Edge TPU takes one scale for all weights of a FULLY_CONNECTED; rows of small "
            "weights use a few codes.",
            "Replace the layer by a 1x1 convolution (Conv2D(units, 1) on a tensor of 1 x 1 x "
            "channels), whose weights have a scale for each output.",
        ),
        (
            "cause.unequal_channels",
            "Channels of unequal size share a scale",
            "Activations have one scale a tensor. Behind a convolution whose channels differ by "
            "6 times and more the small ones use a few codes.",
            _TRAIN,
        ),
        (
            "cause.few_samples",
            "Few samples calibrated the model",
            "Fewer than 50 samples may not show the range of each layer.",
            "Calibrate with more: --num-samples 300.",
        ),
        (
            "cause.unknown",
            "Nothing in the model explains why it is worse",
            "Ranges, scales and samples look as usual; the loss may be spread over the layers.",
            "Calibrate with other samples, like those to come, and check --preprocess; else train "
            "with quantization in the loop (quantization-aware training).",
        ),
    )
)
