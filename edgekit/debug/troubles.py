# SPDX-License-Identifier: Apache-2.0
"""What kind of trouble the error of one tensor is, and what share of it could be avoided.

The rounding of a range that fits, and of weights with a scale for each channel, cannot be avoided
in 8 bits. More than that is trouble: values that are cut off, steps that are larger than the values
need, weights that are not the float network's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Mapping

import numpy as np

from edgekit.debug.ranges import Group, needed, width
from edgekit.debug.sums import TensorSums

if TYPE_CHECKING:
    from edgekit.formats.tflite import Model, Operator

WEIGHTS, PER_TENSOR = "weights", "per_tensor_weights"
SATURATION, WIDE_RANGE = "saturation", "wide_range"
MIXED_RANGE, FEW_SAMPLES = "mixed_range", "few_samples"
OUTLIER_CHANNELS, LOGITS = "outlier_channels", "logits"
ROUNDING = "rounding"

_CHANGED = 4.0  # times the power that the rounding of weights explains
_LEAST_SHARE = 0.1  # of a tensor's own noise; less is ignored
_HALF_USED = 0.5  # of a range
_FEW = 0.4  # of the range: what half of the samples use
_OUTLIER = 6.0  # times the median channel
_LEAST_CHANNELS = 4
_WIDE_LOGIT, _LOGIT_RANGE = 64.0, 32.0  # a sigmoid of -16 is 1e-7
_LOGIT_WITHIN = 1.5
# What may read logits without being changed by a limit of them.
_PASSING = frozenset(
    ("LOGISTIC", "SOFTMAX", "QUANTIZE", "DEQUANTIZE", "RESHAPE", "CONCATENATION", "TRANSPOSE")
)
_UNEQUAL_ROWS = 0.5  # of the noise that a scale for each row would save


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble of a tensor."""

    kind: str
    share: float  # of the tensor's own noise that this trouble causes
    text: str


@dataclass(frozen=True)
class Place:
    """A tensor with what is known of it."""

    index: int
    sums: TensorSums
    operator: Operator | None  # that computes it; None for an input of the network
    group: Group | None


def find_troubles(model: Model, place: Place, tensors: Mapping[int, TensorSums]) -> list[Trouble]:
    """Return the troubles of a tensor, the largest first."""
    own = place.sums.noise("own")
    if own <= 0:
        return []
    found = [
        *_weights(model, place),
        *_cut_off(model, place),
        *sorted(_steps(model, place, tensors), key=lambda each: -each.share)[:1],
    ]
    large = [each for each in found if each.share >= _LEAST_SHARE]
    return sorted(large, key=lambda each: -each.share)


def _weights(model: Model, place: Place) -> Iterator[Trouble]:
    sums, op = place.sums, place.operator
    own, noise, expected = (sums.noise(kind) for kind in ("own", "weights", "expected"))
    if op is None or noise <= 0:
        return
    share = min(noise / own, 1.0)
    if noise > _CHANGED * expected and noise > 1e-9 * sums.power:
        times = (noise / expected) ** 0.5 if expected > 0 else float("inf")
        text = (
            f"its weights give values that differ from the float network's by "
            f"{_percent(noise, sums)} of their variation, {times:.0f} times what rounding explains"
            if np.isfinite(times)
            else "it computes other values than the float network"
        )
        yield Trouble(WEIGHTS, share * (1 - min(expected / noise, 1.0)), text)
        return
    saved = _saved_by_rows(model, op)
    if saved > _UNEQUAL_ROWS:
        yield Trouble(
            PER_TENSOR,
            share * saved,
            f"all its weights share one scale, and the rows are of unequal size: a scale for each "
            f"row would avoid {saved:.0%} of the error of its weights",
        )


def _saved_by_rows(model: Model, op: Operator) -> float:
    """The share of the weights' rounding noise that a scale for each output would save."""
    if len(op.inputs) < 2 or op.inputs[1] < 0:
        return 0.0
    tensor = model.main.tensors[op.inputs[1]]
    codes = model.data(tensor)
    if codes is None or tensor.scale is None or codes.ndim < 2 or tensor.dtype == "INT32":
        return 0.0
    sizes = np.abs(codes.astype(np.int64) - (tensor.zero_point or 0))
    axis = codes.ndim - 1 if op.opcode == "DEPTHWISE_CONV_2D" else 0
    others = tuple(each for each in range(codes.ndim) if each != axis)
    reach = sizes.max(axis=others) / max(int(sizes.max()), 1)
    return float(1 - np.square(reach).mean())


