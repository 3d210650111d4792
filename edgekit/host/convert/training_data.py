# SPDX-License-Identifier: Apache-2.0
"""Whether calibration samples are like the training data, by the statistics in the network.

Without this, a comparison on samples of the same kind does not prove much: both models may agree
on dim pictures, while the ranges of calibration cut off all bright ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from edgekit.data.network_start import layer_name
from edgekit.host.convert.child import LayerStatistics
from edgekit.runtime.quality import NOT_SHOWN, Finding

LEAST_SAMPLES = 32  # of fewer, the mean and the deviation may differ by chance
# Samples like the training data have shifts below 0.13 and ratios of 0.93 to 1.12. Photographs
# given to a network for faces have up to 0.7, and 0.55 to 1.55: see docs/quality.md.
MOST_SHIFTED = 0.8  # deviations of training, root mean square over the channels
# The deviation divided by that of training, median over the channels. Below 1 values are cut off:
# digits calibrated at 0.6 of the brightness lose 8 points of accuracy. Above 2 one bit is lost. In
# later layers, a Dropout before them increases the deviation in training: Li et al., Understanding
# the Disharmony between Dropout and Batch Normalization by Variance Shift (arXiv 1801.05134).
RATIO_LIMITS = (0.7, 2.0)
LATER_RATIO_LIMITS = (0.5, 2.0)
# One channel of the first layer, such as a column of a table in another unit: its training data are
# far from all samples. A flag that is seldom set, and in no sample, has a shift below 1.
_CHANNEL_SHIFT, _CHANNEL_DISTANCE = 1.0, 10.0  # deviations of training, and of the samples
_MOST_CHANNEL_RATIO = 10.0
_ROUND = 10.0  # larger ratios are printed as whole numbers
_STEP = re.compile(r"/batchnorm/[^/]*$")  # of tf.nn.batch_normalization


def unlike_training(statistics: Sequence[LayerStatistics], num_samples: int) -> tuple[Finding, ...]:
    """Return a finding if the samples are unlike the training data; none if that is not known.

    Args:
        statistics: The normalizing layers, in the order of execution.
        num_samples: The calibration samples.
    """
    if num_samples < LEAST_SAMPLES:
        return ()
    for place, each in enumerate(statistics):  # the first one is nearest to the samples
        low, high = LATER_RATIO_LIMITS if place else RATIO_LIMITS
        ratio, shift = float(np.median(each.ratios)), float(np.sqrt(np.mean(each.shifts**2)))
        where = ""
        if shift <= MOST_SHIFTED and low <= ratio <= high:
            channel = None if place else _odd_channel(each)
            if channel is None:
                continue
            where = f" in channel {channel}"
            ratio, shift = float(each.ratios[channel]), float(each.shifts[channel])
        times = f"{ratio:.2g}" if ratio < _ROUND else f"{ratio:,.0f}"
        differences = [f"vary {times} times as much as in training{where}"]
        if shift > MOST_SHIFTED:
            differences.append(f"are shifted by {shift:.1f} of their deviations")
        text = (
            "the samples are unlike the data that the network was trained on: the values before "
            f"its layer `{layer_name(_STEP.sub('/', each.layer))}` {' and '.join(differences)}; "
            "the ranges of calibration, and the comparison on such samples, may be wrong for real "
            "data; check --preprocess (or the scaling in the .npz), and calibrate with samples "
            "like those of training"
        )
        return (Finding("quality.unlike_training", NOT_SHOWN, "", text),)
    return ()


def _odd_channel(layer: LayerStatistics) -> int | None:
    """Return the first channel that alone shows unlike samples; None if there is none."""
    is_apart = (layer.shifts > _CHANNEL_SHIFT) & (layer.shifts > _CHANNEL_DISTANCE * layer.ratios)
    found = np.flatnonzero(is_apart | (layer.ratios > _MOST_CHANNEL_RATIO))
    return int(found[0]) if found.size else None
