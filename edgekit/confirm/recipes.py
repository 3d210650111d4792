# SPDX-License-Identifier: Apache-2.0
"""The networks of the ladder: a name, an input shape, and the operators.

First come stacks of convolutions whose instructions are Google's to the byte, then networks inside
the audited vocabulary, then networks with few instructions of a form that is not in it. They were
chosen from 500 candidates: those whose new forms occur most often in other networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from edgekit.confirm.networks import NetworkBuilder
from edgekit.formats.tflite import Model

Step = Tuple[str, Tuple[Any, ...], Any]  # a method of `NetworkBuilder` with its arguments


@dataclass(frozen=True)
class Recipe:
    """One network of the ladder."""

    name: str
    shape: tuple[int, ...]  # of the input, without the batch
    steps: tuple[Step, ...]
    scales: tuple[float, ...] = ()
    spread: float = 1.0  # of the input; larger for a softmax, which then has few large results
    like: str = ""  # the published model whose instructions it has to the byte; "" if none

    def model(self) -> Model:
        """Return the network."""
        network = NetworkBuilder(self.name, self.shape, self.scales, self.spread)
        for method, arguments, options in self.steps:
            getattr(network, method)(*arguments, **options)
        return network.model()


def _do(method: str, *arguments: Any, **options: Any) -> Step:  # noqa: ANN401 - of several types
    return method, arguments, options


def _conv(channels: int, rows: int, columns: int = 0, **options: Any) -> Step:  # noqa: ANN401
    return _do("convolution", channels, (rows, columns or rows), **options)


def _depthwise(**options: Any) -> Step:  # noqa: ANN401
    return _do("depthwise", (3, 3), **options)


def _with_itself(opcode: str, channels: int) -> tuple[Step, ...]:
    """``x`` and a convolution of it as the two operands."""
    return (
        _do("keep", "x"),
        _conv(channels, 1, activation="NONE"),
        _do("binary", opcode, "x"),
    )


def _stack(channels: int, macs: int, *scales: float) -> Recipe:
    """Two convolutions as in a public data set of compiled models, with its scales.

    The models are in github.com/Jorgitou98/EdgeTPU-QuantRL-Evaluation; the scales are the only
    numbers of theirs in the instructions.
    """
    return Recipe(
        f"two convolutions of {channels} channels",
        (64, 64, 3),
        (_conv(channels, 3), _conv(channels, 3)),
        scales,
        like=f"N{channels}-nMACs{macs}_quant",
    )


_RELU6: dict[str, Any] = {"activation": "RELU6"}
_MAX, _MEAN = "MAX_POOL_2D", "AVERAGE_POOL_2D"
_NEAREST, _BILINEAR = "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"
_MOBILE = (_conv(16, 3, stride=2, **_RELU6), _depthwise(), _conv(32, 1, **_RELU6))

IDENTICAL = (
    _stack(120, 544112640, 0.003921568859368563, 0.0027723927050828934, 0.0017653637332841754),
    _stack(160, 961413120, 0.0039215548895299435, 0.002019269857555628, 0.001623252173885703),
    _stack(180, 1214300160, 0.003921566531062126, 0.0019350050715729594, 0.0013951562577858567),
    _stack(250, 2331648000, 0.003921560477465391, 0.001675433712080121, 0.0010307671036571264),
    _stack(275, 2818252800, 0.003921568393707275, 0.0016254031797870994, 0.0011750146513804793),
)

SEEN = (
    Recipe("mean of 2x2 windows", (4, 4, 8), (_do("pool", _MEAN, 2, 2),)),
    Recipe("largest of 2x2 windows", (4, 4, 8), (_do("pool", _MAX, 2, 2),)),
    Recipe("1x1 convolution of 16 channels", (4, 4, 16), (_conv(16, 1),)),
    Recipe("dense layer of 128 values", (128,), (_do("dense", 128, activation="RELU"),)),
    Recipe("dense layer of 256 values", (256,), (_do("dense", 256),)),
    Recipe(
        "dense layer and softmax of 10 classes", (64,), (_do("dense", 10), _do("unary", "SOFTMAX"))
    ),
    Recipe("1x1 convolution", (16, 16, 16), (_conv(32, 1),)),
    Recipe(
        "concatenation", (16, 16, 16), (_do("keep", "x"), _conv(16, 1), _do("concatenation", "x"))
    ),
    Recipe("softmax of 100 classes", (100,), (_do("unary", "SOFTMAX"),), spread=4.0),
    Recipe("3x3 convolution without padding", (28, 28, 1), (_conv(32, 3, padding="VALID"),)),
    Recipe("3x3 convolution of an image", (32, 32, 3), (_conv(16, 3),)),
    Recipe(
        "MobileNet's end",
        (7, 7, 128),
        (_conv(256, 1, **_RELU6), _do("mean"), _do("dense", 100)),
    ),
    Recipe("MobileNet's first block", (32, 32, 3), _MOBILE),
    Recipe(
        "classifier of digits",
        (28, 28, 1),
        (_conv(12, 3, padding="VALID"), _do("pool", _MAX, 2, 2), _do("dense", 10)),
    ),
    Recipe("3x3 convolution", (16, 16, 32), (_conv(32, 3),)),
    Recipe("1x1 convolution of 256 channels", (8, 8, 256), (_conv(256, 1),)),
    Recipe(
        "deeper classifier of digits",
        (28, 28, 1),
        (
            _conv(32, 3, padding="VALID"),
            _do("pool", _MAX, 2, 2),
            _conv(64, 3, padding="VALID"),
            _do("pool", _MAX, 2, 2),
            _do("dense", 10),
        ),
    ),
    Recipe("two 3x3 convolutions", (32, 32, 3), (_conv(16, 3), _conv(16, 3))),
    Recipe(
        "two 3x3 convolutions without padding",
        (28, 28, 1),
        (_conv(32, 3, padding="VALID"), _conv(64, 3, padding="VALID")),
    ),
    Recipe("three convolutions", (32, 32, 3), (_conv(16, 3), _conv(32, 3), _conv(64, 1))),
    Recipe("four 3x3 convolutions", (16, 16, 16), (_conv(32, 3),) * 4),
    Recipe("1x1 convolution of 512 channels", (8, 8, 512), (_conv(512, 1),)),
    Recipe(
        "three blocks of MobileNet",
        (64, 64, 3),
        (
            _conv(32, 3, stride=2, **_RELU6),
            _depthwise(),
            _conv(64, 1, **_RELU6),
            _depthwise(stride=2),
            _conv(128, 1, **_RELU6),
            _depthwise(),
            _conv(128, 1, **_RELU6),
        ),
    ),
)

UNSEEN = (
    Recipe("1x1 convolution of 8 channels", (4, 4, 8), (_conv(16, 1),)),
    Recipe(
        "nearest neighbours, twice the size",
        (4, 4, 8),
        (_do("resize", _NEAREST, 8, 8, half_pixel=False),),
    ),
    Recipe("dense layer of 784 values", (784,), (_do("dense", 128, activation="RELU"),)),
    Recipe("1x3 and 3x1 convolutions", (16, 16, 8), (_conv(16, 1, 3), _conv(16, 3, 1))),
    Recipe("depthwise with two results a channel", (16, 16, 8), (_depthwise(multiplier=2),)),
    Recipe(
        "3x3 convolution of 16 channels without padding",
        (16, 16, 16),
        (_conv(16, 3, padding="VALID"),),
    ),
    Recipe("softmax of 1,000 classes", (1000,), (_do("unary", "SOFTMAX"),), spread=8.0),
    Recipe("hyperbolic tangent", (4, 4, 8), (_do("unary", "TANH"),)),
    Recipe("mean of 2x2 windows, one a tile", (8, 8, 8), (_do("pool", _MEAN, 2, 2),)),
    Recipe("largest of 2x2 windows, four a tile", (16, 16, 8), (_do("pool", _MAX, 2, 2),)),
    Recipe("mean of 2x2 windows, four a tile", (16, 16, 8), (_do("pool", _MEAN, 2, 2),)),
    Recipe("softmax of 64 positions", (8, 8, 8), (_do("unary", "SOFTMAX"),), spread=2.0),
    Recipe("slice of rows and columns", (7, 7, 8), (_do("strided_slice", (1, 1), (6, 6)),)),
    Recipe("depth to space", (8, 8, 16), (_do("blocks", "DEPTH_TO_SPACE"),)),
    Recipe("space to depth", (16, 16, 4), (_do("blocks", "SPACE_TO_DEPTH"),)),
    Recipe(
        "bilinear, twice the size", (4, 4, 8), (_do("resize", _BILINEAR, 8, 8, half_pixel=False),)
    ),
    Recipe("maximum of two tensors", (8, 8, 8), _with_itself("MAXIMUM", 8)),
    Recipe(
        "softmax of 64 positions and 16 channels",
        (8, 8, 16),
        (_do("unary", "SOFTMAX"),),
        spread=2.0,
    ),
    Recipe("3x3 convolution with stride 2", (32, 32, 3), (_conv(16, 3, stride=2),)),
    Recipe("depthwise of a small image with stride 2", (4, 4, 16), (_depthwise(stride=2),)),
    Recipe("mean of a small image", (4, 4, 8), (_do("mean"),)),
    Recipe("mean of an odd image", (5, 5, 8), (_do("mean"),)),
    Recipe("mean of a 7x7 image", (7, 7, 16), (_do("mean"),)),
    Recipe("mean of an image", (8, 8, 8), (_do("mean"),)),
    Recipe("transposed convolution", (8, 8, 8), (_do("transpose_convolution", 8, 2, 2),)),
    Recipe("product of two tensors", (8, 8, 8), _with_itself("MUL", 8)),
    Recipe("3x3 convolution of an odd image", (13, 17, 5), (_conv(7, 3),)),
    Recipe(
        "hard swish and depthwise",
        (16, 16, 8),
        (
            _conv(16, 3, activation="NONE"),
            _do("unary", "HARD_SWISH"),
            _depthwise(activation="NONE"),
            _do("unary", "HARD_SWISH"),
        ),
    ),
    Recipe("1x1 convolution of 4 channels", (8, 8, 4), (_conv(16, 1),)),
    Recipe("mean of 2x2 windows of an odd image", (13, 11, 8), (_do("pool", _MEAN, 2, 2),)),
    Recipe("largest of 2x2 windows of an odd image", (13, 11, 8), (_do("pool", _MAX, 2, 2),)),
    Recipe(
        "concatenation of rows",
        (8, 8, 16),
        (_do("keep", "x"), _conv(16, 1), _do("concatenation", "x", axis=1)),
    ),
    Recipe("convolution and dense layer", (8, 8, 8), (_conv(16, 1), _do("dense", 10))),
    Recipe("3x3 convolution without bias", (16, 16, 8), (_conv(16, 3, bias=False),)),
)

RECIPES = (*IDENTICAL, *SEEN, *UNSEEN)
