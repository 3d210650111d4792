# SPDX-License-Identifier: Apache-2.0
"""Metrics as text; imports their computation only when called, to keep ``--help`` fast."""

from __future__ import annotations


def metric_text(name: str, value: float) -> str:
    """See `edgekit.evaluate.metrics.metric_text`."""
    from edgekit.evaluate import metrics

    return metrics.metric_text(name, value)


def difference_text(name: str, value: float) -> str:
    """See `edgekit.evaluate.metrics.difference_text`."""
    from edgekit.evaluate import metrics

    return metrics.difference_text(name, value)


def is_share(name: str) -> bool:
    """Return whether a metric is a share; its differences are percentage points."""
    from edgekit.evaluate import metrics

    return name not in metrics.NO_SHARES
