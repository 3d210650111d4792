# SPDX-License-Identifier: Apache-2.0
"""Float .tflite files as a source: read, check, cut, and list their inputs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from edgekit.edgetpu.check import refuse_compiled
from edgekit.edgetpu.structure import structural_rules
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, Tensor
from edgekit.formats.tflite.part import between
from edgekit.host.convert.enforce import refuse
from edgekit.host.convert.shapes import RawInput
from edgekit.rewrite import apply_rule, sparse

_MODES = ("int8", "float-fallback")


def float_model_of(file: ModelFile, mode: str) -> Model:
    """Return the model in a .tflite of real numbers, and refuse any other.

    Raises:
        ModelFormatError: It is damaged.
        UnsupportedModelError: It is already quantized or compiled.
        UsageError: ``mode`` does not start from a .tflite.
    """
    if mode not in _MODES:
        raise UsageError(
            f"--mode {mode} does not start from a .tflite file", fix="give the Keras model"
        )
    refuse_compiled(file.model, file.path)
    model = apply_rule(sparse.RULE, file.model) or file.model
    quantized = [
        tensor for tensor in model.main.tensors if tensor.quantization and tensor.dtype != "FLOAT32"
    ]
    if quantized:
        raise UnsupportedModelError(
            "the model is already quantized",
            where=file.path,
            why=f"{len(quantized)} tensors, for example {quantized[0].name}, contain "
            f"{quantized[0].dtype.lower()}",
            fix="give the float model; or see which operators of this one map: edgekit check",
        )
    return model


def refuse_unquantizable(model: Model, where: str) -> None:
    """Refuse models that the quantizer cannot run in any mode: custom operators, several subgraphs.

    Raises:
        NotEdgeTpuModelError: ``model`` has them.
    """
    rules = structural_rules(model, at_source=True)
    refuse([rule for rule in rules if rule.code in ("model.custom_op", "model.subgraphs")], where)


def cut(model: Model, inputs: Sequence[str], outputs: Sequence[str], where: str) -> Model:
    """Return the part of ``model`` from ``inputs`` to ``outputs``; empty means the model's own.

    Raises:
        UsageError: There is no such tensor, or the outputs need more than these inputs.
    """
    if not inputs and not outputs:
        return model
    graph = model.main
    feeds = [_tensor_named(model, name, "--inputs", where) for name in inputs]
    fetches = [_tensor_named(model, name, "--outputs", where) for name in outputs]
    part = between(model, feeds or graph.inputs, fetches or graph.outputs)
    if part is None:
        raise UsageError(
            f"the outputs need more inputs than --inputs {','.join(inputs)}",
            where=where,
            fix=f"add the other inputs: {', '.join(graph.tensors[i].name for i in graph.inputs)}",
        )
    read = {index for operator in part.main.operators for index in operator.inputs}
    unused = [name for name, index in zip(inputs, feeds, strict=True) if index not in read]
    if unused or not part.main.operators:
        raise UsageError(
            f"nothing between the inputs and the outputs reads {', '.join(unused) or 'anything'}",
            where=where,
            fix="name inputs that come before the outputs",
        )
    if not inputs:  # those of the model's own that the part needs
        kept = tuple(index for index in graph.inputs if index in read)
        part = replace(part, subgraphs=(replace(part.main, inputs=kept),))
    return part


def _tensor_named(model: Model, name: str, option: str, where: str) -> int:
    """Return the index of the activation with this name, its own or the signature's."""
    graph = model.main
    names = {
        tensor.name: index
        for index, tensor in enumerate(graph.tensors)
        if not model.buffers[tensor.buffer].size
    }
    for signature in model.signature_defs[:1]:
        names = {**signature.inputs, **signature.outputs, **names}
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, 3, 0.4)
    inside = [each for each in names if name in each]
    close = list(dict.fromkeys([*inside[:3], *near]))[:4]
    raise UsageError(
        f"{option}: the model has no tensor {name!r}",
        where=where,
        fix=f"perhaps {' or '.join(close)}" if close else f"edgekit inspect {where} lists them",
    )


def tflite_inputs(model: Model) -> list[RawInput]:
    """Return the inputs, with the signature's names if there is one."""
    names = {
        index: name for each in model.signature_defs[:1] for name, index in each.inputs.items()
    }
    return [
        RawInput(names.get(index, tensor.name), _shape(tensor), tensor.dtype.lower())
        for index in model.main.inputs
        for tensor in [model.main.tensors[index]]
    ]


def _shape(tensor: Tensor) -> tuple[int | None, ...]:
    declared = tensor.shape_signature or tensor.shape
    return tuple(None if size < 0 else size for size in declared)
