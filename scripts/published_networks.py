# SPDX-License-Identifier: Apache-2.0
"""Networks with published latencies, as int8 models without weights.

Their shapes come from keras.applications, from a paper, or from a model of the corpus with another
input size. An estimate needs only shapes, so constants are views of a single byte.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor

_PER_TENSOR = Quantization((0.5,), (128,))
_ALIASES = ("Activation", "ReLU", "Dropout", "Reshape", "Flatten", "InputLayer")
_OPCODES = {
    "Add": "ADD",
    "CustomScaleLayer": "ADD",  # keras.applications' name for x + scale * residual
    "Concatenate": "CONCATENATION",
    "MaxPooling2D": "MAX_POOL_2D",
    "AveragePooling2D": "AVERAGE_POOL_2D",
    "GlobalAveragePooling2D": "MEAN",
    "ZeroPadding2D": "PAD",
}
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Filters of GoogLeNet's modules: 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection. A pooling
# with stride 2 comes before the third and the eighth (Szegedy et al., Going deeper with
# convolutions, table 1; TensorFlow's Inception v1 has 3x3 instead of 5x5).
_GOOGLENET = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)


def keras_network(name: str) -> Any:  # noqa: ANN401 - Keras has no types
    """Return the Keras model for the name of a published latency, with random weights."""
    import keras  # noqa: PLC0415 - it takes seconds, and not every network needs it

    make = keras.applications
    if name == "inception_v1":
        return _googlenet(keras)
    size = (299, 299, 3)
    return {
        "inception_v3": lambda: make.InceptionV3(weights=None),
        "inception_resnet_v2": lambda: make.InceptionResNetV2(weights=None),
        "resnet_50_v2": lambda: make.ResNet50V2(weights=None, input_shape=size),
        "resnet_50": lambda: make.ResNet50(weights=None, input_shape=size),
        "resnet_152_v2": lambda: make.ResNet152V2(weights=None, input_shape=size),
        "densenet_121": lambda: make.DenseNet121(weights=None),
        "vgg16": lambda: make.VGG16(weights=None),
        "vgg19": lambda: make.VGG19(weights=None),
    }[name]()


def from_keras(network: Any) -> Model:  # noqa: ANN401 - Keras has no types
    """Return the int8 form of a Keras classifier: batch norms folded, activations fused.

    Padding before a maximum pooling becomes the pooling's own: the published networks are those of
    TensorFlow's slim library, which has no such layer.
    """
    graph = _Graph()
    for layer in network.layers:
        kind = type(layer).__name__
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        inputs = [graph.names[id(each)] for each in sources if id(each) in graph.names]
        shape = tuple(1 if size is None else size for size in layer.output.shape)
        graph.names[id(layer.output)] = _add_layer(graph, kind, layer, inputs, shape)
    return graph.model(graph.names[id(network.outputs[0])])


def at_input_size(model: Model, height: int, width: int) -> Model:
    """Return the same fully convolutional network for another input size.

    Operators keep their strides, and what they add to (or take off) the input's size divided by
    the stride, rounded up.
    """
    graph = model.main
    before = graph.tensors
    first = graph.tensors[graph.inputs[0]]
    tensors = list(graph.tensors)
    tensors[graph.inputs[0]] = replace(first, shape=(1, height, width, first.shape[3]))
    for operator in graph.operators:
        source, strides = (
            operator.inputs[0],
            (operator.options.get(f"stride_{axis}", 1) for axis in "hw"),
        )
        axes = [
            (-(-new // by), -(-old // by))
            for new, old, by in zip(
                tensors[source].shape[1:3], before[source].shape[1:3], strides, strict=False
            )
        ]
        for index in operator.outputs:
            shape = before[index].shape
            if len(shape) == 4:
                sizes = (
                    size + new - old for size, (new, old) in zip(shape[1:3], axes, strict=True)
                )
                tensors[index] = replace(tensors[index], shape=(1, *sizes, shape[3]))
    return replace(model, subgraphs=(replace(graph, tensors=tuple(tensors)),))


class _Graph:
    """Tensors and operators of a model that is being built."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.buffers: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
        self.names: dict[int, int] = {}  # id of a Keras tensor -> index

    def tensor(
        self, shape: tuple[int, ...], *, constant: bool = False, dtype: str = "UINT8"
    ) -> int:
        buffer = 0
        if constant:
            size = int(np.prod(shape)) * (4 if dtype == "INT32" else 1)
            one = np.ones(size, np.uint8) if dtype == "INT32" else np.ones(1, np.uint8)
            self.buffers.append(np.broadcast_to(one, (size,)))
            buffer = len(self.buffers) - 1
        self.tensors.append(Tensor(str(len(self.tensors)), shape, dtype, buffer, _PER_TENSOR))
        return len(self.tensors) - 1

    def numbers(self, values: list[int] | list[tuple[int, int]]) -> int:
        """Add an INT32 constant that an operator reads, such as axes or paddings."""
        found = np.array(values, np.int32)
        self.buffers.append(found.reshape(-1).view(np.uint8))
        self.tensors.append(
            Tensor(str(len(self.tensors)), found.shape, "INT32", len(self.buffers) - 1)
        )
        return len(self.tensors) - 1

    def operator(
        self, opcode: str, inputs: list[int], shape: tuple[int, ...], **options: int | str
    ) -> int:
        output = self.tensor(shape)
        self.operators.append(Operator(opcode, 1, tuple(inputs), (output,), options))
        return output

    def undo(self) -> int:
        """Take back the last operator, whose output nothing reads; return its first input."""
        return self.operators.pop().inputs[0]

    def opcode_of(self, tensor: int) -> str:
        return next((op.opcode for op in self.operators if tensor in op.outputs), "")

    def model(self, output: int) -> Model:
        graph = Subgraph(tuple(self.tensors), (0,), (output,), tuple(self.operators))
        return Model((graph,), tuple(self.buffers))


