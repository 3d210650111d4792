# SPDX-License-Identifier: Apache-2.0
"""The options of `convert` on pixels and classes are in the model, for every later command."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import DataError
from edgekit.evaluate import run
from edgekit.formats.tflite import read_model, write_model
from edgekit.formats.tflite_metadata import read_notes
from edgekit.host.convert import convert

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]

_HOW = "mean=123.7/116.8/103.9,std=58,resize=crop"


@pytest.fixture(scope="module")
def network() -> Any:  # noqa: ANN401
    """A classifier of three classes of small colour images, untrained."""
    import keras  # noqa: PLC0415 - host only

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images in three class folders."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(5)
    for name in ("ant", "bee", "cat"):
        (folder / name).mkdir()
        for index in range(4):
            pixels = random.integers(0, 256, (9, 12, 3), np.uint8)
            Image.fromarray(pixels).save(str(folder / name / f"{index}.png"))
    return folder


def test_a_later_run_uses_the_options_of_convert(
    network: Any,  # noqa: ANN401
    photos: Path,
    tmp_path: Path,
) -> None:
    result = convert(network, data=photos, preprocess=_HOW, output=tmp_path / "m.tflite")
    answer = run(result.output, [photos / "ant" / "0.png"])
    assert answer.preprocess == result.preprocess
    assert answer.preprocess.startswith(_HOW[: _HOW.index(",resize")])
    assert answer.answers[0].top[0].label in {"ant", "bee", "cat"}
    assert result.labels == ("ant", "bee", "cat")


def test_the_same_input_gives_the_same_bytes(network: Any, photos: Path, tmp_path: Path) -> None:  # noqa: ANN401
    results = [
        convert(network, data=photos, output=tmp_path / name) for name in ("a.tflite", "b.tflite")
    ]
    assert results[0].sha256 == results[1].sha256


def test_labels_of_a_file_have_priority_over_those_of_folders(
    network: Any,  # noqa: ANN401
    photos: Path,
    tmp_path: Path,
) -> None:
    names = tmp_path / "labels.txt"
    names.write_text("eins\nzwei\ndrei\n")
    result = convert(network, data=photos, labels=names, output=tmp_path / "m.tflite")
    content = Path(result.output).read_bytes()
    assert read_notes(content).labels == ("eins", "zwei", "drei")
    names.write_text("eins\nzwei\n")
    with pytest.raises(DataError, match="2 labels for 3 classes"):
        convert(network, data=photos, labels=names, output=tmp_path / "m.tflite")


def test_no_preprocessing_is_written_for_real_numbers(network: Any, tmp_path: Path) -> None:  # noqa: ANN401
    samples = list(np.random.default_rng(1).random((4, 8, 8, 3)).astype(np.float32))
    result = convert(network, data=samples, output=tmp_path / "m.tflite")
    assert result.preprocess == ""
    assert read_notes(Path(result.output).read_bytes()).preprocess == ""


def test_the_metadata_of_a_float_model_is_kept(network: Any, photos: Path, tmp_path: Path) -> None:  # noqa: ANN401
    middle, last = tmp_path / "float.tflite", tmp_path / "m.tflite"
    names = tmp_path / "labels.txt"
    names.write_text("eins\nzwei\ndrei\n")
    convert(network, mode="float", preprocess="tf", labels=names, output=middle)
    result = convert(middle, data=photos, output=last)
    assert result.labels == ("eins", "zwei", "drei")
    assert result.preprocess.startswith("tf,")
    assert result.inputs[0].calibration_min is not None
    assert result.inputs[0].calibration_min < -0.5


def _rescaling_network(*front: Any) -> Any:  # noqa: ANN401
    import keras  # noqa: PLC0415 - host only

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            *front,
            layers.Rescaling(1 / 255, name="to_unit"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("form", ["object", "export"])
def test_a_network_that_rescales_gets_raw_pixels(form: str, photos: Path, tmp_path: Path) -> None:
    import keras  # noqa: PLC0415 - host only

    if form == "export":
        source: Any = tmp_path / "exported"
        _rescaling_network().export(str(source), verbose=False)
    else:
        source = _rescaling_network(keras.layers.RandomFlip())
    result = convert(source, data=photos, output=tmp_path / "m.tflite")
    assert result.preprocess.startswith("raw,")
    assert result.preprocess_reason.endswith("turns 0..255 into 0..1")
    assert result.inputs[0].calibration_max is not None
    assert result.inputs[0].calibration_max > 200
    assert not [each for each in result.warnings if "--preprocess" in each]
    answer = run(result.output, [photos / "ant" / "0.png"])
    assert answer.preprocess == result.preprocess


def test_preprocessing_that_contradicts_the_network_is_a_warning(
    photos: Path, tmp_path: Path
) -> None:
    network = _rescaling_network()
    result = convert(network, data=photos, preprocess="unit", output=tmp_path / "m.tflite")
    assert result.preprocess.startswith("unit,")
    (warning,) = (each for each in result.warnings if "--preprocess raw" in each)
    assert "`to_unit` turns 0..255 into 0..1" in warning


def test_a_float_model_with_a_folded_rescaling_gets_raw_pixels(
    photos: Path, tmp_path: Path
) -> None:
    """The converter folded 1/255 into the first convolution's weights."""
    middle = tmp_path / "float.tflite"
    convert(_rescaling_network(), mode="float", preprocess="unit", output=middle)
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(write_model(replace(read_model(middle), metadata={})))
    result = convert(bare, data=photos, output=tmp_path / "m.tflite")
    assert result.preprocess.startswith("raw,")
    assert "made for pixels of 0..255" in result.preprocess_reason
    assert run(bare, [photos / "ant" / "0.png"]).preprocess == result.preprocess


