# SPDX-License-Identifier: Apache-2.0
"""What maps to the Edge TPU, as data: for each operator its limits, evidence and source.

The documentation's page of supported operations is generated from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Mapping

from edgekit.edgetpu import limits
from edgekit.edgetpu.limits import Crossed
from edgekit.edgetpu.operation import Operation

# The compiler's own words (column "Status" of its operation log).
MAPPED = "Mapped to Edge TPU"
UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
SECOND_SUBGRAPH = "More than one subgraph is not supported"
NOT_SUPPORTED = "Operation not supported"
VERSION = "Operation version not supported"
DATA_TYPE = "Operation is working on an unsupported data type"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
STRIDES = "Only Strided-Slice with unitary strides supported"
NOT_CONSTANT = "Filter, bias, or other param is not constant at compile-time"

_TABLE = "coral.ai, supported operations"
_MEASURED = "compiled models, tensor by tensor"
_ALWAYS = (0, 99)
_BEFORE_13 = (0, 12)


@dataclass(frozen=True)
class Limit:
    """A condition on an operator; its text is the first line of the function's docstring."""

    check: Callable[[Operation], Crossed | None]
    fix: str
    status: str = UNSPECIFIED
    runtimes: tuple[int, int] = _ALWAYS  # first and last runtime version with this limit
    source: str = _TABLE

    @property
    def name(self) -> str:
        """The rule's name in results: ``small_reshape``."""
        return self.check.__name__

    @property
    def text(self) -> str:
        """The condition, as a sentence."""
        return (self.check.__doc__ or "").splitlines()[0].rstrip(".")


@dataclass(frozen=True)
class OpRule:
    """When one operator maps."""

    opcode: str
    since: int = 10  # runtime version
    max_version: int = 2  # of the operator; higher ones are unknown
    limits: tuple[Limit, ...] = ()
    seen_mapped: int = 0  # instances in the compiled models used to measure the rules
    seen_refused: int = 0  # those refused for a limit of the operator itself
    source: str = _TABLE
    version_since: Mapping[int, int] | None = None  # operator version -> runtime version

    @property
    def evidence(self) -> str:
        """The source, and how often the operator was seen mapped in compiled models."""
        if not self.seen_mapped:
            return f"{self.source}; not seen in a compiled model"
        return f"{self.source}; seen mapped {self.seen_mapped:,} times"


_FUSED = Limit(limits.no_fused_activation, "put the activation into a separate layer")
_WEIGHTS = Limit(
    limits.constant_weights,
    "make weights and bias constants of the network; a product of two activations does not map",
    NOT_CONSTANT,
    source="log of compiler 2.0",
)
_STORED = Limit(
    limits.stored_densely,
    "edgekit fix MODEL -o OUT.tflite makes them dense",
    source=_MEASURED,
)
_RESIZE = Limit(
    limits.small_factor,
    "resize by 2, in several steps if necessary; or end before the resize and do it on the host",
    source=f"{_TABLE} (some sizes are refused to protect precision); {_MEASURED}; "
    "google-coral/edgetpu issue 31",
)
_DILATION = (
    "edgekit fix MODEL -o OUT.tflite puts zeros between the weights; or use the same dilation in x "
    "and y"
)
_BROADCAST = Limit(
    limits.plain_broadcast,
    "edgekit fix MODEL -o OUT.tflite repeats it; or give both inputs one shape",
    source=_MEASURED,
)
_BATCH = "do not use the batch (the first of four dimensions)"

