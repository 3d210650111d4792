# SPDX-License-Identifier: Apache-2.0
"""Results in, one self-contained HTML file out."""

from __future__ import annotations

from edgekit.report.model_page import model_page

__all__ = ["model_page"]
