# SPDX-License-Identifier: Apache-2.0
"""`edgekit service`: a systemd user unit that keeps `edgekit serve` running."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Sequence

from edgekit import files
from edgekit.errors import InputError, OutputError, UsageError
from edgekit.result import Result

_PREFIX = "edgekit-"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TOKEN = "EDGEKIT_TOKEN"  # noqa: S105 - the name of the variable
# systemd.exec(5): these work in user units of every systemd since 235, without namespaces. Those
# that hide folders or devices need namespaces, which many systems do not give to users.
_HARDENING = (
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    "SystemCallArchitectures=native",
    # systemd 239. All of the 53 calls that serving makes are in it, and those of libusb; another
    # one fails, but does not end the server.
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "UMask=0077",
)


@dataclass(frozen=True)
class ServiceResult(Result):
    """A unit that was written or removed."""

    schema: ClassVar[str] = "edgekit.service/1"
    unit: str  # its name for systemctl
    path: str
    token_path: str  # the file with the token; empty if none is needed
    command: tuple[str, ...]  # what it runs; empty if it was removed
    next: tuple[str, ...]  # commands that start it, or end it


def install_service(
    models: Sequence[files.PathLike], words: Sequence[str], *, name: str = "", token: str = ""
) -> ServiceResult:
    """Write a user unit that runs ``edgekit serve``; it is not started.

    Args:
        models: Paths of .tflite files or bundles.
        words: Options of ``edgekit serve``.
        name: Of the service; empty: that of the first model.
        token: What requests must have, kept in a file that only this user reads; empty: nothing. An
            earlier token of the service stays.

    Raises:
        UsageError: There is no model, or the name cannot be one.
        InputError: A model does not exist.
        OutputError: A file cannot be written.
    """
    if not models:
        raise UsageError("no model is given", fix="name a .tflite file or a bundle")
    paths = [Path(each).resolve() for each in models]
    for path in paths:
        if not path.is_file():
            raise InputError(
                "the model does not exist or is not a file",
                where=str(path),
                fix="give the path of a .tflite file or a bundle",
            )
    unit, place = _place(name or re.sub(r"[^A-Za-z0-9_.-]", "-", paths[0].name.split(".")[0]))
    command = (sys.executable, "-m", "edgekit", "serve", *map(str, paths), *words)
    token_path = _write_token(unit, token) if token else ""
    files.make_folder(place.parent)
    files.write_text(place, _unit(paths, command, token_path))
    return ServiceResult(
        unit=unit,
        path=str(place),
        token_path=token_path,
        command=command,
        next=(
            "systemctl --user daemon-reload",
            f"systemctl --user enable --now {unit}",
            f"journalctl --user --unit {unit} --follow",
            "loginctl enable-linger",
        ),
    )


def remove_service(name: str) -> ServiceResult:
    """Delete the unit of a service, and its token.

    Raises:
        UsageError: The name cannot be one.
        InputError: There is no such service.
    """
    unit, place = _place(name)
    if not place.is_file():
        raise InputError(
            "there is no such service",
            where=str(place),
            fix=f"list those of edgekit: ls {shlex.quote(str(place.parent))}",
        )
    place.unlink()
    token = _token_path(unit)
    if token.is_file():
        token.unlink()
    return ServiceResult(
        unit,
        str(place),
        str(token),
        (),
        (f"systemctl --user stop {unit}", "systemctl --user daemon-reload"),
    )


def _place(name: str) -> tuple[str, Path]:
    """Return the name and the path of the unit.

    Source:
        systemd.unit(5), unit file load path of user units.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a service",
            fix="use letters, digits, dots, underscores and hyphens: --name NAME",
        )
    unit = f"{_PREFIX}{name}.service"
    return unit, _config_folder() / "systemd" / "user" / unit


def _config_folder() -> Path:
    given = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(given) if os.path.isabs(given) else Path.home() / ".config"  # noqa: PTH117 - a text


def _token_path(unit: str) -> Path:
    return _config_folder() / "edgekit" / f"{unit}.env"


def _write_token(unit: str, token: str) -> str:
    path = _token_path(unit)
    if not path.is_file():
        files.make_folder(path.parent)
        try:  # never readable by others, not even before it is written
            descriptor = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
                stream.write(f"{_TOKEN}={token}\n")
        except OSError as error:
            raise OutputError(
                f"cannot write the token: {error.strerror}", where=str(path)
            ) from error
    return str(path)


def _unit(models: Sequence[Path], command: Sequence[str], token_path: str) -> str:
    names = ", ".join(path.name for path in models)
    lines = [
        "# Written by edgekit service install.",
        "[Unit]",
        f"Description=edgekit serve: {_escaped(names)}",
        "",
        "[Service]",
        f"ExecStart={' '.join(map(_quoted, command))}",
        # Exit statuses 2 and 3 are wrong options and models that cannot be read.
        "Restart=on-failure",
        "RestartSec=5",
        "RestartPreventExitStatus=2 3",
        "SuccessExitStatus=130",
        "KillSignal=SIGINT",
        *([f"EnvironmentFile={_escaped(token_path)}"] if token_path else []),
        *_HARDENING,
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    """Return a word of a command line as systemd.service(5) reads it."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Return a text without specifiers, on one line."""
    return text.replace("%", "%%").replace("\n", " ")
