# SPDX-License-Identifier: Apache-2.0
"""BATCH_MATMUL: a dense layer if one operand is constant; of two activations, MUL and a sum.

The product of two activations, as in attention, does not map. For small matrices each row of the
left one is repeated by a 1x1 convolution, multiplied by the whole right one, and summed:

    out[n, m] = sum over k of left[n, k] * right[k, m]

The channels of the products are pairs (m, k) or (k, m), whichever order the right one has in
memory. Larger matrices are multiplied in blocks (`product_blocks`). The values of the float network
stay the same, up to the order of sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.edgetpu.limits import RESHAPE_SEEN_MAPPED, TRANSPOSE_SEEN_MAPPED
from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.product_blocks import Blocks, BlockSizes
from edgekit.rewrite.rule import Rule

# The products are reshaped before they are summed; larger reshapes are not known to map.
MOST_PRODUCTS = RESHAPE_SEEN_MAPPED
_MOST_HEADS = 16
# In blocks: for all products of a network together. If there are more, the large ones stay.
_MOST_OPERATORS = 2048
_RANK = 4
_HEADS_BEHIND_ROWS, _ROWS_LAST = (0, 2, 1, 3), (0, 2, 3, 1)


def multiply(model: Model) -> Model | None:
    """Return the float ``model`` with such operators for BATCH_MATMULs that are small enough."""
    edit = Edit(model)
    needed = [_Products(edit, op).operators_in_blocks for op in edit.operators if _varies(edit, op)]
    takes_blocks = sum(needed) <= _MOST_OPERATORS

    def multiplied(edit: Edit, op: Operator) -> Sequence[Operator]:
        if _varies(edit, op):
            found = _Products(edit, op)
            return found.operators() if takes_blocks or not found.operators_in_blocks else []
        return _dense(edit, op) if _is_real_product(edit, op) else []

    return rewrite_operators(model, multiplied)


def _varies(edit: Edit, op: Operator) -> bool:
    """Whether this is a product of two activations."""
    return _is_real_product(edit, op) and all(edit.data(index) is None for index in op.inputs)


def _is_real_product(edit: Edit, op: Operator) -> bool:
    return op.opcode == "BATCH_MATMUL" and _is_real(edit, op)


def _is_real(edit: Edit, op: Operator) -> bool:
    tensors = [edit.tensors[index] for index in (*op.inputs, *op.outputs)]
    return all(each.dtype == "FLOAT32" and not each.is_dynamic for each in tensors)


def _dense(edit: Edit, op: Operator) -> list[Operator]:
    """A constant right operand: the weights of a dense layer on rows."""
    if edit.data(op.inputs[0]) is not None or edit.data(op.inputs[1]) is None:
        return []
    values = np.asarray(edit.data(op.inputs[1]))
    out = edit.tensors[op.outputs[0]]
    if int(np.prod(values.shape[:-2])) != 1 or op.options.get("adj_x"):
        return []
    weights = values.reshape(values.shape[-2:])
    rows = weights if op.options.get("adj_y") else weights.T
    kernel = edit.constant(f"{out.name}/weights", np.ascontiguousarray(rows))
    options = {
        "fused_activation_function": "NONE",
        "weights_format": 0,
        "keep_num_dims": True,
        "asymmetric_quantize_inputs": False,
    }
    inputs = (op.inputs[0], kernel, -1)
    return [edit.operator("FULLY_CONNECTED", inputs, op.outputs, options, "FullyConnectedOptions")]


@dataclass(frozen=True)
class _Matrices:
    """The matrices of all heads in a tensor of shape [1, ...] with four dimensions."""

    source: int
    axis: int = 1  # of the heads
    is_turned: bool = False  # rows and columns are exchanged


class _Products:
    """The operators that compute one BATCH_MATMUL of two activations."""

    def __init__(self, edit: Edit, op: Operator) -> None:
        self._edit, self._op = edit, op
        self._out = edit.tensors[op.outputs[0]]
        shape, depth = edit.tensors[op.inputs[0]].shape, -2 if op.options.get("adj_x") else -1
        self._rows, self._columns = self._out.shape[-2:]
        self._depth = shape[depth]
        self._heads = int(np.prod(self._out.shape[:-2]))
        self._left_turned = False

    @property
    def operators_in_blocks(self) -> int:
        """About how many operators it takes in blocks; 0 if it is small."""
        if self._rows * self._columns * self._depth <= MOST_PRODUCTS:
            return 0
        return self._heads * BlockSizes(self._rows, self._columns, self._depth).num_operators

    def operators(self) -> list[Operator]:
        """Return them; an empty list if the matrices are too large or have other batches."""
        if not 0 < self._heads <= _MOST_HEADS or not self._has_equal_batches():
            return []
        left, right = self._op.inputs
        operators, matrices = self._matrices(left, "left")
        self._left_turned = bool(self._op.options.get("adj_x")) != matrices.is_turned
        more, others = self._matrices(right, "right")
        operators += more
        by_column = bool(self._op.options.get("adj_y")) != others.is_turned
        if self.operators_in_blocks:
            made = self._in_blocks(matrices, others, by_column=by_column)
            return [*operators, *made] if made else []
        parts = []
        for head in range(self._heads):
            made, part = self._head(matrices, others, head, by_column=by_column)
            operators += made
            parts.append(part)
        return [*operators, *self._joined(parts)]

    def _in_blocks(self, left: _Matrices, right: _Matrices, *, by_column: bool) -> list[Operator]:
        """Return the operators on large matrices; an empty list if they are too large for that.

        If both operands have their rows and columns exchanged, so has the result.
        """
        places, vectors, depth = self._rows, self._columns, self._depth
        is_turned = self._left_turned and by_column
        turns = [self._left_turned, not by_column]  # which operands must be turned
        sources = [left, right]
        if is_turned:
            places, vectors = vectors, places
            sources, turns = [right, left], [False, True]
        sizes = BlockSizes(places, vectors, depth)
        turned = [size * depth for size, turn in zip((places, vectors), turns) if turn]
        if not sizes.is_possible or max(turned, default=0) > TRANSPOSE_SEEN_MAPPED:
            return []
        operators, parts = [], []
        for head in range(self._heads):
            name = f"{self._out.name}/{head}"
            blocks = Blocks(self._edit, self._op.outputs[0], name, sizes)
            operands = []
            ends = zip(("places", "vectors"), sources, (places, vectors), turns)
            for what, source, length, turn in ends:
                made, index = self._rows_of(source, head, f"{name}/{what}", length, turn=turn)
                operators += made
                operands.append(index)
            made, part = blocks.multiply(*operands)
            operators += made
            parts.append(part)
        return [*operators, *(self._joined_turned(parts) if is_turned else self._joined(parts))]

    def _rows_of(
        self, source: _Matrices, head: int, name: str, length: int, *, turn: bool
    ) -> tuple[list[Operator], int]:
        """Return a matrix of one head as [1, 1, length, depth]."""
        operators, part = self._part(source, head, name)
        shape = (1, 1, length, self._depth)
        out = self._edit.activation(self._out, f"{name}/rows", shape=shape)
        if turn:
            return operators + pieces.turn_matrix(self._edit, part, out, (self._depth, length)), out
        return [*operators, pieces.reshape(self._edit, part, out)], out

    def _joined_turned(self, parts: list[int]) -> list[Operator]:
        """Join results whose rows and columns are exchanged: the heads are channels."""
        edit, name, heads = self._edit, self._out.name, self._heads
        channels, apart, four = (
            edit.activation(self._out, f"{name}/{what}", shape=shape)
            for what, shape in (
                ("channels", (1, 1, self._columns, heads * self._rows)),
                ("apart", (1, self._columns, heads, self._rows)),
                ("heads", (1, heads, self._rows, self._columns)),
            )
        )
        joined = [] if heads == 1 else [pieces.concatenate(edit, parts, 3, channels)]
        return [
            *joined,
            pieces.reshape(edit, channels if joined else parts[0], apart),
            pieces.transpose(edit, apart, _ROWS_LAST, four),
            pieces.reshape(edit, four, self._op.outputs[0]),
        ]

    def _has_equal_batches(self) -> bool:
        batches = {self._edit.tensors[index].shape[:-2] for index in self._op.inputs}
        return batches == {self._out.shape[:-2]}

    def _matrices(self, index: int, name: str) -> tuple[list[Operator], _Matrices]:
        """Return where the matrices of an operand are: in front of a TRANSPOSE, if there is one."""
        edit = self._edit
        front = edit.producers().get(index)
        order = edit.data(front.inputs[1]) if front and front.opcode == "TRANSPOSE" else None
        if front is not None and order is not None and order.size == _RANK:
            _, head, *others = (int(axis) for axis in order)
            if edit.tensors[front.inputs[0]].shape[0] == 1 and 0 not in (head, *others):
                return [], _Matrices(front.inputs[0], head, is_turned=others[0] > others[1])
        tensor = edit.tensors[index]
        shape = (1, self._heads, *tensor.shape[-2:])
        if tensor.shape == shape:
            return [], _Matrices(index)
        four = edit.activation(tensor, f"{self._out.name}/{name}", shape=shape)
        return [pieces.reshape(edit, index, four)], _Matrices(four)

    def _joined(self, parts: list[int]) -> list[Operator]:
        """Join the products of all heads to the output.

        If a TRANSPOSE follows that brings the heads together, they are joined as channels, and
        another TRANSPOSE undoes it: the two meet.
        """
        edit, out, name = self._edit, self._op.outputs[0], self._out.name
        heads, rows, columns = self._heads, self._rows, self._columns
        behind = edit.consumers(out)
        if len(parts) == 1:
            return [pieces.reshape(edit, parts[0], out)]
        is_moved = len(behind) == 1 and behind[0].opcode == "TRANSPOSE"
        order = edit.data(behind[0].inputs[1]) if is_moved else None
        if order is not None and order.tolist() == list(_HEADS_BEHIND_ROWS):
            channels, apart = (
                edit.activation(self._out, f"{name}/{what}", shape=shape)
                for what, shape in (
                    ("channels", (1, 1, rows, heads * columns)),
                    ("apart", (1, rows, heads, columns)),
                )
            )
            return [
                pieces.concatenate(edit, parts, 3, channels),
                pieces.reshape(edit, channels, apart),
                pieces.transpose(edit, apart, _HEADS_BEHIND_ROWS, out),
            ]
        four = (1, heads, rows, columns)
        if self._out.shape == four:
            return [pieces.concatenate(edit, parts, 1, out)]
        joined = edit.activation(self._out, f"{name}/heads", shape=four)
        return [pieces.concatenate(edit, parts, 1, joined), pieces.reshape(edit, joined, out)]

    def _head(
        self, left: _Matrices, right: _Matrices, head: int, *, by_column: bool
    ) -> tuple[list[Operator], int]:
        edit, name = self._edit, f"{self._out.name}/{head}"
        rows, columns, depth = self._rows, self._columns, self._depth
        across = columns * depth
        a, flat, wide, products = (
            edit.activation(self._out, f"{name}/{what}", shape=(1, 1, length, width))
            for what, length, width in (
                ("rows", rows, depth),
                ("flat", 1, across),
                ("repeated", rows, across),
                ("products", rows, across),
            )
        )
        operators, part = self._part(left, head, f"{name}/left")
        if self._left_turned:
            operators += pieces.turn_matrix(edit, part, a, (depth, rows))
        else:
            operators.append(pieces.reshape(edit, part, a))
        more, b = self._part(right, head, f"{name}/right")
        operators += more
        ones = np.eye(depth, dtype=np.float32)
        # Channel (m, k) of a row is its value k, or channel (k, m).
        kernel = np.tile(ones, (columns, 1)) if by_column else np.repeat(ones, columns, axis=0)
        operators += [
            pieces.reshape(edit, b, flat),
            self._convolve(a, kernel.reshape(across, 1, 1, depth), wide),
            pieces.mul(edit, wide, flat, products),
        ]
        total = edit.activation(self._out, f"{name}/sums", shape=(1, 1, rows, columns))
        return [*operators, *self._summed(products, total, name, by_column=by_column)], total

    def _part(self, matrices: _Matrices, head: int, name: str) -> tuple[list[Operator], int]:
        """Cut the matrix of one head out; its shape has the head's axis."""
        tensor = self._edit.tensors[matrices.source]
        if self._heads == 1:
            return [], matrices.source
        shape, begin = list(tensor.shape), [0] * _RANK
        shape[matrices.axis], begin[matrices.axis] = 1, head
        part = self._edit.activation(tensor, name, shape=tuple(shape))
        return [pieces.slice_from(self._edit, matrices.source, begin, part)], part

    def _summed(self, products: int, total: int, name: str, *, by_column: bool) -> list[Operator]:
        edit, like = self._edit, self._out
        rows, columns, depth = self._rows, self._columns, self._depth
        inner = (columns, depth) if by_column else (depth, columns)
        apart = edit.activation(like, f"{name}/apart", shape=(1, rows, *inner))
        shape = (1, rows, columns, 1) if by_column else (1, rows, 1, columns)
        sums = edit.activation(like, f"{name}/sum", shape=shape)
        if by_column:
            add = self._convolve(apart, np.ones((1, 1, 1, depth), np.float32), sums)
        else:
            ones = np.ones((1, 1, depth, columns), np.float32)
            kernel = edit.constant(f"{name}/ones", ones)
            zeros = edit.constant(f"{name}/zeros", np.zeros(columns, np.float32))
            add = pieces.convolve_depthwise(edit, apart, kernel, zeros, sums)
        return [
            pieces.reshape(edit, products, apart),
            add,
            pieces.reshape(edit, sums, total),
        ]

    def _convolve(self, source: int, values: NDArray[np.float32], out: int) -> Operator:
        name = self._edit.tensors[out].name
        kernel = self._edit.constant(f"{name}/ones", values)
        zeros = self._edit.constant(f"{name}/zeros", np.zeros(len(values), np.float32))
        return pieces.convolve(self._edit, source, kernel, zeros, out)


RULE = Rule(
    "products",
    "BATCH_MATMUL is a dense layer if one operand is constant, MUL and a sum if it is small",
    exact=False,
    apply=multiply,
)
