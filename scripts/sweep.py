# SPDX-License-Identifier: Apache-2.0
"""The independent trials of a script, here or on the workers of a Dask cluster.

Workers must be able to import ``scripts``: start them in a checkout of the repository, with
``PYTHONPATH=.``.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from edgekit.fleet.cluster import ClusterPool

K = TypeVar("K")
T = TypeVar("T")


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--cluster``."""
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="try there: tcp://HOST:8786, or local:N for processes"
    )


@contextlib.contextmanager
def open_cluster(address: str | None) -> Iterator[ClusterPool | None]:
    """Yield the workers at ``address``; None without one."""
    if address is None:
        yield None
        return
    from edgekit.fleet.cluster import cluster  # noqa: PLC0415 - the host's alone, like a cluster

    with cluster(address, note=lambda text: print(text, file=sys.stderr)) as pool:
        yield pool


def trials(
    function: Callable[[K], T], items: Iterable[K], address: str | None
) -> Iterator[tuple[K, T]]:
    """Yield each item with ``function(item)``, in the order of the items."""
    with open_cluster(address) as pool:
        if pool is None:
            yield from ((item, function(item)) for item in items)
        else:
            yield from pool.map(function, items)
