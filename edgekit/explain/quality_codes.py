# SPDX-License-Identifier: Apache-2.0
"""The codes of an agreement with the float model: what is worse (quality), and why (cause)."""

from __future__ import annotations

from edgekit.edgetpu.issues import IssueCode

_PAGE = "docs/quality.md"
_TRAIN = (
    "Train with batch normalization and ReLU6 after these layers, or with int8 rounding in the "
    "loop (edgekit train)."
)
_LOOK = "See the likely cause that is printed with it; each has a page, cause.* in docs/codes."

QUALITY_CODES = tuple(
    IssueCode(code, title, cause, fix, _PAGE)
    for code, title, cause, fix in (
        (
            "quality.noise",
            "The error of an output is large compared with its variation",
            "The signal-to-noise ratio is below 12 dB: the error is a quarter or more of the "
            "variation of the float model's outputs (around each element's own mean over the "
            "samples). Outputs of up to 4 numbers that are not scores need 20 dB, and so do rows "
            "of up to 16 numbers that do not look like the logits of classes.",
            _LOOK,
        ),
        (
            "quality.exact_target",
            "The int8 model may be less exact than the float model, which labels would show",
            "The error of up to 4 numbers that are not scores (or of a row of up to 16 that do not "
            "look like the logits of classes) is 1 to 10 % of their variation. For most networks "
            "that is little beside their own error; a network that is exact to 1 % has a "
            "multiple of it in int8. The outputs alone do not show how exact the float model is.",
            "Give samples with their true values as labels (y in an .npz, columns of a "
            "labels.csv), to convert or to evaluate --against: the errors of both are measured.",
        ),
        (
            "quality.element",
            "Some numbers of an output are lost next to larger ones",
            "A row of few numbers may contain several targets. The error of some is 40 % or more "
            "of their variation, although the error of all together is small.",
            _LOOK,
        ),
        (
            "quality.cut_off",
            "Numbers are cut off at the end of an output's range",
            "More than 8 % of the values of an output of up to 4 numbers are outside the range "
            "that calibration measured. Of samples like those of calibration, about 2 % are.",
            "Calibrate with more samples, like those of real use: --num-samples 300.",
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
            "The largest value of the int8 output is at or below the decision, but the float model "
            "exceeds it: the int8 model never finds anything.",
            _LOOK,
        ),
        (
            "quality.coarse_logits",
            "Neighbouring scores are far apart",
            "A step of a logit output is above 0.3: there are only a few values near the decision.",
            _LOOK,
        ),
        (
            "quality.classification",
            "The int8 model names other classes",
            "On too many samples the best class is not that of the float model; a class with 0.8 "
            "of the best score counts as the same. Or the float model's probabilities show that "
            "more than 1 % of all answers become wrong. Or a class with 10 answers or more keeps "
            "less than half of them.",
            _LOOK,
        ),
        (
            "quality.detection",
            "The int8 model finds other objects",
            "Too many objects with a score above 0.5 are lost or false (matched by class and at "
            "an IoU of 0.5); or more than half of the objects of one class are; or the boxes of "
            "those found overlap by less than 0.8.",
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
            "Too many people are lost or false, or their key points are wrong by more than a tenth "
            "of their size.",
            _LOOK,
        ),
        (
            "quality.unlike_training",
            "The calibration samples are unlike the data that the network was trained on",
            "Batch normalization and Normalization layers store the mean and variance of their "
            "input in training. Those of the calibration samples differ: the median channel varies "
            "more than twice as much, or less than half as much (in the first layer 0.7 times), or "
            "the means are shifted by more than 0.8 deviations. Then calibration measured other "
            "ranges than those of real use, and the agreement on such samples proves nothing. A "
            "network that was trained further on other data with frozen statistics may differ too.",
            "Check --preprocess and the scaling of the samples; calibrate with samples like those "
            "of training and of real use.",
        ),
        (
            "quality.narrow_range",
            "The calibration samples use less than 70 % of the range of pixels",
            "All samples are dark, or have a low contrast, or are scaled in another way: values "
            "outside of their range are cut off in the int8 model. The range is that of the "
            "preprocessing; for pictures as real numbers that of the network's first layer, or 0 "
            "to 1, the narrowest one in use.",
            "Calibrate with samples as dark and as bright as those of real use.",
        ),
        (
            "quality.clipped_samples",
            "The calibration samples seem to be clipped",
            "At least 2.5 % of an input's values are exactly its lowest one, and 2.5 % its highest "
            "one (real numbers that are not pictures, with many different values between). If the "
            "samples of real use are not clipped in the same way, the int8 model cuts off all "
            "values outside.",
            "Give samples that are not clipped, or clip the values in real use too.",
        ),
        (
            "quality.few_answers",
            "The float model's answers to the calibration samples hardly differ",
            "It gives all samples nearly the same answer, or names one class on 50 samples or "
            "more (others on less than 2 %), or less than half of its classes on 10 samples or "
            "more for each. Samples of one kind, or pixels that are scaled in another way than in "
            "training, look like this; the int8 model's agreement on them says nothing about "
            "others.",
            "Give samples of all classes; check --preprocess and the scaling of the samples.",
        ),
        (
            "quality.wrong_by_labels",
            "The float model itself is wrong by the labels of the calibration samples",
            "It is right no more often than by guessing, or much more often with another "
            "preprocessing. Then the int8 model was calibrated on pixels unlike those of training, "
            "or the classes are in another order than the labels.",
            "Convert again with the --preprocess that the warning names, or name the class folders "
            "(--labels) as in training.",
        ),
        (
            "quality.target_error",
            "By the labels the model's error is a multiple of the float model's",
            "The samples have real targets, and the mean absolute error of one of them grows to "
            "more than 1.25 times that in float, and by more than 1 % of the target's deviation. "
            "The outputs may be close to the float model's and still be this much worse, if the "
            "float model is very exact.",
            "Convert with more samples (--num-samples 300); if that does not help: edgekit tune, "
            "or edgekit train.",
        ),
        (
            "quality.by_labels",
            "By the labels the answers are worse than the other model's",
            "evaluate --against measured both models with the labels. A share of right answers is "
            "lower by more than 1 point, or an error more than 1.25 times as large, and more than "
            "chance explains. The outputs may be close and the answers still be this much worse.",
            "Convert with more samples like these (--num-samples 300); if that does not help: "
            "edgekit tune, or edgekit train.",
        ),
        (
            "cause.constant_answers",
            "The float model's output is the same for all samples",
            "The float model's output varies by less than a thousandth of its largest value: an "
            "untrained network, another preprocessing than in training, or samples of another "
            "kind. Then the agreement of the int8 model has no meaning.",
            "Evaluate the float model first (edgekit convert --mode float, then edgekit evaluate); "
            "check --preprocess and the data.",
        ),
        (
            "cause.one_answer",
            "The float model names the same class on all samples",
            "A network of three or more classes names one class for 50 or more samples: they are "
            "all of one class, or scaled in another way than in training. Then calibration did not "
            "measure the ranges of real use.",
            "Use samples of all classes; check --preprocess and the scaling of the data.",
        ),
        (
            "cause.far_samples",
            "A few samples have values far larger than all others",
            "One sample of a hundred, for instance a fault of a sensor, is 8 times larger or more: "
            "it sets the range of the input, and all others use few of its steps. Such samples are "
            "left out of the comparison with the float model, where they would hide the error.",
            "Leave them out of the calibration data, or limit the values before the network, in "
            "calibration and in use.",
        ),
        (
            "cause.features",
            "Features of very different ranges share the scale of one input",
            "An input tensor has one scale. Features that vary by less than a few steps of it are "
            "lost before the first layer; a normalization inside the network is too late.",
            "Convert with --normalize-inputs: the model then reads (value - mean) / std of each "
            "feature, and its weights undo it. If no weights can, scale every feature to the same "
            "range outside the network (subtract its mean, divide by its deviation), in training "
            "and in use.",
        ),
        (
            "cause.offset_input",
            "An input is far from 0 compared with its variation",
            "The range of an int8 tensor always contains 0: for values of 300 K plus or minus "
            "half a degree the steps are 1.2 K. A normalization inside the network is too late.",
            "Convert with --normalize-inputs: the model then reads (value - mean) / std. If no "
            "weights can undo that, subtract the mean from the samples outside the network, in "
            "training and in use.",
        ),
        (
            "cause.wide_input",
            "The values use a small part of an input's range",
            "Most values are only a few steps large, or all use less than a quarter of the range: "
            "the calibration samples were scaled in another way, some of them are far larger, or "
            "the values have very different sizes, like the power of a sound.",
            "Calibrate with samples that are scaled like those of real use, without single large "
            "ones; use the logarithm or root of values of very different sizes outside the "
            "network, in training and in use.",
        ),
        (
            "cause.joined_input",
            "An input shares the scale of values that it is joined with",
            "The tensors of a CONCATENATION have one scale. If one of them is the network's input, "
            "as in a U-Net that joins the picture again, the input gets the scale of the widest.",
            "Put a layer with weights, such as Conv2D(channels, 1), between the input and the "
            "join, or scale the samples up to the range of the other values, in training too.",
        ),
        (
            "cause.offset_output",
            "An output is far from 0 compared with its variation",
            "The range of an int8 tensor always contains 0: for outputs from 2000 to 2010 the "
            "steps are 8.",
            "Subtract a constant from the targets in training, and add it to the outputs outside "
            "the network.",
        ),
        (
            "cause.mixed_output",
            "Values of very different ranges share one output",
            "One tensor has one scale: next to boxes in pixels, only a few steps remain for scores "
            "of 0 to 1; next to a target up to 1000, none remain for a target up to 1.",
            "edgekit fix MODEL -o FIXED makes them separate outputs if at most a reshape follows "
            "the join; else end the network before the join, or scale the values to one range.",
        ),
        (
            "cause.wide_logits",
            "The range of logits is much wider than needed",
            "Scores from -600 to 3 share 256 steps, although only -16 to 16 matters. More samples "
            "make the range even wider.",
            "Convert with --clip-logits. Or limit them inside the network: ReLU6 on logit + 3 "
            "keeps steps of 0.024; the decision is then at 3.",
        ),
        (
            "cause.saturation",
            "Values are outside the range measured by calibration",
            "Samples that were not used for calibration have larger values, which are clipped.",
            "Calibrate with more samples (--num-samples 300) like those of real use.",
        ),
        (
            "cause.coarse_output",
            "The step of an output is coarse compared with its variation",
            "Most of the error is the rounding of the output itself: its range is wide, and most "
            "values use little of it.",
            "Limit or scale that output inside the network, so that its range is used evenly.",
        ),
        (
            "cause.dense_rows",
            "A dense layer has one scale for weights of unequal size",
            "The Edge TPU uses one scale for all weights of a FULLY_CONNECTED; rows of small "
            "weights use only a few codes.",
            "Replace the layer by a 1x1 convolution (Conv2D(units, 1) on a tensor of 1 x 1 x "
            "channels), whose weights have a scale for each output.",
        ),
        (
            "cause.weight_outliers",
            "Few weights of a dense layer are far larger than the others",
            "The Edge TPU uses one scale for all weights of a FULLY_CONNECTED. If a few are far "
            "larger, the others use only a few codes.",
            "Train with weight decay or a kernel_constraint. The weights of an input that never "
            "changes, such as a pixel that is always black, can be set to 0.",
        ),
        (
            "cause.unequal_channels",
            "Channels of unequal size share a scale",
            "Activations have one scale per tensor. After a convolution whose channels differ by a "
            "factor of 6 or more, the small ones use only a few codes.",
            _TRAIN,
        ),
        (
            "cause.few_samples",
            "The model was calibrated with few samples",
            "Fewer than 50 samples may not show the range of each layer.",
            "Calibrate with more: --num-samples 300.",
        ),
        (
            "cause.unknown",
            "Nothing in the model explains why it is worse",
            "Ranges, scales and samples look as usual; the loss may be spread over the layers.",
            "Calibrate with other samples, like those of real use, and check --preprocess; else "
            "train with int8 rounding in the loop (edgekit train).",
        ),
    )
)
