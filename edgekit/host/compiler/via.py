# SPDX-License-Identifier: Apache-2.0
"""Parse --via: this machine, another one, or a container."""

from __future__ import annotations

from edgekit.errors import UsageError
from edgekit.host.compiler.docker import DockerPlace
from edgekit.host.compiler.place import LocalPlace, Place
from edgekit.host.compiler.ssh import SshPlace
from edgekit.ssh import parse_target

_FORMS = "ssh://[user@]host[:port] or docker:IMAGE"


def place_for(via: str | None, compiler: str) -> Place:
    """Return the place that ``via`` names, with the path of the compiler there.

    Raises:
        UsageError: ``via`` has another form.
    """
    if via is None:
        return LocalPlace(compiler)
    if via.startswith("docker:") and via != "docker:":
        return DockerPlace(via.removeprefix("docker:"), compiler)
    if via.startswith("ssh://"):
        return SshPlace(parse_target(via, option="--via"), compiler)
    raise UsageError(f"--via cannot be {via!r}", fix=f"give {_FORMS}")
