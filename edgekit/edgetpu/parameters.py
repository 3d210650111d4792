# SPDX-License-Identifier: Apache-2.0
"""The size of a model's parameters on the device: padded, laid out, cached or streamed.

The formulas reproduce the parameter bytes of compiled files: to the byte for convolutions and dense
layers, approximately if `LayerParameters.exact` is false. They are valid for compilers 14.1 to
16.0; ``runtime=10`` means compiler 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterable, Mapping

import numpy as np

from edgekit.edgetpu.chip import (
    LATEST_RUNTIME,
    NUM_TILES,
    PARAMETER_CACHE_BYTES,
    PARAMETER_UNIT_BYTES,
)
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor

_WORD_BYTES = 4
_NARROW_GROUP = 16  # the last group of at most 64 output channels is rounded up to 16
_WIDE_GROUP = 64
# Dense layers with few outputs are stored in one tile. From this size on they were seen streamed,
# although the memory is large enough (seven models of compiler 16: 16,384 inputs, one output).
_ONE_TILE_BYTES = 256 * 1024
_ONE_TILE_OUTPUTS = 48
# (channels, bytes for each element) to flatten a feature map whose number of channels is not a
# multiple of 4. Measured at these three; interpolated between them.
_FLATTEN_COST = ((1, 64.0), (30, 350.0), (114, 519.0))
_SOFTMAX_BYTES_PER_CLASS = 48
_PASSING = ("RESHAPE", "SQUEEZE", "QUANTIZE", "EXPAND_DIMS")
_BINARY = ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU")


@dataclass(frozen=True)
class LayerParameters:
    """One operator's parameters."""

    index: int  # of the operator in the main subgraph
    opcode: str
    raw_bytes: int  # of its constants in the .tflite, without shapes and axes
    device_bytes: int  # laid out for the Edge TPU
    exact: bool  # whether compiled models confirm the formula to the byte
    cached: bool  # kept on chip between inferences; else sent with every inference
    is_operand: bool = False  # always sent like an activation, even if the chip has room


@dataclass(frozen=True)
class ParameterLayout:
    """All layers that have parameters on the device, in the order of execution."""

    layers: tuple[LayerParameters, ...]

    @property
    def total_bytes(self) -> int:
        """Laid-out bytes of all layers."""
        return sum(layer.device_bytes for layer in self.layers)

    @property
    def cached_bytes(self) -> int:
        """The compiler's "On-chip memory used for caching model parameters"."""
        return sum(layer.device_bytes for layer in self.layers if layer.cached)

    @property
    def streamed_bytes(self) -> int:
        """The compiler's "Off-chip memory used for streaming uncached model parameters"."""
        return self.total_bytes - self.cached_bytes


def lay_out_parameters(
    model: Model,
    indices: Iterable[int] | None = None,
    *,
    runtime: int = LATEST_RUNTIME,
    cache_bytes: int = PARAMETER_CACHE_BYTES,
) -> ParameterLayout:
    """Lay out the parameters of the operators ``indices`` of the main subgraph (None: all).

    A layer is cached whole or streamed whole. Layers are cached in the order of execution while
    they fit into ``cache_bytes``.

    Args:
        model: Static and quantized.
        indices: The operators that map to the Edge TPU.
        runtime: The runtime version that is compiled for.
        cache_bytes: Room for cached parameters.
    """
    graph = model.main
    producers = {out: op for op in graph.operators for out in op.outputs}
    layers = []
    room = cache_bytes
    for index in range(len(graph.operators)) if indices is None else sorted(indices):
        operator = graph.operators[index]
        found = _cost(model, operator, producers, runtime)
        if not found.bytes:
            continue
        cached = found.bytes <= room and not found.streamed
        room -= found.bytes if cached else 0
        raw = _raw_bytes(model, operator)
        layer = LayerParameters(
            index, operator.label, raw, found.bytes, found.exact, cached, found.streamed
        )
        layers.append(layer)
    return ParameterLayout(tuple(layers))


