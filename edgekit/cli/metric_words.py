# SPDX-License-Identifier: Apache-2.0
"""Metrics as text, without importing how they are computed for ``--help``."""

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
    """Whether a metric is a share, whose differences are points of a hundred."""
    from edgekit.evaluate import metrics

    return name not in metrics.NO_SHARES
