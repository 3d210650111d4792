# SPDX-License-Identifier: Apache-2.0
"""What `edgekit debug` returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Mapping

from edgekit.result import Result

ROUNDING_FLOOR = 1 / math.sqrt(12)  # of a value that is rounded to the nearest step, in steps


@dataclass(frozen=True)
class OperatorError(Result):
    """The error of one operator of the integer model; real values, in the units of its output.

    SNR is 10 log10 of a signal's power divided by the error's. The signal is the float network's
    value about each element's mean over the samples; ``accumulated_plain_snr_db`` uses its whole
    power. None if there is no error, no signal, or if it was not measured.
    """

    index: int  # of the operator in the integer model; -1 is the network's input
    opcode: str  # "INPUT" for the input
    name: str
    float_name: str  # the tensor of the float network with the same values; empty if there is none
    matched: str  # values | factors | place | computed
    # Only this operator quantized: the error that it adds itself,
    isolated_snr_db: float | None  # seen at the network's outputs
    local_snr_db: float | None  # seen at its own output
    isolated_rmse_over_scale: float | None  # 0.29 is rounding alone
    # All operators up to this one quantized.
    accumulated_snr_db: float | None
    accumulated_plain_snr_db: float | None
    cosine: float | None
    largest_step: float | None  # the largest error in steps of the output
    rmse_over_scale: float | None
    scale: float | None
    range: tuple[float, float]  # of the float network's values
    stored_range: tuple[float, float] | None  # what the integer model can store
    weight_range: tuple[float, float] | None
    saturated: float  # share of the float network's values outside the stored range
    dead_channels: float  # share of channels with one value in all places and samples
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class DebugCause(Result):
    """Why the integer model is worse, and what to do."""

    index: int | None  # of the operator; -1 is the input, None the whole network
    opcode: str
    name: str
    kind: str
    code: str  # of its page
    share: float  # of the error at the outputs, at most 1
    text: str
    advice: str
    command: str  # the next command to run


@dataclass(frozen=True)
class OutputError(Result):
    """The error of one output of the whole integer model."""

    name: str
    snr_db: float | None
    plain_snr_db: float | None
    rmse_over_scale: float | None


@dataclass(frozen=True)
class DebugResult(Result):
    """Where an integer model loses accuracy, operator by operator."""

    schema: ClassVar[str] = "edgekit.debug/1"

    model: str  # the integer model
    sha256: str
    float_model: str  # the network that it is compared with
    float_sha256: str
    data: Mapping[str, Any]
    preprocess: str
    preprocess_reason: str
    num_samples: int
    num_left_out: int  # samples for which the float network returns NaN or infinity
    num_effects: int  # samples on which the effects on the outputs were measured
    outputs: tuple[OutputError, ...]
    snr_db: float | None  # of the whole model, averaged over the outputs
    sum_of_isolated_snr_db: float | None  # of all operators' errors, if they are independent
    rounding_floor: float
    num_matched: int
    num_operators: int
    operators: tuple[OperatorError, ...]
    causes: tuple[DebugCause, ...]
    runtime: str
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
