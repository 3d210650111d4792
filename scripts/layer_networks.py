# SPDX-License-Identifier: Apache-2.0
"""The networks of docs/layers.md: one for each kind of layer, applications, PyTorch's exports.

A builder returns a Keras model, or a function of NumPy weights and its input shape, which computes
in PyTorch's order of axes (NCHW) as exporters write it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import layers

_IMAGE = (16, 16, 3)
_SEQUENCE = (12, 8)
_CHANNELS = 16
_APPLICATION_INPUT = (64, 64, 3)

Tensor: TypeAlias = Any  # TensorFlow and Keras have no types
Network: TypeAlias = Any
Build = Callable[[], Network]


@dataclass(frozen=True)
class Export:
    """A network as an exporter writes it: ``function`` maps an input of ``shape`` to outputs."""

    function: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]


# -- layers of Keras


def _image(*middle: Network, outputs: int = 5) -> Build:
    """A convolution, the layers in question, another convolution and a dense layer."""

    def build() -> Network:
        x = start = keras.Input(_IMAGE, batch_size=1)
        x = layers.Conv2D(_CHANNELS, 3, padding="same", activation="relu")(x)
        for make in middle:
            x = make(x)
        if len(x.shape) == 4:
            x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        x = layers.Dense(outputs)(layers.Flatten()(x))
        return keras.Model(start, x)

    return build


def _large_mean() -> Network:
    """A mean over more positions than were seen mapped."""
    start = keras.Input((96, 96, 3), batch_size=1)
    x = layers.Conv2D(_CHANNELS, 3, padding="same", activation="relu")(start)
    return keras.Model(start, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)))


def _activation(name: str) -> Build:
    """A linear convolution, the activation, another convolution and a dense layer."""

    def build() -> Network:
        x = start = keras.Input(_IMAGE, batch_size=1)
        x = layers.Conv2D(_CHANNELS, 3, padding="same")(x)
        x = layers.Activation(name)(x)
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        return keras.Model(start, layers.Dense(5)(layers.Flatten()(x)))

    return build


def _linear(make: Callable[[], Network]) -> Build:
    """Like `_activation`, with a layer."""

    def build() -> Network:
        x = start = keras.Input(_IMAGE, batch_size=1)
        x = make()(layers.Conv2D(_CHANNELS, 3, padding="same")(x))
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        return keras.Model(start, layers.Dense(5)(layers.Flatten()(x)))

    return build


def _sequence(*middle: Network) -> Build:
    def build() -> Network:
        x = start = keras.Input(_SEQUENCE, batch_size=1)
        for make in middle:
            x = make(x)
        if len(x.shape) == 3:
            x = layers.Flatten()(x)
        return keras.Model(start, layers.Dense(5)(x))

    return build


def _merge(make: Callable[[], Network]) -> Build:
    def build() -> Network:
        start = keras.Input(_IMAGE, batch_size=1)
        left, right = (layers.Conv2D(_CHANNELS, 3, padding="same")(start) for _ in range(2))
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(make()([left, right]))
        return keras.Model(start, layers.Dense(5)(layers.Flatten()(x)))

    return build


def _attention() -> Network:
    start = keras.Input(_SEQUENCE, batch_size=1)
    x = layers.MultiHeadAttention(2, 4)(start, start)
    return keras.Model(start, layers.Dense(5)(layers.Flatten()(x)))


def _application(name: str) -> Build:
    def build() -> Network:
        make = getattr(keras.applications, name)
        return make(weights=None, input_shape=_APPLICATION_INPUT, classes=10)

    return build


LAYERS: dict[str, Build] = {
    "Dense on rows": _sequence(layers.Dense(8, activation="relu")),
    "Conv1D": _sequence(layers.Conv1D(8, 3, padding="same", activation="relu")),
    "Conv2D, dilation 2": _image(layers.Conv2D(_CHANNELS, 3, dilation_rate=2, padding="same")),
    "Conv2D, dilation 2 x 1": _image(
        layers.Conv2D(_CHANNELS, 3, dilation_rate=(2, 1), padding="same")
    ),
    "Conv2D, 4 groups": _image(layers.Conv2D(_CHANNELS, 3, groups=4, padding="same")),
    "Conv2DTranspose": _image(layers.Conv2DTranspose(8, 3, strides=2, padding="same")),
    "Conv2DTranspose, 2x2": _image(layers.Conv2DTranspose(8, 2, strides=2)),
    "Conv1DTranspose": _sequence(layers.Conv1DTranspose(8, 4, strides=2, padding="same")),
    "SeparableConv2D": _image(layers.SeparableConv2D(_CHANNELS, 3, padding="same")),
    "MaxPooling2D": _image(layers.MaxPooling2D(2)),
    "AveragePooling2D": _image(layers.AveragePooling2D(2)),
    "GlobalAveragePooling2D": _image(layers.GlobalAveragePooling2D()),
    "GlobalAveragePooling2D, 96 x 96": _large_mean,
    "GlobalMaxPooling2D": _image(layers.GlobalMaxPooling2D()),
    "MaxPooling1D": _sequence(layers.Conv1D(8, 3), layers.MaxPooling1D(2)),
    "BatchNormalization after ReLU": _image(layers.BatchNormalization()),
    "BatchNormalization, Flatten": _sequence(
        layers.Conv1D(8, 3, activation="relu"), layers.BatchNormalization()
    ),
    "LayerNormalization": _image(layers.LayerNormalization()),
    "GroupNormalization": _image(layers.GroupNormalization(4)),
    "UnitNormalization": _image(layers.UnitNormalization()),
    "UpSampling2D": _image(layers.UpSampling2D(2)),
    "UpSampling2D, 3x2": _image(layers.UpSampling2D((3, 2))),
    "UpSampling2D, 4x4, as RESIZE": _image(
        lambda x: keras.ops.image.resize(x, (64, 64), interpolation="nearest")
    ),
    "UpSampling2D, bilinear": _image(layers.UpSampling2D(2, interpolation="bilinear")),
    "UpSampling1D": _sequence(layers.Conv1D(8, 3, padding="same"), layers.UpSampling1D(2)),
    "RepeatVector": _sequence(layers.Flatten(), layers.Dense(8), layers.RepeatVector(4)),
    "ZeroPadding2D, Cropping2D": _image(layers.ZeroPadding2D(2), layers.Cropping2D(1)),
    "Permute": _image(layers.Permute((3, 1, 2))),
    "Softmax over rows": _image(layers.Softmax(axis=1)),
    "Softmax over steps": _sequence(layers.Conv1D(8, 3), layers.Softmax(axis=1)),
    "repeat along channels": _image(lambda x: keras.ops.repeat(x, 2, axis=-1)),
    "LeakyReLU": _linear(layers.LeakyReLU),
    "PReLU, shared": _linear(lambda: layers.PReLU("random_normal", shared_axes=[1, 2])),
    "ELU": _linear(layers.ELU),
    "GELU": _activation("gelu"),
    "SiLU": _activation("silu"),
    "Mish": _activation("mish"),
    "hard sigmoid": _activation("hard_sigmoid"),
    "hard swish": _activation("hard_silu"),
    "SELU": _activation("selu"),
    "soft shrinkage": _activation("soft_shrink"),
    "where(x > 0, x, x / 5)": _linear(lambda: lambda x: keras.ops.where(x > 0, x, x * 0.2)),
    "every second pixel": _image(lambda x: x[:, ::2, ::2]),
    "Concatenate": _merge(layers.Concatenate),
    "Subtract, Maximum": _merge(lambda: lambda x: layers.Maximum()([layers.Subtract()(x), x[0]])),
    "Average, Multiply": _merge(lambda: lambda x: layers.Multiply()([layers.Average()(x), x[0]])),
    "LSTM": _sequence(layers.LSTM(8)),
    "LSTM, sequences": _sequence(layers.LSTM(8, return_sequences=True)),
    "GRU": _sequence(layers.GRU(8)),
    "SimpleRNN": _sequence(layers.SimpleRNN(8, return_sequences=True)),
    "Bidirectional LSTM": _sequence(layers.Bidirectional(layers.LSTM(8))),
    "Bidirectional GRU, sequences": _sequence(
        layers.Bidirectional(layers.GRU(8, return_sequences=True))
    ),
    "MultiHeadAttention": _attention,
}

APPLICATIONS: dict[str, Build] = {
    name: _application(name)
    for name in (
        "MobileNet",
        "MobileNetV2",
        "MobileNetV3Small",
        "EfficientNetB0",
        "DenseNet121",
        "ResNet50V2",
    )
}


# -- networks in PyTorch's order of axes


class Torch:
    """Layers that read and write NCHW, as exporters write them: TRANSPOSE around each kernel."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def weights(self, *shape: int) -> Tensor:
        """Weights that keep the size of activations about equal."""
        scale = (2 / max(int(np.prod(shape[:-1])), 1)) ** 0.5
        return tf.constant(self._random.normal(0, scale, shape).astype(np.float32))

    def conv(
        self, x: Tensor, channels: int, size: int = 3, stride: int = 1, groups: int = 1
    ) -> Tensor:
        """``nn.Conv2d(padding=size // 2)``: exporters write the padding as PAD."""
        border = size // 2
        y = tf.transpose(x, (0, 2, 3, 1))
        if border:
            y = tf.pad(y, ((0, 0), (border, border), (border, border), (0, 0)))
        parts = tf.split(y, groups, axis=3) if groups > 1 else [y]
        shape = (size, size, x.shape[1] // groups, channels // groups)
        made = [tf.nn.conv2d(part, self.weights(*shape), stride, "VALID") for part in parts]
        y = tf.concat(made, 3) if groups > 1 else made[0]
        y = tf.nn.bias_add(y, self.weights(channels))
        return tf.transpose(y, (0, 3, 1, 2))

    def depthwise(self, x: Tensor, size: int = 3, stride: int = 1) -> Tensor:
        """``nn.Conv2d(groups=channels)``."""
        border = size // 2
        y = tf.transpose(x, (0, 2, 3, 1))
        y = tf.pad(y, ((0, 0), (border, border), (border, border), (0, 0)))
        kernel = self.weights(size, size, 1, 1) * tf.ones((1, 1, x.shape[1], 1))
        kernel = kernel * (1 + 0.2 * self.weights(1, 1, x.shape[1], 1))
        y = tf.nn.depthwise_conv2d(y, kernel, (1, stride, stride, 1), "VALID")
        return tf.transpose(y, (0, 3, 1, 2))

    def conv_transpose(self, x: Tensor, channels: int) -> Tensor:
        """``nn.ConvTranspose2d(kernel_size=2, stride=2)``."""
        y = tf.transpose(x, (0, 2, 3, 1))
        n, h, w, c = y.shape
        kernel = self.weights(2, 2, channels, c)
        y = tf.nn.conv2d_transpose(y, kernel, (n, 2 * h, 2 * w, channels), 2, "VALID")
        return tf.transpose(y, (0, 3, 1, 2))

    def max_pool(self, x: Tensor, size: int, stride: int, border: int) -> Tensor:
        """``nn.MaxPool2d``: the border is minus infinity."""
        y = tf.transpose(x, (0, 2, 3, 1))
        if border:
            edges = ((0, 0), (border, border), (border, border), (0, 0))
            y = tf.pad(y, edges, constant_values=-np.inf)
        y = tf.nn.max_pool2d(y, size, stride, "VALID")
        return tf.transpose(y, (0, 3, 1, 2))

    def norm(self, x: Tensor) -> Tensor:
        """``nn.BatchNorm2d`` in evaluation: factors and shifts of shape [1, C, 1, 1]."""
        factor = 1 + 0.2 * self.weights(1, x.shape[1], 1, 1)
        return x * factor + self.weights(1, x.shape[1], 1, 1) * 0.2

    def linear(self, x: Tensor, units: int) -> Tensor:
        """``nn.Linear`` over the last axis."""
        return tf.linalg.matmul(x, self.weights(x.shape[-1], units)) + self.weights(units)

    def head(self, x: Tensor, units: int = 5) -> Tensor:
        """Mean over the image, then a dense layer."""
        return self.linear(tf.reduce_mean(x, (2, 3)), units)


_SHAPE = (1, 3, 32, 32)


def _plain(x: Tensor) -> Tensor:
    net = Torch()
    x = tf.nn.relu(net.conv(x, 16, stride=2))
    return net.head(tf.nn.relu(net.conv(x, 16)))


def _flatten(x: Tensor) -> Tensor:
    net = Torch()
    x = tf.nn.relu(net.conv(x, 8, stride=2))
    return net.linear(tf.reshape(x, (1, 8 * 16 * 16)), 5)


def _padded_pool(x: Tensor) -> Tensor:
    net = Torch()
    x = net.max_pool(tf.nn.relu(net.conv(x, 16, 7, 2)), 3, 2, 1)
    return net.head(tf.nn.relu(net.conv(x, 16)))


def _signed_pool(x: Tensor) -> Tensor:
    net = Torch()
    x = net.max_pool(net.conv(x, 16), 3, 2, 1)
    return net.head(tf.nn.relu(net.conv(x, 16)))


def _gate(x: Tensor) -> Tensor:
    net = Torch()
    x = tf.nn.relu(net.conv(x, 16, stride=2))
    gate = tf.reduce_mean(x, (2, 3), keepdims=True)
    gate = net.conv(tf.nn.relu(net.conv(gate, 8, 1)), 16, 1)
    gate = tf.clip_by_value(gate / 6 + 0.5, 0, 1)
    return net.head(tf.nn.relu(net.conv(x * gate, 16)))


def _hard_swish(x: Tensor) -> Tensor:
    net = Torch()
    x = net.conv(x, 16, stride=2)
    return net.head(tf.nn.relu(net.conv(x * tf.clip_by_value(x / 6 + 0.5, 0, 1), 16)))


def _shuffle(x: Tensor) -> Tensor:
    net = Torch()
    x = tf.nn.relu(net.conv(x, 16, stride=2))
    left, right = tf.split(x, 2, axis=1)
    right = tf.nn.relu(net.conv(net.depthwise(right), 8, 1))
    x = tf.concat((left, right), 1)
    x = tf.reshape(x, (1, 2, 8, 16, 16))
    x = tf.reshape(tf.transpose(x, (0, 2, 1, 3, 4)), (1, 16, 16, 16))
    return net.head(tf.nn.relu(net.conv(x, 16)))


def _gathered_shuffle(x: Tensor) -> Tensor:
    """A channel shuffle as onnx2tf writes it: GATHER, then SPLIT."""
    net = Torch()
    x = tf.nn.relu(net.conv(x, 16, stride=2))
    x = tf.gather(x, np.arange(16).reshape(2, 8).T.ravel().astype(np.int32), axis=1)
    left, right = tf.split(x, 2, axis=1)
    right = tf.nn.relu(net.conv(net.depthwise(right), 8, 1))
    return net.head(tf.nn.relu(net.conv(tf.concat((left, right), 1), 16)))


def _silu(x: Tensor) -> Tensor:
    return x * tf.sigmoid(x)


def _c2f(net: Torch, x: Tensor, channels: int) -> Tensor:
    x = _silu(net.conv(x, 2 * channels, 1))
    parts = [x[:, :channels], x[:, channels:]]
    y = _silu(net.conv(_silu(net.conv(parts[1], channels)), channels))
    return _silu(net.conv(tf.concat([*parts, parts[1] + y], 1), 2 * channels, 1))


def _sppf(net: Torch, x: Tensor) -> Tensor:
    x = [_silu(net.conv(x, 8, 1))]
    for _ in range(3):
        x.append(net.max_pool(x[-1], 5, 1, 2))
    return _silu(net.conv(tf.concat(x, 1), 16, 1))


def _blocks(x: Tensor) -> Tensor:
    net = Torch()
    x = _c2f(net, _silu(net.conv(x, 8, stride=2)), 8)
    return net.head(_sppf(net, x))


def _focus(x: Tensor) -> Tensor:
    net = Torch()
    corners = [x[:, :, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    x = _silu(net.conv(tf.concat(corners, 1), 16))
    return net.head(_c2f(net, x, 8))


def _detector(x: Tensor) -> Tensor:
    """The head of YOLOv8: boxes as distributions over 16 bins."""
    net = Torch()
    x = _silu(net.conv(x, 16, stride=2))
    found = []
    for _ in range(2):
        x = _silu(net.conv(x, 16, stride=2))
        joined = tf.concat((net.conv(x, 64, 1), net.conv(x, 4, 1)), 1)
        found.append(tf.reshape(joined, (1, 68, -1)))
    boxes, scores = tf.split(tf.concat(found, 2), (64, 4), axis=1)
    boxes = tf.transpose(tf.reshape(boxes, (1, 4, 16, -1)), (0, 2, 1, 3))
    boxes = tf.nn.softmax(tf.transpose(boxes, (0, 3, 2, 1)))
    boxes = tf.linalg.matvec(boxes, tf.range(16, dtype=tf.float32))
    return tf.concat((tf.transpose(boxes, (0, 2, 1)) / 16, tf.sigmoid(scores)), 1)


def _upsample(x: Tensor) -> Tensor:
    net = Torch()
    fine = tf.nn.relu(net.conv(x, 8, stride=2))
    coarse = tf.nn.relu(net.conv(fine, 8, stride=2))
    y = tf.image.resize(tf.transpose(coarse, (0, 2, 3, 1)), (16, 16), "nearest")
    x = tf.concat((tf.transpose(y, (0, 3, 1, 2)), fine), 1)
    return net.conv(tf.nn.relu(net.conv(x, 8)), 4, 1)


def _repeat(x: Tensor) -> Tensor:
    """``F.interpolate(scale_factor=2)`` as an expansion and a reshape."""
    net = Torch()
    x = tf.nn.relu(net.conv(x, 8, stride=2))
    x = tf.tile(tf.reshape(x, (1, 8, 16, 1, 16, 1)), (1, 1, 1, 2, 1, 2))
    return net.conv(tf.reshape(x, (1, 8, 32, 32)), 4)


def _pixel_shuffle(x: Tensor) -> Tensor:
    net = Torch()
    x = net.conv(tf.nn.relu(net.conv(x, 8, stride=2)), 12)
    x = tf.transpose(tf.reshape(x, (1, 3, 2, 2, 16, 16)), (0, 1, 4, 2, 5, 3))
    return tf.reshape(x, (1, 3, 32, 32))


def _norm(x: Tensor) -> Tensor:
    net = Torch()
    x = net.norm(tf.nn.relu(net.conv(x, 16, stride=2)))
    return net.head(tf.nn.relu(net.norm(net.conv(x, 16))))


def _pre_activation(x: Tensor) -> Tensor:
    net = Torch()
    x = net.conv(x, 16, stride=2)
    y = net.conv(tf.nn.relu(net.norm(x)), 16)
    return net.head(tf.nn.relu(net.norm(x + y)))


def _prelu(x: Tensor) -> Tensor:
    net = Torch()
    x = net.conv(x, 16, stride=2)
    slopes = 0.25 + 0.1 * net.weights(1, 16, 1, 1)
    x = tf.nn.relu(x) + slopes * (x - tf.abs(x)) * 0.5
    return net.head(tf.nn.relu(net.conv(x, 16)))


def _prelu_by_minimum(x: Tensor) -> Tensor:
    net = Torch()
    x = net.conv(x, 16, stride=2)
    x = tf.maximum(x, 0.0) + 0.3 * net.weights(1, 16, 1, 1) * tf.minimum(x, 0.0)
    return net.head(tf.nn.relu(net.conv(x, 16)))


def _pixel_unshuffle(x: Tensor) -> Tensor:
    net = Torch()
    x = tf.transpose(tf.reshape(x, (1, 3, 16, 2, 16, 2)), (0, 1, 3, 5, 2, 4))
    return net.head(tf.nn.relu(net.conv(tf.reshape(x, (1, 12, 16, 16)), 16)))


def _reversed_colours(x: Tensor) -> Tensor:
    net = Torch()
    return net.head(tf.nn.relu(net.conv(x[:, ::-1], 16, stride=2)))


def _norm_then_linear(x: Tensor) -> Tensor:
    net = Torch()
    x = net.norm(tf.nn.relu(net.conv(x, 8, stride=2)))
    return net.linear(tf.reshape(net.max_pool(x, 2, 2, 0), (1, 8 * 8 * 8)), 5)


def _transposed(x: Tensor) -> Tensor:
    net = Torch()
    x = tf.nn.relu(net.conv(x, 8, stride=2))
    return net.conv(tf.nn.relu(net.conv_transpose(x, 8)), 4, 1)


def _groups(x: Tensor) -> Tensor:
    net = Torch()
    x = tf.nn.relu(net.conv(x, 16, stride=2))
    return net.head(tf.nn.relu(net.conv(x, 16, groups=4)))


def _gelu(x: Tensor) -> Tensor:
    net = Torch()
    x = net.conv(x, 16, stride=2)
    x = 0.5 * x * (1 + tf.math.erf(x / np.float32(2**0.5)))
    return net.head(tf.nn.relu(net.conv(x, 16)))


def _layer_norm(x: Tensor) -> Tensor:
    net = Torch()
    x = net.conv(x, 16, stride=2)
    mean = tf.reduce_mean(x, 1, keepdims=True)
    spread = tf.reduce_mean(tf.math.squared_difference(x, mean), 1, keepdims=True)
    x = (x - mean) * tf.math.rsqrt(spread + 1e-6)
    return net.head(tf.nn.relu(net.conv(net.norm(x), 16)))


def _layer_norm_by_root(x: Tensor) -> Tensor:
    """The same as ONNX's operators: a power, a square root and a quotient."""
    net = Torch()
    x = net.conv(x, 16, stride=2)
    x = x - tf.reduce_mean(x, 1, keepdims=True)
    spread = tf.sqrt(tf.reduce_mean(tf.pow(x, 2.0), 1, keepdims=True) + 1e-6)
    return net.head(tf.nn.relu(net.conv(net.norm(x / spread), 16)))


def _spatial_softmax(x: Tensor) -> Tensor:
    net = Torch()
    x = tf.nn.relu(net.conv(x, 16, stride=4))
    return net.conv(tf.nn.softmax(net.conv(x, 16, 1), axis=1) * x, 4, 1)


def _recurrent(x: Tensor) -> Tensor:
    """``nn.GRU`` over 6 steps, unrolled."""
    net = Torch()
    gates, inner = net.weights(16, 32), net.weights(16, 16)
    state = tf.zeros((1, 16))
    steps = []
    for step in tf.unstack(net.linear(x, 16), axis=1):
        reset, update = tf.split(tf.sigmoid(step @ gates + state @ gates), 2, axis=1)
        fresh = tf.tanh(step @ inner + (reset * state) @ inner)
        state = (1 - update) * fresh + update * state
        steps.append(state)
    return net.linear(tf.stack(steps, axis=1), 4)


EXPORTS: dict[str, Export] = {
    "classifier": Export(_plain, _SHAPE),
    "flatten, linear": Export(_flatten, _SHAPE),
    "padded max pooling after ReLU": Export(_padded_pool, _SHAPE),
    "padded max pooling of signed values": Export(_signed_pool, _SHAPE),
    "squeeze and excitation, hard sigmoid": Export(_gate, _SHAPE),
    "hard swish": Export(_hard_swish, _SHAPE),
    "channel shuffle": Export(_shuffle, _SHAPE),
    "channel shuffle as GATHER": Export(_gathered_shuffle, _SHAPE),
    "C2f and SPPF blocks (YOLOv8)": Export(_blocks, _SHAPE),
    "Focus (YOLOv5, YOLOX)": Export(_focus, _SHAPE),
    "detection head (YOLOv8)": Export(_detector, _SHAPE),
    "upsampling and concatenation": Export(_upsample, _SHAPE),
    "interpolation by expansion": Export(_repeat, _SHAPE),
    "pixel shuffle": Export(_pixel_shuffle, _SHAPE),
    "pixel unshuffle of the input": Export(_pixel_unshuffle, _SHAPE),
    "colours in reverse": Export(_reversed_colours, _SHAPE),
    "batch norm after ReLU": Export(_norm, _SHAPE),
    "batch norm, pooling, flatten, linear": Export(_norm_then_linear, _SHAPE),
    "pre-activation residual block": Export(_pre_activation, _SHAPE),
    "PReLU": Export(_prelu, _SHAPE),
    "PReLU as minimum and maximum": Export(_prelu_by_minimum, _SHAPE),
    "transposed convolution": Export(_transposed, _SHAPE),
    "4 groups": Export(_groups, _SHAPE),
    "GELU (erf)": Export(_gelu, _SHAPE),
    "layer norm over channels": Export(_layer_norm, _SHAPE),
    "layer norm by roots and quotients": Export(_layer_norm_by_root, _SHAPE),
    "softmax over channels": Export(_spatial_softmax, _SHAPE),
    "unrolled GRU": Export(_recurrent, (1, 6, 8)),
}
