# SPDX-License-Identifier: Apache-2.0
"""What the tests of ONNX and of PyTorch share: interpreters with converters, and networks."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import MissingExtraError, UnsupportedModelError
from edgekit.formats.tflite import Model, read_model
from edgekit.host.convert.importer import ImporterChild
from edgekit.host.convert.source_check import compare_with_source
from edgekit.host.convert.sources import SourceFile, find_source

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Converter:
    """The interpreter that an environment variable names; tests of conversions skip without it."""

    variable: str
    library: str
    program: str  # beside this file: writes a variant of a network

    @property
    def python(self) -> str:
        """The interpreter; empty if there is none."""
        return os.environ.get(self.variable, "")

    @property
    def needed(self) -> pytest.MarkDecorator:
        """The mark of tests that convert."""
        reason = f"{self.variable} does not name an interpreter with {self.library}"
        return pytest.mark.skipif(not self.python, reason=reason)

    def made(self, variant: str, path: Path) -> Path:
        """Write a variant of the network; this interpreter does it if no other is named."""
        python = self.python or sys.executable
        words = [python, str(HERE / self.program), variant, str(path)]
        subprocess.run(words, check=True, cwd=path.parent)
        return path


ONNX = Converter("EDGEKIT_ONNX_PYTHON", "onnx2tf", "make_onnx.py")
TORCH = Converter("EDGEKIT_TORCH_PYTHON", "litert-torch", "make_torch.py")


def with_wrong_weights(model: Model, opcode: str, number: int) -> Model:
    """Return ``model`` with the weights of one operator of this kind 1.5 times as large."""
    op = [op for op in model.main.operators if op.opcode == opcode][number]
    place = model.main.tensors[op.inputs[1]].buffer
    weights = np.frombuffer(bytes(model.buffers[place]), np.float32) * np.float32(1.5)
    buffers = list(model.buffers)
    buffers[place] = np.frombuffer(weights.tobytes(), np.uint8)
    return replace(model, buffers=tuple(buffers))


def wrong_operation(
    path: Path,
    python: str | None,
    sample: tuple[list[Any], list[Any]],
    wrong: tuple[str, int],
) -> UnsupportedModelError:
    """Return the refusal of a float .tflite with wrong weights; the right one is not refused.

    Args:
        path: The source.
        python: An interpreter with the converter.
        sample: The inputs of the source, and those of the .tflite.
        wrong: Kind and number of the operator whose weights are changed.
    """
    with ImporterChild(find_source(path), python, 300, path.name) as child:
        child.open()
        imported = child.to_float([each.shape for each in sample[0]])
        model = read_model(imported.content)
        operations, name = imported.operations, path.name
        same = compare_with_source(child, model, operations, [sample], name)
        assert same.relative < 1e-4
        assert same.cosine > 0.9999
        changed = with_wrong_weights(model, *wrong)
        with pytest.raises(UnsupportedModelError, match="converted the network wrongly") as caught:
            compare_with_source(child, changed, operations, [sample], name)
    return caught.value


def check_missing_converter(
    name: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check the refusal of a source on a machine without its converter."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))  # none is installed there
    with pytest.raises(MissingExtraError) as caught:
        ImporterChild(SourceFile(folder / name, kind), None, None, name)
    assert f"edgekit sources install {kind}" in caught.value.fix
    assert "--converter-python" in caught.value.fix
