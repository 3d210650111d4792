# SPDX-License-Identifier: Apache-2.0
"""Why an operator stays on the CPU: the statuses in edgetpu_compiler's operator table."""

from __future__ import annotations

from edgekit.explain.known import KnownText
from edgekit.explain.template import Template

MAPPED = "Mapped to Edge TPU"


def _status(code: str, title: str, status: str, cause: str, fix: str, source: str) -> KnownText:
    return KnownText(
        code=code, title=title, texts=(Template(status),), cause=cause, fix=fix, source=source
    )


# By the exact words of the status; the last one is only a result of the others.
STATUSES = {
    each.example: each
    for each in (
        _status(
            "status.unspecified",
            "Supported, but not mapped",
            "Operation is otherwise supported, but not mapped due to some unspecified limitation",
            "The compiler supports the operator but refuses this one: because of its size (a large "
            "TRANSPOSE, RESHAPE or RESIZE_BILINEAR), its place (a QUANTIZE of float inputs), or "
            "parameters that the compiler does not support.",
            "edgekit check MODEL shows the limit, if it is known. Give the model uint8 inputs, "
            "make the tensor smaller, or cut the network before the operator.",
            "measured on compiled models; google-coral/edgetpu issues 512, 219, 31",
        ),
        _status(
            "status.not_supported",
            "The Edge TPU does not have this operator",
            "Operation not supported",
            "The operator is not among those that the compiler can map.",
            "Replace it: edgekit fix rewrites the common ones (HARD_SWISH, LEAKY_RELU, PRELU); "
            "edgekit check MODEL shows what it costs.",
            "google-coral/edgetpu issues 272, 597",
        ),
        _status(
            "status.op_version",
            "The operator has a feature that is too new",
            "Operation version not supported",
            "The operator's version is higher than the compiler maps: RESIZE_* with aligned "
            "corners or half-pixel centres, FULLY_CONNECTED that keeps three dimensions.",
            "Avoid the feature (UpSampling2D by nearest neighbour, Dense on rank 2), let edgekit "
            "fix lower the version, or use compiler 16.0.",
            "google-coral/edgetpu issues 396, 420",
        ),
        _status(
            "status.dtype",
            "The operator does not work on 8-bit integers",
            "Operation is working on an unsupported data type",
            "An input or output of the operator is float, int32 or int64. For a DEQUANTIZE at the "
            "very end this is harmless: it only converts the result to float.",
            "Convert with uint8 inputs and outputs (edgekit convert --io uint8), and move casts, "
            "index and post-processing operators out of the network.",
            "google-coral/edgetpu issues 490, 13",
        ),
        _status(
            "status.rank",
            "More than three dimensions are larger than one",
            "Tensor has unsupported rank (up to 3 innermost dimensions mapped)",
            "Only the three innermost dimensions of a tensor may be above 1: a batch of several "
            "images, or a reshape to five dimensions, has more.",
            "Convert with a batch of one (edgekit convert --batch-size 1), and reshape such that "
            "the outer dimensions are 1.",
            "google-coral/edgetpu issues 30, 75, 121",
        ),
        _status(
            "status.strided_slice",
            "A slice with steps",
            "Only Strided-Slice with unitary strides supported",
            "STRIDED_SLICE maps only with a stride of 1 in every dimension: x[:, ::2] does not "
            "map.",
            "Slice without steps, or use a pooling of window 1 and that stride.",
            "coral.ai table of supported operations",
        ),
        _status(
            "status.not_constant",
            "Weights that are computed at run time",
            "Filter, bias, or other param is not constant at compile-time",
            "Weights, biases and other parameters are loaded into the Edge TPU with the model; "
            "this operator reads them from another operator (a matrix product of two inputs).",
            "Make the second operand a constant, or compute the product outside the network.",
            "google-coral/edgetpu issue 25",
        ),
        _status(
            "status.interpolation",
            "Interpolation would be too coarse",
            "Image-interpolation layer won't run precisely enough on Edge TPU",
            "Between these two sizes the Edge TPU would interpolate with too large an error, so "
            "the compiler leaves the operator on the CPU.",
            "Resize by whole factors, by nearest neighbour, or use compiler 2.1 or later.",
            "google-coral/edgetpu issue 63",
        ),
        _status(
            "status.output_rank",
            "A dense or softmax layer with more than one dimension",
            "For example, a fully-connected or softmax layer with 2D output",
            "The output of FULLY_CONNECTED and SOFTMAX must have one dimension above 1; this one "
            "computes several rows at once.",
            "Give the layer one row: Flatten or Reshape before Dense, or a 1x1 convolution "
            "instead of it.",
            "google-coral/edgetpu issues 25, 27",
        ),
        _status(
            "status.one_subgraph",
            "An operator after one that does not map",
            "More than one subgraph is not supported",
            "The compiler maps one region of the graph. This operator could map, but it depends on "
            "an operator that stays on the CPU and comes after mapped ones.",
            "Fix the first operator in the table with another status; then these map too. "
            "edgekit check MODEL names it. Compilers from 15.0 on can build several regions "
            "(--enable-multiple-subgraphs), which is often slower.",
            "google-coral/edgetpu issues 317, 342",
        ),
    )
}
