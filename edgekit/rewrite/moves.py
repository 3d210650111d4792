# SPDX-License-Identifier: Apache-2.0
"""Chains of operators that only move values: where each value of the output comes from.

The same movement has many spellings (RESHAPE and TILE, a TRANSPOSE of six axes, DEPTH_TO_SPACE),
but only one table of positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgekit.edgetpu.operation import MAPPABLE_RANK
from edgekit.formats.tflite import Operator
from edgekit.rewrite.axes import moves_memory
from edgekit.rewrite.edit import RESHAPES, Edit, same_quantization
from edgekit.rewrite.unstacked import gathered

_MOST_VALUES = 1 << 23
_MOST_TIMES = 12  # that a resize repeats a pixel: the kernel's float32 steps are exact so far
_NEVER = ("BATCH_TO_SPACE_ND", "BROADCAST_TO", "DEPTH_TO_SPACE", "GATHER", "SPACE_TO_BATCH_ND")
_STRIDES = 3  # the place of this input of STRIDED_SLICE
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Chain:
    """Operators in a row, each the only reader of the one before."""

    operators: tuple[Operator, ...]
    source: int
    output: int


def chains(edit: Edit) -> list[Chain]:
    """Return the longest chains of operators that move values, in the order of their ends."""
    producers = edit.producers()
    found = []
    for op in edit.operators:
        if _moved(edit, op, None) is None:
            continue
        readers = edit.consumers(op.outputs[0])
        is_end = op.outputs[0] in edit.outputs or len(readers) != 1
        if not is_end and _moved(edit, readers[0], None) is not None:
            continue
        row = [op]
        while True:
            above = producers.get(_data(row[0]))
            alone = edit.is_internal(_data(row[0])) and len(edit.consumers(_data(row[0]))) == 1
            if above is None or not alone or _moved(edit, above, None) is None:
                break
            row.insert(0, above)
        found.append(Chain(tuple(row), _data(row[0]), op.outputs[0]))
    return found


def positions_of(edit: Edit, chain: Chain) -> Positions:
    """Return, in the output's shape, the place of each value in the source."""
    shape = edit.tensors[chain.source].shape
    positions: Positions = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    for op in chain.operators:
        moved = _moved(edit, op, positions)
        positions = positions if moved is None else moved
    return positions


def num_unmapped(edit: Edit, operators: tuple[Operator, ...] | list[Operator]) -> int:
    """Return how many of operators that move values do not map."""
    return sum(_is_unmapped(edit, op) for op in operators)


def _is_unmapped(edit: Edit, op: Operator) -> bool:
    x, y = edit.tensors[_data(op)], edit.tensors[op.outputs[0]]
    if any(size > 1 for each in (x, y) for size in each.shape[:-MAPPABLE_RANK]):
        return True
    if op.opcode == "TRANSPOSE":
        order = np.ravel(np.asarray(edit.data(op.inputs[1])))
        return moves_memory(y.shape, tuple(int(axis) % len(order) for axis in order))
    if op.opcode == "RESIZE_NEAREST_NEIGHBOR":
        return _resize_factors(edit, op) not in (None, (1, 1), (2, 2))  # these were seen mapped
    if op.opcode == "STRIDED_SLICE":
        return bool((_integers(edit, op, _STRIDES) != 1).any())
    repeats_more = op.opcode == "TILE" and any(size > 1 for size in x.shape[:-1])
    return op.opcode in _NEVER or repeats_more


def _data(op: Operator) -> int:
    return op.inputs[0]


_Move = Callable[[Edit, Operator, Positions], "Positions | None"]


def _moved(edit: Edit, op: Operator, positions: Positions | None) -> Positions | None:
    """Return ``positions`` after ``op``; without positions, anything if it moves values only."""
    rule = _MOVES.get(op.opcode)
    if rule is None:
        return None
    x, y = edit.tensors[_data(op)], edit.tensors[op.outputs[0]]
    if x.is_dynamic or y.is_dynamic or not 0 < max(x.num_elements, y.num_elements) <= _MOST_VALUES:
        return None
    others_known = all(edit.data(i) is not None for i in op.inputs[1:] if i >= 0)
    if not others_known or edit.data(_data(op)) is not None or not same_quantization(x, y):
        return None
    condition = _CONDITIONS.get(op.opcode)
    if condition is not None and not condition(edit, op):
        return None
    if positions is None:
        return np.zeros(0, np.int64)
    return rule(edit, op, positions)


def _is_permutation(edit: Edit, op: Operator) -> bool:
    """Whether the axes of a TRANSPOSE are each there once: the interpreter does not check that."""
    rank = len(edit.tensors[_data(op)].shape)
    return sorted(np.ravel(_integers(edit, op)) % rank) == list(range(rank))


