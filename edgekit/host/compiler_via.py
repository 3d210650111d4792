# SPDX-License-Identifier: Apache-2.0
"""What --via names: this machine, another one, or a container."""

from __future__ import annotations

from urllib.parse import urlsplit

from edgekit.errors import UsageError
from edgekit.host.compiler_docker import DockerPlace
from edgekit.host.compiler_place import LocalPlace, Place
from edgekit.host.compiler_ssh import SshPlace

_FORMS = "ssh://[user@]host[:port] or docker:IMAGE"


def place_for(via: str | None, compiler: str) -> Place:
    """The place that ``via`` names, with the path of the compiler there.

    Raises:
        UsageError: It names none.
    """
    if via is None:
        return LocalPlace(compiler)
    if via.startswith("docker:") and via != "docker:":
        return DockerPlace(via.removeprefix("docker:"), compiler)
    if via.startswith("ssh://"):
        return _ssh(via, compiler)
    raise UsageError(f"--via does not take {via!r}", fix=f"give {_FORMS}")


def _ssh(via: str, compiler: str) -> SshPlace:
    try:
        parts = urlsplit(via)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--via {via}: {error}", fix=f"give {_FORMS}") from error
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"--via {via} names no host alone", fix=f"give {_FORMS}")
    if parts.password is not None:
        raise UsageError(
            "--via takes no password",
            why="it would be seen in the list of processes and in the shell's history",
            fix="use a key, or ssh-agent",
        )
    if parts.hostname.startswith("-"):
        raise UsageError(f"--via {via}: a host does not begin with a dash", fix=f"give {_FORMS}")
    return SshPlace(parts.hostname, parts.username, port, compiler)
