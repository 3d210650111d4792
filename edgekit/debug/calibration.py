# SPDX-License-Identifier: Apache-2.0
"""Compare the ranges that calibration stored with those of the float network on the samples.

The scales of an integer model are a fingerprint of the samples that calibrated it. If the float
network has the stored ranges when the samples are preprocessed in another way (colours in the other
order, pixels of 0..1 in place of -1..1), then calibration used that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.debug.ranges import Group, with_zero

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.debug.matching import Matches
    from edgekit.debug.recorder import Recorder
    from edgekit.formats.tflite import Model

    Sample = Sequence[NDArray[Any]]

_COUNTED = 0.1  # of a range's width: a smaller end is not compared
_MOST_APART = math.log(2)
_FAR = math.log(1.5)
_BETTER, _DEVIATIONS = 0.8, 2.0
_FITS = 0.18  # ln: the ranges of other samples of the same kind are as near
_LEAST_ENDS = 3
# Mean distances of ranges that are clearly others, and of those that are the same; the ratio of
# their squares.
_UNLIKE, _ALIKE, _MUCH = 0.1, 0.12, 0.25
_FEW_ENDS = 10.0  # few ends need a clearer difference
_MOST_FAR = 0.2  # of the ends, if the other samples are those of calibration
_SAME = 0.02  # of a range's width
_NEAR = 0.06  # of a range's width: the input's stored range is that of pixels scaled in this way
_COLOURS = 3
_RANGES = {"unit": (0.0, 1.0), "tf": (-1.0, 1.0), "raw": (0.0, 255.0)}


@dataclass(frozen=True)
class Calibrated:
    """What the stored ranges show."""

    preprocess: str = ""  # what calibration used, if it was not that of the samples
    text: str = ""  # how that is seen
    num_far: int = 0  # groups whose range is far from that of the samples
    num_groups: int = 0
    distance: float = 0.0  # of the ranges to those of the samples, mean of |ln|


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
    reader: RangeReader,
    samples: Sequence[Sample],
    stored: tuple[float, float] | None,
    channels: int | None,
) -> Calibrated:
    """Find out whether calibration used samples like these.

    The range of the network's input shows how its pixels were scaled; all ranges together show the
    order of the colours.

    Args:
        reader: The float network.
        samples: Inputs of the float network.
        stored: The range of the integer model's first input; None if it is not quantized.
        channels: The axis of the colours in the first input; None if it is not a picture.
    """
    as_given = reader.read(samples)
    mine = _distances(as_given)
    far = sum(1 for group, ends in as_given.items() if _is_far(group, ends))
    plain = Calibrated(num_far=far, num_groups=len(as_given), distance=_mean(mine))
    if channels is None:
        return plain
    firsts = [np.asarray(sample[0]) for sample in samples]
    base = _base(firsts)
    scale = _scale_of(stored, base) if base and stored is not None else ""
    if scale and stored is not None:
        text = (
            f"the int8 model's input stores {stored[0]:.4g} to {stored[1]:.4g}, the range of "
            f"pixels scaled with {scale}; the samples are scaled with {base}"
        )
        return replace(plain, preprocess=scale, text=text)
    if firsts[0].shape[channels] != _COLOURS:
        return plain
    turned = [[np.flip(sample[0], channels), *sample[1:]] for sample in samples]
    theirs = _distances(reader.read(turned))
    if not _is_better(theirs, mine):
        return plain
    text = (
        "the ranges of the int8 model are those of samples with the colours in the other order: "
        f"with that, the float network's ranges differ from them by a factor of "
        f"{math.exp(_mean(theirs)):.2f} on average, with the samples as given by "
        f"{math.exp(_mean(mine)):.2f}"
    )
    return replace(plain, preprocess="colour=bgr", text=text)


def _scale_of(stored: tuple[float, float], base: str) -> str:
    """Return the scaling that a stored input range shows, if it is not that of the samples."""
    distances = {}
    for name, (low, high) in _RANGES.items():
        apart = max(abs(stored[0] - low), abs(stored[1] - high))
        distances[name] = apart / (high - low)
    best = min(distances, key=lambda name: distances[name])
    return best if best != base and distances[best] < _NEAR < distances[base] else ""


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


def _power(distances: Mapping[Any, float]) -> float:
    return float(np.square(list(distances.values())).sum())


def _is_better(theirs: Mapping[Any, float], mine: Mapping[Any, float]) -> bool:
    """Whether other samples fit the stored ranges better, by more than chance."""
    keys = sorted(set(theirs) | set(mine), key=lambda key: (key[0].tensors, key[1]))
    gains = np.array([abs(mine.get(key, 0.0)) - abs(theirs.get(key, 0.0)) for key in keys])
    if len(gains) < _LEAST_ENDS or _mean(theirs) > min(_BETTER * _mean(mine), _FITS):
        return False
    if sum(abs(each) > _FAR for each in theirs.values()) > _MOST_FAR * len(theirs):
        return False
    if _mean(mine) > _UNLIKE and _mean(theirs) < _ALIKE and _power(theirs) < _MUCH * _power(mine):
        return True
    deviation = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    return float(gains.mean()) > (_DEVIATIONS + _FEW_ENDS / len(gains)) * deviation


def _base(inputs: Sequence[NDArray[Any]]) -> str:
    """Return how the samples are scaled: a key of `_RANGES`, or empty."""
    low = min(float(each.min()) for each in inputs)
    high = max(float(each.max()) for each in inputs)
    for name, (first, last) in _RANGES.items():
        near = _SAME * (last - first)
        if first - near <= low and high <= last + near and high - low > 0.5 * (last - first):
            return name
    return ""
