# SPDX-License-Identifier: Apache-2.0
"""`--inputs` and `--outputs` cut a network of every kind at any tensor."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.cli.main import main
from edgekit.errors import DataError, UsageError
from edgekit.formats.tflite import read_model
from edgekit.host.convert import convert
from edgekit.host.convert.child import Converters
from edgekit.runtime import Runner

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]
KINDS = ("keras", "saved_model", "tflite")


@dataclass(frozen=True)
class Case:
    """A network as a file of each kind, samples, and the values of its layer ``first``."""

    files: dict[str, Path]
    samples: NDArray[np.float32]
    inner: NDArray[np.float32]
    answers: NDArray[np.float32]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, converters: Converters) -> Case:
    import keras  # noqa: PLC0415

    image = keras.Input((8, 8, 3), name="image")
    x = first = keras.layers.Conv2D(4, 3, activation="relu", name="first")(image)
    x = keras.layers.Conv2D(5, 3, activation="relu", name="second")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    network = keras.Model(image, keras.layers.Dense(2, name="last")(x))
    folder = tmp_path_factory.mktemp("cut")
    network.save(folder / "n.keras")
    network.export(folder / "saved", verbose=False)
    with converters.used():
        convert(folder / "n.keras", output=folder / "n.tflite", mode="float")
    samples = np.random.default_rng(5).random((60, 8, 8, 3)).astype(np.float32)
    run: Callable[..., Any] = keras.Model(image, [first, network.output]).predict
    inner, answers = run(samples, verbose=0)
    places = (folder / "n.keras", folder / "saved", folder / "n.tflite")
    return Case(dict(zip(KINDS, places, strict=True)), samples, inner, answers)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_is_cut_at_an_inner_layer(kind: str, case: Case, tmp_path: Path) -> None:
    """Behind the cut the data are the values of that layer."""
    source, front, back = case.files[kind], tmp_path / "front.tflite", tmp_path / "back.tflite"
    first = convert(source, data=case.samples, output=front, outputs=["first"])
    last = convert(source, data=case.inner, output=back, inputs=["first"])
    assert [each.shape for each in first.outputs] == [(1, 6, 6, 4)]
    assert [each.shape for each in last.inputs] == [(1, 6, 6, 4)]
    for model, given, expected in (
        (front, case.samples, case.inner),
        (back, case.inner, case.answers),
    ):
        with Runner(model) as runner:
            (actual,) = runner.predict(given[:1])
        spread = float(np.abs(expected).max())
        np.testing.assert_allclose(actual, expected[:1], atol=0.03 * spread)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_that_does_not_exist_is_an_error(kind: str, case: Case, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--outputs: the model has no tensor 'secnd'") as caught:
        convert(case.files[kind], data=case.samples, output=tmp_path / "o", outputs=["secnd"])
    assert "perhaps" in caught.value.fix


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_that_list_the_names_are_printed(
    kind: str, case: Case, tmp_path: Path
) -> None:
    source = tmp_path / f"a network{case.files[kind].suffix}"
    source.symlink_to(case.files[kind])
    with pytest.raises(UsageError) as caught:
        convert(source, data="random", output=tmp_path / "o", outputs=["/?"], batch_size=2)
    listing = caught.value.fix.replace("list the names: ", "")
    commands = [shlex.split(each)[1:] for each in listing.split(", then ")]
    assert commands[0][1] == str(source)
    if kind == "tflite":
        assert [each[0] for each in commands] == ["inspect"]
        return
    assert commands[1] == ["inspect", "FLOAT.tflite"]
    words = [str(tmp_path / word) if word == "FLOAT.tflite" else word for word in commands[0]]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert read_model(tmp_path / "FLOAT.tflite").main.tensors[0].shape[0] == 2


def test_data_that_do_not_fit_the_cut_are_an_error(case: Case, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shape"):
        convert(case.files["keras"], data=case.samples, output=tmp_path / "o", inputs=["first"])
