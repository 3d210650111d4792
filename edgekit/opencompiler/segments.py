# SPDX-License-Identifier: Apache-2.0
"""Where to cut a model for several Edge TPUs: segments of about equal predicted time."""

from __future__ import annotations

from typing import Sequence

from edgekit.edgetpu.estimate import estimated_ms
from edgekit.errors import UsageError
from edgekit.formats.tflite import Model
from edgekit.rewrite.segments import segment_models

_HALVINGS = 12  # of the time that the slowest segment may take
_MOVES = (8, 4, 2, 1)  # operators by which a cut is moved


def cut_evenly(
    model: Model,
    num_segments: int,
    where: str = "",
    *,
    device: str = "usb3",
    option: str = "--num-segments",
) -> tuple[Model, ...]:
    """Cut a model into segments so that the slowest one is as fast as possible.

    The time of a segment is what `estimate` predicts for it, transfers and streamed parameters
    included. Operators keep their order.

    Args:
        model: An int8 model.
        num_segments: How many segments.
        where: The model's file, for errors.
        device: As for `estimate`: how each Edge TPU is connected.
        option: The option that sets ``num_segments``, for errors.

    Raises:
        UsageError: The model has fewer operators than segments.
        UnsupportedModelError: The model has several subgraphs, or cannot be estimated.
    """
    number = len(model.main.operators)
    if num_segments > number:
        raise UsageError(
            f"{num_segments} segments of a model with {number} operators",
            where=where,
            fix=f"give {option} up to {number}",
        )
    cutter = _Cutter(model, device)
    low, high = 0.0, cutter.time_ms(0, number)
    best: list[int] | None = None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        ends = cutter.ends(middle, num_segments)
        if ends is None:
            low = middle
        else:
            best, high = ends, middle
    starts = [even_by_parameters(model, num_segments), *([best] if best else [])]
    ends = min((cutter.improved(each) for each in starts), key=cutter.slowest_ms)
    return segments_at(model, ends)


def segments_at(model: Model, ends: Sequence[int]) -> tuple[Model, ...]:
    """Return the segments that end before the operators ``ends``; the last is their number."""
    return segment_models(model, [range(a, b) for a, b in zip([0, *ends[:-1]], ends)])


def even_by_parameters(model: Model, num_segments: int) -> list[int]:
    """Return the ends of segments whose constants have about equal numbers of bytes.

    This is how edgetpu_compiler's ``--num_segments`` cuts, without a look at the time.
    """
    graph = model.main
    sizes = [
        sum(model.buffers[graph.tensors[i].buffer].size for i in op.inputs if i >= 0)
        for op in graph.operators
    ]
    total, done = sum(sizes), 0
    ends: list[int] = []
    for index, size in enumerate(sizes):
        done += size
        missing = num_segments - 1 - len(ends)
        is_due = done * num_segments >= total * (len(ends) + 1)
        if missing and (is_due or len(sizes) - index - 1 <= missing):
            ends.append(index + 1)
    return [*ends, len(sizes)]


class _Cutter:
    """Predicted times of ranges of operators, each computed once."""

    def __init__(self, model: Model, device: str) -> None:
        self._model, self._device = model, device
        self._number = len(model.main.operators)
        self._known: dict[tuple[int, int], float] = {}

    def time_ms(self, first: int, end: int) -> float:
        """The predicted time of operators first to end - 1."""
        if (first, end) not in self._known:
            rest = [range(first), range(first, end), range(end, self._number)]
            parts = [part for part in rest if part]
            models = segment_models(self._model, parts)
            segment = models[parts.index(range(first, end))]
            self._known[first, end] = estimated_ms(segment, self._device) or 0.0
        return self._known[first, end]

    def slowest_ms(self, ends: Sequence[int]) -> float:
        """The time of the slowest segment."""
        return max(self.time_ms(a, b) for a, b in zip([0, *ends[:-1]], ends))

    def improved(self, ends: Sequence[int]) -> list[int]:
        """Return ``ends`` after moves, by fewer and fewer operators, that make it faster.

        A cut costs much where much data crosses it, so times do not only depend on the length.
        """
        best, time_ms = list(ends), self.slowest_ms(ends)
        for step in _MOVES:
            is_better = True
            while is_better:
                is_better = False
                for place in range(len(best) - 1):
                    for move in (-step, step):
                        moved = [*best[:place], best[place] + move, *best[place + 1 :]]
                        if any(a >= b for a, b in zip([0, *moved[:-1]], moved)):
                            continue
                        slowest = self.slowest_ms(moved)
                        if slowest < time_ms:
                            best, time_ms, is_better = moved, slowest, True
        return best

    def ends(self, limit_ms: float, num_segments: int) -> list[int] | None:
        """The end of each segment if none may take longer than ``limit_ms``; None if too many."""
        ends: list[int] = []
        first = 0
        for segment in range(num_segments):
            last = self._number - (num_segments - segment - 1)
            end = self._farthest(first, last, limit_ms)
            if end is None:
                return None
            ends.append(end)
            first = end
        return ends if first == self._number else None

    def _farthest(self, first: int, last: int, limit_ms: float) -> int | None:
        """The farthest end that keeps to the limit: times grow with the range."""
        if self.time_ms(first, first + 1) > limit_ms:
            return None
        low, high = first + 1, last
        while low < high:
            middle = (low + high + 1) // 2
            if self.time_ms(first, middle) <= limit_ms:
                low = middle
            else:
                high = middle - 1
        return low