def flattens_badly(graph: Subgraph, operator: Operator) -> bool:
    """Whether ``operator`` flattens a feature map whose channels are not a multiple of 4.

    The Edge TPU stores pixels at multiples of 4 bytes; to close the gaps it needs a matrix of
    parameters that can be several times the model's own.
    """
    if operator.opcode != "RESHAPE":
        return False
    before, after = _shape(graph, operator.inputs[0]), _shape(graph, operator.outputs[0])
    if len(before) < 3 or not after:
        return False
    height, width, channels = before[-3:]
    # One channel in whole rows of 16 does not have gaps (seen at 16x16 and 128x128).
    has_gaps = channels % _WORD_BYTES and not (channels == 1 and width % 16 == 0)
    return bool(has_gaps and height * width > 1 and after[-1] == height * width * channels)


@dataclass(frozen=True)
class _Cost:
    bytes: int = 0
    exact: bool = True
    streamed: bool = False


_Producers = Mapping[int, Operator]


def _cost(model: Model, operator: Operator, producers: _Producers, runtime: int) -> _Cost:
    if operator.opcode in _BINARY:
        return _constant_operand(model, operator)
    if operator.opcode == "SOFTMAX":
        return _softmax(model, operator, producers, runtime)
    rule = _COSTS.get(operator.opcode)
    cost = rule(model, operator) if rule else _Cost()
    return _Cost(_up(cost.bytes, PARAMETER_UNIT_BYTES), cost.exact, cost.streamed)


def _convolution(model: Model, operator: Operator) -> _Cost:
    weights = _constant(model, operator, 1)
    if weights is None:
        return _Cost()
    outputs, height, width, inputs = weights.shape
    taps = height * width * _up(inputs, _WORD_BYTES)
    padded = _WORD_BYTES if outputs <= _WORD_BYTES else _padded_outputs(outputs)
    return _Cost(padded * (taps + _header(model, operator, weights)))


def _transposed(model: Model, operator: Operator) -> _Cost:
    weights = _constant(model, operator, 1)  # inputs: output shape, weights, activation, bias
    if weights is None:
        return _Cost()
    outputs, height, width, inputs = weights.shape
    taps = height * width * _up(inputs, _WORD_BYTES)
    return _Cost(_padded_outputs(outputs) * (taps + _header(model, operator, weights)), exact=False)


def _depthwise(model: Model, operator: Operator) -> _Cost:
    weights = _constant(model, operator, 1)
    if weights is None:
        return _Cost()
    _, height, width, channels = weights.shape
    header = _header(model, operator, weights)
    taps = height * width * _WORD_BYTES
    if _shape(model.main, operator.inputs[0])[-1:] == (channels,):
        # One weight per channel is stored as the diagonal of a 4 by 4 matrix.
        return _Cost(_up(channels, _WORD_BYTES) * (taps + header))
    return _Cost(_padded_outputs(channels) * (taps + header))  # a channel multiplier


def _dense(model: Model, operator: Operator) -> _Cost:
    weights = _constant(model, operator, 1)
    if weights is None:
        return _Cost()
    outputs, inputs = weights.shape
    block = _padded_outputs(outputs) * (
        _up(inputs, _WORD_BYTES) + _header(model, operator, weights)
    )
    streamed = outputs <= _ONE_TILE_OUTPUTS and block >= _ONE_TILE_BYTES
    return _Cost(block, streamed=streamed)


def _lstm(model: Model, operator: Operator) -> _Cost:
    """Count the gates as dense layers; what else the unrolled steps add is not known."""
    gates = 0
    for number in range(1, 9):
        weights = _constant(model, operator, number)
        if weights is not None and len(weights.shape) == 2:
            outputs, inputs = weights.shape
            gates += _padded_outputs(outputs) * (_up(inputs, _WORD_BYTES) + _WORD_BYTES)
    return _Cost(gates, exact=False)


def _joined(model: Model, operator: Operator) -> _Cost:
    """Count the small matrix for channels joined or split at a number not divisible by 4."""
    ends = (*operator.inputs, *operator.outputs)
    shapes = [_shape(model.main, index) for index in ends if index >= 0]
    channels = [shape[-1] for shape in shapes if shape]
    uneven = any(size % _WORD_BYTES for size in channels) and len(set(channels)) > 1
    return _Cost(PARAMETER_UNIT_BYTES if uneven else 0, exact=not uneven)


