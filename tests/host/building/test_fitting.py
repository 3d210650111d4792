# SPDX-License-Identifier: Apache-2.0
"""``edgekit plan --fit``: the largest variant that stays on chip and is fast enough."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekit.building.fitting import fit, resized
from edgekit.cli.main import build
from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.host.convert import convert
from edgekit.opencompiler.estimate import estimate
from tests.conftest import delay

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]

_NETWORK = """
import keras

def make(size=64, width=1.0, depth=1):
    channels = int(16 * width)
    x = inputs = keras.Input((size, size, 3), batch_size=1)
    for _ in range(depth):
        x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x))
"""


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a function that makes small networks."""
    (tmp_path / "fit_network.py").write_text(_NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "fit_network:make"
    sys.modules.pop("fit_network", None)


@pytest.mark.slow
def test_a_resized_file_is_estimated_like_the_network_of_that_size(
    network: str, tmp_path: Path
) -> None:
    del network
    module = __import__("fit_network")
    for size in (32, 48):
        path = tmp_path / f"{size}.tflite"
        convert(module.make(size=size), data="random", output=path, num_samples=2)
    other = ModelFile.of(resized(read_model_file(tmp_path / "32.tflite").model, 48))
    expected = estimate(tmp_path / "48.tflite")
    assert estimate(other).latency_ms == expected.latency_ms
    values = [16, 32, 48, 64, 96, 128]
    limit_ms = expected.latency_ms.mid
    found = fit(str(tmp_path / "32.tflite"), "size", max_ms=limit_ms, values=values)
    assert found.best is not None
    assert (found.best.value, found.best.input_shape) == (48, (1, 48, 48, 3))
    assert min(each.value for each in found.tried if not each.fits) == 64
    large = fit(str(tmp_path / "32.tflite"), "size", values=values)
    assert large.best is not None
    assert large.best.value == 64  # the mean of a larger map does not map
    assert any(each.num_unmapped for each in large.tried)


@pytest.mark.slow
def test_a_function_is_fitted_by_its_keyword(network: str) -> None:
    found = fit(network, "width", values=[1, 8, 64])
    assert [(each.value, each.fits) for each in found.tried] == [(8, True), (64, True)]
    assert found.is_largest
    with pytest.raises(UnsupportedModelError, match=r"fails for depth=0\.5"):
        fit(network, "depth", values=[0.5])


def test_a_network_that_fixes_a_size_inside_is_refused(int8_model: Model) -> None:
    with pytest.raises(UnsupportedModelError, match="cannot have an input of 32 by 32") as caught:
        resized(int8_model, 32)
    assert "package.module:function" in caught.value.fix


def test_a_network_without_a_single_image_as_input_is_refused() -> None:
    model = read_model(delay(3, (1, 3)))
    with pytest.raises(UnsupportedModelError, match="no single image") as caught:
        resized(model, 32)
    assert "package.module:function" in caught.value.fix


def test_wrong_requests_are_refused(int8_model: Model, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write_model(int8_model))
    with pytest.raises(UsageError, match="--fit width of a file"):
        fit(str(path), "width")
    with pytest.raises(UsageError, match="ascending"):
        fit(str(path), "size", values=[64, 32])
    for options in (["--fit", "size", "--num-tpus", "2"], ["--max-ms", "3"]):
        result = CliRunner().invoke(build(), ["plan", str(path), *options])
        assert isinstance(result.exception, UsageError)
