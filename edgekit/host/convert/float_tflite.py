# SPDX-License-Identifier: Apache-2.0
"""Float .tflite files as a source: read, check, cut, and list their inputs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from edgekit.edgetpu.check import refuse_compiled
from edgekit.edgetpu.structure import structural_rules
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, Tensor
from edgekit.formats.tflite.part import between
from edgekit.host.convert.enforce import refuse
from edgekit.host.convert.shapes import RawInput
from edgekit.rewrite import apply_rule, mediapipe, sparse

_MODES = ("int8", "float-fallback")
_STABLEHLO = "keep_stablehlo_constant"


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
    model = without_hints(file.model)
    model = apply_rule(sparse.RULE, model) or model
    model = apply_rule(mediapipe.RULE, model) or model
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


def without_hints(model: Model) -> Model:
    """Return ``model`` without litert-torch's metadata for TensorFlow's converter.

    With ``keep_stablehlo_constant`` TensorFlow's quantizer does not see the weights as constants,
    and leaves each layer that has some in real numbers.
    """
    if _STABLEHLO not in model.metadata:
        return model
    kept = {name: index for name, index in model.metadata.items() if name != _STABLEHLO}
    return replace(model, metadata=kept)


def refuse_unquantizable(model: Model, where: str) -> None:
    """Refuse models that the quantizer cannot run in any mode: custom operators, several subgraphs.

    Raises:
        NotEdgeTpuModelError: ``model`` has them.
    """
    rules = structural_rules(model, at_source=True)
    refuse([rule for rule in rules if rule.code in ("model.custom_op", "model.subgraphs")], where)


def cut(
    model: Model, inputs: Sequence[str], outputs: Sequence[str], where: str, listing: str
) -> Model:
    """Return the part of ``model`` from ``inputs`` to ``outputs``; empty means the model's own.

    Args:
        model: The float model.
        inputs: Names of tensors or layers.
        outputs: Names of tensors or layers.
        where: The source, for errors.
        listing: The command that lists the tensors' names.

    Raises:
        UsageError: There is no such tensor, or the outputs need more than these inputs.
    """
    if not inputs and not outputs:
        return model
    graph = model.main
    feeds = [_tensor_named(model, name, "--inputs", where, listing) for name in inputs]
    fetches = [_tensor_named(model, name, "--outputs", where, listing) for name in outputs]
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


def _tensor_named(model: Model, name: str, option: str, where: str, listing: str) -> int:
    """Return the index of the activation with this name: its own, the signature's, a layer's."""
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
    layer = _layer_named(names, name)
    if layer:
        made = [index for op in graph.operators for index in op.outputs if index in layer]
        return (made or layer)[-1]  # the last of a layer's tensors is its output
    close = _close(names, name)
    raise UsageError(
        f"{option}: the model has no tensor {name!r}",
        where=where,
        fix=f"perhaps {' or '.join(close)}" if close else f"list the names: {listing}",
    )


def _close(names: Iterable[str], name: str) -> list[str]:
    """Return names of tensors that contain ``name`` or a part like it."""
    parts = {part: each for each in names for part in (each, *each.split(";")[0].split("/"))}
    inside = [each for each in names if name in each]
    near = [parts[part] for part in difflib.get_close_matches(name, parts, 3, 0.6)]
    return list(dict.fromkeys([*inside[:3], *near]))[:4]


def _layer_named(names: Mapping[str, int], name: str) -> list[int]:
    """Return the tensors of the layer ``name``; empty if it is not clear which are meant.

    The names of fused operators are joined by semicolons, the last operator's first. Keras appends
    _1 to the names of all layers when it traces a network for the second time.
    """
    found: dict[str, list[int]] = {name: [], f"{name}_1": []}
    for each, index in names.items():
        for part in set(each.split(";")[0].split("/")) & set(found):
            found[part].append(index)
    clear = [indices for indices in found.values() if indices]
    return clear[0] if len(clear) == 1 else []


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
