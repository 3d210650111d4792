# SPDX-License-Identifier: Apache-2.0
"""Which wheels are for which board, as their names say."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.fleet.local_files import LocalFile
from edgekit.fleet.wheels import displaced, fits, requirements

_NUMPY = "numpy-1.21.6-cp37-cp37m-manylinux_2_17_aarch64.manylinux2014_aarch64"


@pytest.mark.parametrize(
    ("stem", "python", "machine", "expected"),
    [
        ("edgekit-0.1.0-py3-none-any", (3, 7), "aarch64", True),
        ("six-1.16.0-py2.py3-none-any", (3, 11), "x86_64", True),
        ("old-1-py2-none-any", (3, 7), "aarch64", False),
        (_NUMPY, (3, 7), "aarch64", True),
        (_NUMPY, (3, 7), "armv7l", False),
        (_NUMPY, (3, 9), "aarch64", False),
        ("tflite_runtime-2.5.0.post1-cp37-cp37m-linux_armv7l", (3, 7), "armv7l", True),
        ("cryptography-42.0-cp39-abi3-manylinux_2_28_x86_64", (3, 11), "x86_64", True),
        ("cryptography-42.0-cp39-abi3-manylinux_2_28_x86_64", (3, 7), "x86_64", False),
        ("net-1-7-cp311-cp311-win_amd64", (3, 11), "AMD64", False),
        ("nonsense", (3, 11), "x86_64", False),
    ],
)  # fmt: skip
def test_a_wheel_fits_as_its_tags_say(
    stem: str, python: tuple[int, ...], machine: str, expected: bool
) -> None:
    assert fits(stem, python, machine) is expected


def test_the_boards_wheel_is_taken_before_the_whole_one() -> None:
    names = ("edgekit-1-py3-none-any.whl", "edgekit_device-1-py3-none-any.whl", "numpy-1.whl")
    files = tuple(LocalFile(Path(name), f"wheels/{name}", 0, "", ()) for name in names)
    assert requirements(files) == ("edgekit-device",)
    assert requirements(files[:1]) == ("edgekit",)
    assert displaced("edgekit") == "edgekit-device"
    assert displaced("edgekit-device") == "edgekit"
