# SPDX-License-Identifier: Apache-2.0
"""Why edgekit's compiler does not compile something."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.chip.codegen.nodes import Network


class Unsupported(Exception):  # noqa: N818 - an answer that the caller turns into a result
    """An operator or a network that this compiler does not take, with the reason as its text."""


class TooLarge(Unsupported):
    """No plan fits into the tiles' memory; without ``node`` of ``network``, one may."""

    def __init__(self, text: str, network: Network, node: int) -> None:
        super().__init__(text)
        self.network, self.node = network, node
