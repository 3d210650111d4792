# SPDX-License-Identifier: Apache-2.0
"""Latencies that were published for boards with few of them; all of them are owners' reports.

Google published none for these boards. Both connect the Edge TPU by USB 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.result import Result


@dataclass(frozen=True)
class Published(Result):
    """A latency that somebody measured on a board and published."""

    network: str
    latency_ms: float
    source: str


_MINI = "google-coral/edgetpu issue 593, inference_benchmarks.py"
PUBLISHED = {
    "dev-board-mini": (
        Published("MobileNet V1 1.0 224", 18.13, _MINI),
        Published("MobileNet V2 1.0 224 (iNat birds)", 18.6, "google-coral/edgetpu issue 497"),
        Published("MobileNet V2 1.0 224 (iNat birds)", 19.0, "google-coral/edgetpu issue 793"),
        Published("Inception V1 224", 34.71, _MINI),
        Published("Inception V4 299", 1403.41, _MINI),
    ),
    "dev-board-micro": (
        Published("SSD MobileNet V2 300 (TF2)", 83.0, "google-coral/coralmicro issue 40"),
    ),
}
