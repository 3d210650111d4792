# SPDX-License-Identifier: Apache-2.0
"""The documented arithmetic on the source graph: what each layer of a compiled model must return.

Plain numpy on the uncompiled model; the emulator computes its ops without it. Values are unsigned,
as on the device: an int8 tensor's values plus 128. Operators without a formula are left out.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, AbstractSet, Any, Callable, Iterator, Mapping

import numpy as np

from edgekit.chip.arithmetic.formulas import (
    convolutions,
    elementwise,
    functions,
    moves,
    pools,
    recurrent,
    resizes,
)
from edgekit.chip.arithmetic.scales import (
    ACTIVATIONS,
    Values,
    activation_of,
    is_quantized,
    unsigned,
    zero_point_of,
)
from edgekit.formats.tflite import Model, Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray


_Formula = Callable[[Model, Operator, Values], Any]
_FORMULAS: dict[str, _Formula] = {
    "ADD": elementwise.add,
    "AVERAGE_POOL_2D": pools.average,
    "CONCATENATION": moves.concatenated,
    "CONV_2D": convolutions.conv,
    "DEPTHWISE_CONV_2D": convolutions.conv,
    "DEPTH_TO_SPACE": moves.depth_to_space,
    "EXPAND_DIMS": moves.reshaped,
    "FULLY_CONNECTED": convolutions.dense,
    "HARD_SWISH": functions.looked_up,
    "L2_NORMALIZATION": functions.l2_normalized,
    "LOGISTIC": functions.looked_up,
    "MAXIMUM": elementwise.extreme,
    "MAX_POOL_2D": pools.largest,
    "MEAN": pools.reduced,
    "MINIMUM": elementwise.extreme,
    "MIRROR_PAD": moves.mirrored,
    "MUL": elementwise.mul,
    "PACK": moves.packed,
    "PAD": moves.padded,
    "PADV2": moves.padded,
    "PRELU": elementwise.prelu,
    "QUANTIZE": elementwise.requantized,
    "REDUCE_MAX": pools.reduced_extreme,
    "REDUCE_MIN": pools.reduced_extreme,
    "RELU": elementwise.requantized,
    "RELU6": elementwise.requantized,
    "RELU_N1_TO_1": elementwise.requantized,
    "RESHAPE": moves.reshaped,
    "RESIZE_BILINEAR": resizes.bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resizes.nearest,
    "RSQRT": functions.looked_up,
    "SLICE": moves.sliced,
    "SOFTMAX": functions.softmax,
    "SPACE_TO_DEPTH": moves.space_to_depth,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split_by_sizes,
    "SQUARED_DIFFERENCE": elementwise.squared_difference,
    "SQUEEZE": moves.reshaped,
    "STRIDED_SLICE": moves.strided_slice,
    "SUB": elementwise.add,
    "SUM": pools.reduced,
    "TANH": functions.looked_up,
    "TILE": moves.tiled,
    "TRANSPOSE": moves.transposed,
    "TRANSPOSE_CONV": convolutions.transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": recurrent.lstm,
    "UNPACK": moves.unpacked,
}
COVERED = frozenset(_FORMULAS)
_OWN_ACTIVATION = ("UNIDIRECTIONAL_SEQUENCE_LSTM",)  # always TANH


def run_twin(
    model: Model,
    inputs: Mapping[Any, NDArray[np.generic]],
    multipliers: AbstractSet[np.float32] = frozenset(),
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Yield every output of subgraph 0's operators: (operator index, tensor index, device values).

    Leaves out operators without a formula and those that depend on them. A value is kept as long
    as a later operator reads it.

    Args:
        model: Its inputs may be any tensors, also of a part of a graph.
        inputs: Values of the inputs, int8 or uint8, by the tensor's index or its name. The states
            of an LSTM may be among them (the cell is int16); else they are zero.
        multipliers: The program's, used where Google's compilers differ (see `pools.average` and
            `functions.softmax`).
    """
    graph = model.main
    values = dict(_given(model, inputs))
    last_use = {
        index: number
        for number, operator in enumerate(graph.operators)
        for index in operator.inputs
    }
    formulas: dict[str, _Formula] = {
        **_FORMULAS,
        "AVERAGE_POOL_2D": partial(pools.average, multipliers=multipliers),
        "SOFTMAX": partial(functions.softmax, multipliers=multipliers),
    }
    for number, operator in enumerate(graph.operators):
        formula = formulas.get(operator.opcode)
        is_covered = formula is not None and _is_covered(model, operator, values)
        made = formula(model, operator, values) if formula and is_covered else None
        results = made if isinstance(made, list) else [] if made is None else [made]
        for index, result in zip(operator.outputs, results):
            values[index] = result
            yield number, index, result
        for index in (*operator.inputs, *operator.outputs):
            if last_use.get(index, -1) <= number:
                values.pop(index, None)


def _given(
    model: Model, inputs: Mapping[Any, NDArray[np.generic]]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the values of the graph's inputs and of its states, as the device stores them."""
    graph = model.main
    read = (index for operator in graph.operators for index in operator.inputs if index >= 0)
    states = [index for index in dict.fromkeys(read) if graph.tensors[index].is_variable]
    for index in (*graph.inputs, *states):
        tensor = graph.tensors[index]
        key = index if index in inputs else tensor.name
        if key in inputs or not tensor.is_variable:
            yield index, unsigned(inputs[key].reshape(tensor.shape))
        else:
            wide = tensor.dtype == "INT16"
            yield (
                index,
                np.full(tensor.shape, zero_point_of(tensor), np.uint16 if wide else np.uint8),
            )


def _is_covered(model: Model, operator: Operator, values: Values) -> bool:
    """Whether the inputs are there, and activations are quantized to 8 bits."""
    tensors = model.main.tensors
    if activation_of(operator) not in ACTIVATIONS and operator.opcode not in _OWN_ACTIVATION:
        return False
    if any(i >= 0 and i not in values and model.data(tensors[i]) is None for i in operator.inputs):
        return False
    given = [tensors[i] for i in operator.inputs if i in values and not tensors[i].is_variable]
    return bool(given) and is_quantized(*given, *(tensors[index] for index in operator.outputs))
