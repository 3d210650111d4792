# SPDX-License-Identifier: Apache-2.0
"""What other programs need to use a model: a Frigate configuration, a systemd service."""

from __future__ import annotations

from edgekit.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgekit.integrations.frigate import FrigateResult, frigate

__all__ = ["FrigateResult", "frigate"]

__getattr__ = lazy_names(
    __name__,
    {
        "FrigateResult": "edgekit.integrations.frigate",
        "frigate": "edgekit.integrations.frigate",
    },
)
