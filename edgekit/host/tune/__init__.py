# SPDX-License-Identifier: Apache-2.0
"""Search for the recipe with which an int8 model stays within an accuracy budget."""

from __future__ import annotations

from edgekit.host.tune.result import TuneResult
from edgekit.host.tune.tuning import tune

__all__ = ["TuneResult", "tune"]
