# SPDX-License-Identifier: Apache-2.0
"""What a request must have before it is answered: a bounded body, and a token."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 32 << 20  # of a request
_BEARER = HTTPBearer(auto_error=False, description="The token that edgekit serve printed.")


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
