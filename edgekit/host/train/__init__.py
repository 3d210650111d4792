# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware fine-tuning of any network that becomes a float .tflite."""

from __future__ import annotations

from edgekit.host.train.result import Epoch, TrainResult
from edgekit.host.train.train import train

__all__ = ["Epoch", "TrainResult", "train"]
