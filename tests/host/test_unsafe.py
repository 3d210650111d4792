# SPDX-License-Identifier: Apache-2.0
"""Loading a Keras file runs no code from it unless the user says so."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import ModelFormatError, UnsupportedModelError
from edgekit.host import convert
from edgekit.host.worker.refused import Refused
from edgekit.host.worker.unsafe import refuse_code

pytestmark = pytest.mark.host


def _lambda_file(keras: Any, path: Path) -> Path:  # noqa: ANN401
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8,)), layers.Lambda(lambda x: x * 2, name="doubler"), layers.Dense(2)]
    )
    model.save(path)
    return path


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_lambda_layers_are_refused_and_named(keras: Any, tmp_path: Path, name: str) -> None:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = _lambda_file(keras, tmp_path / name)
    with pytest.raises(UnsupportedModelError, match="doubler") as caught:
        convert(path, data="random", output=tmp_path / "m.tflite")
    assert "--trust-source" in caught.value.fix
    assert not (tmp_path / "m.tflite").exists()


def test_a_trusted_file_converts(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    path = _lambda_file(keras, tmp_path / "model.keras")
    result = convert(path, data="random", output=tmp_path / "m.tflite", trust_source=True)
    assert result.enforced


def _edited(keras_file: Path, path: Path, **change: Any) -> Path:  # noqa: ANN401
    """A copy of ``keras_file`` whose first layer's entry is changed."""
    with zipfile.ZipFile(keras_file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1].update(change)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return path


def test_a_module_that_the_file_names_is_never_imported(
    keras_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap.py"
    trap.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = _edited(keras_file, tmp_path / "evil.keras", module="trap", class_name="Layer")
    with pytest.raises(UnsupportedModelError, match="imported from the module trap"):
        convert(path, data="random", output=tmp_path / "m.tflite")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "TFSMLayer", "config": {"name": "x", "filepath": "/tmp/x"}},
        {"class_name": "function", "module": "keras.utils", "config": "get_file"},
        {"class_name": "Dense", "module": "os", "config": {}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "io.write_file"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "py_function"}},
        {"deep": [{"class_name": "Lambda", "config": {"name": "x"}}]},
    ],
)
def test_ways_to_code_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        refuse_code(config, "file")
    assert caught.value.code == "model.unsafe"


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Dense", "module": "keras.layers", "config": {"name": "x"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "math.multiply"}},
        {"class_name": "TFOpLambda", "config": {"name": "x", "function": "__operators__.add"}},
        {"class_name": "function", "module": "builtins", "config": "relu"},
    ],
)
def test_ordinary_layers_are_not(config: dict[str, Any]) -> None:
    refuse_code(config, "file")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_keras_files_are_damaged_files(
    keras_file: Path, tmp_path: Path, share: float
) -> None:
    content = keras_file.read_bytes()
    path = tmp_path / "cut.keras"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFormatError):
        convert(path, data="random", output=tmp_path / "m.tflite")


def test_weights_alone_are_no_network(keras_file: Path, keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.models.load_model(keras_file).save_weights(tmp_path / "only.weights.h5")
    shutil.move(str(tmp_path / "only.weights.h5"), str(tmp_path / "only.h5"))
    with pytest.raises(ModelFormatError, match="no Keras network"):
        convert(tmp_path / "only.h5", data="random", output=tmp_path / "m.tflite")
