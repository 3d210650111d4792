# SPDX-License-Identifier: Apache-2.0
"""Fix operators that copy integers into a tensor of another scale.

REVERSE_V2 copies bytes. TFLiteConverter sometimes gives its output another scale than its input (it
passes a CONCATENATION's scale on to the operators before it). Then every later value is wrong,
without a warning. A QUANTIZE between the two, which rescales, corrects the values.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgekit.formats.tflite import Model, Operator, Quantization, Tensor
from edgekit.quant.same_scale import same_scale_inputs


def copied_inputs(operator: Operator) -> tuple[int, ...]:
    """Return the tensor indices of the inputs whose integers ``operator`` uses for its outputs."""
    return same_scale_inputs(operator.opcode, operator.inputs)


def changes_scale(operator: Operator, tensors: tuple[Tensor, ...]) -> bool:
    """Whether ``operator`` copies integers into a tensor with another scale or zero point."""
    if operator.opcode == "CONCATENATION" and tensors[operator.outputs[0]].dtype == "UINT8":
        return False  # the kernel of 2018's uint8 models rescales each input
    return any(
        not _same(tensors[source], tensors[target])
        for source in copied_inputs(operator)
        for target in operator.outputs
    )


def fix_copied_scales(model: Model) -> Model:
    """Insert a QUANTIZE before or after each operator that changes a scale by copying.

    After the operator if it copies one input, before it if it copies several.

    Returns:
        ``model`` itself if there is no such operator.
    """
    graph = model.main
    tensors = list(graph.tensors)

    def requantized(tensor: Tensor, quantization: Quantization | None) -> int:
        tensors.append(replace(tensor, name=f"{tensor.name}/rescaled", quantization=quantization))
        return len(tensors) - 1

    operators: list[Operator] = []
    for operator in graph.operators:
        sources = copied_inputs(operator)
        if not changes_scale(operator, graph.tensors):
            operators.append(operator)
        elif len(sources) == 1:
            meaning = tensors[sources[0]].quantization
            inner = [requantized(tensors[i], meaning) for i in operator.outputs]
            operators.append(replace(operator, outputs=tuple(inner)))
            operators += [_quantize(a, b) for a, b in zip(inner, operator.outputs)]
        else:
            meaning = tensors[operator.outputs[0]].quantization
            changed = {
                i: requantized(tensors[i], meaning)
                for i in dict.fromkeys(sources)
                if not _same(tensors[i], tensors[operator.outputs[0]])
            }
            operators += [_quantize(a, b) for a, b in changed.items()]
            inputs = tuple(changed.get(i, i) for i in operator.inputs)
            operators.append(replace(operator, inputs=inputs))
    if len(operators) == len(graph.operators):
        return model
    main = replace(graph, tensors=tuple(tensors), operators=tuple(operators))
    return replace(model, subgraphs=(main,))


def _quantize(source: int, target: int) -> Operator:
    return Operator("QUANTIZE", 1, (source,), (target,), {}, "QuantizeOptions")


def _same(source: Tensor, target: Tensor) -> bool:
    """Whether an integer means the same in both; always true for float tensors and parameters."""
    if source.scale is None or target.scale is None or source.dtype != target.dtype:
        return True
    is_close = math.isclose(source.scale, target.scale, rel_tol=1e-6)
    return is_close and source.zero_point == target.zero_point
