# SPDX-License-Identifier: Apache-2.0
"""What needs TensorFlow, which runs in child processes: importing this package is cheap."""

from __future__ import annotations

from edgekit.host.conversion import convert
from edgekit.host.convert_result import ConvertResult
from edgekit.host.demo import DemoResult, demo
from edgekit.host.enforce import NotEdgeTpuModelError

__all__ = ["ConvertResult", "DemoResult", "NotEdgeTpuModelError", "convert", "demo"]
