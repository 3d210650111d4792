# SPDX-License-Identifier: Apache-2.0
"""`convert` reports a float model that is wrong by the labels, and which pixels are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.host.convert import convert
from edgekit.host.convert.labelled import LabelCheck, should_try_others

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]

_LEVELS = {"bright": 230, "dark": 25, "middle": 128}
_RNG = np.random.default_rng(4)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty pictures in classes by brightness."""
    for name, level in _LEVELS.items():
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = _RNG.integers(level - 20, level + 20, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def _brightness(keras: Any, order: tuple[str, ...]) -> Any:  # noqa: ANN401
    """A network that classifies the mean brightness from -1 to 1; its classes in ``order``."""
    slopes, offsets = {"bright": 9.0, "dark": -9.0, "middle": 0.0}, {"middle": 4.0}
    source = keras.Input((8, 8, 3))
    dense = keras.layers.Dense(3, activation="softmax")
    model = keras.Model(source, dense(keras.layers.GlobalAveragePooling2D()(source)))
    weights = np.array([[slopes[name] / 3 for name in order]] * 3)
    dense.set_weights([weights, np.array([offsets.get(name, 0.0) for name in order])])
    return model


_SORTED = ("bright", "dark", "middle")


def test_wrong_pixels_are_reported_and_the_printed_ones_are_right(
    keras: Any,  # noqa: ANN401
    photos: Path,
    tmp_path: Path,
) -> None:
    model = _brightness(keras, _SORTED)
    wrong = convert(model, data=photos, output=tmp_path / "wrong.tflite", num_samples=30)
    told = [text for text in wrong.warnings if "the float model itself" in text]
    assert len(told) == 1
    assert wrong.agreement is not None
    assert wrong.agreement.verdict == "doubtful"  # both models give the same wrong answers
    assert wrong.label_check is not None
    assert wrong.label_check.num_right < 25
    printed = re.search(r"convert again with --preprocess (\S+)$", told[0])
    assert printed is not None
    assert printed.group(1).startswith("tf,")

    right = convert(
        model,
        data=photos,
        output=tmp_path / "right.tflite",
        num_samples=30,
        preprocess=printed.group(1),
    )
    assert right.label_check is not None
    assert right.label_check.num_right == right.label_check.num_samples == 30
    assert not [text for text in right.warnings if "the float model itself" in text]


def test_classes_in_another_order_than_the_folders_are_reported(
    keras: Any,  # noqa: ANN401
    photos: Path,
    tmp_path: Path,
) -> None:
    order = ("middle", "bright", "dark")
    model = _brightness(keras, order)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(order), encoding="utf-8")
    output = tmp_path / "m.tflite"
    result = convert(model, data=photos, output=output, num_samples=30, preprocess="tf")
    assert result.label_check is not None
    assert result.label_check.num_right == 0
    told = [text for text in result.warnings if "no better than guessing" in text]
    assert len(told) == 1
    assert "--labels" in told[0]

    named = convert(
        model, data=photos, output=output, num_samples=30, preprocess="tf", labels=names
    )
    assert named.label_check is not None
    assert named.label_check.num_right == 30
    assert not [text for text in named.warnings if "the float model itself" in text]


def test_labels_of_other_classes_than_the_networks_are_not_counted(
    keras: Any,  # noqa: ANN401
    photos: Path,
    tmp_path: Path,
) -> None:
    two = photos.parent / "two"
    two.mkdir()
    for name in ("bright", "dark"):
        (photos / name).rename(two / name)
    result = convert(
        _brightness(keras, _SORTED), data=two, output=tmp_path / "m.tflite", num_samples=20
    )
    assert result.label_check is None


@pytest.mark.parametrize(
    ("right", "is_guess", "expected"),
    [(95, True, False), (80, True, True), (80, False, False), (60, False, True)],
)
def test_other_preprocessings_are_tried_if_too_few_samples_are_right(
    right: int, is_guess: bool, expected: bool
) -> None:
    found = LabelCheck(100, right, num_classes=2, num_most_frequent=50)
    assert should_try_others(found, is_guess=is_guess) is expected


def test_a_constant_answer_counts_as_guessing_also_for_uneven_classes() -> None:
    assert LabelCheck(100, 80, num_classes=2, num_most_frequent=80).is_guessing
    assert not LabelCheck(100, 95, num_classes=2, num_most_frequent=80).is_guessing
    # A single class shows nothing.
    assert not LabelCheck(100, 100, num_classes=2, num_most_frequent=100).is_guessing
