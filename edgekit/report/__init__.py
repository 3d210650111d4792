# SPDX-License-Identifier: Apache-2.0
"""Results in, one self-contained HTML file out."""

from __future__ import annotations

from edgekit.report.model_page import model_page
from edgekit.report.page import ReportResult, report

__all__ = ["ReportResult", "model_page", "report"]
