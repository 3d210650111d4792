# SPDX-License-Identifier: Apache-2.0
"""Float and Keras networks get the verdict of their conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.checking import check
from edgekit.errors import InputError, ModelFormatError

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]


def network(activation: str = "relu") -> Any:  # noqa: ANN401 - Keras has no types
    import keras  # noqa: PLC0415

    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            keras.layers.Conv2D(8, 3, activation=activation),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )


def test_a_keras_file_is_converted_and_judged(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    network().save(path)
    report = check(path)
    assert (report.model, report.converted_from) == (str(path), str(path))
    assert (report.num_mapped, report.num_unknown) == (report.num_operators, 0)
    assert "random" in report.notes[0]
    assert not list(tmp_path.glob("*.tflite"))


def test_a_keras_object_is_judged_with_the_data_given() -> None:
    samples = list(np.random.default_rng(1).random((8, 8, 8, 3), np.float32))
    report = check(network(), data=samples)
    assert report.num_mapped == report.num_operators
    assert "random" not in " ".join(report.notes)


def test_a_network_that_convert_refuses_is_judged_as_far_as_it_got(tmp_path: Path) -> None:
    import keras  # noqa: PLC0415

    x = keras.layers.Input((8, 8, 3))
    y = keras.ops.exp(keras.layers.Conv2D(8, 3)(x))
    path = tmp_path / "exponential.keras"
    keras.Model(x, keras.layers.Conv2D(4, 3)(y)).save(path)
    report = check(path)
    assert report.operators
    assert report.num_mapped < report.num_operators
    assert any("refuses" in each for each in report.notes)
    assert any(each.severity == "error" and "EXP" in each.where for each in report.issues)


@pytest.mark.parametrize("name", ["gone.keras", "gone.h5"])
def test_a_missing_source_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        check(tmp_path / name)


def test_an_empty_folder_is_not_a_saved_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="not a SavedModel"):
        check(tmp_path)


def test_a_refused_network_is_reported_with_all_its_reasons(tmp_path: Path) -> None:
    import keras  # noqa: PLC0415

    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3)(image)
    x = keras.activations.gelu(x)  # an operator that compiler 16 does not know
    x = keras.ops.exp(x)  # one without an 8-bit form
    keras.Model(image, keras.layers.Conv2D(4, 3)(x)).save(tmp_path / "net.keras")
    report = check(tmp_path / "net.keras")
    named = " ".join(issue.where for issue in report.issues)
    assert "GELU" in named
    assert "EXP" in named
    assert "2 broken rules" in report.notes[-1]
