# SPDX-License-Identifier: Apache-2.0
"""Make one self-contained HTML file from results."""

from __future__ import annotations

from edgekit.report.model_page import model_page

__all__ = ["model_page"]
