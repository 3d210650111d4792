# SPDX-License-Identifier: Apache-2.0
"""Which tensors of a network the quantizer gives one scale, found by running the quantizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.ranges import Range, range_of, with_ranges
from edgekit.host.convert.quantizer.params import Params, params_of_range
from edgekit.host.convert.quantizer.propagate import Propagation, Use

# Sizes of the tracing ranges: float32 distinguishes two of them.
_STEP = 2.0**-12
# Where the range of an activation comes from: that of a tensor, by its index, or a fixed one.
Source = int | Range


@dataclass(frozen=True)
class SharedScales:
    """How the integer network rounds each activation."""

    # Activation -> the scales of the conversions of its values, one after the other.
    rounded: dict[int, tuple[Source, ...]] = field(default_factory=dict)
    # Input of an operator that needs another scale than the tensor has.
    converted: dict[Use, Source] = field(default_factory=dict)
    constants: dict[Use, Params] = field(default_factory=dict)  # of elementwise operators

    @property
    def ranged(self) -> Sequence[int]:
        """The tensors whose own ranges matter."""
        found = [each for values in self.rounded.values() for each in values]
        found += list(self.converted.values())
        return sorted({each for each in found if isinstance(each, int)})


def shared_scales(calibrated: Model) -> SharedScales:
    """Return the scales of a float network whose activations have ranges.

    The network is quantized with a different range for each tensor; a tensor with the parameters of
    another's range shares its scale.
    """
    graph = calibrated.main
    ranged = [i for i, tensor in enumerate(graph.tensors) if range_of(tensor) is not None]
    reach = {index: 1 + number * _STEP for number, index in enumerate(ranged)}
    traced = with_ranges(calibrated, {index: (-each, each) for index, each in reach.items()})
    chosen = Propagation(traced).run()
    own = {_scale(-each, each): index for index, each in reach.items()}

    def source(params: Params) -> Source:
        (scale,) = params.scales
        low, high = ((q - params.zero_point) * scale for q in (params.q_min, params.q_max))
        return own.get(scale, (low, high))

    rounded: dict[int, tuple[Source, ...]] = {
        value: (source(params),)
        for value, params in chosen.params.items()
        if isinstance(value, int)
    }
    for tensor, params in chosen.written.items():
        rounded[tensor] = (source(params), *rounded[tensor])
    true = Propagation(calibrated).run()
    return SharedScales(
        rounded,
        {use: source(params) for use, params in chosen.converted.items()},
        {use: params for use, params in true.params.items() if not isinstance(use, int)},
    )


def _scale(low: float, high: float) -> float:
    return params_of_range(low, high).scales[0]
