# SPDX-License-Identifier: Apache-2.0
"""Float .tflite files as a source: what can be quantized, and what its inputs are."""

from __future__ import annotations

from pathlib import Path

from edgekit.edgetpu.structure import structural_rules
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.tflite import Model, Tensor, read_model
from edgekit.host.enforce import refuse
from edgekit.host.shapes import RawInput

_MODES = ("int8", "float-fallback")


def read_float_tflite(path: Path, mode: str) -> Model:
    """Read a .tflite that holds real numbers, and refuse any other.

    Raises:
        ModelFormatError: It is damaged.
        UnsupportedModelError: It is quantized or compiled already, or has custom operators or
            several subgraphs.
        UsageError: ``mode`` is none that starts from a .tflite.
    """
    if mode not in _MODES:
        raise UsageError(
            f"--mode {mode} does not start from a .tflite file", fix="give the Keras model"
        )
    model = read_model(path)
    # Unknown dimensions can be filled in; the other rules no quantization heals.
    rules = [rule for rule in structural_rules(model) if rule.code != "model.dynamic_shape"]
    refuse(rules, str(path))
    quantized = [
        tensor for tensor in model.main.tensors if tensor.quantization and tensor.dtype != "FLOAT32"
    ]
    if quantized:
        raise UnsupportedModelError(
            "the model is quantized already",
            where=str(path),
            why=f"{len(quantized)} tensors, {quantized[0].name} for one, hold "
            f"{quantized[0].dtype.lower()}",
            fix="give the float model; or see what the Edge TPU takes of this one: edgekit check",
        )
    return model


def tflite_inputs(model: Model) -> list[RawInput]:
    """The inputs, by the names of the signature if there is one."""
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
