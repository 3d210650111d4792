# SPDX-License-Identifier: Apache-2.0
"""Who reaches an address, and the token that others than this computer need."""

from __future__ import annotations

import ipaddress
import secrets

_TOKEN_BYTES = 24
_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str) -> list[str]:
    """Return the host names in requests that are answered when listening on ``host``.

    On loopback these are its own: a page of another site, whose name was made to point here, is
    refused.
    """
    return _HOSTS if is_loopback(host) else ["*"]


def new_token() -> str:
    """Return a random token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)
