# SPDX-License-Identifier: Apache-2.0
"""Find the outputs that are a YOLO head: one column (or row) per place of its grids.

The number of places is the sum over the grids of ceil(height / stride) * ceil(width / stride), once
(YOLOv6 and v8 to v12, v26, YOLOX) or with three anchors each (YOLOv3, v5, v7). A head may come in
parts (boxes, scores, ...) with the same places, and with another output for prototypes of masks.
Exports with suppression, and the end-to-end heads of YOLOv10 and v26, have one row per object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from edgekit.tasks.yolo_columns import BOX
from edgekit.tasks.yolo_raw import RawHead, decode_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIDES = (4, 8, 16, 32, 64)
_FEWEST_GRIDS = 2
_USUAL = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
_ANCHORS_A_PLACE = (1, 3)
_FEWEST_VALUES = BOX + 1
_FEWEST_FINISHED_VALUES = BOX + 2
_MOST_EXTRA = 3 * 150  # values of an object after its class
_MOST_FINISHED = 1000  # rows of an export with suppression


@dataclass(frozen=True)
class YoloHead:
    """The positions of the values of a YOLO's places in the outputs."""

    parts: tuple[int, ...]  # outputs to be joined, in this order
    is_transposed: bool  # the places are the last dimension
    num_values: int  # per place, all parts together
    strides: tuple[int, ...]  # () if a row is an object
    anchors: int  # rows per place
    prototypes: int | None  # the output that masks are composed of
    num_coefficients: int  # of a mask
    prototypes_last: bool  # (1, h, w, n); else (1, n, h, w)
    raw: RawHead | None = None  # how to decode the boxes; None if the network does
    input_shape: tuple[int, int] = (0, 0)  # of the network; for ``raw`` only

    @property
    def is_finished(self) -> bool:
        """Whether a row is an object, so that nothing is left to suppress."""
        return not self.strides

    def rows(self, outputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return (places or objects, values) of the real ``outputs``."""
        parts = [outputs[i][0].T if self.is_transposed else outputs[i][0] for i in self.parts]
        if self.raw is not None:
            cells, strides = grid_centres(self.strides, self.anchors, self.input_shape)
            parts = decode_parts(self.raw, parts, cells, strides)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def planes(self, outputs: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
        """Return (n, h, w) prototypes of masks; None without them."""
        if self.prototypes is None:
            return None
        planes: NDArray[Any] = outputs[self.prototypes][0]
        return planes.transpose(2, 0, 1) if self.prototypes_last else planes


def yolo_heads(shapes: Sequence[Sequence[int]], input_shape: Sequence[int]) -> Iterator[YoloHead]:
    """Yield all ways to read outputs of these shapes as a YOLO head, the usual ones first.

    Args:
        shapes: The shapes of the outputs.
        input_shape: (height, width) of the network's input.
    """
    flat = [i for i, shape in enumerate(shapes) if len(shape) == 3 and shape[0] == 1]
    rest = [i for i in range(len(shapes)) if i not in flat]
    if not flat or len(rest) > 1 or min(input_shape) < 1:
        return
    coefficients, is_last = (0, False)
    if rest:
        found = _prototypes(shapes[rest[0]], input_shape)
        if found is None:
            return
        coefficients, is_last = found
    prototypes = rest[0] if rest else None
    for parts, is_transposed, places, values in _joined(shapes, flat):
        for strides, anchors in _grids(places, input_shape):
            # Heads with three anchors per place have objectness.
            if values < _FEWEST_VALUES + coefficients + (anchors > 1):
                continue
            yield YoloHead(
                parts, is_transposed, values, strides, anchors, prototypes, coefficients, is_last
            )
    objects, values = shapes[flat[0]][1:]
    least = _FEWEST_FINISHED_VALUES + coefficients
    has_values = len(flat) == 1 and least <= values <= least + _MOST_EXTRA
    if has_values and 1 < objects <= _MOST_FINISHED:
        yield YoloHead((flat[0],), False, values, (), 1, prototypes, coefficients, is_last)


def undecoded_head(
    shapes: Sequence[Sequence[int]], input_shape: tuple[int, int], raw: RawHead
) -> YoloHead | None:
    """Return the head whose outputs are boxes as ``raw`` says, scores and values of the task.

    None if the shapes are not those of such a head.

    Args:
        shapes: The shapes of the outputs; boxes are the first one with three dimensions.
        input_shape: (height, width) of the network's input.
        raw: How to decode them.
    """
    for head in yolo_heads(shapes, input_shape):
        first = shapes[head.parts[0]][1 if head.is_transposed else 2]
        if not head.is_finished and head.anchors == 1 and first == raw.num_values:
            values = head.num_values - first + BOX
            return replace(head, num_values=values, raw=raw, input_shape=input_shape)
    return None


def grid_centres(
    strides: Sequence[int], anchors: int, input_shape: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return column and row of each place in its grid, (places, 2), and its stride, (places, 1).

    The order is that of the heads: the finest grid first, in each grid one anchor after the other,
    for each anchor row by row.
    """
    cells, steps = [], []
    for stride in strides:
        height, width = (math.ceil(side / stride) for side in input_shape)
        y, x = np.mgrid[:height, :width]
        grid = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
        cells += [grid] * anchors
        steps.append(np.full((anchors * len(grid), 1), stride, np.float32))
    return np.concatenate(cells), np.concatenate(steps)


def _joined(
    shapes: Sequence[Sequence[int]], flat: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], bool, int, int]]:
    """Yield (outputs, whether places come last, places, values) of the outputs as one table."""
    for is_transposed in (True, False):
        place_axis, value_axis = (2, 1) if is_transposed else (1, 2)
        places = {shapes[i][place_axis] for i in flat}
        if len(places) == 1:
            values = sum(shapes[i][value_axis] for i in flat)
            yield tuple(flat), is_transposed, places.pop(), values


def _grids(places: int, input_shape: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield consecutive strides, and the anchors per place, that result in ``places``."""
    runs = [
        _STRIDES[start:end]
        for start in range(len(_STRIDES))
        for end in range(start + _FEWEST_GRIDS, len(_STRIDES) + 1)
    ]
    for strides in sorted(runs, key=lambda run: run not in _USUAL):
        count = sum(
            math.ceil(input_shape[0] / stride) * math.ceil(input_shape[1] / stride)
            for stride in strides
        )
        for anchors in _ANCHORS_A_PLACE:
            if places == anchors * count:
                yield strides, anchors


def _prototypes(shape: Sequence[int], input_shape: Sequence[int]) -> tuple[int, bool] | None:
    """Return the number of prototypes in an output, and whether they are its last dimension."""
    if len(shape) != 4 or shape[0] != 1:
        return None
    for is_last in (True, False):
        count = shape[3] if is_last else shape[1]
        height, width = shape[1:3] if is_last else shape[2:4]
        if height > 1 and height * input_shape[1] == width * input_shape[0]:
            return count, is_last
    return None
