# SPDX-License-Identifier: Apache-2.0
"""Float islands: convert activations between DEQUANTIZE and QUANTIZE to integer operators."""

from __future__ import annotations

from dataclasses import replace

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit
from edgekit.rewrite.rule import Rule

# Elementwise operators with integer kernels (or which another rule replaces by such operators).
_UNARY = frozenset(
    ["GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "RELU", "RELU6", "RELU_N1_TO_1", "TANH"]
)
_BINARY = frozenset(["ADD", "MUL", "SUB"])
# The output that the kernel prescribes: (scale, steps from the lowest code to zero).
_FIXED = {"LOGISTIC": (1 / 256, 0), "TANH": (1 / 128, 128)}


def close_islands(model: Model) -> Model | None:
    """Return ``model`` with float activations computed on integers if all neighbours are 8-bit.

    An operator is converted if it reads integers through DEQUANTIZE, and writes integers through
    QUANTIZE or has an output whose scale its integer kernel prescribes.
    """
    return _close(model, _UNARY | _BINARY)


def close_silu(model: Model) -> Model | None:
    """Return ``model`` with SiLU (LOGISTIC and MUL) that was left in float on integers."""
    return _close(model, frozenset(["LOGISTIC", "MUL"]))


def _close(model: Model, known: frozenset[str]) -> Model | None:
    edit = Edit(model)
    found = False
    changed = True
    while changed:
        changed = False
        producers = edit.producers()
        for op in edit.operators:
            integer = _integer_output(edit, producers, op, known)
            if integer is None:
                continue
            _to_integers(edit, producers, op, integer)
            changed = found = True
            break
    if not found:
        return None
    # A DEQUANTIZE may have moved after its operator and now stand before several others.
    built = edit.build()
    return built if _num_float(built) < _num_float(model) else None


def _num_float(model: Model) -> int:
    tensors = model.main.tensors
    return sum(
        any(tensors[i].dtype == "FLOAT32" for i in op.outputs) for op in model.main.operators
    )


def _integer_output(
    edit: Edit, producers: dict[int, Operator], op: Operator, known: frozenset[str]
) -> int | None:
    """Return an 8-bit tensor that ``op`` could write instead of its float output, or None.

    A new tensor is created only for operators whose kernel prescribes the output's scale.
    """
    if op.opcode not in known or edit.tensors[op.outputs[0]].dtype != "FLOAT32":
        return None
    sources = [_dequantized(edit, producers, i) for i in op.inputs]
    if any(source is None for source in sources) or op.outputs[0] in edit.outputs:
        return None
    dtype = edit.tensors[sources[0] or 0].dtype
    readers = edit.consumers(op.outputs[0])
    quantizers = [each for each in readers if each.opcode == "QUANTIZE"]
    if op.opcode in _FIXED:
        if not readers:
            return None
        scale, steps = _FIXED[op.opcode]
        name = f"{edit.tensors[op.outputs[0]].name}/integer"
        like = sources[0] or 0
        return edit.requantized(like, scale, pieces.q_range(edit.tensors[like])[0] + steps, name)
    if len(readers) != len(quantizers) or len(readers) != 1:
        return None
    target = quantizers[0].outputs[0]
    tensor = edit.tensors[target]
    if op.opcode == "MUL" and any(not is_8bit(edit.tensors[s or 0]) for s in sources):
        return None
    return target if is_8bit(tensor) and tensor.dtype == dtype else None


def _dequantized(edit: Edit, producers: dict[int, Operator], index: int) -> int | None:
    producer = producers.get(index)
    if producer is None or producer.opcode != "DEQUANTIZE":
        return None
    source = producer.inputs[0]
    return source if is_8bit(edit.tensors[source]) else None


def _to_integers(edit: Edit, producers: dict[int, Operator], op: Operator, integer: int) -> None:
    """Replace ``op`` by its integer form, followed by DEQUANTIZE if other operators need it."""
    sources = [producers[i].inputs[0] for i in op.inputs]
    fresh = edit.operator(op.opcode, sources, (integer,), op.options, op.options_type)
    place = edit.operators.index(op)
    output = op.outputs[0]
    writers = [each for each in edit.operators if each.outputs == (integer,)]
    if writers:  # the QUANTIZE whose output is now written directly
        edit.operators[place] = fresh
        edit.operators = [each for each in edit.operators if each is not writers[0]]
        return
    back = edit.operator("DEQUANTIZE", (integer,), (output,), {}, "DequantizeOptions")
    edit.operators[place : place + 1] = [fresh, back]


def join_quantize_pairs(model: Model) -> Model | None:
    """Return ``model`` with each DEQUANTIZE and QUANTIZE pair joined into one integer QUANTIZE."""
    edit = Edit(model)
    producers = edit.producers()
    found = False
    for place, op in enumerate(edit.operators):
        if op.opcode != "QUANTIZE" or not is_8bit(edit.tensors[op.outputs[0]]):
            continue
        source = _dequantized(edit, producers, op.inputs[0])
        if source is not None:
            edit.operators[place] = replace(op, inputs=(source,))
            found = True
    return edit.build() if found else None


SILU = Rule(
    "silu",
    "SiLU left in float between DEQUANTIZE and QUANTIZE becomes integer LOGISTIC and MUL",
    exact=False,
    apply=close_silu,
)
ISLANDS = Rule(
    "float-islands",
    "other activations left in float between DEQUANTIZE and QUANTIZE become integer ones",
    exact=False,
    apply=close_islands,
)
PAIRS = Rule(
    "quantize-pairs",
    "DEQUANTIZE followed by QUANTIZE becomes one QUANTIZE on integers",
    exact=False,
    apply=join_quantize_pairs,
)
