# SPDX-License-Identifier: Apache-2.0
"""All steps in one command; a step runs again only if something changed."""

from __future__ import annotations

from edgekit.building.build import build
from edgekit.building.plan import BuildGates
from edgekit.building.result import BuildResult, BuildStep

__all__ = ["BuildGates", "BuildResult", "BuildStep", "build"]
