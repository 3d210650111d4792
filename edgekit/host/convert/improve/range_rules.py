# SPDX-License-Identifier: Apache-2.0
"""Ranges that leave rare values out: by percentiles, or by the least square error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import UsageError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.ranges import Range, range_of, with_ranges
from edgekit.runtime import Runner

MIN_MAX, PERCENTILE, MSE = "minmax", "percentile", "mse"
_WORDS = "minmax, mse, or percentile:P with P from 90 to 100, such as percentile:99.99"
_BINS = 4096
_MOST_VALUES = 16384  # of a tensor and a sample
_CODES = 255
_SHARES = tuple(0.8**step for step in range(20))  # of a range's end: 1 to 0.014


@dataclass(frozen=True)
class RangeRule:
    """How ranges come from values: ``--ranges``."""

    kind: str = MIN_MAX
    percent: float = 100.0  # of the values below the upper end, and above the lower end

    def __str__(self) -> str:
        """The option's text."""
        return f"{self.kind}:{self.percent:g}" if self.kind == PERCENTILE else self.kind

    @classmethod
    def parse(cls, text: str) -> RangeRule:
        """Read the option.

        Raises:
            UsageError: It is none of the rules.
        """
        kind, _, number = text.partition(":")
        if kind in (MIN_MAX, MSE) and not number:
            return cls(kind)
        try:
            percent = float(number)
        except ValueError:
            percent = 0.0
        if kind != PERCENTILE or not 90 <= percent <= 100:
            raise UsageError(f"--ranges {text!r} is unknown", fix=f"use {_WORDS}")
        return cls(kind, percent)


def with_rule(model: Model, rule: RangeRule, batches: Iterable[Sequence[NDArray[Any]]]) -> Model:
    """Return a calibrated network with ranges by ``rule`` for all tensors but its inputs.

    No range becomes wider.

    Args:
        model: The network; its ranges are the lowest and highest values.
        rule: How to choose the range.
        batches: The calibration samples, each a list of arrays in the inputs' shapes and types.
    """
    graph = model.main
    made = {index for op in graph.operators for index in op.outputs}
    old = {index: range_of(graph.tensors[index]) for index in sorted(made)}
    known = {index: each for index, each in old.items() if each is not None and each[0] < each[1]}
    counts = _histograms(model, known, batches)
    return with_ranges(
        model, {index: _range(rule, known[index], each) for index, each in counts.items()}
    )


def _histograms(
    model: Model, ranges: dict[int, Range], batches: Iterable[Sequence[NDArray[Any]]]
) -> dict[int, NDArray[np.int64]]:
    graph = replace(model.main, outputs=tuple(ranges))
    watched = replace(model, subgraphs=(graph,), signature_defs=())
    counts = {index: np.zeros(_BINS, np.int64) for index in ranges}
    with Runner(ModelFile.of(watched)) as runner:
        for arrays in batches:
            for index, values in zip(ranges, runner.invoke(*arrays), strict=True):
                low, high = ranges[index]
                some = values.ravel()
                some = some[:: -(-some.size // _MOST_VALUES) | 1]  # odd: not one channel only
                bins = (some.astype(np.float64) - low) * (_BINS / (high - low))
                places = np.clip(bins.astype(np.int64), 0, _BINS - 1)
                counts[index] += np.bincount(places, minlength=_BINS)
    return counts


def _range(rule: RangeRule, ends: Range, counts: NDArray[np.int64]) -> Range:
    low, high = ends
    edges = np.linspace(low, high, _BINS + 1)
    if rule.kind == PERCENTILE:
        below = np.cumsum(counts) / max(1, counts.sum())
        share = rule.percent / 100
        first = int(np.searchsorted(below, 1 - share, side="right"))
        last = int(np.searchsorted(below, share, side="left"))
        found = (edges[first], edges[min(last, _BINS - 1) + 1])
    else:
        found = _least_error(ends, (edges[1:] + edges[:-1]) / 2, counts)
    return min(float(found[0]), 0.0), max(float(found[1]), 0.0)  # an int8 range contains 0


def _least_error(ends: Range, values: NDArray[np.float64], counts: NDArray[np.int64]) -> Range:
    best, least = ends, np.inf
    for share_low in _SHARES if ends[0] < 0 else (1.0,):
        for share_high in _SHARES if ends[1] > 0 else (1.0,):
            low, high = min(0.0, ends[0] * share_low), max(0.0, ends[1] * share_high)
            step = (high - low) / _CODES
            if step <= 0:
                continue
            stored = np.clip(np.rint(values / step), np.rint(low / step), np.rint(high / step))
            error = float((counts * (stored * step - values) ** 2).sum())
            if error < least:
                best, least = (low, high), error
    return best
