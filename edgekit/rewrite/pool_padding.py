# SPDX-License-Identifier: Apache-2.0
"""PADV2 as operators that map: PyTorch pads with minus infinity before max pooling.

The quantizer makes a scale that reaches to that infinity, so all other values get one code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule

_LOWEST_REAL = -1e30  # exporters write minus infinity or the lowest number of a type
_POSITIVE = frozenset(["LOGISTIC", "RELU", "RELU6", "RELU_0_TO_1", "SOFTMAX"])
_KEEPS_SIGN = frozenset(
    ["AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "QUANTIZE", "RESHAPE", "TRANSPOSE"]
)


@dataclass(frozen=True)
class _Window:
    """Pooling along one axis of ``size`` values, padded with ``before`` and ``after`` of them."""

    size: int
    before: int
    after: int
    length: int
    stride: int

    @property
    def count(self) -> int:
        """The number of outputs."""
        return (self.before + self.size + self.after - self.length) // self.stride + 1

    @property
    def is_same(self) -> bool:
        """Whether padding SAME has its windows at the same places."""
        count = -(-self.size // self.stride)
        total = max((count - 1) * self.stride + self.length - self.size, 0)
        return count == self.count and total // 2 == self.before

    @property
    def sees_values(self) -> bool:
        """Whether each window has a value that is not padding."""
        starts = [number * self.stride - self.before for number in range(self.count)]
        return all(start + self.length > 0 and start < self.size for start in starts)


def replace_padding(model: Model) -> Model | None:
    """Return ``model`` without PADV2 of zeros, or of the lowest number before max pooling.

    Zeros are PAD. Before max pooling the lowest number is not needed if padding SAME has the same
    windows; it may be zero if no value is negative; else it may be the value at the edge, because
    each window that reaches over the edge contains it.
    """
    padded = rewrite_operators(model, _zeros)
    current = padded or model
    while True:
        changed = _lowest(current)
        if changed is None:
            break
        padded = current = changed
    return padded


def _zeros(edit: Edit, op: Operator) -> list[Operator]:
    if op.opcode != "PADV2":
        return []
    x, value = edit.tensors[op.inputs[0]], edit.data(op.inputs[2])
    zero = int(x.zero_point or 0) if is_8bit(x) else 0
    if value is None or value.size != 1 or float(value.ravel()[0]) != zero:
        return []
    return [edit.operator("PAD", op.inputs[:2], op.outputs, {}, "PadOptions")]


def _lowest(model: Model) -> Model | None:
    """Replace one PADV2 of the lowest number."""
    edit = Edit(model)
    for place, op in enumerate(edit.operators):
        if op.opcode != "PADV2" or not _is_lowest(edit, op):
            continue
        paddings = edit.data(op.inputs[1])
        pools = edit.consumers(op.outputs[0])
        if paddings is None or paddings.shape != (4, 2) or not edit.is_internal(op.outputs[0]):
            continue
        # Without borders there are no edges to repeat; such a PADV2 only copies.
        if paddings[[0, 3]].any() or not paddings.any() or not pools:
            continue
        windows = [_windows(edit, op, paddings.tolist(), pool) for pool in pools]
        if not all(each and all(window.sees_values for window in each) for each in windows):
            continue
        if all(window.is_same for each in windows for window in each):
            _pool_same(edit, op, pools)
        elif _is_positive(edit, op.inputs[0]):
            edit.operators[place] = edit.operator(
                "PAD", op.inputs[:2], op.outputs, {}, "PadOptions"
            )
        else:
            edit.operators[place : place + 1] = _edges(edit, op, paddings.tolist())
        return edit.build()
    return None


def _is_lowest(edit: Edit, op: Operator) -> bool:
    value = edit.data(op.inputs[2])
    x = edit.tensors[op.inputs[0]]
    if value is None or value.size != 1 or x.is_dynamic or len(x.shape) != 4:
        return False
    number = float(value.ravel()[0])
    return number == pieces.q_range(x)[0] if is_8bit(x) else number <= _LOWEST_REAL


def _windows(
    edit: Edit, op: Operator, paddings: list[list[int]], pool: Operator
) -> tuple[_Window, ...]:
    """Return the windows along height and width; empty if ``pool`` is not such a pooling."""
    options = pool.options
    if pool.opcode != "MAX_POOL_2D" or options.get("padding") != "VALID":
        return ()
    shape = edit.tensors[op.inputs[0]].shape
    return tuple(
        _Window(
            shape[axis],
            paddings[axis][0],
            paddings[axis][1],
            int(options[f"filter_{name}"]),
            int(options[f"stride_{name[0]}"]),
        )
        for axis, name in ((1, "height"), (2, "width"))
    )


def _is_positive(edit: Edit, index: int) -> bool:
    """Whether no value of a tensor is negative."""
    producers = edit.producers()
    tensor = edit.tensors[index]
    if is_8bit(tensor) and pieces.q_range(tensor)[0] == tensor.zero_point:
        return True
    op = producers.get(index)
    if op is None:
        return False
    fused = str(op.options.get("fused_activation_function", "NONE"))
    if op.opcode in _POSITIVE or fused in ("RELU", "RELU6"):
        return True
    if op.opcode == "CONCATENATION":
        return all(_is_positive(edit, each) for each in op.inputs)
    return op.opcode in _KEEPS_SIGN and _is_positive(edit, op.inputs[0])


def _pool_same(edit: Edit, op: Operator, pools: list[Operator]) -> None:
    for pool in pools:
        place = edit.operators.index(pool)
        options = {**pool.options, "padding": "SAME"}
        edit.operators[place] = replace(pool, inputs=(op.inputs[0],), options=options)


def _edges(edit: Edit, op: Operator, paddings: list[list[int]]) -> list[Operator]:
    """Return operators that pad with the values at the edges, first in height, then in width."""
    source = op.inputs[0]
    operators: list[Operator] = []
    for axis in (1, 2):
        before, after = paddings[axis]
        if not before and not after:
            continue
        x, name = edit.tensors[source], edit.tensors[op.outputs[0]].name
        edges = []
        for count, first in ((before, 0), (after, x.shape[axis] - 1)):
            begin = [first if each == axis else 0 for each in range(4)]
            size = [1 if each == axis else length for each, length in enumerate(x.shape)]
            edge = edit.activation(x, f"{name}/edge", shape=tuple(size))
            if count:
                operators.append(pieces.slice_from(edit, source, begin, edge))
            edges.append([edge] * count)
        shape = list(x.shape)
        shape[axis] += before + after
        padded = edit.activation(x, f"{name}/padded", shape=tuple(shape))
        if tuple(shape) == edit.tensors[op.outputs[0]].shape:
            padded = op.outputs[0]
        parts = (*edges[0], source, *edges[1])
        operators.append(pieces.concatenate(edit, parts, axis, padded))
        source = padded
    return operators


RULE = Rule(
    "pool-padding",
    "PADV2 of zeros becomes PAD; of the lowest number before MAX_POOL_2D, what has the same result",
    exact=True,
    apply=replace_padding,
)