OP_RULES: Mapping[str, OpRule] = {
    rule.opcode: rule
    for rule in (
        OpRule("ADD", limits=(_BROADCAST,), seen_mapped=963),
        OpRule("AVERAGE_POOL_2D", limits=(_FUSED,), seen_mapped=85),
        OpRule(
            "CONCATENATION",
            limits=(
                _FUSED,
                Limit(
                    limits.even_join,
                    "give every part a multiple of 4 channels, or join on the host",
                    source=f"{_TABLE}; {_MEASURED}",
                ),
            ),
            seen_mapped=73,
        ),
        OpRule(
            "CONV_2D",
            max_version=3,
            limits=(
                _WEIGHTS,
                _STORED,
                Limit(limits.equal_dilation, _DILATION),
                Limit(limits.no_groups, "use groups=1 or a DepthwiseConv2D", source=_MEASURED),
            ),
            seen_mapped=3177,
        ),
        OpRule(
            "DEPTHWISE_CONV_2D",
            max_version=3,
            limits=(
                _WEIGHTS,
                _STORED,
                Limit(limits.equal_dilation, _DILATION),
            ),
            seen_mapped=1632,
        ),
        OpRule("EXPAND_DIMS", since=13, max_version=1),
        OpRule(
            "FULLY_CONNECTED",
            max_version=4,
            limits=(
                _WEIGHTS,
                _STORED,
                Limit(
                    limits.vector_output,
                    "edgekit fix MODEL -o OUT.tflite makes it a 1x1 convolution; or apply the "
                    "dense layer to one vector",
                ),
            ),
            seen_mapped=494,
        ),
        OpRule("L2_NORMALIZATION"),
        OpRule("LOGISTIC", seen_mapped=118),
        OpRule("MAXIMUM", limits=(_BROADCAST,), seen_mapped=23),
        OpRule("MAX_POOL_2D", limits=(_FUSED,), seen_mapped=28),
        OpRule(
            "MEAN",
            limits=(
                Limit(
                    limits.spatial_mean,
                    "average in two steps, over parts of the image and then over their means",
                    source=f"{_TABLE}; google-coral/edgetpu issues 183 and 461",
                ),
                Limit(limits.only_spatial, "compile for runtime 13 or later", runtimes=_BEFORE_13),
            ),
            seen_mapped=3,
        ),
        OpRule("MINIMUM", limits=(_BROADCAST,)),
        OpRule("MUL", limits=(_BROADCAST,), seen_mapped=143),
        OpRule("PACK", since=13, limits=(Limit(limits.axis_not_batch, _BATCH),)),
        OpRule("PAD", limits=(Limit(limits.pad_not_batch, _BATCH),), seen_mapped=104),
        OpRule(
            "PRELU",
            since=13,
            max_version=1,
            limits=(Limit(limits.vector_alpha, "use PReLU(shared_axes=[1, 2])"),),
        ),
        OpRule("QUANTIZE", seen_mapped=217, source=_MEASURED),
        OpRule("REDUCE_MAX", since=14, limits=(Limit(limits.not_batch, _BATCH),)),
        OpRule("REDUCE_MIN", since=14, limits=(Limit(limits.not_batch, _BATCH),)),
        OpRule("RELU"),
        OpRule("RELU6"),
        OpRule("RELU_N1_TO_1", max_version=1),
        OpRule(
            "RESHAPE",
            max_version=1,
            limits=(
                Limit(
                    limits.small_reshape,
                    "reshape smaller tensors, or end before it and reshape on the host (free)",
                    source=f"{_TABLE} (refuses large ones); {_MEASURED}; log of compiler 1.0",
                ),
            ),
            seen_mapped=96,
            seen_refused=2,
        ),
        OpRule("RESIZE_BILINEAR", max_version=3, limits=(_RESIZE,), seen_mapped=4, seen_refused=9),
        OpRule(
            "RESIZE_NEAREST_NEIGHBOR",
            max_version=3,
            limits=(_RESIZE,),
            seen_mapped=4,
            source=f"{_TABLE}; logs of compilers 14.1 and 16, one of EfficientDet-Lite0",
            version_since={3: 14},
        ),
        OpRule(
            "RSQRT",
            since=14,
            limits=(Limit(limits.never_seen, "compile the model and look at the log"),),
        ),
        OpRule("SLICE"),
        OpRule(
            "SOFTMAX",
            limits=(
                Limit(
                    limits.one_vector,
                    "apply it to one vector, or compute it on the host",
                    source=f"{_TABLE}; {_MEASURED}; logs of compiler 16 (YOLOv8)",
                ),
            ),
            seen_mapped=104,
        ),
        OpRule("SPACE_TO_DEPTH"),
        OpRule("SPLIT", limits=(Limit(limits.split_not_batch, _BATCH),), seen_mapped=2),
        OpRule(
            "SQUARED_DIFFERENCE",
            since=14,
            limits=(Limit(limits.never_seen, "compile the model and look at the log"),),
        ),
        OpRule("SQUEEZE"),
        OpRule(
            "STRIDED_SLICE",
            limits=(
                Limit(
                    limits.unit_strides,
                    "keep every value, and reduce them with a strided convolution or pooling",
                    STRIDES,
                    source=f"{_TABLE}; the compiler's status",
                ),
            ),
            seen_mapped=32,
        ),
        OpRule("SUB", limits=(_BROADCAST,), seen_mapped=2),
        OpRule("SUM", since=13, limits=(Limit(limits.not_batch, _BATCH),)),
        OpRule("TANH"),
        OpRule(
            "TILE",
            since=12,
            max_version=1,
            limits=(Limit(limits.broadcast_tile, "use an addition that broadcasts instead"),),
            seen_mapped=1,
            source=_MEASURED,
        ),
        OpRule(
            "TRANSPOSE",
            since=14,
            limits=(
                Limit(
                    limits.small_transpose,
                    "export the network channels-last (NHWC), or transpose on the host",
                    source=_MEASURED,
                ),
            ),
            seen_mapped=2,
            seen_refused=4,
            source="google-coral/edgetpu issues 193 and 242; log of compiler 16; onnxsim pull "
            "request 1418",
        ),
        OpRule(
            "TRANSPOSE_CONV",
            since=13,
            max_version=3,
            limits=(
                Limit(
                    limits.some_sizes,
                    "use UpSampling2D (nearest) and Conv2D",
                    source="google-coral/edgetpu issues 509, 684 and 686",
                ),
            ),
        ),
        OpRule(
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            since=12,
            max_version=1,
            limits=(Limit(limits.plain_lstm, "use a plain LSTM", source=_MEASURED),),
            seen_mapped=1,
        ),
    )
}
