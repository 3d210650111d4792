# SPDX-License-Identifier: Apache-2.0
"""edgekit's quantizer makes the same integer networks as TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.errors import UnsupportedModelError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.host.convert.child import ConverterChild
from edgekit.host.convert.improve.ranges import range_of, with_ranges
from edgekit.host.convert.quantizer import calibrate, quantize, unknown_operators
from edgekit.rewrite.versions import lower_versions
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 8, 8, 4)
Step = Callable[[FloatGraph, int], int]


def _large_bias(g: FloatGraph, x: int) -> int:
    y = g.conv(x, 4)
    g.set(g.operators[-1].inputs[1], np.full((4, 1, 1, 4), 1e-5))
    g.set(g.operators[-1].inputs[2], [1e4, 1, 0, -1e5])
    return y


def _large_bias_of_dense(g: FloatGraph, x: int) -> int:
    y = g.dense(x, 3)
    g.scale(g.operators[-1].inputs[1], np.array(1e-7))
    g.set(g.operators[-1].inputs[2], [1e4, 1, -1e5])
    return y


def _zero_weights(g: FloatGraph, x: int) -> int:
    y = g.conv(x, 4)
    g.scale(g.operators[-1].inputs[1], np.array(0.0))
    return g.arithmetic("ADD", y, x)


def _pack(g: FloatGraph, x: int) -> int:
    parts = g.split(x, 2)
    options = {"axis": 1, "values_count": 2}
    return g.add("PACK", parts, (1, 2, 8, 8, 2), options, "PackOptions")


def _alike(opcode: str) -> Step:
    return lambda g, x: g.simple(opcode, g.conv(x, 4))


def _of_two(opcode: str) -> Step:
    return lambda g, x: g.add(opcode, (g.conv(x, 4), g.conv(x, 4)), g.shape(x))


STEPS: dict[str, Step] = {
    "conv": lambda g, x: g.conv(x, 8, 3, "RELU6"),
    "depthwise": lambda g, x: g.depthwise(x, 2, "RELU"),
    "dense": lambda g, x: g.dense(g.dense(x, 5, "RELU"), 3),
    "trunk": lambda g, x: g.arithmetic("ADD", x, g.conv(g.depthwise(x), 4)),
    "constants": lambda g, x: g.arithmetic(
        "SUB", g.arithmetic("MUL", x, g.weights(4)), g.weights(1)
    ),
    "layers with one reader": lambda g, x: g.simple("RELU", g.dense(g.simple("RELU6", x), 4)),
    "layer with two readers": lambda g, x: g.concat(g.simple("RELU", y := g.conv(x, 4)), y),
    "sum with activation": lambda g, x: g.simple("RELU6", g.arithmetic("ADD", x, g.conv(x, 4))),
    "difference with activation": lambda g, x: g.simple(
        "RELU_N1_TO_1", g.arithmetic("SUB", x, g.conv(x, 4))
    ),
    "max pool": lambda g, x: g.pool("MAX_POOL_2D", x),
    "average pool": lambda g, x: g.pool("AVERAGE_POOL_2D", g.conv(x, 4)),
    "mean": lambda g, x: g.mean(g.pad(x, [(0, 0), (1, 0), (0, 1), (0, 0)])),
    "split and concatenation": lambda g, x: g.concat(*g.split(g.conv(x, 8), 2)[::-1]),
    "fixed scale in a concatenation": lambda g, x: g.concat(g.simple("TANH", x), g.conv(x, 4)),
    "reshapes": lambda g, x: g.reshape(g.depth_to_space(g.reshape(x, (1, 4, 16, 4))), (1, 64, 4)),
    "maximum": _of_two("MAXIMUM"),
    "maximum with a constant": lambda g, x: g.add("MAXIMUM", (x, g.weights(1)), g.shape(x)),
    "minimum": _of_two("MINIMUM"),
    "squared difference": _of_two("SQUARED_DIFFERENCE"),
    "prelu": lambda g, x: g.prelu(g.conv(x, 4)),
    "large bias": _large_bias,
    "large bias of a dense layer": _large_bias_of_dense,
    "zero weights": _zero_weights,
    "pack": _pack,
    **{
        opcode.lower(): _alike(opcode)
        for opcode in (
            "ABS", "EXP", "HARD_SWISH", "LOGISTIC", "LOG_SOFTMAX",
            "RELU", "RELU6", "TANH",
        )
    },
}  # fmt: skip


def _samples() -> list[list[NDArray[np.float32]]]:
    random = np.random.default_rng(5)
    return [[random.normal(0.2, 1, SHAPE).astype(np.float32)] for _ in range(3)]


def _network(step: Step) -> Model:
    graph = FloatGraph(SHAPE, seed=3)
    return graph.model(step(graph, graph.input))


def _described(model: Model) -> list[tuple[object, ...]]:
    """Return all operators with what their tensors contain, without names and indices."""
    lowest = lower_versions(model) or model

    def describe(index: int) -> tuple[object, ...]:
        tensor = lowest.main.tensors[index]
        quantization, data = tensor.quantization, lowest.data(tensor)
        found = (tensor.dtype, tensor.shape, None if data is None else data.tolist())
        if quantization is None or not quantization.scale:
            return found
        axis = quantization.quantized_dimension if quantization.per_channel else 0
        return (*found, quantization.scale, quantization.zero_point, axis)

    return [
        (op.opcode, op.version, *(describe(i) for i in (*op.inputs, *op.outputs) if i >= 0))
        for op in lowest.main.operators
    ]


@pytest.mark.host
@pytest.mark.usefixtures("kept_converter")
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("io", ["uint8", "int8"])
def test_the_integer_network_is_that_of_tensorflow(name: str, io: str) -> None:
    calibrated = calibrate(_network(STEPS[name]), _samples())
    with ConverterChild(None, 300, "net") as child:
        expected = read_model(child.quantize(write_model(calibrated), io=io))
    assert _described(quantize(calibrated, io=io)) == _described(expected)


def test_ranges_are_the_lowest_and_highest_values_on_all_samples() -> None:
    model = _network(lambda g, x: g.conv(x, 8, 3, "RELU"))
    calibrated = calibrate(model, iter(_samples()))
    inputs = np.stack([each for [each] in _samples()])
    with Runner(ModelFile.of(model)) as runner:
        outputs = np.stack([runner.invoke(*each)[0] for each in _samples()])
    for index, values in ((0, inputs), (model.main.outputs[0], outputs)):
        found = range_of(calibrated.main.tensors[index])
        assert found == pytest.approx((values.min(), values.max()), rel=1e-6)


def test_infinity_gives_a_finite_range() -> None:
    factor = np.array([1.0, 1.0, 1.0, 1e4])
    model = _network(lambda g, x: g.simple("EXP", g.arithmetic("MUL", x, g.constant(factor))))
    calibrated = calibrate(model, _samples())
    output = calibrated.main.tensors[model.main.outputs[0]]
    assert range_of(output) == pytest.approx((0, float(np.finfo(np.float32).max)))


def test_other_ranges_give_other_scales() -> None:
    calibrated = calibrate(_network(lambda g, x: g.conv(x, 8)), _samples())
    output = calibrated.main.outputs[0]
    made = quantize(with_ranges(calibrated, {output: (-1.0, 4.1)}), io="int8")
    assert made.main.tensors[made.main.outputs[0]].scale == pytest.approx(5.1 / 255)


def _ask_for_three_scales(g: FloatGraph, x: int) -> int:
    a, b, c = g.conv(x, 4), g.conv(x, 4), g.simple("LOGISTIC", g.conv(x, 4))
    return g.concat(g.conv(g.concat(a, b), 2), g.conv(g.concat(b, c), 2), c)


def _use_weights_twice(g: FloatGraph, x: int) -> int:
    y = g.conv(x, 4)
    layer = g.operators[-1]
    z = g.add("CONV_2D", (y, *layer.inputs[1:]), g.shape(y), dict(layer.options), "Conv2DOptions")
    return g.arithmetic("MUL", z, layer.inputs[1])


@pytest.mark.parametrize("step", [_ask_for_three_scales, _use_weights_twice])
def test_networks_that_tensorflow_cannot_quantize_are_close_to_the_float_ones(step: Step) -> None:
    model = _network(step)
    made = quantize(calibrate(model, _samples()), io="float32")
    with Runner(ModelFile.of(model)) as real, Runner(ModelFile.of(made)) as integer:
        for sample in _samples():
            expected, found = real.invoke(*sample)[0], integer.invoke(*sample)[0]
            assert np.abs(found - expected).max() < 0.03 * np.ptp(expected)


@pytest.mark.parametrize("opcode", ["MAXIMUM", "MINIMUM"])
def test_what_is_compared_keeps_its_range_for_other_readers(opcode: str) -> None:
    """TensorFlow gives it the range of the result: a PReLU of minimum and ReLU loses one side."""

    def step(g: FloatGraph, x: int) -> int:
        y = g.conv(x, 4)
        number = g.constant(np.array(2.0 if opcode == "MAXIMUM" else -2.0))
        return g.arithmetic("ADD", g.add(opcode, (y, number), g.shape(y)), y)

    model = _network(step)
    made = quantize(calibrate(model, _samples()), io="float32")
    with Runner(ModelFile.of(model)) as real, Runner(ModelFile.of(made)) as integer:
        for sample in _samples():
            expected, found = real.invoke(*sample)[0], integer.invoke(*sample)[0]
            assert np.abs(found - expected).max() < 0.03 * np.ptp(expected)


def test_an_operator_without_a_rule_is_named() -> None:
    model = _network(lambda g, x: g.simple("COS", g.simple("RELU", x)))
    assert unknown_operators(model) == ["COS"]
    with pytest.raises(UnsupportedModelError, match="COS"):
        quantize(model)
