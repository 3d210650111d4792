# SPDX-License-Identifier: Apache-2.0
"""Loaded models that can be invoked: one Runner, one backend for each kind of device."""

from __future__ import annotations

from edgekit.runtime.base import Environment, MeasuredResult, TensorInfo
from edgekit.runtime.latency import latency_stats
from edgekit.runtime.options import RunnerOptions
from edgekit.runtime.runner import Runner
from edgekit.runtime.thermal import Thermal, judge_drift

__all__ = [
    "Environment",
    "MeasuredResult",
    "Runner",
    "RunnerOptions",
    "TensorInfo",
    "Thermal",
    "judge_drift",
    "latency_stats",
]
