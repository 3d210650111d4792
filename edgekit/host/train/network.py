# SPDX-License-Identifier: Apache-2.0
"""Float networks that can be trained, rounded as the integer network rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.ranges import Range, range_of, with_ranges
from edgekit.host.convert.quantizer.params import quantized
from edgekit.host.convert.quantizer.rules import RULES
from edgekit.host.train.operators import Value, compute
from edgekit.host.train.scales import Source, shared_scales

_LEVELS = 127  # symmetric int8
_LEAST_REACH = 1e-9
_CODES = 255
_RANGE_SPEED = 10.0  # ends of ranges move so many times faster than weights, relatively
# Outputs of these are compared before them, where differences are not squeezed.
_SQUEEZING = ("LOGISTIC", "SOFTMAX", "LOG_SOFTMAX", "TANH")
Arrays = dict[str, NDArray[np.float32]]
# (operator, place of the input, tensor) -> what the operator reads there, for a constant.
_Constant = Callable[[int, int, int], Value]
_Rounding = Callable[[int, Value], Value]
_Reading = Callable[[int, int, Value], Value]


def answers(model: Model) -> list[int]:
    """Return for each output the tensor to compare: itself, or the scores before a SOFTMAX."""
    made = {index: op for op in model.main.operators for index in op.outputs}
    found = []
    for index in model.main.outputs:
        op = made.get(index)
        found.append(op.inputs[0] if op is not None and op.opcode in _SQUEEZING else index)
    return found


def run_float(tf: Any, model: Model, inputs: Sequence[Value]) -> dict[int, Value]:  # noqa: ANN401
    """Return the value of each tensor of a float network for a batch of inputs."""

    def constant(_number: int, _place: int, index: int) -> Value:
        return model.data(model.main.tensors[index])

    return _run(tf, model, inputs, constant, lambda _, value: value, lambda _i, _p, value: value)


class Student:
    """A network whose weights, biases and ranges are variables.

    A variable is relative to what it changes, so that one learning rate fits all: weights move in
    units of their root mean square (of each channel), ends of ranges by a factor.
    """

    def __init__(self, tf: Any, calibrated: Model) -> None:  # noqa: ANN401
        """Start at ``calibrated``, a float network whose activations have ranges."""
        self._tf, self._model = tf, calibrated
        self.answers = answers(calibrated)
        self._scales = shared_scales(calibrated)
        self._start: Arrays = {}
        self._unit: Arrays = {}
        self.variables: dict[str, Any] = {}
        self._axes: dict[tuple[int, int], int | None] = {}  # of weights, by operator and place
        for number, op in enumerate(calibrated.main.operators):
            rule = RULES[op.opcode]
            for place in (rule.weights, rule.bias):
                if place is None or place >= len(op.inputs) or op.inputs[place] < 0:
                    continue
                if self._add_constant(op.inputs[place], None if place == rule.bias else rule):
                    self._axes[number, place] = rule.channel_axis
        for index in self._scales.ranged:
            self.variables[f"range {index}"] = tf.Variable(np.zeros(2, np.float32))

    def _add_constant(self, index: int, rule: Any) -> bool:  # noqa: ANN401 - a Rule or None
        values = self._model.data(self._model.main.tensors[index])
        if values is None:
            return False
        name = f"constant {index}"
        if name not in self.variables:
            axis = rule.channel_axis if rule is not None else None
            others = tuple(each for each in range(values.ndim) if each != axis)
            size = np.sqrt(np.mean(np.square(values), axis=others, keepdims=True))
            self._start[name] = values
            self._unit[name] = np.maximum(size, np.float32(_LEAST_REACH)).astype(np.float32)
            self.variables[name] = self._tf.Variable(np.zeros_like(values))
        return True

    def run(self, inputs: Sequence[Value]) -> dict[int, Value]:
        """Return the value of each tensor, rounded, for a batch of inputs."""
        model = self._model
        ends = {index: self._ends(index) for index in self._scales.ranged}

        def round_to(source: Source, value: Value) -> Value:
            low, high = ends[source] if isinstance(source, int) else source
            return _rounded(self._tf, value, low, high)

        def rounded(index: int, value: Value) -> Value:
            for source in self._scales.rounded.get(index, ()):
                value = round_to(source, value)
            return value

        def reading(number: int, place: int, value: Value) -> Value:
            source = self._scales.converted.get((number, place))
            return value if source is None else round_to(source, value)

        return _run(self._tf, model, inputs, self._constant, rounded, reading)

    def _constant(self, number: int, place: int, index: int) -> Value:
        tensor = self._model.main.tensors[index]
        rule = RULES[self._model.main.operators[number].opcode]
        name = f"constant {index}"
        if place == rule.bias and name in self.variables:
            return self._value(name)
        if (number, place) in self._axes:
            return self._rounded_weights(self._value(name), self._axes[number, place])
        values = self._model.data(tensor)
        params = self._scales.constants.get((number, place))
        if values is None or params is None or len(params.scales) > 1:
            return values
        integers = quantized(values, params).astype(np.float32)
        return (integers - np.float32(params.zero_point)) * np.float32(params.scales[0])

    def _value(self, name: str) -> Value:
        return self._start[name] + self._unit[name] * self.variables[name]

    def _rounded_weights(self, values: Value, axis: int | None) -> Value:
        tf = self._tf
        others = [each for each in range(len(values.shape)) if each != axis]
        reach = tf.reduce_max(tf.abs(values), axis=others, keepdims=True)
        scale = tf.maximum(reach, _LEAST_REACH) / _LEVELS
        return values + tf.stop_gradient(tf.round(values / scale) * scale - values)

    def _ends(self, index: int) -> tuple[Value, Value]:
        low, high = range_of(self._model.main.tensors[index]) or (0.0, 0.0)
        low, high = min(low, 0.0), max(high, 0.0)
        if high - low <= _LEAST_REACH:
            high = _LEAST_REACH
        factors = self._tf.exp(_RANGE_SPEED * self.variables[f"range {index}"])
        return low * factors[0], high * factors[1]

    def arrays(self) -> Arrays:
        """Return the variables."""
        return {name: each.numpy() for name, each in self.variables.items()}

    def trained(self, arrays: Mapping[str, NDArray[np.float32]]) -> Model:
        """Return the float network with the weights and ranges that ``arrays`` stand for."""
        for name, values in arrays.items():
            self.variables[name].assign(values)
        tensors, buffers = list(self._model.main.tensors), list(self._model.buffers)
        ranges: dict[int, Range] = {}
        for name in self.variables:
            kind, _, number = name.partition(" ")
            index = int(number)
            if kind == "range":
                low, high = (float(each) for each in self._ends(index))
                if high - low > _LEAST_REACH:  # else the tensor is always zero
                    ranges[index] = low, high
                continue
            values = np.asarray(self._value(name), "<f4")
            tensors[index] = replace(tensors[index], buffer=len(buffers))
            buffers.append(np.frombuffer(values.tobytes(), np.uint8))
        main = replace(self._model.main, tensors=tuple(tensors))
        model = replace(self._model, subgraphs=(main,), buffers=tuple(buffers))
        return with_ranges(model, ranges)


def _rounded(tf: Any, value: Value, low: Value, high: Value) -> Value:  # noqa: ANN401
    """Return ``value`` as 8-bit codes of a range stand for it; low <= 0 <= high.

    Rounding passes gradients on unchanged. So the ends get gradients from what is cut off and from
    the rounding errors inside, after Esser et al.: Learned Step Size Quantization (2020).
    """
    scale = (high - low) / _CODES
    zero = _round(tf, -low / scale)
    codes = _round(tf, tf.clip_by_value(value / scale + zero, 0.0, float(_CODES)))
    return (codes - zero) * scale


def _round(tf: Any, value: Value) -> Value:  # noqa: ANN401
    value = tf.convert_to_tensor(value, tf.float32)
    return value + tf.stop_gradient(tf.floor(value + 0.5) - value)


def _run(
    tf: Any,  # noqa: ANN401
    model: Model,
    inputs: Sequence[Value],
    constant: _Constant,
    rounded: _Rounding,
    reading: _Reading,
) -> dict[int, Value]:
    graph = model.main
    values = {
        index: rounded(index, value) for index, value in zip(graph.inputs, inputs, strict=True)
    }
    for number, op in enumerate(graph.operators):
        read: list[Value] = []
        for place, index in enumerate(op.inputs):
            if index < 0:
                read.append(None)
            elif index in values:
                read.append(reading(number, place, values[index]))
            else:
                read.append(constant(number, place, index))
        for index, value in zip(op.outputs, compute(tf, model, op, read), strict=True):
            values[index] = rounded(index, value)
    return values
