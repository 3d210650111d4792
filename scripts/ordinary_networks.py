# SPDX-License-Identifier: Apache-2.0
"""Int8 networks of the kinds that most users train, with random weights; TensorFlow is not needed.

    python scripts/ordinary_networks.py

Compiles each of `networks` and prints which programs are wholly inside the audited vocabulary.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgekit.formats.tflite import Model, Subgraph
from edgekit.opencompiler.program import compile_program
from scripts.random_operators import Graph

_KINDS = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions"}


class Layers:
    """A network under construction; each method takes and returns the index of an activation."""

    def __init__(self, height: int, width: int, channels: int, *, per_channel: bool = True) -> None:
        self.graph = Graph(np.random.default_rng(0), "INT8")
        self.image = self.graph.activation((1, height, width, channels), 1.0)
        self.per_channel = per_channel

    def conv(
        self, x: int, filters: int, size: int = 3, stride: int = 1, fused: str = "RELU"
    ) -> int:
        """A convolution with padding SAME and a bias."""
        shape = (filters, size, size, self.graph.shape(x)[3])
        return self._convolution("CONV_2D", x, shape, 0, stride, fused)

    def depthwise(self, x: int, size: int = 3, stride: int = 1) -> int:
        """A depthwise convolution with padding SAME, a bias and RELU6."""
        shape = (1, size, size, self.graph.shape(x)[3])
        return self._convolution("DEPTHWISE_CONV_2D", x, shape, 3, stride, "RELU6")

    def _convolution(
        self, opcode: str, x: int, shape: Sequence[int], axis: int, stride: int, fused: str
    ) -> int:
        graph, (_, height, width, _) = self.graph, self.graph.shape(x)
        weights, spread = graph.weights(shape, axis, per_channel=self.per_channel)
        spread *= graph.spreads[x] * float(np.sqrt(np.prod(shape) / shape[axis]))
        bias = graph.bias(x, weights, shape[axis], spread)
        made = graph.activation((1, -(-height // stride), -(-width // stride), shape[axis]), spread)
        options = {"padding": "SAME", "stride_h": stride, "stride_w": stride}
        options.update(fused_activation_function=fused)
        if opcode == "DEPTHWISE_CONV_2D":
            options.update(depth_multiplier=1)
        return graph.add(opcode, (x, weights, bias), made, _KINDS[opcode], **options)

    def max_pool(self, x: int) -> int:
        """The maximum of 2 x 2 positions."""
        _, height, width, channels = self.graph.shape(x)
        made = self.graph.like(x, (1, height // 2, width // 2, channels))
        options = {"padding": "VALID", "fused_activation_function": "NONE"}
        sizes = {"stride_h": 2, "stride_w": 2, "filter_height": 2, "filter_width": 2}
        return self.graph.add("MAX_POOL_2D", (x,), made, "Pool2DOptions", **options, **sizes)

    def sum(self, x: int, y: int) -> int:
        """A residual connection."""
        graph = self.graph
        made = graph.activation(graph.shape(x), graph.spreads[x] + graph.spreads[y])
        return graph.add("ADD", (x, y), made, "AddOptions", fused_activation_function="NONE")

    def mean(self, x: int) -> int:
        """The mean over all positions."""
        graph = self.graph
        made = graph.activation((1, graph.shape(x)[3]), graph.spreads[x])
        axes = graph.integers([1, 2])
        return graph.add("MEAN", (x, axes), made, "ReducerOptions", keep_dims=False)

    def dense(self, x: int, outputs: int, fused: str = "NONE") -> int:
        """A dense layer, with a reshape before it if its input is an image."""
        graph = self.graph
        length = int(np.prod(graph.shape(x)))
        if len(graph.shape(x)) > 2:
            sizes = graph.integers([1, length])
            x = graph.add("RESHAPE", (x, sizes), graph.like(x, (1, length)), "ReshapeOptions")
        weights, spread = graph.weights((outputs, length), 0, per_channel=False)
        spread *= graph.spreads[x] * float(np.sqrt(length))
        bias = graph.bias(x, weights, outputs, spread)
        made = graph.activation((1, outputs), spread)
        kind = "FullyConnectedOptions"
        return graph.add(
            "FULLY_CONNECTED", (x, weights, bias), made, kind, fused_activation_function=fused
        )

    def softmax(self, x: int) -> int:
        """A softmax."""
        made = self.graph.fixed(x, 1 / 256, -128)
        return self.graph.add("SOFTMAX", (x,), made, "SoftmaxOptions", beta=1.0)

    def model(self, end: int) -> Model:
        """The network up to ``end``."""
        graph = self.graph
        main = Subgraph(tuple(graph.tensors), (self.image,), (end,), tuple(graph.operators), "main")
        return Model((main,), tuple(graph.buffers), "an ordinary network")


def separable(size: int, width: int, classes: int) -> Model:
    """A small MobileNet v1: depthwise and pointwise convolutions, mean, dense layer, softmax."""
    net = Layers(size, size, 3)
    x = net.conv(net.image, width, stride=2)
    for stride, filters in ((1, 2), (2, 4), (1, 4), (2, 8), (2, 16)):
        x = net.conv(net.depthwise(x, stride=stride), filters * width, 1)
    return net.model(net.softmax(net.dense(net.mean(x), classes)))


def inverted_residuals(size: int, width: int, classes: int) -> Model:
    """A small MobileNet v2: expansion, depthwise convolution, projection, residual connections."""
    net = Layers(size, size, 3)
    x = net.conv(net.image, 2 * width, stride=2)
    for stride in (1, 2, 1, 2, 1):
        inside = net.depthwise(net.conv(x, 6 * width, 1), stride=stride)
        made = net.conv(inside, width, 1, fused="NONE")
        x = net.sum(x, made) if net.graph.shape(x) == net.graph.shape(made) else made
    return net.model(net.softmax(net.dense(net.mean(net.conv(x, 8 * width, 1)), classes)))


def residual(size: int, width: int, classes: int) -> Model:
    """A small ResNet."""
    net = Layers(size, size, 3)
    x = net.conv(net.image, width)
    for filters in (width, 2 * width, 4 * width):
        stride = 1 if filters == width else 2
        y = net.conv(net.conv(x, filters, stride=stride), filters, fused="NONE")
        z = x if stride == 1 else net.conv(x, filters, 1, stride, fused="NONE")
        x = net.sum(y, z)
    return net.model(net.softmax(net.dense(net.mean(x), classes)))


def plain(size: int, channels: int, widths: Sequence[int], hidden: int, classes: int) -> Model:
    """Convolutions with pools between them, and one or two dense layers."""
    net = Layers(size, size, channels)
    x = net.image
    for width in widths:
        x = net.max_pool(net.conv(x, width))
    x = net.dense(x, hidden, "RELU") if hidden else x
    return net.model(net.softmax(net.dense(x, classes)))


def networks() -> Iterator[tuple[str, Model]]:
    """Yield (name, network) for 96 of them, small and large, with 2 to 1,000 classes."""
    for size in (32, 64, 96, 128, 160, 192, 224):
        for width in (8, 24):
            for classes in (2, 1000):
                name = f"separable {size} {width} {classes}"
                yield name, separable(size, width, classes)
    for size in (64, 96, 160, 224):
        for width in (8, 16, 24, 32):
            yield f"inverted residuals {size} {width}", inverted_residuals(size, width, 7)
    for size in (32, 40, 64, 96):
        for width in (16, 32, 48, 64):
            yield f"residual {size} {width}", residual(size, width, 10)
    for size in (28, 32, 50, 64, 96, 128):
        for channels in (1, 3):
            for widths, hidden in (((8,), 0), ((16, 32), 64), ((32, 64, 64), 128)):
                name = f"plain {size} {channels} {len(widths)} {hidden}"
                yield name, plain(size, channels, widths, hidden, 6)


def main() -> None:
    """Print a row for each network, and the share."""
    inside = number = 0
    for name, model in networks():
        audit = compile_program(model, verified=False).audit
        number, inside = number + 1, inside + audit.is_seen
        print(f"{name}: {audit.num_unseen} of {audit.num_instructions} instructions unseen")
    print(f"{inside} of {number} networks are wholly inside the vocabulary")


if __name__ == "__main__":
    main()
