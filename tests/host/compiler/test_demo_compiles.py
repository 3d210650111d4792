# SPDX-License-Identifier: Apache-2.0
"""The demo compiles if there is a compiler: here a stand-in, because Google's is not available."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgekit.host.demo import demo

pytestmark = [pytest.mark.host, pytest.mark.slow]


def test_a_compiler_on_the_path_is_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stand_in: Any,  # noqa: ANN401 - the fixture's class is in a conftest
) -> None:
    stand_in.will(stand_in.success("digits_int8", mapped=7, total=7))
    monkeypatch.setenv("PATH", f"{stand_in.folder}:{os.environ['PATH']}")
    result = demo(tmp_path / "out", epochs=1)
    assert result.not_compiled is None
    assert result.compiled == str(tmp_path / "out" / "digits_int8_edgetpu.tflite")
    assert Path(result.compiled).read_bytes() == (stand_in.folder / "compiled.bin").read_bytes()
