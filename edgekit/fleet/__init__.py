# SPDX-License-Identifier: Apache-2.0
"""Deploy a bundle to boards over ssh, and collect their results."""

from __future__ import annotations

from edgekit.fleet.deploy import deploy
from edgekit.fleet.result import BoardResult, CopyStats, DeployResult

__all__ = ["BoardResult", "CopyStats", "DeployResult", "deploy"]