def _reshape(edit: Edit, op: Operator, positions: Positions) -> Positions:
    return positions.reshape(edit.tensors[op.outputs[0]].shape)


def _transpose(edit: Edit, op: Operator, positions: Positions) -> Positions:
    return positions.transpose(np.ravel(_integers(edit, op)))


def _tile(edit: Edit, op: Operator, positions: Positions) -> Positions:
    return np.tile(positions, np.ravel(_integers(edit, op)))


def _broadcast(edit: Edit, op: Operator, positions: Positions) -> Positions:
    return np.broadcast_to(positions, edit.tensors[op.outputs[0]].shape)


def _gather(edit: Edit, op: Operator, positions: Positions) -> Positions:
    axis, chosen = gathered(edit, op) or (0, [])
    return positions.take(chosen, axis).reshape(edit.tensors[op.outputs[0]].shape)


def _resize_factors(edit: Edit, op: Operator) -> tuple[int, int] | None:
    """Return how often RESIZE_NEAREST_NEIGHBOR repeats rows and columns; None if not evenly."""
    before, after = (edit.tensors[i].shape for i in (_data(op), op.outputs[0]))
    if len(before) != 4 or op.options.get("align_corners"):
        return None
    down, across = (new // old for old, new in zip(before[1:3], after[1:3]))
    is_even = after[1:3] == (before[1] * down, before[2] * across)
    return (down, across) if is_even and 1 <= min(down, across) <= _MOST_TIMES else None


def _resize(edit: Edit, op: Operator, positions: Positions) -> Positions:
    down, across = _resize_factors(edit, op) or (1, 1)
    return positions.repeat(down, axis=1).repeat(across, axis=2)


def _skips(edit: Edit, op: Operator) -> bool:
    """Whether a STRIDED_SLICE leaves values out between others, or reverses them.

    Others map, so a chain ends there.
    """
    masks = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask", "offset")
    if any(op.options.get(each) for each in masks) or len(op.inputs) <= _STRIDES:
        return False
    steps, shape = _integers(edit, op, _STRIDES), edit.tensors[_data(op)].shape
    if steps.shape != (len(shape),) or not steps.all() or (steps == 1).all():
        return False
    parts = np.broadcast_to(0, shape)[_slices(edit, op)]
    return parts.size > 0 and parts.shape == edit.tensors[op.outputs[0]].shape


def _slices(edit: Edit, op: Operator) -> tuple[slice, ...]:
    """Return the slices of NumPy that a STRIDED_SLICE takes; their rules are the same."""
    limits = []
    for mask, place in (("begin_mask", 1), ("end_mask", 2)):
        numbers, open_axes = _integers(edit, op, place), int(op.options.get(mask, 0))
        limits.append(
            [None if open_axes >> axis & 1 else int(each) for axis, each in enumerate(numbers)]
        )
    steps = _integers(edit, op, _STRIDES).tolist()
    return tuple(slice(*bounds) for bounds in zip(*limits, steps))


def _strided_slice(edit: Edit, op: Operator, positions: Positions) -> Positions:
    return positions[_slices(edit, op)]


def _integers(edit: Edit, op: Operator, place: int = 1) -> NDArray[Any]:
    return np.asarray(edit.data(op.inputs[place]), np.int64)


def depth_to_space(values: NDArray[Any], block: int) -> NDArray[Any]:
    """Return an image [1, H, W, block * block * C] as [1, block * H, block * W, C]."""
    n, height, width, depth = values.shape
    parts = values.reshape(n, height, width, block, block, depth // block**2)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(n, height * block, width * block, -1)


def space_to_depth(values: NDArray[Any], block: int) -> NDArray[Any]:
    """Return an image [1, block * H, block * W, C] as [1, H, W, block * block * C]."""
    n, height, width, depth = values.shape
    parts = values.reshape(n, height // block, block, width // block, block, depth)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // block, width // block, -1)


_MOVES: Mapping[str, _Move] = {
    **dict.fromkeys(RESHAPES, _reshape),
    "BROADCAST_TO": _broadcast,
    "GATHER": _gather,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "DEPTH_TO_SPACE": lambda _edit, op, x: depth_to_space(x, int(op.options["block_size"])),
    "SPACE_TO_DEPTH": lambda _edit, op, x: space_to_depth(x, int(op.options["block_size"])),
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
}
# When an operator with these names moves values only; the others always do.
_CONDITIONS: Mapping[str, Callable[[Edit, Operator], bool]] = {
    "GATHER": lambda edit, op: gathered(edit, op) is not None,
    "RESIZE_NEAREST_NEIGHBOR": lambda edit, op: _resize_factors(edit, op) is not None,
    "STRIDED_SLICE": _skips,
    "TRANSPOSE": _is_permutation,
}
