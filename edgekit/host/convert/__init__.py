# SPDX-License-Identifier: Apache-2.0
"""Convert a trained network to an int8 .tflite; TensorFlow runs in a child process."""

from __future__ import annotations

from edgekit.host.convert.conversion import convert
from edgekit.host.convert.enforce import NotEdgeTpuModelError
from edgekit.host.convert.result import ConvertResult

__all__ = ["ConvertResult", "NotEdgeTpuModelError", "convert"]
