# SPDX-License-Identifier: Apache-2.0
"""Inputs with normalized features: the same answers, and each feature uses the whole range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit import Runner, check, convert, debug, evaluate, inspect
from edgekit.data import NORMALIZED
from edgekit.errors import ModelFormatError, UsageError
from edgekit.evaluate.outputs import Agreement
from edgekit.formats.features import FEATURES_NAME, Features, read_features, with_features
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model, write_model
from edgekit.host.convert.improve.inputs import normalize_inputs
from edgekit.host.convert.improve.ranges import range_of, with_ranges
from edgekit.rewrite.segments import segment_models
from tests.host.convert.improve.float_graph import FloatGraph

Step = Callable[[FloatGraph, int], int]
MEANS = np.array([101300.0, 300.0, 0.5, -2.0])
WIDTHS = np.array([800.0, 0.5, 0.5, 0.0])  # the last feature is constant


def _normalization(g: FloatGraph, x: int) -> int:
    left = g.arithmetic("SUB", x, g.constant(np.array([1e5, 290.0, 0, 0])))
    return g.dense(g.arithmetic("MUL", left, g.constant(np.array([1e-3, 1, 2, 3]))), 5)


def _wide_conv(g: FloatGraph, x: int) -> int:
    y = g.conv(x, 6, 3)
    op = g.operators[-1]
    g.operators[-1] = replace(op, options={**op.options, "padding": "VALID"})
    g.tensors[y] = replace(g.tensors[y], shape=(1, 4, 4, 6))
    return y


ROW, MAP = (1, 4), (1, 6, 6, 4)
SHIFTED: dict[str, tuple[tuple[int, ...], Step]] = {
    "dense": (ROW, lambda g, x: g.dense(x, 5)),
    "normalization": (ROW, _normalization),
    "addend": (ROW, lambda g, x: g.dense(g.arithmetic("ADD", x, g.weights(4)), 5)),
    "two readers": (ROW, lambda g, x: g.concat(g.dense(x, 5), g.dense(x, 3))),
    "convolution of points": (MAP, lambda g, x: g.conv(x, 6)),
    "convolution without padding": (MAP, _wide_conv),
    "as a map": (ROW, lambda g, x: g.conv(g.reshape(x, (1, 1, 1, 4)), 6)),
    "as a row": ((1, 3, 4), lambda g, x: g.dense(x, 5)),
}
SCALED: dict[str, tuple[tuple[int, ...], Step]] = {
    "convolution with padding": (MAP, lambda g, x: g.conv(x, 6, 3)),
    "depthwise": (MAP, lambda g, x: g.depthwise(x)),
    "pooling": (MAP, lambda g, x: g.conv(g.pool("MAX_POOL_2D", x), 6)),
    "relu": (ROW, lambda g, x: g.dense(g.simple("RELU", x), 5)),
}


def _samples(g: FloatGraph, shape: tuple[int, ...]) -> list[list[NDArray[Any]]]:
    values = MEANS + WIDTHS * g.random.uniform(-1, 1, (8, *shape))
    return [[each] for each in values.astype(np.float32)]


def _calibrated(g: FloatGraph, y: int) -> Model:
    """Return the network with a range for the input; what it is does not matter here."""
    return with_ranges(g.model(y), {g.input: (-10.0, 110000.0)})


@pytest.mark.parametrize("name", [*SHIFTED, *SCALED])
def test_a_normalized_network_has_the_same_answers(name: str) -> None:
    shape, step = {**SHIFTED, **SCALED}[name]
    g = FloatGraph(shape, 4)
    model = _calibrated(g, step(g, g.input))
    samples = _samples(g, shape)
    found = normalize_inputs(model, lambda: samples)
    assert found is not None
    with Runner(ModelFile.of(model)) as before, Runner(ModelFile.of(found.model)) as after:
        for (x,) in samples:
            (expected,), (actual,) = before.predict(x), after.predict(x)
            np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-4 * np.ptp(expected))
            (stored,) = next(found.batches([[x]]))
            np.testing.assert_array_equal(after.to_raw(x)[0], stored)
            assert np.abs(stored).max() <= 1.0001
    (features,) = read_features(found.model).values()
    is_shifted = name in SHIFTED
    assert (features.mean != (0, 0, 0, 0)) == is_shifted
    assert range_of(found.model.main.tensors[found.model.main.inputs[0]]) is not None


@pytest.mark.parametrize("opcode", ["TANH", "LOGISTIC"])
def test_where_no_weights_can_undo_it_nothing_changes(opcode: str) -> None:
    g = FloatGraph(ROW)
    model = _calibrated(g, g.dense(g.simple(opcode, g.input), 5))
    assert normalize_inputs(model, lambda: _samples(g, ROW)) is None


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"t0": 3}',
        b'{"t0": {"mean": [0], "std": [1]}}',
        b'{"t0": {"mean": [0, 0, 0, 0], "std": 1}}',
        b'{"t0": {"mean": [0, 0, 0, NaN], "std": [1, 1, 1, 1]}}',
        b'{"t0": {"mean": [0, 0, 0, 0], "std": [1, 1, 1, 0]}}',
    ],
)
def test_a_damaged_entry_is_named(entry: bytes) -> None:
    g = FloatGraph(ROW)
    model = g.model(g.dense(g.input, 5))
    damaged = replace(
        model,
        buffers=(*model.buffers, np.frombuffer(entry, np.uint8)),
        metadata={FEATURES_NAME: len(model.buffers)},
    )
    with pytest.raises(ModelFormatError, match=FEATURES_NAME):
        Runner(ModelFile.of(damaged))


def test_the_first_segment_normalizes() -> None:
    g = FloatGraph(ROW)
    model = g.model(g.dense(g.dense(g.input, 6), 5))
    features = {"t0": Features(tuple(MEANS), (800.0, 1.0, 1.0, 1.0))}
    first, second = segment_models(with_features(model, features), [[0], [1]])
    assert list(read_features(first).values()) == list(features.values())
    assert read_features(second) == {}


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float network on features of very different ranges, and samples for it."""
    g = FloatGraph(ROW, 2)
    widths = np.array([800.0, 0.5, 0.5, 0.01])
    first = g.dense(g.input, 24, "RELU")
    weights, bias = g.operators[-1].inputs[1:]
    g.set(weights, g.random.normal(size=(24, 4)) / widths)
    values = g.buffers[g.tensors[weights].buffer].view(np.float32).reshape(24, 4)
    g.set(bias, -values.astype(np.float64) @ MEANS)
    model = g.model(g.dense(first, 3))
    folder = tmp_path_factory.mktemp("sensors")
    (folder / "float.tflite").write_bytes(write_model(model))
    samples = MEANS + widths * g.random.uniform(-1, 1, (400, 4))
    np.savez(folder / "samples.npz", x=samples.astype(np.float32))
    return folder


