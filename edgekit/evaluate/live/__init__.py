# SPDX-License-Identifier: Apache-2.0
"""Run a model on what does not end: cameras, streams, standard input, a folder that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names

if TYPE_CHECKING:
    from edgekit.evaluate.live.live import Live, open_live
    from edgekit.evaluate.live.options import LiveOptions
    from edgekit.evaluate.live.result import LiveFrame, SourceCounts
    from edgekit.evaluate.live.sources import is_live

__all__ = ["Live", "LiveFrame", "LiveOptions", "SourceCounts", "is_live", "open_live"]

# Loaded when used: `run` on images needs `is_live` only.
__getattr__ = lazy_names(
    __name__,
    {
        "Live": "edgekit.evaluate.live.live",
        "LiveFrame": "edgekit.evaluate.live.result",
        "LiveOptions": "edgekit.evaluate.live.options",
        "SourceCounts": "edgekit.evaluate.live.result",
        "is_live": "edgekit.evaluate.live.sources",
        "open_live": "edgekit.evaluate.live.live",
    },
)
