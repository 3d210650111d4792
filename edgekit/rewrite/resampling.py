# SPDX-License-Identifier: Apache-2.0
"""Upsampling, pixel shuffle and channel shuffle in any spelling as operators that map.

Keras 3 writes ``UpSampling2D`` as RESHAPE and TILE of five axes; exporters write pixel and channel
shuffles as RESHAPE, TRANSPOSE, RESHAPE of five or six axes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Iterator, Sequence

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import INT8, Edit, is_8bit
from edgekit.rewrite.moves import Chain, Positions, chains, num_unmapped, positions_of
from edgekit.rewrite.moves import space_to_depth as to_depth
from edgekit.rewrite.rule import Rule

_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_CHANNELS = 3
_QUANTIZED_WHOLE = ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
_LARGEST_BLOCK = 8
# Of a convolution that chooses channels: for 1,024 of 1,024. If a whole small image becomes the
# channels of one pixel, any movement is such a choice, with far more weights.
_MOST_WEIGHTS = 1 << 20


def resample(model: Model) -> Model | None:
    """Return ``model`` with fewer operators that only move values and do not map."""
    found = None
    while True:
        changed = _resample_one(found or model)
        if changed is None:
            return found
        found = changed


def _resample_one(model: Model) -> Model | None:
    edit = Edit(model)
    for chain in chains(edit):
        cost = num_unmapped(edit, chain.operators)
        if not cost or _can_wait(edit, chain):
            continue
        before = edit.operators
        for operators in _candidates(edit, chain):
            if num_unmapped(edit, _movers(operators)) < cost:
                gone = {id(op) for op in chain.operators}
                place = edit.operators.index(chain.operators[-1])
                edit.operators[place : place + 1] = operators
                edit.operators = [op for op in edit.operators if id(op) not in gone]
                return edit.build()
            edit.operators = before  # a candidate may have reordered the convolution in front
    return None


def _can_wait(edit: Edit, chain: Chain) -> bool:
    """Whether it is better rewritten in integers: the quantizer knows it, and not its parts.

    Behind SPLIT, it left the resizes of a person detector in real numbers.
    """
    is_float = edit.tensors[chain.source].dtype == "FLOAT32"
    return is_float and all(op.opcode in _QUANTIZED_WHOLE for op in chain.operators)


def _movers(operators: Sequence[Operator]) -> list[Operator]:
    return [op for op in operators if op.opcode in ("RESHAPE", "TRANSPOSE")]


def _candidates(edit: Edit, chain: Chain) -> Iterator[list[Operator]]:
    """Yield operators that do the same: in NHWC, or in NHWC and with a TRANSPOSE at the end."""
    shape = edit.tensors[chain.source].shape
    out = edit.tensors[chain.output]
    if len(shape) not in (3, 4) or shape[0] != 1:
        return
    positions = positions_of(edit, chain)
    flattened = _into_dense(edit, chain, positions)
    if flattened:
        yield flattened
    images = [(1, 1, *shape[1:]), (1, shape[1], 1, shape[2])] if len(shape) == 3 else [shape]
    for image in images:
        made = _made(edit, chain.source, image, positions, chain.output)
        if made:
            yield made
    if len(out.shape) == 4 and len(shape) == 4:
        turned = positions.transpose(_TO_NHWC)
        last = edit.activation(out, f"{out.name}/nhwc", shape=turned.shape)
        made = _made(edit, chain.source, shape, turned, last)
        if made:
            yield [*made, pieces.transpose(edit, last, _TO_NCHW, chain.output)]


def _into_dense(edit: Edit, chain: Chain, positions: Positions) -> list[Operator]:
    """Flatten without a TRANSPOSE: dense layers behind get their weights in the other order.

    Exporters flatten images in NCHW.
    """
    flat, output = positions.ravel(), chain.output
    readers = edit.consumers(output)
    if not readers or output in edit.outputs or len(set(flat.tolist())) != flat.size:
        return []
    if flat.size != edit.tensors[chain.source].num_elements:
        return []
    changed = []
    for op in readers:
        weights = edit.data(op.inputs[1]) if op.opcode == "FULLY_CONNECTED" else None
        if weights is None or weights.shape[-1] != flat.size or op.inputs[0] != output:
            return []
        tensor = edit.tensors[op.inputs[1]]
        moved = weights[:, np.argsort(flat)]
        constant = edit.constant(f"{tensor.name}/order", moved, tensor.quantization)
        changed.append((op, replace(op, inputs=(op.inputs[0], constant, *op.inputs[2:]))))
    for before, after in changed:
        edit.operators = [after if each is before else each for each in edit.operators]
    return [pieces.reshape(edit, chain.source, output)]


def _made(
    edit: Edit, source: int, image: tuple[int, ...], positions: Positions, output: int
) -> list[Operator]:
    """Return operators that move an image as ``positions`` say; empty if none are known."""
    size = int(np.prod(image))
    flat = positions.ravel()
    start = np.arange(size, dtype=np.int64).reshape(image)
    build = _Builder(edit, source, image, output)
    if np.array_equal(flat, start.ravel()):
        return build.done()
    if flat.size > size and flat.size % size == 0:
        return _upsampled(build, start, flat) or _tiled(build, start, flat)
    if flat.size != size:
        return _selected(build, image, flat) or _thinned(build, start, flat)
    return _shuffled(build, start, flat)


def _tiled(build: _Builder, start: Positions, flat: Positions) -> list[Operator]:
    """The image several times along its axes; else channels several times, in any order."""
    factor = flat.size // start.size
    for down in _divisors(factor):
        for across in _divisors(factor // down):
            deep = factor // (down * across)
            tiled = np.tile(start, (1, down, across, deep))
            if np.array_equal(tiled.ravel(), flat):
                build.join_copies((down, across, deep))
                return build.done()
    return _selected(build, start.shape, flat)


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _selected(build: _Builder, image: tuple[int, ...], flat: Positions) -> list[Operator]:
    """Some channels of each pixel, in any order."""
    pixels = int(np.prod(image[:-1]))
    order = None
    if flat.size % pixels == 0:
        order = _channel_order(flat.reshape(pixels, -1), image[-1])
    if order is None or not build.in_order(order, is_last=True):
        return []
    return build.done()


def _thinned(build: _Builder, start: Positions, flat: Positions) -> list[Operator]:
    """Every n-th row and column, from any one on."""
    height, width, depth = start.shape[1:]
    if flat.size % depth or not is_8bit(build.like):
        return []
    pixels = flat.reshape(-1, depth)
    rows, columns = np.divmod(pixels[:, 0] // depth, width)
    (top, *below), (left, *right) = (np.unique(each).tolist() for each in (rows, columns))
    steps = below[0] - top if below else 1, right[0] - left if right else 1
    taken = start[:, top : rows.max() + 1 : steps[0], left : columns.max() + 1 : steps[1]]
    if taken.size != flat.size or not np.array_equal(taken.ravel(), flat):
        return []
    ends = [
        size if (size - first - 1) // step == len(more) else (more[-1] if more else first) + 1
        for size, first, more, step in zip((height, width), (top, left), (below, right), steps)
    ]
    build.cut((top, left), (ends[0], ends[1]))
    build.thin_out(steps)
    return build.done()


def _upsampled(build: _Builder, start: Positions, flat: Positions) -> list[Operator]:
    factor = flat.size // start.size
    for down in _divisors(factor):
        across = factor // down
        repeated = start.repeat(down, axis=1).repeat(across, axis=2)
        if np.array_equal(repeated.ravel(), flat):
            build.repeat(down, across)
            return build.done()
    return []


def _shuffled(build: _Builder, start: Positions, flat: Positions) -> list[Operator]:
    """Channels in another order, before DEPTH_TO_SPACE, after SPACE_TO_DEPTH or alone."""
    _, height, width, depth = start.shape
    for block in range(1, _LARGEST_BLOCK + 1):
        if depth % block**2 == 0:
            image = flat.reshape(1, height * block, width * block, depth // block**2)
            order = _channel_order(to_depth(image, block), depth)
            if order is not None and build.in_order(order, is_last=block == 1):
                build.depth_to_space(block)
                return build.done()
        if block > 1 and height % block == 0 and width % block == 0:
            moved = to_depth(start, block)
            table = np.empty(start.size, np.int64)
            table[moved.ravel()] = np.arange(start.size)
            order = _channel_order(table[flat].reshape(moved.shape), moved.shape[-1])
            if order is not None:
                build.space_to_depth(block)
                if build.in_order(order, is_last=True):
                    return build.done()
                build.restart()
    return []


def _channel_order(positions: Positions, depth: int) -> list[int] | None:
    """Return the channel that each channel comes from, if all pixels have the same order.

    Args:
        positions: Where the channels (the last axis) of each pixel come from.
        depth: The number of channels of the source.
    """
    pixels = positions.reshape(-1, positions.shape[-1])
    order = pixels[0]
    first = np.arange(len(pixels), dtype=np.int64)[:, None] * depth
    if order.min() < 0 or order.max() >= depth or not np.array_equal(pixels, first + order):
        return None
    return [int(each) for each in order]


class _Builder:
    """Operators on an image in NHWC, each on the result of the one before."""

    def __init__(self, edit: Edit, source: int, image: tuple[int, ...], output: int) -> None:
        self._edit, self._source, self._image, self._output = edit, source, image, output
        self.like = edit.tensors[output]
        self.restart()

    def restart(self) -> None:
        """Begin again."""
        self._operators: list[Operator] = []
        self._changed: list[tuple[Operator, Operator]] = []  # neighbours: before, after
        self._x, self._shape = self._source, self._edit.tensors[self._source].shape
        self._reshape(self._image)

    def done(self) -> list[Operator]:
        """Return the operators; the last one writes the output."""
        for before, after in self._changed:
            self._edit.operators = [
                after if each is before else each for each in self._edit.operators
            ]
        shape = self.like.shape
        if shape != self._shape or not self._operators:
            return [*self._operators, pieces.reshape(self._edit, self._x, self._output)]
        return pieces.ending_in(self._operators, self._output)

    def repeat(self, down: int, across: int) -> None:
        """Repeat each pixel."""
        while down % 2 == 0 and across % 2 == 0:
            _, height, width, depth = self._shape
            size = (2 * height, 2 * width)
            out = self._out((1, *size, depth))
            name = f"{self.like.name}/size"
            self._add(pieces.repeat_pixels(self._edit, self._x, size, out, name))
            down, across = down // 2, across // 2
        _, height, width, depth = self._shape
        if across > 1:  # the copies of a pixel follow each other in memory
            self._join([self._x] * across, _CHANNELS)
            self._reshape((1, height, width * across, depth))
        if down > 1:  # those of a row too
            self._join([self._x] * down, 2)
            self._reshape((1, height * down, width * across, depth))

    def join_copies(self, factors: tuple[int, int, int]) -> None:
        """Put copies of the image next to each other, along height, width and channels."""
        for axis, factor in zip((_CHANNELS, 2, 1), factors[::-1]):
            if factor > 1:
                self._join([self._x] * factor, axis)

    def cut(self, first: tuple[int, int], end: tuple[int, int]) -> None:
        """Keep a rectangle of the image."""
        _, height, width, depth = self._shape
        if (first, end) == ((0, 0), (height, width)):
            return
        out = self._out((1, end[0] - first[0], end[1] - first[1], depth))
        self._add(pieces.slice_from(self._edit, self._x, (0, *first, 0), out))

    def thin_out(self, steps: tuple[int, int]) -> None:
        """Keep every n-th row and column: the largest of one value is this value."""
        _, height, width, depth = self._shape
        out = self._out((1, -(-height // steps[0]), -(-width // steps[1]), depth))
        self._add(pieces.max_pool(self._edit, self._x, (1, 1), steps, out))

    def depth_to_space(self, block: int) -> None:
        """Spread channels over pixels: those of one output row are next to each other."""
        if block == 1:
            return
        _, height, width, depth = self._shape
        out = self._out((1, height * block, width * block, depth // block**2))
        self._operators += pieces.spread(self._edit, self._x, out, block)
        self._x, self._shape = out, self._edit.tensors[out].shape

    def space_to_depth(self, block: int) -> None:
        """SPACE_TO_DEPTH, which maps."""
        _, height, width, depth = self._shape
        out = self._out((1, height // block, width // block, depth * block**2))
        options = {"block_size": block}
        self._add(
            self._edit.operator(
                "SPACE_TO_DEPTH", (self._x,), (out,), options, "SpaceToDepthOptions"
            )
        )

    def in_order(self, order: list[int], *, is_last: bool = False) -> bool:
        """Put channels into another order; return whether that is possible.

        Some may be left out. The convolution before can compute them in this order, and if this is
        the last step, convolutions behind can read them in the old one. Otherwise a 1x1 convolution
        of integers with weights of one does it.
        """
        if order == list(range(self._shape[-1])):
            return True
        if not self._operators and self._reorder_producer(order):
            return True
        if is_last and self._reorder_readers(order):
            return True
        tensor = self._edit.tensors[self._x]
        if not is_8bit(tensor) or tensor.dtype != INT8:
            return False
        if len(order) * self._shape[-1] > _MOST_WEIGHTS:
            return False
        self._select(order)
        return True

    def _reorder_producer(self, order: list[int]) -> bool:
        edit = self._edit
        front = edit.producers().get(self._source)
        if front is None or front.opcode != "CONV_2D" or len(edit.consumers(self._source)) != 1:
            return False
        constants = [index for index in front.inputs[1:] if index >= 0]
        if not edit.is_internal(self._source) or any(edit.data(i) is None for i in constants):
            return False
        inputs = (front.inputs[0], *(edit.chosen_rows(i, order) for i in constants))
        made = edit.tensors[self._source]
        shape = (*made.shape[:-1], len(order))
        out = edit.activation(made, f"{made.name}/chosen", shape=shape)
        self._changed = [(front, replace(front, inputs=inputs, outputs=(out,)))]
        self._x, self._shape = out, shape
        return True

    def _reorder_readers(self, order: list[int]) -> bool:
        """Move each weight of the convolutions behind to the channel that it is for."""
        edit, output = self._edit, self._output
        readers = edit.consumers(output)
        if not readers or output in edit.outputs or len(self.like.shape) != len(self._shape):
            return False
        if sorted(order) != list(range(self._shape[-1])) or self.like.shape != self._shape:
            return False
        changed = []
        for op in readers:
            weights = edit.data(op.inputs[1]) if op.opcode == "CONV_2D" else None
            if weights is None or weights.shape[-1] != len(order) or op.inputs.count(output) != 1:
                return False
            tensor = edit.tensors[op.inputs[1]]
            moved = weights[..., np.argsort(order)]
            constant = edit.constant(f"{tensor.name}/order", moved, tensor.quantization)
            changed.append((op, replace(op, inputs=(op.inputs[0], constant, *op.inputs[2:]))))
        self._changed += changed
        return True

    def _select(self, order: list[int]) -> None:
        out = self._out((*self._shape[:-1], len(order)))
        name = f"{self.like.name}/order"
        self._add(pieces.choose_channels(self._edit, self._x, order, out, name))

    def _reshape(self, shape: tuple[int, ...]) -> None:
        if shape == self._shape:
            return
        self._add(pieces.reshape(self._edit, self._x, self._out(shape)))

    def _join(self, parts: list[int], axis: int) -> None:
        shape = list(self._edit.tensors[parts[0]].shape)
        shape[axis] *= len(parts)
        self._add(pieces.concatenate(self._edit, parts, axis, self._out(tuple(shape))))

    def _add(self, op: Operator) -> None:
        self._operators.append(op)
        (self._x,) = op.outputs
        self._shape = self._edit.tensors[self._x].shape

    def _out(self, shape: tuple[int, ...]) -> int:
        return self._edit.activation(self.like, f"{self.like.name}/moved", shape=shape)

    def _constant(self, name: str, values: list[int]) -> int:
        return self._edit.constant(f"{self.like.name}/{name}", np.array(values, np.int32))


RULE = Rule(
    "resampling",
    "upsampling, pixel shuffle and channel shuffle of any spelling become operators that map",
    exact=True,
    apply=resample,
)
