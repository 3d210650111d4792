# SPDX-License-Identifier: Apache-2.0
"""Ranges that leave rare values or odd samples out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import UsageError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.ranges import Range, range_of, with_ranges
from edgekit.runtime import Runner

MIN_MAX, PERCENTILE, MSE, ENTROPY = "minmax", "percentile", "mse", "entropy"
SAMPLES = "samples"
_LEAST_PERCENT = {PERCENTILE: 90.0, SAMPLES: 50.0}
Values = NDArray[np.float64]
_WORDS = (
    "minmax, mse, entropy, percentile:P with P from 90 to 100, such as percentile:99.99, or "
    "samples:P with P from 50 to 100, such as samples:95"
)
_BINS = 4096
_MOST_VALUES = 16384  # of a tensor and a sample
_CODES = 255
_SHARE_OF_ENDS = 1e-5  # the probability of values outside of a range
_SHARES = tuple(0.8**step for step in range(20))  # of a range's end: 1 to 0.014


@dataclass(frozen=True)
class RangeRule:
    """How ranges come from values: ``--ranges``."""

    kind: str = MIN_MAX
    # percentile: of the values below the upper end, and above the lower end; samples: of the
    # samples whose highest value is below the upper end, and whose lowest is above the lower end
    percent: float = 100.0

    def __str__(self) -> str:
        """The option's text."""
        return f"{self.kind}:{self.percent:g}" if self.kind in _LEAST_PERCENT else self.kind

    @classmethod
    def parse(cls, text: str) -> RangeRule:
        """Read the option.

        Raises:
            UsageError: It is none of the rules.
        """
        kind, _, number = text.partition(":")
        if kind in (MIN_MAX, MSE, ENTROPY) and not number:
            return cls(kind)
        try:
            percent = float(number)
        except ValueError:
            percent = 0.0
        if not _LEAST_PERCENT.get(kind, 101.0) <= percent <= 100:
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
    made = {index for op in model.main.operators for index in op.outputs}
    return with_rules(model, dict.fromkeys(sorted(made), rule), batches)


def with_rules(
    model: Model, rules: Mapping[int, RangeRule], batches: Iterable[Sequence[NDArray[Any]]]
) -> Model:
    """Return a calibrated network with ranges by other rules for some tensors.

    Args:
        model: As for `with_rule`.
        rules: Tensor index -> how to choose its range.
        batches: As for `with_rule`.
    """
    old = {index: range_of(model.main.tensors[index]) for index in rules}
    known = {index: each for index, each in old.items() if each is not None and each[0] < each[1]}
    gathered = _gather(model, known, batches)
    return with_ranges(
        model, {index: _range(rules[index], known[index], each) for index, each in gathered.items()}
    )


@dataclass
class _Gathered:
    """The values of a tensor on the samples."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    ends: list[Range] = field(default_factory=list)  # of each sample


def _gather(
    model: Model, ranges: dict[int, Range], batches: Iterable[Sequence[NDArray[Any]]]
) -> dict[int, _Gathered]:
    graph = model.main
    made = tuple(index for index in ranges if index not in graph.inputs)
    watched = replace(model, subgraphs=(replace(graph, outputs=made),), signature_defs=())
    gathered = {index: _Gathered() for index in ranges}
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(Runner(ModelFile.of(watched))) if made else None
        for arrays in batches:
            found = dict(zip(graph.inputs, arrays, strict=True))
            if runner is not None:
                found.update(zip(made, runner.invoke(*arrays), strict=True))
            for index, (low, high) in ranges.items():
                some = found[index].ravel()
                own = float(some.min()), float(some.max())
                if np.isfinite(own).all():
                    gathered[index].ends.append(own)
                some = some[:: -(-some.size // _MOST_VALUES) | 1]  # odd: not one channel only
                bins = (some.astype(np.float64) - low) * (_BINS / (high - low))
                places = np.clip(bins.astype(np.int64), 0, _BINS - 1)
                gathered[index].counts += np.bincount(places, minlength=_BINS)
    return gathered


def _range(rule: RangeRule, ends: Range, gathered: _Gathered) -> Range:
    (low, high), counts = ends, gathered.counts
    edges = np.linspace(low, high, _BINS + 1)
    if rule.kind == PERCENTILE:
        below = np.cumsum(counts) / max(1, counts.sum())
        share = rule.percent / 100
        first = int(np.searchsorted(below, 1 - share, side="right"))
        last = int(np.searchsorted(below, share, side="left"))
        found = (edges[first], edges[min(last, _BINS - 1) + 1])
    elif rule.kind == SAMPLES and gathered.ends:
        lows, highs = np.array(gathered.ends).T
        found = (np.percentile(lows, 100 - rule.percent), np.percentile(highs, rule.percent))
    else:
        error_of = _square_error if rule.kind == MSE else _divergence
        found = _least(ends, (edges[1:] + edges[:-1]) / 2, counts, error_of)
    return min(float(found[0]), 0.0), max(float(found[1]), 0.0)  # an int8 range contains 0


def _least(
    ends: Range, values: Values, counts: NDArray[np.int64], error_of: Callable[..., float]
) -> Range:
    """Return the range within ``ends`` with the least error."""
    best, least = ends, np.inf
    for share_low in _SHARES if ends[0] < 0 else (1.0,):
        for share_high in _SHARES if ends[1] > 0 else (1.0,):
            low, high = min(0.0, ends[0] * share_low), max(0.0, ends[1] * share_high)
            step = (high - low) / _CODES
            if step <= 0:
                continue
            codes = np.clip(np.rint(values / step), np.rint(low / step), np.rint(high / step))
            error = error_of(values, counts, codes, step)
            if error < least:
                best, least = (low, high), error
    return best


def _square_error(values: Values, counts: NDArray[np.int64], codes: Values, step: float) -> float:
    return float((counts * (codes * step - values) ** 2).sum())


def _divergence(values: Values, counts: NDArray[np.int64], codes: Values, step: float) -> float:
    """Return the Kullback-Leibler divergence of the values that codes stand for from the values.

    The values of a code are spread evenly over the bins that it covers and that have values. All
    values outside the range together have a probability that is nearly zero.

    Source:
        S. Migacz, 8-bit inference with TensorRT (2017), adapted to ranges with two ends.
    """
    inside = (counts > 0) & (np.abs(codes * step - values) <= step)
    places = (codes - codes.min()).astype(np.int64)
    bins = np.bincount(places, weights=inside)
    kept = np.bincount(places, weights=np.where(inside, counts, 0))
    total = float(counts.sum())
    p = counts[inside] / total
    q = (kept / np.maximum(bins, 1))[places][inside] / total
    lost = 1 - float(p.sum())
    outside = lost * np.log(lost / _SHARE_OF_ENDS) if lost > _SHARE_OF_ENDS else 0.0
    return float((p * np.log(p / q)).sum() + outside)
