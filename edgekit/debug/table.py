# SPDX-License-Identifier: Apache-2.0
"""Turn the sums into the rows of the result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Mapping

import numpy as np

from edgekit.debug.causes import INPUT, layer_name
from edgekit.debug.result import OperatorError, OutputError
from edgekit.debug.sums import TensorSums, decibels
from edgekit.debug.twin import scales_of

if TYPE_CHECKING:
    from edgekit.debug.matching import Match, Matches
    from edgekit.debug.measure import Measured
    from edgekit.formats.tflite import Model, Operator


def output_errors(model: Model, measured: Measured) -> tuple[OutputError, ...]:
    """Return the error of each output of the whole model."""
    graph = model.main
    return tuple(
        OutputError(
            layer_name(graph.tensors[index].name),
            decibels(sums.variance, sums.noise("accumulated")),
            decibels(sums.power, sums.noise("accumulated")),
            _over_scale(sums, "accumulated"),
        )
        for index in graph.outputs
        for sums in [measured.tensors.get(index)]
        if sums is not None
    )


def whole_noise(model: Model, measured: Measured) -> float:
    """Return the noise as a share of the outputs' variance, averaged over the outputs."""
    sums = [measured.tensors[i] for i in model.main.outputs if i in measured.tensors]
    shares = [each.noise("accumulated") / each.variance for each in sums if each.variance > 0]
    return float(np.mean(shares)) if shares else 0.0


def operator_errors(
    network: Model,
    model: Model,
    measured: Measured,
    matches: Matches,
    kinds: Mapping[int, tuple[str, ...]],
) -> tuple[OperatorError, ...]:
    """Return a row for each input and operator, in the order of execution."""
    graph = model.main
    rows: list[tuple[int, Operator | None, int]] = [(INPUT, None, index) for index in graph.inputs]
    for number, op in enumerate(graph.operators):
        known = [index for index in op.outputs if index in measured.tensors]
        if known:
            worst = max(known, key=lambda index: measured.effects.get(index, 0.0))
            rows.append((number, op, worst))
    found = []
    for number, made_by, index in rows:
        sums, match = measured.tensors[index], matches.found.get(index)
        params = sums.params
        effect = measured.effects.get(index)
        found.append(
            OperatorError(
                index=number,
                opcode="INPUT" if made_by is None else made_by.opcode,
                name=layer_name(graph.tensors[index].name),
                float_name="" if match is None else network.main.tensors[match.source].name,
                matched=_how(match),
                isolated_snr_db=None if effect is None else decibels(1.0, effect),
                local_snr_db=decibels(sums.variance, sums.noise("own")),
                isolated_rmse_over_scale=_over_scale(sums, "own"),
                accumulated_snr_db=decibels(sums.variance, sums.noise("accumulated")),
                accumulated_plain_snr_db=decibels(sums.power, sums.noise("accumulated")),
                cosine=sums.cosine,
                largest_step=None if params is None else sums.largest_error / params.scale,
                rmse_over_scale=_over_scale(sums, "accumulated"),
                scale=None if params is None else params.scale,
                range=sums.range,
                stored_range=None if params is None else (params.real_min, params.real_max),
                weight_range=None if made_by is None else _weight_range(model, made_by),
                saturated=sums.saturated,
                dead_channels=sums.dead_channels,
                kinds=kinds.get(index, ()),
            )
        )
    return tuple(found)


def _how(match: Match | None) -> str:
    if match is None:
        return "computed"
    if match.by_place:
        return "place"
    return "values" if match.factors is None else "factors"


def _over_scale(sums: TensorSums, kind: str) -> float | None:
    value = None if sums.params is None else sums.rms(kind) / sums.params.scale
    return value if value is None or math.isfinite(value) else None


def _weight_range(model: Model, op: Operator) -> tuple[float, float] | None:
    """Return the range of the real values of an operator's weights."""
    if len(op.inputs) < 2 or op.inputs[1] < 0:
        return None
    tensor = model.main.tensors[op.inputs[1]]
    codes, quantization, scales = model.data(tensor), tensor.quantization, scales_of(tensor)
    if codes is None or quantization is None or scales is None or not codes.size:
        return None
    real = (codes.astype(np.float64) - (quantization.zero_point or (0,))[0]) * scales
    return float(real.min()), float(real.max())
