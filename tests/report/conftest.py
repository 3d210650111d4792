# SPDX-License-Identifier: Apache-2.0
"""A run folder like that of a user's commands: a model and its measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.evaluate import benchmark, evaluate
from edgekit.formats.tflite import Model, write_model

LOG = "Edge TPU Compiler version 16.0.384591198\nInput: int8.tflite\n\nOperator  Count  Status\n"


@pytest.fixture
def run_folder(tmp_path: Path, int8_model: Model, float_model: Model) -> Path:
    """Two models, an evaluation of one against the other, a benchmark of each, a picture, a log."""
    folder = tmp_path / "run"
    folder.mkdir()
    models = {"int8": int8_model, "float": float_model}
    for name, model in models.items():
        (folder / f"{name}.tflite").write_bytes(write_model(model))
        timing = benchmark(folder / f"{name}.tflite", num_runs=20)
        (folder / f"benchmark_{name}.json").write_text(timing.to_json())
    random = np.random.default_rng(5)
    data = folder / "test.npz"
    np.savez(str(data), x=random.integers(0, 256, (60, 8, 8), np.uint8), y=np.arange(60) % 5)
    result = evaluate(folder / "int8.tflite", data, against=folder / "float.tflite")
    (folder / "evaluate.json").write_text(result.to_json())
    Image.new("RGB", (40, 30), (200, 30, 30)).save(folder / "answers.png")
    (folder / "int8_edgetpu.log").write_text(LOG)
    return folder


def debug_document(sha256: str) -> dict[str, Any]:
    """``edgekit.debug/1`` of six operators."""
    operators = [
        {
            "index": index,
            "opcode": "CONV_2D",
            "name": f"layer{index}",
            "isolated_snr_db": 40.0 - index,
            "accumulated_snr_db": 30.0 - 5 * index,
        }
        for index in range(6)
    ]
    cause = {"index": 3, "opcode": "CONV_2D", "name": "layer3", "kind": "range", "advice": "Clip."}
    return {
        "schema": "edgekit.debug/1",
        "sha256": sha256,
        "operators": operators,
        "causes": [cause],
    }


def write_json(path: Path, document: object) -> None:
    """Save a document."""
    path.write_text(json.dumps(document))
