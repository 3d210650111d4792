# SPDX-License-Identifier: Apache-2.0
"""Boards reached over ssh: a bundle's way onto them, and their results' way back."""

from __future__ import annotations

from edgekit.fleet.deploy import deploy
from edgekit.fleet.result import BoardResult, CopyStats, DeployResult

__all__ = ["BoardResult", "CopyStats", "DeployResult", "deploy"]
