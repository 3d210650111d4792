# SPDX-License-Identifier: Apache-2.0
"""Compare the ranges that calibration stored with those of the float network on the samples.

The scales of an integer model are a fingerprint of the samples that calibrated it. If the float
network has the stored ranges when the samples are preprocessed in another way (colours in the other
order, pixels of 0..1 in place of -1..1), then calibration used that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from edgekit.debug.ranges import Group, with_zero

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.debug.matching import Matches
    from edgekit.debug.recorder import Recorder
    from edgekit.formats.tflite import Model

    Sample = Sequence[NDArray[Any]]

_MOST_SAMPLES = 16
_COUNTED = 0.1  # of a range's width: a smaller end says nothing
_MOST_APART = math.log(2)
_FAR = math.log(1.5)
_BETTER, _DEVIATIONS = 0.8, 2.0
_FITS = 0.2  # ln: the ranges of other samples of the same kind are as near
_LEAST_ENDS = 3
_SAME = 0.02  # of a range's width
_IMAGENET = "mean=123.675/116.28/103.53,std=58.395/57.12/57.375"
_MEAN, _STD = (np.array(each, np.float32) for each in (
    (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
))  # fmt: skip
_RANGES = {"unit": (0.0, 1.0), "tf": (-1.0, 1.0), "raw": (0.0, 255.0)}


@dataclass(frozen=True)
class Calibrated:
    """What the stored ranges show."""

    preprocess: str = ""  # what calibration used, if it was not that of the samples
    given: str = ""  # that of the samples
    num_far: int = 0  # groups whose range is far from that of the samples
    num_groups: int = 0
    distance: float = 0.0  # of the ranges to those of the samples, mean of |ln|
    explained: float = 0.0  # the same with ``preprocess``


class RangeReader:
    """Runs the float network for its ranges."""

    def __init__(
        self, network: Recorder, model: Model, matches: Matches, groups: Sequence[Group]
    ) -> None:
        """Read the ranges of those groups that have matches and that calibration chose."""
        self._network = network
        found = matches.found
        self._matches = {
            group: [(found[i], model.main.tensors[i].shape) for i in group.tensors if i in found]
            for group in groups
            if not group.is_fixed and any(i in found for i in group.tensors)
        }

    def read(self, samples: Sequence[Sample]) -> dict[Group, tuple[float, float]]:
        """Return the range of each group on some samples."""
        ends = dict.fromkeys(self._matches, (0.0, 0.0))
        for sample in samples:
            self._network.run(sample)
            for group, matched in self._matches.items():
                for match, shape in matched:
                    values = match.values(self._network, shape)
                    low, high = ends[group]
                    ends[group] = min(low, float(values.min())), max(high, float(values.max()))
        return ends


def read_calibration(
    reader: RangeReader, samples: Sequence[Sample], channels: int | None
) -> Calibrated:
    """Find out whether calibration used samples like these.

    Args:
        reader: The float network.
        samples: Inputs of the float network.
        channels: The axis of the colours in its first input; None if it is not a picture.
    """
    some = list(samples[:: max(len(samples) // _MOST_SAMPLES, 1)])[:_MOST_SAMPLES]
    as_given = reader.read(some)
    mine = _distances(as_given)
    far = sum(1 for group, ends in as_given.items() if _is_far(group, ends))
    plain = Calibrated(num_far=far, num_groups=len(as_given), distance=_mean(mine))
    if channels is None or len(mine) < _LEAST_ENDS:
        return plain
    base = _base([sample[0] for sample in some])
    best = plain
    for name, change in _others(base, channels, some[0][0].shape[channels]):
        changed = [[change(np.asarray(sample[0])), *sample[1:]] for sample in some]
        theirs = _distances(reader.read(changed))
        if _is_better(theirs, mine) and (not best.preprocess or _mean(theirs) < best.explained):
            best = Calibrated(name, base or "rgb", far, len(as_given), _mean(mine), _mean(theirs))
    return best


def _is_far(group: Group, ends: tuple[float, float]) -> bool:
    return any(abs(each) > _FAR for each in _compared(group, ends).values())


def _distances(found: Mapping[Group, tuple[float, float]]) -> dict[Any, float]:
    return {
        (group, end): each
        for group, ends in found.items()
        for end, each in _compared(group, ends).items()
    }


def _compared(group: Group, ends: tuple[float, float]) -> dict[int, float]:
    """Return ln of the stored end divided by the one found, for each end that counts."""
    stored, found = group.stored, with_zero(*ends)
    least = _COUNTED * max(stored[1] - stored[0], found[1] - found[0])
    ratios = {}
    for end in (0, 1):
        one, other = abs(stored[end]), abs(found[end])
        if max(one, other) > least:
            ratio = math.log(max(one, 1e-9) / max(other, 1e-9))
            ratios[end] = min(max(ratio, -_MOST_APART), _MOST_APART)
    return ratios


def _mean(distances: Mapping[Any, float]) -> float:
    return float(np.mean(np.abs(list(distances.values())))) if distances else 0.0


def _is_better(theirs: Mapping[Any, float], mine: Mapping[Any, float]) -> bool:
    """Whether other samples fit the stored ranges better, by more than chance."""
    keys = sorted(set(theirs) | set(mine), key=lambda key: (key[0].tensors, key[1]))
    gains = np.array([abs(mine.get(key, 0.0)) - abs(theirs.get(key, 0.0)) for key in keys])
    if len(gains) < _LEAST_ENDS or _mean(theirs) > min(_BETTER * _mean(mine), _FITS):
        return False
    deviation = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean()) > _DEVIATIONS * deviation


def _base(inputs: Sequence[NDArray[Any]]) -> str:
    """Return how the samples are scaled: a key of `_RANGES`, or empty."""
    low = min(float(each.min()) for each in inputs)
    high = max(float(each.max()) for each in inputs)
    for name, (first, last) in _RANGES.items():
        near = _SAME * (last - first)
        if first - near <= low and high <= last + near and high - low > 0.5 * (last - first):
            return name
    return ""


def _others(
    base: str, channels: int, count: int
) -> Iterator[tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]]:
    """Yield other preprocessings: their name, and a function of the input."""
    is_colour = count == 3

    def turned(values: NDArray[Any]) -> NDArray[Any]:
        return np.flip(values, channels)

    if is_colour:
        yield "colour=bgr", turned
    if not base:
        return
    first, last = _RANGES[base]
    for name, (low, high) in _RANGES.items():
        if name == base:
            continue

        def scaled(values: NDArray[Any], low: float = low, high: float = high) -> NDArray[Any]:
            return low + (values - first) * ((high - low) / (last - first))

        yield name, scaled
    if is_colour:
        around = [1] * 4
        around[channels] = 3

        def normalized(values: NDArray[Any]) -> NDArray[Any]:
            pixels = 255 * (values - first) / (last - first)
            return np.asarray((pixels - _MEAN.reshape(around)) / _STD.reshape(around), np.float32)

        yield _IMAGENET, normalized
