# SPDX-License-Identifier: Apache-2.0
"""Choose the wheels for a board by their names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgekit.errors import InputError
from edgekit.fleet.local_files import LocalFile
from edgekit.fleet.wheels import displaced, fits, read_wheels, requirements

_NUMPY = "numpy-1.21.6-cp37-cp37m-manylinux_2_17_aarch64.manylinux2014_aarch64"


@pytest.mark.parametrize(
    ("stem", "python", "machine", "expected"),
    [
        ("edgekit_coral-0.1.0-py3-none-any", (3, 7), "aarch64", True),
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
def test_a_wheel_fits_by_its_tags(
    stem: str, python: tuple[int, ...], machine: str, expected: bool
) -> None:
    assert fits(stem, python, machine) is expected


def test_the_boards_wheel_is_preferred_to_the_whole_one() -> None:
    names = (
        "edgekit_coral-1-py3-none-any.whl",
        "edgekit_coral_device-1-py3-none-any.whl",
        "tflite_runtime-2.5.0-cp37-cp37m-linux_armv7l.whl",
    )
    files = tuple(LocalFile(Path(name), f"wheels/{name}", 0, "", ()) for name in names)
    assert requirements(files) == ("edgekit-coral-device", "tflite-runtime")
    assert requirements(files[:1]) == ("edgekit-coral",)


def test_distributions_with_the_same_modules_are_removed_also_under_earlier_names() -> None:
    assert displaced("edgekit-coral") == ("edgekit-coral-device", "edgekit", "edgekit-device")
    assert displaced("edgekit-coral-device")[0] == "edgekit-coral"


def test_a_wheel_of_the_other_project_named_edgekit_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "edgekit-0.1.1-py3-none-any.whl").write_bytes(b"")
    with pytest.raises(InputError, match="no wheel of edgekit among 1") as caught:
        read_wheels(tmp_path)
    assert caught.value.fix.startswith(sys.executable)
    assert f"--wheel-dir {tmp_path}" in caught.value.fix