def _cut_off(model: Model, place: Place) -> Iterator[Trouble]:
    sums, params = place.sums, place.sums.params
    clipped = sums.noise("clipped")
    if params is None or clipped <= 0:
        return
    low, high = sums.range
    cut = [
        stored
        for stored, is_beyond in (
            (-params.real_min, low < params.real_min),
            (params.real_max, high > params.real_max),
        )
        if is_beyond
    ]
    is_answer = not any(place.index in op.inputs for op in model.main.operators if _computes(op))
    if is_answer and all(abs(each - _LOGIT_RANGE / 2) < _LOGIT_WITHIN for each in cut):
        return  # logits that were limited on purpose
    yield Trouble(
        SATURATION,
        min(clipped / sums.noise("own"), 1.0),
        f"its values are between {low:.4g} and {high:.4g}, and it can store {params.real_min:.4g} "
        f"to {params.real_max:.4g}: {sums.saturated:.2%} of them are cut off",
    )


def _steps(model: Model, place: Place, tensors: Mapping[int, TensorSums]) -> Iterator[Trouble]:
    """Reasons for steps that are larger than the values need."""
    sums, params, group = place.sums, place.sums.params, place.group
    if params is None or group is None or group.is_fixed:
        return
    own = sums.noise("own")
    rounding = max(sums.noise("rounding") - sums.noise("clipped"), 0.0)
    share = min(rounding / own, 1.0)
    stored, whole = width(group.stored), width(needed(group, tensors))
    low, high = sums.range
    mine = max(high, 0.0) - min(low, 0.0)
    if whole <= 0 or stored <= 0 or mine <= 0:
        return
    if whole < _HALF_USED * stored:
        yield Trouble(
            WIDE_RANGE,
            share * (1 - (whole / stored) ** 2),
            f"it can store {params.real_min:.4g} to {params.real_max:.4g}, and the values are "
            f"between {low:.4g} and {high:.4g}: they use {whole / stored:.0%} of the range",
        )
    elif mine < _HALF_USED * stored and group.joins:
        yield Trouble(
            MIXED_RANGE,
            share * (1 - (mine / stored) ** 2),
            f"it shares its scale with the values that it is joined with: its own are between "
            f"{low:.4g} and {high:.4g}, the scale is for {params.real_min:.4g} to "
            f"{params.real_max:.4g}",
        )
    yield from _logits(model, place, share, mine)
    usual = float(np.median([max(high, 0.0) - min(low, 0.0) for low, high in sums.ends]))
    if usual < _FEW * mine:
        yield Trouble(
            FEW_SAMPLES,
            share * (1 - (usual / mine) ** 2),
            f"few samples set its range: half of them stay within {usual / mine:.0%} of it",
        )
    reach = sums.channel_ranges
    middle = float(np.median(reach))
    if len(reach) >= _LEAST_CHANNELS and middle > 0 and reach.max() > _OUTLIER * middle:
        worst = int(reach.argmax())
        yield Trouble(
            OUTLIER_CHANNELS,
            share * float(1 - np.square(reach / reach.max()).mean()),
            f"few channels are far larger than the others: channel {worst} reaches "
            f"{reach.max():.4g}, the median channel {middle:.4g}, and all share one scale",
        )


def _logits(model: Model, place: Place, share: float, wide: float) -> Iterator[Trouble]:
    readers = {op.opcode for op in model.main.operators if place.index in op.inputs}
    if readers & {"LOGISTIC", "SOFTMAX"} and wide > _WIDE_LOGIT:
        name = "LOGISTIC" if "LOGISTIC" in readers else "SOFTMAX"
        step = place.sums.params.scale if place.sums.params else 0.0
        yield Trouble(
            LOGITS,
            share * (1 - (_LOGIT_RANGE / wide) ** 2),
            f"{name} reads it in steps of {step:.3g}; only a range of {_LOGIT_RANGE:.0f} matters "
            f"there, and it has {wide:.4g}",
        )


def _computes(op: Operator) -> bool:
    return op.opcode not in _PASSING


def _percent(noise: float, sums: TensorSums) -> str:
    signal = sums.variance or sums.power
    return f"{min((noise / signal) ** 0.5, 9.99):.0%}" if signal > 0 else "more than 100 %"