def _add_layer(
    graph: _Graph,
    kind: str,
    layer: Any,  # noqa: ANN401 - Keras has no types
    inputs: list[int],
    shape: tuple[int, ...],
) -> int:
    if kind == "InputLayer":
        return graph.tensor(shape)
    if kind == "BatchNormalization" and graph.opcode_of(inputs[0]) not in _CONVOLUTIONS:
        scale = graph.tensor((1, 1, 1, shape[-1]), constant=True)
        product = graph.operator("MUL", [inputs[0], scale], shape)
        return graph.operator("ADD", [product, scale], shape)
    if kind in _ALIASES or kind == "BatchNormalization":
        return inputs[0]
    weights = _weights(kind, layer)
    if weights is not None:
        opcode, weight_shape = weights
        constant = graph.tensor(weight_shape, constant=True)
        bias = graph.tensor((shape[-1],), constant=True, dtype="INT32")
        return graph.operator(opcode, [inputs[0], constant, bias], shape, **_options(layer))
    if kind == "MaxPooling2D" and graph.opcode_of(inputs[0]) == "PAD":
        source = graph.undo()
        options = {**_options(layer), "padding": "SAME"}
        return graph.operator(_OPCODES[kind], [source], shape, **options)
    if kind == "ZeroPadding2D":
        inputs.append(graph.numbers([(0, 0), *layer.padding, (0, 0)]))
    if kind == "GlobalAveragePooling2D":
        inputs.append(graph.numbers([1, 2]))
    if kind == "Concatenate":
        return graph.operator("CONCATENATION", inputs, shape, axis=len(shape) - 1)
    return graph.operator(_OPCODES[kind], inputs, shape, **_options(layer))


def _options(layer: Any) -> dict[str, int | str]:  # noqa: ANN401 - Keras has no types
    """The window of a layer, as TensorFlow Lite's options name it."""
    options: dict[str, int | str] = {}
    for name, fields in (
        ("pool_size", ("filter_height", "filter_width")),
        ("strides", ("stride_h", "stride_w")),
    ):
        if hasattr(layer, name):
            options.update(zip(fields, getattr(layer, name), strict=True))
    if options:
        options["padding"] = layer.padding.upper()
    return options


def _weights(kind: str, layer: Any) -> tuple[str, tuple[int, ...]] | None:  # noqa: ANN401
    if kind == "Conv2D":
        height, width, ins, outs = layer.kernel.shape
        return "CONV_2D", (outs, height, width, ins)
    if kind == "DepthwiseConv2D":
        height, width, ins, _ = layer.kernel.shape
        return "DEPTHWISE_CONV_2D", (1, height, width, ins)
    if kind == "Dense":
        ins, outs = layer.kernel.shape
        return "FULLY_CONNECTED", (outs, ins)
    return None


def _googlenet(keras: Any) -> Any:  # noqa: ANN401 - Keras has no types
    layers = keras.layers

    def conv(x: Any, filters: int, kernel: int, stride: int = 1) -> Any:  # noqa: ANN401
        return layers.Conv2D(filters, kernel, stride, "same", activation="relu")(x)

    def pool(x: Any, stride: int) -> Any:  # noqa: ANN401
        return layers.MaxPooling2D(3, stride, "same")(x)

    image = keras.Input((224, 224, 3))
    x = pool(conv(image, 64, 7, 2), 2)
    x = pool(conv(conv(x, 64, 1), 192, 3), 2)
    for number, (one, reduce3, three, reduce5, five, project) in enumerate(_GOOGLENET):
        x = pool(x, 2) if number in (2, 7) else x
        branches = (
            conv(x, one, 1),
            conv(conv(x, reduce3, 1), three, 3),
            conv(conv(x, reduce5, 1), five, 3),
            conv(pool(x, 1), project, 1),
        )
        x = layers.Concatenate()(list(branches))
    x = layers.Dense(1001)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, x)
