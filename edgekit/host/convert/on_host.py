# SPDX-License-Identifier: Apache-2.0
"""A part of the network that was cut off and that edgekit computes on the host."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.edgetpu.macs import model_macs
from edgekit.formats.tflite import Model
from edgekit.host.convert.as_integers import as_integers
from edgekit.host.convert.times import estimated_ms
from edgekit.result import Result


@dataclass(frozen=True)
class OnHost(Result):
    """How much of the network that is; it counts in every number of the whole."""

    num_operators: int
    macs: int
    estimated_ms: float  # as if TensorFlow Lite did it on the host's CPU


def on_host(part: Model) -> OnHost:
    """Return the size of ``part``, a float model with static shapes."""
    model = as_integers(part)
    return OnHost(len(model.main.operators), model_macs(model), estimated_ms(model, ()))
