# SPDX-License-Identifier: Apache-2.0
"""Run each layer alone in TensorFlow Lite on the Edge TPU's values: how many differ, and why.

The reasons are arithmetic: for every kind of layer, this file contains the formula by which
TensorFlow Lite differs, so that each differing value can be checked.

Source: XNNPACK (src/operators, src/microparams-init.c) and TensorFlow Lite's kernels
(kernels/internal/reference/integer_ops, kernels/internal/common.h).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, AbstractSet, Any, Callable, Iterator, Sequence

import numpy as np

from edgekit.chip.arithmetic.formulas.convolutions import conv_sums, dense_sums
from edgekit.chip.arithmetic.formulas.pools import window_sums
from edgekit.chip.arithmetic.scales import clamps, requantize, scale_of, tensors_of, zero_point_of
from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.emulator.layers import COMPUTED
from edgekit.formats.tflite import Model, Operator
from edgekit.formats.tflite.part import with_operators

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = COMPUTED | {"QUANTIZE"}
# Runs a model on the activations of its inputs and returns its only output.
Run = Callable[[Model, Sequence[Any]], Any]


@dataclass(frozen=True)
class Alone:
    """One layer: the device's values, and those of the other implementation."""

    index: int
    opcode: str
    ours: NDArray[np.uint8]
    theirs: NDArray[np.uint8]
    predicted: NDArray[np.int64] | None  # theirs by the formulas of this file; None without one

    @property
    def num_differing(self) -> int:
        """How many values differ."""
        return int((self.ours != self.theirs).sum())

    @property
    def num_predicted(self) -> int:
        """How many of the other implementation's values are as predicted."""
        return 0 if self.predicted is None else int((self.predicted == self.theirs).sum())

    @property
    def largest(self) -> int:
        """The largest difference in steps."""
        return int(np.abs(self.ours.astype(int) - self.theirs).max())


def layers_alone(
    source: Model,
    inputs: dict[str, NDArray[np.generic]],
    run: Run,
    multipliers: AbstractSet[np.float32] = frozenset(),
) -> Iterator[Alone]:
    """Yield every computed layer of ``source``; its inputs are the twin's values, not ``run``'s."""
    graph = source.main
    values: dict[int, Any] = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        values[index] = inputs[tensor.name].reshape(tensor.shape).view(np.uint8) ^ _sign(tensor)
    for number, index, result in run_twin(source, inputs, multipliers):
        operator = graph.operators[number]
        values[index] = result.reshape(graph.tensors[index].shape)
        if operator.opcode not in KINDS:
            continue
        part = with_operators(source, number, number + 1)
        given = [_as_stored(values[each], graph.tensors[each]) for each in part.main.inputs]
        theirs = np.asarray(run(part, given)).view(np.uint8) ^ _sign(graph.tensors[index])
        wide = {each: values[each].astype(np.int64) for each in part.main.inputs}
        predict = _PREDICTIONS.get(operator.opcode)
        predicted = predict(source, operator, wide) if predict else None
        flat = None if predicted is None else predicted.reshape(-1)
        yield Alone(number, operator.opcode, result.reshape(-1), theirs.reshape(-1), flat)


def _sign(tensor: Any) -> np.uint8:  # noqa: ANN401
    return np.uint8(0x80 if tensor.dtype == "INT8" else 0)


def _as_stored(values: Any, tensor: Any) -> Any:  # noqa: ANN401
    return (values ^ _sign(tensor)).view(np.int8 if tensor.dtype == "INT8" else np.uint8)


def _quotient(model: Model, operator: Operator, values: dict[int, Any]) -> Any:  # noqa: ANN401
    """Convolutions and dense layers: the multiplier is a quotient, not a rounded reciprocal's."""
    source, weights, *_, output = tensors_of(model, operator)
    sums = dense_sums if operator.opcode == "FULLY_CONNECTED" else conv_sums
    scales = np.array(weights.quantization.scale if weights.quantization else (1,), np.float32)
    multiplier = scale_of(source) * scales / scale_of(output)
    activation = operator.options["fused_activation_function"]
    return requantize(sums(model, operator, values), multiplier, output, activation)


def _fixed_point_add(model: Model, operator: Operator, values: dict[int, Any]) -> Any:  # noqa: ANN401
    """Additions: both scales as integers of 21 bits and one shift, halves up."""
    *sources, output = tensors_of(model, operator)
    scales = [scale_of(each) / scale_of(output) for each in sources]
    shift = 20 - int(np.floor(np.log2(float(max(scales)))))
    total: Any = 1 << (shift - 1)
    for index, source, scale in zip(operator.inputs, sources, scales):
        weight = int(np.rint(np.float64(scale) * 2.0**shift))
        total = total + weight * (values[index] - zero_point_of(source))
    return _stored(total >> shift, output, operator.options["fused_activation_function"])


def _half_away(model: Model, operator: Operator, values: dict[int, Any]) -> Any:  # noqa: ANN401
    """Average pools: an integer quotient, halves away from zero; assumes equal scales."""
    _, output = tensors_of(model, operator)
    number = operator.options["filter_height"] * operator.options["filter_width"]
    sums = window_sums(model, operator, values)
    whole = np.sign(sums) * ((np.abs(sums) + number // 2) // number)
    return _stored(whole, output)


def _eight_bits(model: Model, operator: Operator, values: dict[int, Any]) -> Any:  # noqa: ANN401
    """QUANTIZE: the ratio of the scales in 1/256, halves up."""
    source, output = tensors_of(model, operator)
    if source.quantization is None or output.quantization is None:
        return None
    multiplier = int(np.rint(np.float32(256) * (scale_of(source) / scale_of(output))))
    data = values[operator.inputs[0]] - zero_point_of(source)
    return _stored((data * multiplier + 128) >> 8, output)


def _stored(real: Any, output: Any, activation: str = "NONE") -> Any:  # noqa: ANN401
    low, high = (int(np.rint(each)) for each in clamps(output, activation))
    return np.clip(real, low, high) + zero_point_of(output)


_PREDICTIONS: dict[str, Callable[[Model, Operator, dict[int, Any]], Any]] = {
    "ADD": _fixed_point_add,
    "AVERAGE_POOL_2D": _half_away,
    "CONV_2D": _quotient,
    "DEPTHWISE_CONV_2D": _quotient,
    "FULLY_CONNECTED": _quotient,
    "QUANTIZE": _eight_bits,
}
