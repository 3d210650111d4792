# SPDX-License-Identifier: Apache-2.0
"""Which quantizer `convert` uses, and that a float .tflite needs no TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, read_model
from edgekit.host.convert import convert
from edgekit.host.convert.options import ConvertOptions
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 8, 8, 4)


def _network() -> Model:
    graph = FloatGraph(SHAPE)
    features = graph.pool("MAX_POOL_2D", graph.conv(graph.input, 8, 3, "RELU"))
    return graph.model(graph.dense(features, 3))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "float.tflite"
    path.write_bytes(ModelFile.of(_network()).content)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npy"
    np.save(path, np.random.default_rng(1).random((40, *SHAPE[1:]), np.float32))
    return path


@pytest.mark.host
@pytest.mark.usefixtures("kept_converter")
def test_both_quantizers_make_the_same_operators_and_are_named(
    source: Path, data: Path, tmp_path: Path
) -> None:
    results = {
        name: convert(source, data=data, output=tmp_path / f"{name}.tflite", quantizer=name)
        for name in ("auto", "edgekit", "tensorflow")
    }
    assert [each.quantizer for each in results.values()] == ["edgekit", "edgekit", "tensorflow"]
    assert "tensorflow" in results["tensorflow"].versions
    ours, theirs = (read_model(results[name].output) for name in ("auto", "tensorflow"))
    assert [op.opcode for op in ours.main.operators] == [op.opcode for op in theirs.main.operators]
    for left, right in zip(ours.main.operators, theirs.main.operators, strict=True):
        scale, expected = (
            model.main.tensors[op.outputs[0]].scale for model, op in ((ours, left), (theirs, right))
        )
        assert scale == pytest.approx(expected, rel=1e-5)


def test_a_float_tflite_converts_without_tensorflow(
    source: Path, data: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for name in ("tensorflow", "keras", "tf_keras"):
        (blocked / f"{name}.py").write_text(f"raise ModuleNotFoundError('{name}', name='{name}')")
    path = os.pathsep.join([str(blocked), *filter(None, [os.environ.get("PYTHONPATH")])])
    output = tmp_path / "int8.tflite"
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "convert", source, "--data", data, "-o", output,
         "--json"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["quantizer"] == "edgekit"
    assert "tensorflow" not in result["versions"]
    assert read_model(output).main.tensors[0].dtype in {"UINT8", "INT8"}


def test_a_quantizer_that_lacks_a_rule_is_refused(data: Path, tmp_path: Path) -> None:
    graph = FloatGraph(SHAPE)
    model = graph.model(graph.simple("FLOOR", graph.conv(graph.input, 4)))
    source = tmp_path / "floor.tflite"
    source.write_bytes(ModelFile.of(model).content)
    with pytest.raises(UnsupportedModelError, match="FLOOR"):
        convert(
            source,
            data=data,
            output=tmp_path / "m.tflite",
            quantizer="edgekit",
            stop_early=False,
        )


@pytest.mark.parametrize(("quantizer", "mode"), [("other", "int8"), ("edgekit", "float-fallback")])
def test_a_quantizer_that_does_not_apply_is_refused(quantizer: str, mode: str) -> None:
    with pytest.raises(UsageError, match="--quantizer"):
        ConvertOptions(quantizer=quantizer, mode=mode)
