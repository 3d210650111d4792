# SPDX-License-Identifier: Apache-2.0
"""`convert` reports that the int8 model is worse than the float one, why, and the next step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import GateError, UnsupportedModelError, UsageError
from edgekit.evaluate.outputs import describe_agreement
from edgekit.fix import fix
from edgekit.formats.tflite import read_model
from edgekit.host.convert import ConvertResult, convert
from edgekit.runtime import Runner

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]

_RNG = np.random.default_rng(3)


def _sensors(widths: np.ndarray) -> Any:  # noqa: ANN401 - a Keras model
    """A classifier of features that vary over ``widths``, all equally informative."""
    import keras  # noqa: PLC0415

    keras.utils.set_random_seed(1)
    source = keras.Input((len(widths),))
    normal = keras.layers.BatchNormalization(epsilon=1e-9)
    outputs = keras.layers.Dense(4, activation="softmax")
    model = keras.Model(source, outputs(normal(source)))
    ones = np.ones_like(widths)
    normal.set_weights([ones, 0 * ones, widths / 2, widths**2 / 12])
    outputs.set_weights([_RNG.normal(scale=3, size=(len(widths), 4)), np.zeros(4)])
    return model


def _convert(model: Any, samples: Any, output: Path, **options: Any) -> ConvertResult:  # noqa: ANN401
    return convert(model, data=list(samples), output=output, **options)


def _codes(result: ConvertResult) -> list[str]:
    assert result.agreement is not None
    return [each.code for each in result.agreement.causes]


def test_features_of_very_different_ranges_are_named_as_the_cause(tmp_path: Path) -> None:
    widths = np.array([5000.0, 1, 1, 1, 1, 1])
    samples = (_RNG.random((200, 6)) * widths).astype(np.float32)
    result = _convert(_sensors(widths), samples, tmp_path / "m.tflite")
    assert result.agreement is not None
    assert result.agreement.verdict == "bad"
    assert _codes(result)[0] == "cause.features"
    text = "\n".join(result.warnings)
    assert "much worse than the float model on 100 samples" in text
    assert "5 of 6 (1 to 5)" in text
    assert "scale every feature" in text


@pytest.mark.parametrize(
    ("gate", "what"),
    [
        ({"min_agreement": 0.9}, "--min-agreement is 0.9"),
        ({"min_snr_db": 12}, "--min-snr-db is 12"),
    ],
)
def test_if_a_gate_is_not_met_nothing_is_written_and_the_reason_is_printed(
    gate: dict[str, float], what: str, tmp_path: Path
) -> None:
    widths = np.array([5000.0, 1, 1, 1, 1, 1])
    samples = (_RNG.random((60, 6)) * widths).astype(np.float32)
    with pytest.raises(GateError) as caught:
        _convert(_sensors(widths), samples, tmp_path / "m.tflite", num_samples=30, **gate)
    assert what in caught.value.what
    assert "5 of 6" in caught.value.why
    assert "scale every feature" in caught.value.fix
    assert caught.value.exit_status == 4
    assert not (tmp_path / "m.tflite").exists()


def test_a_gate_that_is_met_changes_nothing(tmp_path: Path) -> None:
    samples = _RNG.random((100, 6)).astype(np.float32)
    gates = {"min_agreement": 0.9, "min_snr_db": 12.0}
    _convert(_sensors(np.ones(6)), samples, tmp_path / "m.tflite", num_samples=50, **gates)
    assert (tmp_path / "m.tflite").exists()


@pytest.mark.parametrize("options", [{"min_agreement": 95}, {"min_snr_db": 3, "mode": "float"}])
def test_invalid_gates_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        convert(tmp_path / "none.keras", data="random", output=tmp_path / "m.tflite", **options)


def test_the_same_network_on_scaled_features_is_good_without_a_warning(tmp_path: Path) -> None:
    widths = np.ones(6)
    samples = _RNG.random((200, 6)).astype(np.float32)
    result = _convert(_sensors(widths), samples, tmp_path / "m.tflite")
    assert result.agreement is not None
    assert (result.agreement.verdict, result.warnings) == ("good", ())


def _detector(*, turned: bool) -> Any:  # noqa: ANN401 - a Keras model
    """Boxes in pixels and scores from 0 to 1, joined."""
    import keras  # noqa: PLC0415

    keras.utils.set_random_seed(2)
    source = keras.Input((16, 16, 3))
    boxes = keras.layers.Conv2D(4, 1, activation="sigmoid")(source) * 640.0
    scores = keras.layers.Conv2D(3, 1, activation="sigmoid")(source)
    joined = keras.layers.Concatenate()([boxes, scores])
    return keras.Model(source, keras.layers.Permute((2, 1, 3))(joined) if turned else joined)


def test_the_warning_for_boxes_and_scores_in_one_output_contains_the_command_to_split_them(
    tmp_path: Path,
) -> None:
    """Random data do not show the quality, but the join itself is found."""
    target = tmp_path / "m.tflite"
    result = convert(
        _detector(turned=False), data="random", num_samples=20, output=target, plain=True
    )
    assert _codes(result) == ["cause.mixed_output"]
    (text,) = (each for each in result.warnings if "boxes and scores" in each)
    assert f"edgekit fix {target} -o {tmp_path}/m_fixed.tflite" in text
    fix(target, tmp_path / "m_fixed.tflite", num_random=2)
    with Runner(tmp_path / "m_fixed.tflite") as runner:
        assert len(runner.outputs) == 2


def test_if_no_rewrite_splits_them_none_is_named(tmp_path: Path) -> None:
    result = convert(
        _detector(turned=True), data="random", num_samples=20, output=tmp_path / "m.tflite"
    )
    (text,) = (each for each in result.warnings if "boxes and scores" in each)
    assert "edgekit fix" not in text
    assert result.agreement is not None
    (line,) = describe_agreement(result.agreement)
    assert "channels 0 to 3 (" in line
    assert "channels 4 to 6 (" in line
    assert "end the network before the join" in text


def test_a_float_model_that_answers_with_infinity_is_an_error(tmp_path: Path) -> None:
    import keras  # noqa: PLC0415

    source = values = keras.Input((3,))
    for _ in range(135):  # above 2 ** 128, the limit of float32
        values = keras.layers.Add()([values, values])
    model = keras.Model(source, values)
    samples = (_RNG.random((60, 3)) + 1).astype(np.float32)
    with pytest.raises(UnsupportedModelError, match="30 of 30 samples with NaN or infinity"):
        _convert(model, samples, tmp_path / "m.tflite", num_samples=30)
    assert not (tmp_path / "m.tflite").exists()
    result = convert(model, data="random", output=tmp_path / "m.tflite", num_samples=30)
    assert any("with NaN or infinity" in each for each in result.warnings)


def test_arithmetic_does_not_change_the_range_of_its_input(tmp_path: Path) -> None:
    """TensorFlow's calibrator gives an input that is overwritten in place the result's range."""
    import keras  # noqa: PLC0415

    keras.utils.set_random_seed(2)
    image = keras.Input((6, 6, 3))
    place = keras.layers.Reshape((36, 4))(keras.layers.Conv2D(4, 1)(image))
    centres = _RNG.random((36, 4))
    boxes = keras.layers.Rescaling([0.1] * 4, centres.tolist())(place)
    pixels = keras.layers.Rescaling(48.0)(boxes)
    model = keras.Model(image, keras.layers.Permute((2, 1))(pixels))
    result = _convert(model, _RNG.random((40, 6, 6, 3), np.float32), tmp_path / "m.tflite")
    graph = read_model(tmp_path / "m.tflite").main
    scales = {each.opcode: graph.tensors[each.outputs[0]].scale for each in graph.operators}
    assert scales["MUL"] == pytest.approx(48 * (scales["ADD"] or 0), rel=0.05)
    assert result.agreement is not None
    (ratio,) = (each.record.centred_snr_db for each in result.agreement.outputs)
    assert ratio is not None
    assert ratio > 15
