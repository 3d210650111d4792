# SPDX-License-Identifier: Apache-2.0
"""The workers that ``--cluster`` names."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Optional

from edgekit.cli.output import note
from edgekit.extras import require_part


@contextlib.contextmanager
def open_pool(address: Optional[str]) -> Iterator[Any]:
    """Yield the workers of the cluster at ``address``, a `ClusterPool`; None without one."""
    if address is None:
        yield None
        return
    with require_part("fleet.cluster").cluster(address, note=note) as pool:
        if pool.connection.dashboard:
            note(f"dashboard {pool.connection.dashboard}")
        yield pool