def _ratios(agreement: Agreement) -> list[float]:
    return [-np.inf if each is None else each for each in agreement.snr_db]


@pytest.mark.host
def test_a_model_with_normalized_inputs_is_used_like_any_other(
    sensors: Path, tmp_path: Path
) -> None:
    source, data = sensors / "float.tflite", sensors / "samples.npz"
    plain = convert(source, data=data, output=tmp_path / "plain.tflite")
    made = convert(source, data=data, output=tmp_path / "a.tflite", normalize_inputs=True)
    assert plain.agreement is not None
    assert made.agreement is not None
    assert plain.agreement.verdict == "bad"
    assert "--normalize-inputs" in "\n".join(plain.warnings)
    assert made.agreement.verdict != "bad"
    assert _ratios(plain.agreement)[0] < 5
    assert _ratios(made.agreement)[0] > 25
    assert [each.name for each in made.improvements][-1] == "inputs"
    assert made.asked == {"--normalize-inputs": ""}
    report = check(tmp_path / "a.tflite")
    assert report.num_mapped == report.num_operators
    (features,) = inspect(tmp_path / "a.tflite").features
    assert (np.abs(np.array(features.mean) - MEANS) < 0.1 * np.array(features.std)).all()
    again = evaluate(tmp_path / "a.tflite", data, against=source, task="none")
    assert again.against is not None
    assert again.against.quality is not None
    assert _ratios(again.against.quality)[0] > 25


@pytest.mark.host
def test_debug_measures_a_model_with_normalized_inputs(sensors: Path, tmp_path: Path) -> None:
    """The oracle runs both models without `edgekit.debug`."""
    source, data = sensors / "float.tflite", sensors / "samples.npz"
    convert(source, data=data, output=tmp_path / "a.tflite", normalize_inputs=True)
    found = debug(source, tmp_path / "a.tflite", data, num_samples=400)
    x = np.load(data)["x"]
    with Runner(source) as real, Runner(tmp_path / "a.tflite") as small:
        wanted, made = (
            np.stack([each.predict(row[None])[0] for row in x]) for each in (real, small)
        )
    noise = np.square(made - wanted).sum() / np.square(wanted - wanted.mean(axis=0)).sum()
    assert found.outputs[0].snr_db == pytest.approx(-10 * np.log10(noise), abs=0.5)
    assert found.preprocess_reason == NORMALIZED
    assert found.num_matched == found.num_operators
    (features,) = inspect(tmp_path / "a.tflite").features
    scaled = (x - np.array(features.mean)) / np.array(features.std)
    commands = [each.command for each in found.causes if each.command.startswith("edgekit convert")]
    assert commands
    assert all("--normalize-inputs" in each for each in commands)
    assert found.operators[0].range == pytest.approx((scaled.min(), scaled.max()), abs=1e-3)


@pytest.mark.host
def test_normalization_of_pixels_is_refused(sensors: Path, tmp_path: Path) -> None:
    pixels = tmp_path / "pixels.npz"
    np.savez(pixels, x=np.zeros((20, 4), np.uint8))
    source, output = sensors / "float.tflite", tmp_path / "a.tflite"
    with pytest.raises(UsageError, match="the data are pixels"):
        convert(source, data=pixels, output=output, normalize_inputs=True)
    with pytest.raises(UsageError, match="no effect in --mode"):
        convert(source, output=output, normalize_inputs=True, mode="float")
