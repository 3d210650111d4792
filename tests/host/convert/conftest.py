# SPDX-License-Identifier: Apache-2.0
"""Samples for the networks of other frameworks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def images_32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 32 x 32 pixels in NHWC, 0 to 1."""
    path = tmp_path_factory.mktemp("samples") / "samples.npz"
    np.savez(path, x=np.random.default_rng(1).random((12, 32, 32, 3), np.float32))
    return path
