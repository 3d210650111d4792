# SPDX-License-Identifier: Apache-2.0
"""A float model that hardly distinguishes the calibration samples shows no accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.cli.convert import render
from edgekit.evaluate.decoded import DecodedRecord
from edgekit.evaluate.outputs import Agreement, OutputQuality
from edgekit.host.convert import convert
from edgekit.host.convert.float_answers import one_sided
from edgekit.runtime import TensorInfo
from edgekit.runtime.agreement import OutputSums
from edgekit.runtime.quality import GOOD, NOT_SHOWN

_RNG = np.random.default_rng(5)


def _named(num_named: int, num_classes: int, num_samples: int) -> list[str]:
    record = DecodedRecord(
        "classification", num_samples, num_samples, num_samples, 0, 1.0, GOOD,
        num_classes=num_classes, num_named=num_named,
    )  # fmt: skip
    agreement = Agreement((1.0,), (40.0,), num_samples, GOOD, decoded=record)
    return [each.text for each in one_sided(agreement)]


def test_samples_of_few_classes_are_reported_if_they_are_not_few_by_chance() -> None:
    assert "names only 3 of its 10 classes" in _named(3, 10, 100)[0]
    assert "names only one of its 2 classes" in _named(1, 2, 60)[0]
    assert not _named(5, 10, 100)
    assert not _named(3, 10, 90)  # fewer than 10 samples for each class
    assert not _named(40, 1001, 256)
    assert not _named(1, 2, 40)


def _one_of_two_outputs(rows: NDArray[np.float64]) -> list[str]:
    sums = OutputSums(TensorInfo("kind", (1, rows.shape[1]), "float32", None, None, 0))
    sums.add(rows, rows + 0.001)
    output = OutputQuality(sums.record(), GOOD, ())
    return [each.text for each in one_sided(Agreement((1.0,), (40.0,), 60, GOOD, (output,)))]


def test_classes_of_one_of_several_outputs_are_looked_at_if_a_softmax_makes_them() -> None:
    rows = np.tile([0.1, 0.7, 0.2], (60, 1))
    (text,) = _one_of_two_outputs(rows)
    assert text.startswith("on 100% of the 60 samples the float model names the same one of the 3")
    assert not _one_of_two_outputs(rows * 2)  # labels or targets: their sum is not 1
    rows[::2] = [0.6, 0.3, 0.1]
    assert not _one_of_two_outputs(rows)


@pytest.mark.host
@pytest.mark.usefixtures("kept_converter")
def test_accuracy_is_not_shown_if_the_samples_are_all_of_one_class(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    source = keras.Input((4,))
    dense = keras.layers.Dense(2, activation="softmax")
    model = keras.Model(source, dense(source))
    dense.set_weights([np.array([[4.0, -4], [4, -4], [0, 0], [0, 0]]), np.zeros(2)])
    samples = _RNG.uniform(0.1, 1, (160, 4)).astype(np.float32)
    one = convert(model, data=list(samples), output=tmp_path / "one.tflite")
    assert one.agreement is not None
    assert one.agreement.verdict == NOT_SHOWN
    assert [each.code for each in one.agreement.unlike] == ["quality.few_answers"]
    assert sum("names only one of its 2 classes" in text for text in one.warnings) == 1
    measure = f"next: measure it, with such samples as DATA: {one.measured_with}"
    assert sum(text.endswith(measure) for text in one.warnings) == 1

    random = convert(model, data="random", output=tmp_path / "random.tflite")
    assert not any("classes" in text for text in random.warnings)

    samples[::2] *= -1
    both = convert(model, data=list(samples), output=tmp_path / "both.tflite")
    assert both.agreement is not None
    assert both.agreement.verdict == NOT_SHOWN
    assert (one.like_training, both.like_training) == (False, None)
    lines = list(render(both))
    assert lines[1].startswith("accuracy   not shown: like the float model on")
    assert lines[2].endswith(f"edgekit evaluate {tmp_path / 'both.tflite'} --data DATA")
    assert not any("good" in line for line in lines)
    seem = "accuracy   not shown: like the float model on 60 samples, but these seem unlike those"
    assert any(line.startswith(seem) for line in render(one))
    assert not any("classes" in text for text in both.warnings)
