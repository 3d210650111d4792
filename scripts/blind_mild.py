# SPDX-License-Identifier: Apache-2.0
"""The networks of the second set, trained anew, with milder faults: near the limits of the verdict.

Most faults of the first two sets are gross. Here values are calibrated at 0.6 of their size, on six
samples, or on the third with the smallest values, and channels are scaled by 1 to 30 or to 200.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from scripts import blind_networks_2
from scripts.blind_parts import Array, Corpus, Network, unequal

SEED = 5501
_Maker = Callable[[Corpus], Iterator[Network]]
# The layer whose channels are scaled, and the one that undoes it.
_LAYERS = {
    "filters": ("inner", "outer"),
    "mixer": ("first", "second"),
    "distance": ("middle", "after"),
}
_SMALLER = ("separable", "tags", "place", "superres", "colour", "pulses", "heart")
_FEW = ("spectra", "price", "tilt", "compare", "filters")
_WEAKEST = ("tags", "superres", "pulses", "spectra", "mixer", "distance")


def _smallest(samples: Array) -> Array:
    """Return the third of the samples whose values are the smallest on average."""
    sizes = np.abs(samples).reshape(len(samples), -1).mean(axis=1)
    some: Array = samples[sizes <= np.quantile(sizes, 1 / 3)]
    return some


def _with_faults(corpus: Corpus, good: Network) -> Iterator[Network]:
    name = good.name
    if name in _SMALLER:
        yield good.calibrated(f"{name}_06", "calibrated at 0.6 of the values", lambda v: v * 0.6)
    if name in _FEW:
        yield replace(
            good, name=f"{name}_six", task=f"{good.task}; calibrated on 6 samples", num_samples=6
        )
    if name in _WEAKEST:
        how = "calibrated on the third with the smallest values"
        yield good.calibrated(f"{name}_weak", how, _smallest)
    for most in (30, 200) if name in _LAYERS else ():
        change = unequal(corpus, most, *_LAYERS[name])
        yield good.changed(f"{name}_{most}", f"channels scaled by 1 to {most}", change)


def _mild(make: _Maker, corpus: Corpus) -> Iterator[Network]:
    yield from _with_faults(corpus, next(make(corpus)))


MAKERS: tuple[_Maker, ...] = tuple(partial(_mild, make) for make in blind_networks_2.MAKERS)
