# SPDX-License-Identifier: Apache-2.0
"""The float twin of an integer model: the same operators, with real numbers in place of codes.

Constants become the real values that their codes stand for, activations become float32, and
QUANTIZE and DEQUANTIZE copy. The twin has the weights of the integer model, rounding included, but
nothing in it is rounded or cut off. Tensors and operators keep their indices.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import NUMPY_DTYPES, Model, Operator, Tensor
from edgekit.rewrite.versions import needed_version

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INTEGERS = ("INT8", "UINT8", "INT16", "INT32", "INT64")
_CODES = ("INT8", "UINT8", "INT16")
_ACTIVATIONS = (*_CODES, "FLOAT32")
# Operator -> the position of its bias among its inputs. Its weights are input 1.
_BIASES = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
_WEIGHTS = 1
_LIMITED = (*_BIASES, "ADD", "SUB", "MUL")
_SIX_WITHIN = 0.03
_SEED = 20210721
COPYING = ("QUANTIZE", "DEQUANTIZE")


def float_twin(model: Model, *, with_limits: bool = False) -> Model:
    """Return the float twin of a model with one subgraph.

    Args:
        model: An integer model.
        with_limits: Whether a range that begins at 0 stands for a fused RELU, and one of 0 to 6 for
            RELU6: quantizers of 2018 to 2020 left the activation out where the range implies it.

    Raises:
        UnsupportedModelError: A constant is packed or sparse, so that its codes cannot be read.
    """
    graph = model.main
    buffers = list(model.buffers)
    biases = _scales_of_biases(model)
    tensors = []
    for index, tensor in enumerate(graph.tensors):
        is_constant = bool(model.buffers[tensor.buffer].size)
        if is_constant:
            real = _real_values(model, tensor, biases.get(index))
            if real is not None:
                buffers.append(np.frombuffer(real.astype("<f4").tobytes(), np.uint8))
                tensors.append(_as_float(tensor, len(buffers) - 1))
                continue
        elif is_stored(tensor):
            tensors.append(_as_float(tensor, 0))
            continue
        tensors.append(tensor)
    stated = [_with_limit(op, graph.tensors) if with_limits else op for op in graph.operators]
    operators = tuple(_float_operator(op, tensors) for op in stated)
    main = replace(graph, tensors=tuple(tensors), operators=operators)
    return replace(model, subgraphs=(main,), buffers=tuple(buffers), metadata={}, signature_defs=())


def with_moved_weights(twin: Model, model: Model) -> Model:
    """Move each weight of the twin by a random part of half a step, as rounding does.

    Constant operands of MUL, ADD or PRELU count as weights; a single number is stored exactly.

    Args:
        twin: The float twin.
        model: The integer model, which has the steps.
    """
    generator = np.random.default_rng(_SEED)
    graph = twin.main
    buffers, tensors = list(twin.buffers), list(graph.tensors)
    places = {index for op in graph.operators for index in op.inputs if index >= 0}
    for index in sorted(places):
        tensor = model.main.tensors[index]
        weights, scales = twin.data(graph.tensors[index]), scales_of(tensor)
        # The steps of biases (int32) are too small to matter.
        if tensor.dtype not in _CODES or weights is None or weights.size < 2 or scales is None:
            continue
        moved = weights + generator.uniform(-0.5, 0.5, weights.shape) * scales
        # Pruned weights and padding are stored without an error.
        real = np.where(weights == 0, 0, moved)
        buffers.append(np.frombuffer(real.astype("<f4").tobytes(), np.uint8))
        tensors[index] = replace(tensors[index], buffer=len(buffers) - 1)
    main = replace(graph, tensors=tuple(tensors))
    return replace(twin, subgraphs=(main,), buffers=tuple(buffers))


def scales_of(tensor: Tensor) -> NDArray[np.float64] | None:
    """Return the scales of a constant, in a shape that its values can be multiplied with."""
    quantization = tensor.quantization
    if quantization is None or not quantization.scale:
        return None
    scale = np.asarray(quantization.scale)
    if not quantization.per_channel:
        return scale
    around: list[Any] = [1] * len(tensor.shape)
    around[quantization.quantized_dimension] = -1
    return scale.reshape(around)


def is_stored(tensor: Tensor) -> bool:
    """Whether a tensor holds real numbers, as codes with a scale or as they are."""
    return tensor.dtype == "FLOAT32" or (
        tensor.dtype in _ACTIVATIONS and tensor.quantization is not None
    )


def _as_float(tensor: Tensor, buffer: int) -> Tensor:
    return replace(tensor, dtype="FLOAT32", buffer=buffer, quantization=None, sparsity=None)


def _scales_of_biases(model: Model) -> dict[int, NDArray[np.float64]]:
    """Return the scales of biases: the input's scale times those of the weights."""
    graph = model.main
    found = {}
    for op in graph.operators:
        place = _BIASES.get(op.opcode)
        if place is None or len(op.inputs) <= place or op.inputs[place] < 0:
            continue
        weights = graph.tensors[op.inputs[_WEIGHTS]]
        source = graph.tensors[op.inputs[2 if op.opcode == "TRANSPOSE_CONV" else 0]]
        if source.scale is not None and weights.quantization is not None:
            found[op.inputs[place]] = source.scale * np.asarray(weights.quantization.scale)
    return found


def _real_values(
    model: Model, tensor: Tensor, bias_scale: NDArray[np.float64] | None
) -> NDArray[np.float32] | None:
    """Return what the codes of a constant stand for; None if they are not codes."""
    quantization = tensor.quantization
    has_scale = quantization is not None and bool(quantization.scale)
    if tensor.dtype not in _INTEGERS or not (has_scale or bias_scale is not None):
        if quantization is not None and quantization.scale and tensor.dtype not in NUMPY_DTYPES:
            raise UnsupportedModelError(
                f"the constant {tensor.name} has the type {tensor.dtype}",
                fix="give a model whose weights are int8 or uint8",
            )
        return None
    codes = np.asarray(model.data(tensor), np.float64)
    scale = scales_of(tensor)
    if scale is None or quantization is None:
        return None if bias_scale is None else np.asarray(codes * bias_scale, np.float32)
    zero_point = np.asarray(quantization.zero_point or 0)
    if zero_point.size > 1:
        zero_point = zero_point.reshape(scale.shape)
    return np.asarray((codes - zero_point) * scale, np.float32)


def _with_limit(op: Operator, tensors: Sequence[Tensor]) -> Operator:
    """State the activation that the range of the output implies."""
    if op.options.get("fused_activation_function") != "NONE" or op.opcode not in _LIMITED:
        return op
    tensor = tensors[op.outputs[0]]
    if tensor.scale is None or tensor.dtype not in ("INT8", "UINT8"):
        return op
    low = -128 if tensor.dtype == "INT8" else 0
    if tensor.zero_point != low:
        return op
    top = 255 * tensor.scale
    name = "RELU6" if abs(top - 6) < _SIX_WITHIN else "RELU"
    return replace(op, options={**op.options, "fused_activation_function": name})


def _float_operator(op: Operator, tensors: list[Tensor]) -> Operator:
    made = replace(op, intermediates=())
    if op.opcode in COPYING:
        shape = {"new_shape": tensors[op.outputs[0]].shape}
        made = Operator("RESHAPE", 1, op.inputs[:1], op.outputs, shape, "ReshapeOptions")
    return replace(made, version=needed_version(made, tensors) or made.version)
