# SPDX-License-Identifier: Apache-2.0
"""Parse the names of other machines, before any connection."""

from __future__ import annotations

import sys

import pytest

from edgekit.errors import UsageError

if sys.version_info < (3, 10):
    pytest.skip("logging in is the host's work", allow_module_level=True)

from edgekit.ssh import SshTarget, parse_target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("board", SshTarget("board")),
        ("mendel@192.168.100.2", SshTarget("192.168.100.2", "mendel")),
        ("me@host:2222", SshTarget("host", "me", 2222)),
        ("ssh://me@host:2222", SshTarget("host", "me", 2222)),
        ("Coral-1", SshTarget("Coral-1")),
        ("me@[fe80::1]:22", SshTarget("fe80::1", "me", 22)),
    ],
)
def test_a_machine_is_parsed_from_the_names_that_ssh_accepts(
    text: str, expected: SshTarget
) -> None:
    assert parse_target(text, option="BOARD") == expected


@pytest.mark.parametrize("text", ["board", "me@host:2222", "me@[fe80::1]:22", "a@b"])
def test_the_name_of_a_machine_is_parsed_to_the_same_machine(text: str) -> None:
    target = parse_target(text, option="BOARD")
    assert parse_target(target.name, option="BOARD") == target
    assert parse_target(target.url, option="BOARD") == target


@pytest.mark.parametrize("text", ["", "ssh://", "h/p", "u:secret@h", "u:secret@h/p", "-o", "h:x"])
def test_an_invalid_machine_is_refused_without_showing_a_password(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_target(text, option="BOARD")
    assert "secret" not in str(raised.value)
