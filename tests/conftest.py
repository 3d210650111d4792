# SPDX-License-Identifier: Apache-2.0
"""Markers, the corpus, and what a skip says."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


def _corpus() -> Path | None:
    for place in (
        os.environ.get("EDGEKIT_CORPUS", ""),
        str(_REPOSITORY.parent / "shared" / "data"),
    ):
        if place and (Path(place) / "MANIFEST.csv").is_file():
            return Path(place)
    return None


# One row a marker that needs something: what is missing here, "" if nothing is.
_MISSING = {
    "corpus": "" if _corpus() else "the corpus is not here: set EDGEKIT_CORPUS to its folder",
    "host": "" if importlib.util.find_spec("tensorflow") else "tensorflow is not installed",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--require=MARKER`` turns skips for a missing thing into failures; CI uses it."""
    parser.addoption("--require", action="append", default=[], metavar="MARKER")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marker names something that is not here; fail it where required."""
    for marker, missing in _MISSING.items():
        if missing and item.get_closest_marker(marker):
            if marker in item.config.getoption("--require"):
                pytest.fail(f"--require={marker}: {missing}", pytrace=False)
            pytest.skip(missing)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of other people's models and data; for tests with the marker ``corpus``."""
    place = _corpus()
    if place is None:
        pytest.skip(_MISSING["corpus"])
    return place
