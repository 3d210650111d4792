# SPDX-License-Identifier: Apache-2.0
"""What a request must have before it is answered: a bounded body, a known host, a token."""

from __future__ import annotations

import ipaddress
import secrets
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgekit.data.images import MOST_IMAGE_BYTES

MOST_BYTES = min(MOST_IMAGE_BYTES, 32 << 20)  # of a request
_TOKEN_BYTES = 24
_BEARER = HTTPBearer(auto_error=False, description="The token that edgekit serve printed.")
_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


class BodyLimit:
    """Refuses requests whose body is larger than 32 MiB, without reading them to the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise HTTPException(413, f"the request has more than {MOST_BYTES >> 20} MiB")
            return message

        await self._app(scope, bounded, send)


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


class Guard:
    """Checks the token of requests; without one every request is allowed."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(
        self, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> None:
        """Check the header ``Authorization: Bearer TOKEN``.

        Raises:
            HTTPException: 401, the token is missing or wrong.
        """
        self.check_token("" if given is None else given.credentials)

    def check_token(self, token: str) -> None:
        """Check a token, as in a form.

        Raises:
            HTTPException: 401, it is wrong.
        """
        if self._token and not secrets.compare_digest(token.encode(), self._token):
            raise HTTPException(
                401,
                "the token is missing or wrong; edgekit serve printed it",
                {"WWW-Authenticate": "Bearer"},
            )
