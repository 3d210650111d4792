# SPDX-License-Identifier: Apache-2.0
"""``edgekit serve``: listen until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

import uvicorn

from edgekit.errors import UsageError
from edgekit.evaluate.session import Asked
from edgekit.files import PathLike
from edgekit.runtime import RunnerOptions
from edgekit.serve.app import make_app
from edgekit.serve.hosts import is_loopback, new_token
from edgekit.serve.models import ServedModels
from edgekit.serve.result import Served, ServeResult

_MOST_WAITING = 2048  # connections that the kernel keeps
_CLOSING_S = 5


def serve(
    models: Sequence[PathLike],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    asked: Asked | None = None,
    options: RunnerOptions | None = None,
    on_ready: Callable[[ServeResult], None] | None = None,
) -> None:
    """Open models and answer requests until the process is interrupted.

    Args:
        models: Paths of .tflite files or bundles.
        host: The address to listen on; others than loopback need a token.
        port: 0 takes a free one.
        token: What requests must have; None: none on loopback, else a random one.
        asked: How to read inputs and outputs.
        options: How to run the models.
        on_ready: Called once it listens, with the address of the page and the models.

    Raises:
        UsageError: The address cannot be listened on.
        EdgeKitError: As for `Runner`.
    """
    if token is None:
        token = "" if is_loopback(host) else new_token()
    elif not token and not is_loopback(host):
        raise UsageError(
            f"{host} can be reached from outside, and the token is empty",
            fix="leave out --token, and edgekit makes one",
        )
    with (
        _listening(host, port) as listener,
        ServedModels(models, options or RunnerOptions(), asked) as opened,
    ):
        app = make_app(opened, host=host, token=token)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=_CLOSING_S
        )
        if on_ready is not None:
            on_ready(_result(_address(host, listener.getsockname()[1], token), opened))
        uvicorn.Server(config).run(sockets=[listener])


def _result(address: str, models: ServedModels) -> ServeResult:
    served = [
        Served(each.name, each.task, each.runner.environment.device, each.prepared.sha256)
        for each in models
    ]
    warnings = [text for each in models for text in each.session.warnings]
    return ServeResult(address, tuple(served), tuple(warnings))


def _listening(host: str, port: int) -> socket.socket:
    name = host.strip("[]")
    try:
        family = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((name, port))
            listener.listen(_MOST_WAITING)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            fix="choose another address or port: --host 127.0.0.1 --port 8001",
        ) from error
    return listener


def _address(host: str, port: int, token: str) -> str:
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104 - compared
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{port}/" + (f"#token={token}" if token else "")
