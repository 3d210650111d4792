# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE_CONV as one convolution that computes the pixels of a block as channels.

With a stride s, output pixels at equal places of their s x s block read the input with the same
weights. One convolution without a stride computes them all, s * s times as many channels; then the
channels are spread over the pixels. Source of the placement: ComputePaddingHeightWidth and
reference_integer_ops::TransposeConv of TensorFlow Lite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Collection

import numpy as np

from edgekit.edgetpu.limits import RESHAPE_SEEN_MAPPED
from edgekit.formats.tflite import Model, Operator, Quantization
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule

_SHAPE, _FILTER, _X, _BIAS = range(4)
_HEIGHT, _WIDTH = 1, 2


@dataclass(frozen=True)
class _Axis:
    """One axis: ``size`` values in, ``length`` out, a kernel of ``taps`` and its stride."""

    size: int
    length: int
    taps: int
    stride: int
    before: int  # what padding takes off the front of the output

    @property
    def count(self) -> int:
        """The number of blocks of the output."""
        return -(-self.length // self.stride)

    def tap(self, phase: int, offset: int) -> int | None:
        """Return the tap that output ``phase`` of a block uses for the input ``offset`` further."""
        tap = phase + self.before - offset * self.stride
        return tap if 0 <= tap < self.taps else None

    @property
    def offsets(self) -> range:
        """The offsets that any phase uses."""
        reach = self.taps + self.before + self.stride
        used = [
            offset
            for offset in range(-reach, reach + 1)
            for phase in range(self.stride)
            if self.tap(phase, offset) is not None
        ]
        return range(min(used), max(used) + 1)

    @property
    def padding(self) -> tuple[int, int]:
        """Zeros before and after the input; negative if the input is not used to its end."""
        offsets = self.offsets
        return -offsets[0], self.count - self.size + offsets[-1]


def convolve_blocks(model: Model) -> Model | None:
    """Return ``model`` with CONV_2D, and SPLIT and RESHAPE, in place of 8-bit TRANSPOSE_CONV."""
    return rewrite_operators(model, _convolved)


def _convolve_others(model: Model, kept: Collection[int]) -> Model | None:
    outputs = {model.main.operators[position].outputs for position in kept}
    return rewrite_operators(
        model, lambda edit, op: [] if op.outputs in outputs else _convolved(edit, op)
    )


def _convolved(edit: Edit, op: Operator) -> list[Operator]:
    axes = _axes(edit, op)
    if axes is None:
        return []
    out = edit.tensors[op.outputs[0]]
    source, operators = op.inputs[_X], []
    pads = np.array([(0, 0), axes[0].padding, axes[1].padding, (0, 0)])
    if pads.min() < 0:
        return []
    if pads.any():
        padding, source = pieces.pad(edit, source, pads, out.name)
        operators.append(padding)
    down, across = axes[0].stride, axes[1].stride
    depth = out.shape[-1]
    shape = (1, axes[0].count, axes[1].count, down * across * depth)
    blocks = edit.activation(out, f"{out.name}/blocks", shape=shape)
    operators.append(_conv(edit, op, axes, source, blocks))
    whole_shape = (1, shape[1] * down, shape[2] * across, depth)
    is_whole = whole_shape == out.shape
    whole = op.outputs[0]
    if not is_whole:
        whole = edit.activation(out, f"{out.name}/whole", shape=whole_shape)
    operators += pieces.spread(edit, blocks, whole, down)
    if not is_whole:
        operators.append(pieces.slice_from(edit, whole, (0, 0, 0, 0), op.outputs[0]))
    return operators


def _axes(edit: Edit, op: Operator) -> tuple[_Axis, _Axis] | None:
    """Return height and width; None for an operator that stays."""
    if op.opcode != "TRANSPOSE_CONV":
        return None
    x, out, kernel = (edit.tensors[i] for i in (op.inputs[_X], op.outputs[0], op.inputs[_FILTER]))
    constants = [index for index in (*op.inputs[:_X], *op.inputs[_BIAS:]) if index >= 0]
    known = all(edit.data(index) is not None for index in constants)
    fused = op.options.get("fused_activation_function", "NONE") != "NONE"
    integer = is_8bit(x) and is_8bit(out) and kernel.dtype == "INT8" == x.dtype
    fits = out.num_elements <= RESHAPE_SEEN_MAPPED  # of the RESHAPE that spreads pixels
    if not known or fused or not integer or x.is_dynamic or not fits:
        return None
    if x.shape[0] != 1 or (kernel.quantization and any(kernel.quantization.zero_point)):
        return None
    height, width = (
        _axis(
            x.shape[axis],
            out.shape[axis],
            kernel.shape[axis],
            int(op.options[f"stride_{name}"]),
            is_same=op.options.get("padding") == "SAME",
        )
        for axis, name in ((_HEIGHT, "h"), (_WIDTH, "w"))
    )
    return height, width


def _axis(size: int, length: int, taps: int, stride: int, *, is_same: bool) -> _Axis:
    total = max((size - 1) * stride + taps - length, 0) if is_same else 0
    return _Axis(size, length, taps, stride, total // 2)


def _conv(
    edit: Edit, op: Operator, axes: tuple[_Axis, _Axis], source: int, blocks: int
) -> Operator:
    kernel = edit.tensors[op.inputs[_FILTER]]
    weights = np.asarray(edit.data(op.inputs[_FILTER]))
    count, _, _, depth = weights.shape
    height, width = axes
    copies = height.stride * width.stride
    shape = (height.stride, width.stride, count, len(height.offsets), len(width.offsets), depth)
    placed = np.zeros(shape, weights.dtype)
    for y in range(height.stride):
        for x in range(width.stride):
            for row, down in enumerate(height.offsets):
                for column, across in enumerate(width.offsets):
                    taps = height.tap(y, down), width.tap(x, across)
                    if taps[0] is not None and taps[1] is not None:
                        placed[y, x, :, row, column] = weights[:, taps[0], taps[1]]
    scales = kernel.quantization.scale if kernel.quantization else (1.0,)
    per_channel = len(scales) > 1
    repeated = Quantization(scales * copies, (0,) * (len(scales) * copies)) if per_channel else None
    fresh = edit.constant(
        f"{kernel.name}/blocks",
        placed.reshape(copies * count, *shape[3:]),
        repeated or kernel.quantization,
    )
    bias = op.inputs[_BIAS] if len(op.inputs) > _BIAS else -1
    values = np.zeros(count, np.int32) if bias < 0 else np.asarray(edit.data(bias))
    x_scale = float(edit.tensors[op.inputs[_X]].scale or 1)
    products = tuple(float(np.float32(x_scale * scale)) for scale in scales)
    products *= copies if per_channel else 1
    quantization = Quantization(products, (0,) * len(products))
    biases = edit.constant(f"{kernel.name}/block_bias", np.tile(values, copies), quantization)
    return pieces.convolve(edit, source, fresh, biases, blocks)


RULE = Rule(
    "transpose-conv-blocks",
    "TRANSPOSE_CONV of small images becomes a CONV_2D whose channels are spread over pixels",
    exact=True,
    apply=convolve_blocks,
    apply_to_others=_convolve_others,
)
