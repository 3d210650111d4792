# SPDX-License-Identifier: Apache-2.0
"""``edgekit deploy`` to a board with an Edge TPU: this machine with a substitute libedgetpu."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekit.bundle import bundle
from edgekit.fleet import BoardResult, deploy
from edgekit.formats.libedgetpu import LIBRARY_VARIABLE
from tests.fleet.conftest import Board
from tests.runtime.edgetpu.conftest import Build, Models, build, models
from tests.sshd import needs_sshd

__all__ = ["build", "models"]

pytest.importorskip("asyncssh", reason="asyncssh is not installed (the extra ssh)")


def _deploy(models: Models, board: Board, library: Path, steps: list[str]) -> BoardResult:
    folder = models.plain.parent
    net, data = folder / "net.edgekit", folder / "d.npz"
    bundle(models.plain, compiled=models.compiled, output=net)
    np.savez(str(data), x=np.ones((30, 4), np.float32), y=np.full(30, 2))
    first, last = board.python.read_text().splitlines()
    exports = f"export {LIBRARY_VARIABLE}={library}"
    board.python.write_text("\n".join((first, exports, last)) + "\n")
    (found,) = deploy(
        net,
        board.name,
        folder=str(board.folder),
        python=str(board.python),
        data=data,
        num_runs=3,
        on_step=lambda _board, text: steps.append(text),
    ).boards
    assert found.error is None
    return found


@needs_sshd
def test_the_compiled_model_is_measured_on_the_edge_tpu_there(
    models: Models, board: Board, build: Build
) -> None:
    found = _deploy(models, board, build(), [])
    assert found.device == ":0"
    assert found.evaluate is not None
    assert found.benchmark is not None
    for document in (found.evaluate, found.benchmark):
        assert (document["device"], document["kernels"]) == (":0", "edgetpu")
        assert document["versions"]["libedgetpu"] == "runtime 14"
    assert found.evaluate["num_samples"] == 30


@needs_sshd
def test_auto_uses_the_cpu_if_the_library_is_too_old_for_the_model(
    models: Models, board: Board, build: Build
) -> None:
    steps: list[str] = []
    found = _deploy(models, board, build(version="RuntimeVersion(13)"), steps)
    assert found.device == "cpu"
    assert found.benchmark is not None
    assert found.benchmark["device"] == "cpu"
    assert any("not usable there: needs Edge TPU runtime 14" in step for step in steps)
