# SPDX-License-Identifier: Apache-2.0
"""Why edgekit's compiler does not compile something."""

from __future__ import annotations


class Unsupported(Exception):  # noqa: N818 - an answer that the caller turns into a result
    """An operator or a network that this compiler does not take, with the reason as its text."""
