# SPDX-License-Identifier: Apache-2.0
"""The documented arithmetic on the source graph: what each layer of a compiled model must return.

Plain numpy on the uncompiled model; the emulator shares no code with it. Values are unsigned, as on
the device: an int8 tensor's values plus 128. Operators without a proven formula are left out.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, AbstractSet, Any, Callable, Iterator

import numpy as np

from edgekit.chip.arithmetic.formulas import (
    add,
    average,
    conv,
    dense,
    maximum,
    mean,
    mul,
    requantized,
    subtract,
)
from edgekit.chip.arithmetic.scales import constant, scale_of, tensors_of, zero_point_of
from edgekit.formats.tflite import Model, Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray


def run_twin(
    model: Model,
    inputs: dict[str, NDArray[np.generic]],
    multipliers: AbstractSet[np.float32] = frozenset(),
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Yield every output of subgraph 0's operators: (operator index, tensor index, device values).

    Leaves out operators without a formula and those that depend on them. ``inputs`` are tensors
    by name.
    ``multipliers`` are the program's, used where compilers differ (see `formulas.average`).
    """
    graph = model.main
    values: dict[int, Any] = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        values[index] = _unsigned(inputs[tensor.name].reshape(tensor.shape))
    formulas = dict(_FORMULAS)
    formulas["AVERAGE_POOL_2D"] = partial(average, multipliers=multipliers)
    for number, operator in enumerate(graph.operators):
        formula = formulas.get(operator.opcode)
        if formula is None or any(
            i >= 0 and i not in values and model.data(graph.tensors[i]) is None
            for i in operator.inputs
        ):
            continue
        made = formula(model, operator, values)
        if made is None:
            continue
        results = made if isinstance(made, list) else [made]
        values.update(zip(operator.outputs, results))
        for index, result in zip(operator.outputs, results):
            yield number, index, result.astype(np.uint8)


def _unsigned(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.int64) + (128 if values.dtype == np.int8 else 0)


def _reshape(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    shape = model.main.tensors[operator.outputs[0]].shape
    return values[operator.inputs[0]].reshape(shape)  # type: ignore[no-any-return]


def _pad(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    source, pads, *_ = tensors_of(model, operator)
    widths = constant(model, pads).reshape(-1, 2).tolist()
    return np.pad(values[operator.inputs[0]], widths, constant_values=zero_point_of(source))


def _concatenate(
    model: Model, operator: Operator, values: dict[int, Any]
) -> NDArray[np.int64] | None:
    *sources, output = tensors_of(model, operator)
    same = {(scale_of(each), zero_point_of(each)) for each in (*sources, output)}
    if len(same) > 1 or any(index not in values for index in operator.inputs):
        return None
    parts = [values[index] for index in operator.inputs]
    return np.concatenate(parts, axis=operator.options["axis"])


def _split(model: Model, operator: Operator, values: dict[int, Any]) -> list[NDArray[np.int64]]:
    axis = int(constant(model, model.main.tensors[operator.inputs[0]]).reshape(-1)[0])
    return np.split(values[operator.inputs[1]], len(operator.outputs), axis=axis)


def _tile(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    times = constant(model, model.main.tensors[operator.inputs[1]]).reshape(-1).tolist()
    return np.tile(values[operator.inputs[0]], times)


def _resize(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    """Resize by 1 or 2, with half-pixel centres (nearest: without aligned corners)."""
    source, *_, output = tensors_of(model, operator)
    data = values[operator.inputs[0]]
    if source.shape == output.shape:
        return data  # type: ignore[no-any-return]
    options, bilinear = operator.options, operator.opcode == "RESIZE_BILINEAR"
    double = all(2 * a == b for a, b in zip(source.shape[1:3], output.shape[1:3]))
    if not double or options["align_corners"] or bilinear > options["half_pixel_centers"]:
        return None
    if not bilinear:
        return np.asarray(data.repeat(2, axis=1).repeat(2, axis=2))
    total = _doubled(_doubled(data, 1), 2)
    return np.rint(total / np.float32(16)).astype(np.int64)


def _doubled(data: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """Return four times the interpolated values: 1/4 of one neighbour plus 3/4 of the other."""
    number = data.shape[axis]
    place = np.arange(number)
    before, after = np.maximum(place - 1, 0), np.minimum(place + 1, number - 1)
    pair = [3 * data + data.take(each, axis=axis) for each in (before, after)]
    shape = list(data.shape)
    shape[axis] *= 2
    return np.stack(pair, axis=axis + 1).reshape(shape)


_Formula = Callable[[Model, Operator, "dict[int, Any]"], Any]
_FORMULAS: dict[str, _Formula] = {
    "ADD": add,
    "AVERAGE_POOL_2D": average,
    "CONCATENATION": _concatenate,
    "CONV_2D": conv,
    "DEPTHWISE_CONV_2D": conv,
    "FULLY_CONNECTED": dense,
    "MAX_POOL_2D": maximum,
    "MEAN": mean,
    "MUL": mul,
    "PAD": _pad,
    "QUANTIZE": requantized,
    "RELU": requantized,
    "RELU6": requantized,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SPLIT": _split,
    "SUB": subtract,
    "TILE": _tile,
}