def _flatten(model: Model, operator: Operator) -> _Cost:
    if not flattens_badly(model.main, operator):
        return _Cost()
    shape = _shape(model.main, operator.inputs[0])
    sizes, costs = zip(*_FLATTEN_COST)
    per_element = float(np.interp(shape[-1], sizes, costs))
    elements = shape[-3] * shape[-2] * shape[-1]
    return _Cost(int(elements * per_element) + PARAMETER_UNIT_BYTES, exact=False)


def _softmax(model: Model, operator: Operator, producers: _Producers, runtime: int) -> _Cost:
    shape = _shape(model.main, operator.inputs[0])
    source = producers.get(operator.inputs[0])
    while source is not None and source.opcode in _PASSING:
        operator_input = source.inputs[0]
        shape = _shape(model.main, operator_input)
        source = producers.get(operator_input)
    is_vector = len(shape) < 3 or set(shape[-3:-1]) == {1}
    # Compiler 1.0 runs a softmax on the scalar core, which does not need parameters.
    if runtime <= 10:
        return _Cost()
    if source is None or not is_vector:
        return _Cost(PARAMETER_UNIT_BYTES, exact=False)
    classes = _up(shape[-1] if shape else 1, _WORD_BYTES)
    return _Cost(
        _up(_SOFTMAX_BYTES_PER_CLASS * classes, PARAMETER_UNIT_BYTES) + PARAMETER_UNIT_BYTES
    )


def _constant_operand(model: Model, operator: Operator) -> _Cost:
    """Count a constant that is not a scalar: it is sent as an activation with every inference.

    Every tile needs all of a value for each channel, but only its part of an image. Four constants
    of 32, 32, 64 and 64 channels are 3,072 bytes (ASR_Model_edgetpu.tflite of s123600g's
    asr_edgetpu_demo); 176 channels, twice, 5.50 KiB (google-coral/edgetpu issue 324); an image of
    48 by 48 in MoveNet 2,304.
    """
    for number in range(2):
        tensor = _constant(model, operator, number)
        if tensor is None or tensor.num_elements == 1:
            continue
        channels = tensor.shape[-1]
        is_vector = tensor.num_elements == channels
        copies = NUM_TILES * _up(channels, _WORD_BYTES) if is_vector else tensor.num_elements
        return _Cost(_up(copies, PARAMETER_UNIT_BYTES), streamed=True)
    return _Cost()


_COSTS: Mapping[str, Callable[[Model, Operator], _Cost]] = {
    "CONV_2D": _convolution,
    "TRANSPOSE_CONV": _transposed,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "CONCATENATION": _joined,
    "SPLIT": _joined,
    "RESHAPE": _flatten,
}


def _header(model: Model, operator: Operator, weights: Tensor) -> int:
    """Return the bytes of an output channel besides its weights: bias, multiplier, zero point."""
    bias = _bias(model, operator)
    has_bias = bool(bias is not None and np.any(bias))
    quantization = weights.quantization
    if quantization is None or not quantization.per_channel:
        return _WORD_BYTES * has_bias
    if len(set(quantization.scale)) == 1:  # seen once: equal scales need one row, not two
        return _WORD_BYTES * (1 + has_bias)
    return _WORD_BYTES * (2 + has_bias)


def _bias(model: Model, operator: Operator) -> np.ndarray | None:
    number = 3 if operator.opcode == "TRANSPOSE_CONV" else 2
    tensor = _constant(model, operator, number)
    return None if tensor is None else model.data(tensor)


def _constant(model: Model, operator: Operator, number: int) -> Tensor | None:
    if number >= len(operator.inputs) or operator.inputs[number] < 0:
        return None
    tensor = model.main.tensors[operator.inputs[number]]
    return tensor if model.buffers[tensor.buffer].size else None


def _raw_bytes(model: Model, operator: Operator) -> int:
    tensors = [_constant(model, operator, number) for number in range(len(operator.inputs))]
    return sum(
        int(model.buffers[tensor.buffer].size)
        for tensor in tensors
        if tensor is not None and tensor.quantization is not None
    )


def _padded_outputs(outputs: int) -> int:
    return _up(outputs, _NARROW_GROUP if outputs <= _WIDE_GROUP else _WIDE_GROUP)


def _shape(graph: Subgraph, index: int) -> tuple[int, ...]:
    return graph.tensors[index].shape


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