def test_features_are_not_treated_as_pixels(tmp_path: Path) -> None:
    """Normalization of features with values near 100 is not a preprocessing of pictures."""
    import keras  # noqa: PLC0415 - host only

    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Normalization(mean=[60.0, 120, 30, 25], variance=[400.0] * 4),
            keras.layers.Dense(3),
        ]
    )
    samples = np.random.default_rng(5).random((40, 4)).astype(np.float32) * 3
    result = convert(network, data=list(samples), output=tmp_path / "m.tflite")
    assert result.preprocess == ""
    assert not [each for each in result.warnings if "0..255" in each]


def test_numbered_folders_name_the_classes_in_the_order_of_numbers(tmp_path: Path) -> None:
    """Up to 9, text and numbers have the same order; with more, Keras's data sets differ."""
    for number in range(11):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(str(tmp_path / "data" / str(number) / "0.png"))
    import keras  # noqa: PLC0415 - host only

    network = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(11)]
    )
    result = convert(network, data=tmp_path / "data", output=tmp_path / "m.tflite")
    names = tuple(str(number) for number in range(11))
    assert result.labels == names == read_notes(Path(result.output).read_bytes()).labels
    assert any("(0, 1, 10, 2, ...)" in each for each in result.warnings)
    (tmp_path / "labels.txt").write_text("\n".join(sorted(names)))
    told = convert(
        network,
        data=tmp_path / "data",
        labels=tmp_path / "labels.txt",
        output=tmp_path / "m.tflite",
    )
    assert told.labels == tuple(sorted(names))
    assert not any("order of text" in each for each in told.warnings)


def _two_inputs(*rescaled: str) -> Any:  # noqa: ANN401
    """Two pictures of 16x16; the network scales those in ``rescaled`` by x / 127.5 - 1."""
    import keras  # noqa: PLC0415 - host only

    layers = keras.layers
    inputs = [keras.Input((16, 16, 3), name=name) for name in ("left", "above")]
    parts = []
    for each in inputs:
        start = layers.Rescaling(1 / 127.5, -1)(each) if each.name in rescaled else each
        parts.append(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(start)))
    return keras.Model(inputs, layers.Dense(3)(layers.Concatenate()(parts)))


def test_one_preprocessing_for_different_inputs_is_reported(tmp_path: Path) -> None:
    """`raw` for the first is wrong for the second; real numbers solve it."""
    random = np.random.default_rng(4)
    pixels = {name: random.integers(0, 256, (8, 16, 16, 3), np.uint8) for name in ("left", "above")}

    def warnings(network: Any, **samples: Any) -> list[str]:  # noqa: ANN401
        np.savez(tmp_path / "d.npz", **samples)
        result = convert(network, data=tmp_path / "d.npz", output=tmp_path / "m.tflite")
        return [each for each in result.warnings if "get the same preprocessing" in each]

    first, second = _two_inputs("left"), _two_inputs("above")
    (warning,) = warnings(first, **pixels)
    assert warning.startswith("input above: it got raw pixels because the first input needs them")
    (warning,) = warnings(second, **pixels)
    assert warning.startswith("input above: the network's first layer `rescaling")
    assert "give samples of 0..255, as real numbers" in warning
    real = pixels["above"].astype(np.float32)
    assert warnings(second, left=pixels["left"], above=real) == []
    assert warnings(first, left=pixels["left"], above=real / 255) == []


def test_more_class_folders_than_classes_are_explained(
    network: Any,  # noqa: ANN401
    photos: Path,
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "rest").mkdir()
    shutil.copy(data / "ant" / "0.png", data / "rest")
    warnings = convert(network, data=data, output=tmp_path / "m.tflite").warnings
    (found,) = [each for each in warnings if "class folders" in each]
    assert "4 class folders (ant, bee, cat, rest), the network has 3 classes" in found
    shutil.rmtree(data / "rest")
    shutil.rmtree(data / "cat")  # samples of some classes are enough
    warnings = convert(network, data=data, output=tmp_path / "m.tflite").warnings
    assert not [each for each in warnings if "class folders" in each]
