# SPDX-License-Identifier: Apache-2.0
"""Change the types of a model's inputs and outputs (uint8, int8 or float) without retraining."""

from __future__ import annotations

from dataclasses import replace

from edgekit.formats.tflite import Model, Operator, Quantization, Tensor
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import EIGHT_BIT, Edit, is_8bit
from edgekit.rewrite.rule import Rule

# auto: float inputs and outputs become the integers behind them, others stay.
IO_KINDS = ("auto", "keep", "uint8", "int8", "float32")
_OFFSET = 128  # from an int8 code to the uint8 code of the same real value


def exchange_io(model: Model, kind: str) -> Model | None:
    """Return ``model`` with quantized inputs and outputs of another type.

    QUANTIZE and DEQUANTIZE at the ends are removed if they are not needed any more, and QUANTIZE
    is added if it is needed.

    Args:
        model: A model that rules may change.
        kind: One of `IO_KINDS`.
    """
    if kind == "keep":
        return None
    edit = Edit(model)
    found = False
    for index in list(dict.fromkeys(edit.inputs)):
        found |= _exchange_input(edit, index, kind)
    for index in list(dict.fromkeys(edit.outputs)):
        found |= _exchange_output(edit, index, kind)
    return edit.build() if found else None


def io_rule(kind: str) -> Rule:
    """Return the rule that changes inputs and outputs to ``kind``."""
    what = {
        "auto": "float inputs and outputs become the integers behind them",
        "keep": "inputs and outputs keep their types",
    }.get(kind, f"inputs and outputs become {kind}")
    return Rule("io", what, exact=True, apply=lambda model: exchange_io(model, kind))


def _exchange_input(edit: Edit, index: int, kind: str) -> bool:
    tensor = edit.tensors[index]
    wanted = kind.upper()
    if index in edit.outputs or tensor.dtype == wanted:
        return False
    if tensor.dtype == "FLOAT32":
        inner = _only_quantize(edit, index, EIGHT_BIT)
        if inner is None:
            return False
        _drop_input(edit, index, inner)
        if kind != "auto" and edit.tensors[inner].dtype != wanted:
            _exchange_input(edit, inner, kind)
        return True
    if kind == "auto" or not is_8bit(tensor):
        return False
    if kind == "float32":
        _prepend(edit, index, replace(tensor, dtype="FLOAT32", quantization=None))
        return True
    inner = _only_quantize(edit, index, (wanted,))
    if inner is not None and _is_offset(tensor, edit.tensors[inner]):
        _drop_input(edit, index, inner)
    else:
        _prepend(edit, index, with_offset(tensor))
    return True


def _only_quantize(edit: Edit, index: int, dtypes: tuple[str, ...]) -> int | None:
    """Return the output of the QUANTIZE to ``dtypes`` that alone reads input ``index``, or None."""
    readers = edit.consumers(index)
    if len(readers) != 1 or readers[0].opcode != "QUANTIZE":
        return None
    target = readers[0].outputs[0]
    tensor = edit.tensors[target]
    return (
        target if tensor.dtype in dtypes and is_8bit(tensor) and edit.is_internal(target) else None
    )


def _drop_input(edit: Edit, index: int, inner: int) -> None:
    """Remove the QUANTIZE from input ``index`` to ``inner``; ``inner`` becomes the input."""
    (reader,) = edit.consumers(index)
    edit.operators = [op for op in edit.operators if op is not reader]
    old, new = edit.tensors[index], edit.tensors[inner]
    edit.tensors[index] = replace(old, name=new.name)
    edit.tensors[inner] = replace(new, name=old.name, shape_signature=old.shape_signature)
    edit.rename_end(index, inner, is_input=True)


def _prepend(edit: Edit, index: int, like: Tensor) -> None:
    """Add a new input like ``like``, and a QUANTIZE from it to the old input."""
    tensor = edit.tensors[index]
    edit.tensors[index] = replace(tensor, name=edit.unique(f"{tensor.name}/quantized"))
    fresh = edit.activation(like, f"{tensor.name}/{like.dtype.lower()}")
    edit.tensors[fresh] = replace(
        edit.tensors[fresh], name=tensor.name, shape_signature=tensor.shape_signature
    )
    edit.operators.insert(0, pieces.quantize(edit, fresh, index))
    edit.rename_end(index, fresh, is_input=True)


def _exchange_output(edit: Edit, index: int, kind: str) -> bool:
    tensor = edit.tensors[index]
    wanted = kind.upper()
    if index in edit.inputs or tensor.dtype == wanted:
        return False
    producer = edit.producers().get(index)
    if tensor.dtype == "FLOAT32":
        inner = _source_of(edit, producer, "DEQUANTIZE", EIGHT_BIT)
        if inner is None:
            return False
        _drop_output(edit, index, inner)
        if kind != "auto" and edit.tensors[inner].dtype != wanted:
            _exchange_output(edit, inner, kind)
        return True
    if kind == "auto" or not is_8bit(tensor):
        return False
    if kind == "float32":
        _append(edit, index, replace(tensor, dtype="FLOAT32", quantization=None))
        return True
    inner = _source_of(edit, producer, "QUANTIZE", (wanted,))
    if inner is not None and _is_offset(tensor, edit.tensors[inner]):
        _drop_output(edit, index, inner)
    else:
        _append(edit, index, with_offset(tensor))
    return True


def _source_of(
    edit: Edit, producer: Operator | None, opcode: str, dtypes: tuple[str, ...]
) -> int | None:
    if producer is None or producer.opcode != opcode:
        return None
    source = producer.inputs[0]
    tensor = edit.tensors[source]
    return (
        source if tensor.dtype in dtypes and is_8bit(tensor) and edit.is_internal(source) else None
    )


def _drop_output(edit: Edit, index: int, inner: int) -> None:
    """Make ``inner`` the output under the old name; operators may still read ``index``."""
    old, new = edit.tensors[index], edit.tensors[inner]
    edit.tensors[index] = replace(old, name=new.name)
    edit.tensors[inner] = replace(new, name=old.name)
    edit.rename_end(index, inner, is_input=False)


def _append(edit: Edit, index: int, like: Tensor) -> None:
    """Add a new output like ``like``, converted from the old output."""
    tensor = edit.tensors[index]
    edit.tensors[index] = replace(tensor, name=edit.unique(f"{tensor.name}/quantized"))
    fresh = edit.activation(like, f"{tensor.name}/{like.dtype.lower()}")
    edit.tensors[fresh] = replace(
        edit.tensors[fresh], name=tensor.name, shape_signature=tensor.shape_signature
    )
    if like.dtype == "FLOAT32":
        last = edit.operator("DEQUANTIZE", (index,), (fresh,), {}, "DequantizeOptions")
    else:
        last = pieces.quantize(edit, index, fresh)
    edit.operators.append(last)
    edit.rename_end(index, fresh, is_input=False)


def with_offset(tensor: Tensor) -> Tensor:
    """Return ``tensor`` in the other 8-bit type: different codes, the same real values."""
    to_int8 = tensor.dtype == "UINT8"
    zero_point = int(tensor.zero_point or 0) + (-_OFFSET if to_int8 else _OFFSET)
    quantization = Quantization((float(tensor.scale or 1),), (zero_point,))
    return replace(tensor, dtype="INT8" if to_int8 else "UINT8", quantization=quantization)


def _is_offset(left: Tensor, right: Tensor) -> bool:
    """Whether codes of the two that differ by 128 mean the same real value."""
    other = with_offset(left)
    return (other.dtype, other.scale, other.zero_point) == (
        right.dtype,
        right.scale,
        right.zero_point,
    )
