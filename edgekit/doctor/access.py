# SPDX-License-Identifier: Apache-2.0
"""Who may open a device node, the groups of users, and which process has a device open."""

from __future__ import annotations

import os
import stat
from typing import Iterator

from edgekit.doctor.machine import Machine
from edgekit.doctor.rules import INSTALL_RULES


def may_write(machine: Machine, node: str) -> bool:
    """Whether the user may open ``node`` for writing; root may open everything."""
    status = machine.path(node).stat()
    facts = machine.facts
    if facts.uid == 0:
        return True
    if status.st_uid == facts.uid:
        return bool(status.st_mode & stat.S_IWUSR)
    if status.st_gid in facts.gids:
        return bool(status.st_mode & stat.S_IWGRP)
    return bool(status.st_mode & stat.S_IWOTH)


def describe_access(machine: Machine, node: str) -> str:
    """Describe the node's mode, owner and group, and whether the user may open it."""
    status = machine.path(node).stat()
    verdict = "may open it" if may_write(machine, node) else "may not open it"
    who = "root" if machine.facts.uid == 0 else machine.facts.user or f"user {machine.facts.uid}"
    mode = stat.S_IMODE(status.st_mode)
    return f"{node} is {mode:04o}, group {group_name(machine, status.st_gid)}; {who} {verdict}"


def access_fix(machine: Machine, node: str, group: str) -> str:
    """Return the command that lets the user open ``node``, which should belong to ``group``."""
    status = machine.path(node).stat()
    if group_name(machine, status.st_gid) == group and status.st_mode & stat.S_IWGRP:
        return join_group(machine, group)
    return INSTALL_RULES


def join_group(machine: Machine, group: str) -> str:
    """Return the command that adds the user to a group, which takes effect at the next login."""
    create = "" if group_id(machine, group) is not None else f"sudo groupadd --system {group} && "
    user = machine.facts.user or "$USER"
    return f"{create}sudo usermod -aG {group} {user}  # then log out and in"


def group_name(machine: Machine, gid: int) -> str:
    """Return the name of a group of the machine, or its number."""
    return next((name for name, number in _groups(machine) if number == gid), str(gid))


def group_id(machine: Machine, name: str) -> int | None:
    """Return the number of a group; None if there is no group of that name."""
    return next((number for each, number in _groups(machine) if each == name), None)


def holders(machine: Machine, nodes: list[str]) -> tuple[list[tuple[int, str]], bool]:
    """Return processes that have one of ``nodes`` open, as (pid, command), and if all are visible.

    Only root can see other users' processes.
    """
    found, complete = [], True
    for process in machine.children("/proc", "[0-9]*"):
        try:
            links = {_link(each) for each in (process / "fd").iterdir()}
        except OSError:
            complete = complete and not process.is_dir()
            continue
        if links & set(nodes):
            words = machine.text(f"/proc/{process.name}/cmdline").split("\0")
            command = " ".join(words) or machine.text(f"/proc/{process.name}/comm")
            found.append((int(process.name), command))
    return found, complete


def _link(path: os.PathLike[str]) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _groups(machine: Machine) -> Iterator[tuple[str, int]]:
    for line in machine.text("/etc/group").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdecimal():
            yield fields[0], int(fields[2])
