# SPDX-License-Identifier: Apache-2.0
"""Which libedgetpu works with which runtime, and which fix is printed."""

from __future__ import annotations

import pytest

from edgekit.versions import built_from, pair_verdict, parse_version, runtime_version_of


@pytest.mark.parametrize(
    ("library", "runtime", "version", "works"),
    [
        ("16.0", "tflite-runtime", "2.5.0.post1", True),
        ("16.0", "tflite-runtime", "2.11.0", True),
        ("16.0", "tflite-runtime", "2.12.0", False),
        ("16.0", "tflite-runtime", "2.14.0", False),
        ("16.0", "tflite-runtime", "2.1.0", False),
        ("16.0", "tensorflow", "2.21.0", False),
        ("15.0", "tflite-runtime", "2.5.0", True),
        ("16.0tf2.17.1-1", "tflite-runtime", "2.17.1", True),
        ("16.0tf2.17.1-1", "tflite-runtime", "2.11.1", True),
        ("16.0tf2.17.1-1", "tflite-runtime", "2.5.0.post1", False),
        ("16.0tf2.13.1-1", "tflite-runtime", "2.14.0", None),
        ("16.0", "litert", "2.3.0", None),
        ("", "tflite-runtime", "2.14.0", None),
    ],
)
def test_pairs_are_reported_as_working_crashing_or_unknown(
    library: str, runtime: str, version: str, works: bool | None
) -> None:
    verdict = pair_verdict(library, runtime, version)
    assert verdict.works is works
    assert verdict.why
    assert bool(verdict.fix) or verdict.works is not False


def test_the_fix_is_one_that_this_python_can_install() -> None:
    """The index has tflite-runtime 2.11.0 for Python up to 3.9."""
    old = pair_verdict("16.0", "tflite-runtime", "2.14.0", (3, 9, 2))
    new = pair_verdict("16.0", "tflite-runtime", "2.14.0", (3, 11, 2))
    assert old.fix == "python3 -m pip install 'tflite-runtime==2.11.0' 'numpy<2'"
    assert "16.0tf2.17.1" in new.fix


@pytest.mark.parametrize(
    ("text", "version"), [("2.5.0.post1", (2, 5, 0)), ("6.1.0-18-amd64", (6, 1, 0)), ("git", ())]
)
def test_a_version_is_parsed_to_its_leading_numbers(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_the_version_of_a_package_shows_the_tensorflow_it_was_built_from() -> None:
    assert built_from("16.0") == "2.5.0"
    assert built_from("16.0tf2.19.1-1.bookworm") == "2.19.1"
    assert built_from("1.0") == ""


@pytest.mark.parametrize(
    ("package", "runtime"),
    [("16.0", 14), ("16.0tf2.17.1-1.bookworm", 14), ("15.0", 13), ("14.1", 13), ("", 0), ("99", 0)],
)
def test_a_package_has_a_runtime_version(package: str, runtime: int) -> None:
    assert runtime_version_of(package) == runtime
