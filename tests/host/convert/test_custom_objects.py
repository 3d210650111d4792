# SPDX-License-Identifier: Apache-2.0
"""Classes that Keras does not have: the user's modules, and the layers of TensorFlow Hub."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import MissingExtraError, UnsafeModelError, UnsupportedModelError, UsageError
from edgekit.host.convert import convert
from edgekit.host.worker.custom_objects import custom_objects, hub_objects
from edgekit.host.worker.refused import Refused

pytestmark = pytest.mark.host
_has_hub = importlib.util.find_spec("tensorflow_hub") is not None
_MODULE = """
import {keras} as keras
from os import system

@keras.saving.register_keras_serializable(package="mine")
class Scaled(keras.layers.Layer):
    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {{**super().get_config(), "factor": self.factor}}
"""
_REGISTER = '@keras.saving.register_keras_serializable(package="mine")\n'


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package ``lib`` in the current folder."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [each for each in sys.modules if each.partition(".")[0] == "lib"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "lib"


def _saved(package: Path, keras: Any, name: str, *, is_registered: bool) -> Path:  # noqa: ANN401
    text = _MODULE.format(keras=keras.__name__.partition(".")[0])
    (package / "layers.py").write_text(text if is_registered else text.replace(_REGISTER, ""))
    layers = importlib.import_module("lib.layers")
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), layers.Scaled(3.0)]
    )
    path = package.parent / name
    network.save(str(path))
    return path


@pytest.mark.parametrize("is_registered", [True, False])
def test_a_module_brings_its_layers(
    is_registered: bool,
    package: Path,
    keras: Any,  # noqa: ANN401
) -> None:
    source = _saved(package, keras, "m.keras", is_registered=is_registered)
    data = list(np.random.default_rng(0).random((4, 8, 8, 3), np.float32))
    words: dict[str, Any] = {"data": data, "output": package.parent / "m.tflite"}
    with pytest.raises((UnsafeModelError, UnsupportedModelError)):
        convert(source, **words)
    result = convert(source, custom_objects=["lib.layers"], **words)
    assert result.operators["CONV_2D"] == 1


def test_other_code_in_the_file_is_still_refused(package: Path, keras: Any) -> None:  # noqa: ANN401
    """The module imports os.system, but does not define it."""
    source = _saved(package, keras, "m.keras", is_registered=False)
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(entries["config.json"])
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Scaled":
            layer.update(module="os", class_name="system", registered_name="system")
    entries["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(source, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    data = [np.zeros((8, 8, 3), np.float32)]
    with pytest.raises(UnsafeModelError, match="system"):
        convert(source, data=data, output="m.tflite", custom_objects=["lib.layers"])


def test_a_module_gives_what_it_defines_and_not_what_it_imports(package: Path) -> None:
    (package / "own.py").write_text("from os.path import join\ndef act(x): return x\n")
    assert list(custom_objects(["lib.own"], str(package.parent))) == ["act"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("1 / 0", "cannot be imported"), ("import nothing_like_it", "cannot be imported"), ("", "no")],
)
def test_a_module_that_does_not_work_is_named(text: str, says: str, package: Path) -> None:
    (package / "bad.py").write_text(text)
    with pytest.raises(Refused, match=says) as caught:
        custom_objects(["lib.bad"], str(package.parent))
    assert caught.value.code == "usage"
    assert "lib.bad" in caught.value.what


def test_the_option_is_for_keras_files(int8_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--custom-objects"):
        convert(int8_path, data=[], output=tmp_path / "o.tflite", custom_objects=["lib"])


def _config(handle: str) -> dict[str, Any]:
    return {"layers": [{"class_name": "KerasLayer", "config": {"handle": handle}}]}


@pytest.mark.skipif(_has_hub, reason="tensorflow_hub is installed")
def test_without_tensorflow_hub_the_extra_is_named() -> None:
    with pytest.raises(Refused) as caught:
        hub_objects(_config("https://tfhub.dev/x/1"), "m.h5")
    assert caught.value.code == "tool.missing"
    assert "edgekit[hub]" in caught.value.fix
    assert MissingExtraError.code == "tool.missing"
    assert hub_objects({"layers": [{"class_name": "Dense", "config": {}}]}, "m.h5") == {}


@pytest.mark.skipif(not _has_hub, reason="tensorflow_hub is not installed")
def test_a_layer_that_would_be_downloaded_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    with pytest.raises(Refused, match="not in TensorFlow Hub's cache") as caught:
        hub_objects(_config("https://tfhub.dev/x/1"), "m.h5")
    assert "https://tfhub.dev/x/1" in caught.value.why


@pytest.mark.skipif(not _has_hub, reason="tensorflow_hub is not installed")
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_layers_of_tensorflow_hub_are_converted(tmp_path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415
    import tensorflow_hub as hub  # noqa: PLC0415
    import tf_keras  # noqa: PLC0415

    inner = tf_keras.Sequential(
        [tf_keras.layers.Conv2D(4, 3, input_shape=(16, 16, 3)), tf_keras.layers.Flatten()]
    )
    tf.saved_model.save(inner, str(tmp_path / "hub"))
    layer = hub.KerasLayer(str(tmp_path / "hub"), input_shape=(16, 16, 3))
    network = tf_keras.Sequential([layer, tf_keras.layers.Dense(3)])
    network.save(tmp_path / "m.h5")
    result = convert(
        tmp_path / "m.h5",
        data=list(np.random.default_rng(0).random((4, 16, 16, 3), np.float32)),
        output=tmp_path / "m.tflite",
    )
    assert result.loader.startswith("tf_keras")
    assert result.operators["CONV_2D"] == 1
