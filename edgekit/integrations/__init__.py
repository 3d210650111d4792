# SPDX-License-Identifier: Apache-2.0
"""What other programs need to use a model: a Frigate configuration, a systemd service."""

from __future__ import annotations

from edgekit.lazy import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgekit.integrations.frigate import FrigateResult, frigate
    from edgekit.integrations.systemd import ServiceResult, install_service, remove_service

__all__ = ["FrigateResult", "ServiceResult", "frigate", "install_service", "remove_service"]

__getattr__ = lazy_names(
    __name__,
    {
        "FrigateResult": "edgekit.integrations.frigate",
        "ServiceResult": "edgekit.integrations.systemd",
        "frigate": "edgekit.integrations.frigate",
        "install_service": "edgekit.integrations.systemd",
        "remove_service": "edgekit.integrations.systemd",
    },
)
