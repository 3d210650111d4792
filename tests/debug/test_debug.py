# SPDX-License-Identifier: Apache-2.0
"""Find where an int8 model loses accuracy: matching, errors, causes, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.cli.main import main
from edgekit.debug.samples import pair_inputs
from edgekit.debug.twin import float_twin, with_moved_weights
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.formats.tflite import Model, Quantization, Subgraph, Tensor, write_model
from tests.rewrite.conftest import Graph

_NUM = 12


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.random.default_rng(3).random((_NUM, 8, 8, 1)).astype(np.float32))
    return path


@pytest.fixture
def fitted(int8_model: Model, float_model: Model, data: Path) -> Model:
    """The integer classifier, with ranges that fit the data."""
    found = edgekit.debug(write_model(float_model), write_model(int8_model), data)
    ranges = {each.name: each.range for each in found.operators}
    model = _with_range(int8_model, "conv/relu", (0.0, ranges["conv/relu"][1]))
    for name in ("pool/max", "flatten/flat"):
        model = _with_range(model, name, (0.0, ranges["conv/relu"][1]))
    for name in ("dense/scores", "scores"):
        model = _with_range(model, name, ranges["dense/scores"])
    return model


def _with_range(model: Model, name: str, ends: tuple[float, float]) -> Model:
    graph = model.main
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = (high - low) / 255
    tensors = []
    for each in graph.tensors:
        if each.name == name:
            first = 0 if each.dtype == "UINT8" else -128
            zero = round(first - low / scale)
            each = replace(each, quantization=Quantization((scale,), (zero,)))  # noqa: PLW2901
        tensors.append(each)
    return replace(model, subgraphs=(replace(graph, tensors=tuple(tensors)),))


def _with_weights(model: Model, name: str, factor: Any) -> Model:  # noqa: ANN401 - or an array
    tensors = []
    for each in model.main.tensors:
        if each.name == name and each.quantization is not None:
            scale = tuple(float(s) for s in each.quantization.scale * np.asarray(factor))
            each = replace(each, quantization=replace(each.quantization, scale=scale))  # noqa: PLW2901
        tensors.append(each)
    return replace(model, subgraphs=(replace(model.main, tensors=tuple(tensors)),))


def _renamed(model: Model) -> Model:
    tensors = tuple(
        replace(each, name=f"t{index}") for index, each in enumerate(model.main.tensors)
    )
    return replace(model, subgraphs=(replace(model.main, tensors=tensors),))


def test_operators_are_matched_without_their_names(
    fitted: Model, float_model: Model, data: Path
) -> None:
    result = edgekit.debug(write_model(float_model), write_model(_renamed(fitted)), data)
    matched = {each.opcode: each.float_name for each in result.operators if each.float_name}
    assert matched["CONV_2D"] == "conv/relu"
    assert matched["MAX_POOL_2D"] == "pool/max"
    assert matched["FULLY_CONNECTED"] == "scores"


def test_a_healthy_model_has_rounding_only(fitted: Model, float_model: Model, data: Path) -> None:
    result = edgekit.debug(write_model(float_model), write_model(fitted), data)
    assert [each.kind for each in result.causes] == ["rounding"]
    dense = next(each for each in result.operators if each.opcode == "FULLY_CONNECTED")
    assert dense.isolated_rmse_over_scale == pytest.approx(result.rounding_floor, rel=0.25)
    # The errors of the operators are independent, so their sum is about the whole error.
    assert result.snr_db is not None
    assert result.sum_of_isolated_snr_db == pytest.approx(result.snr_db, abs=2.0)


def test_the_accumulated_error_of_an_output_is_that_of_the_model(
    fitted: Model, float_model: Model, data: Path
) -> None:
    """The oracle runs both models without `edgekit.debug`, with other kernels."""
    x = np.load(data)["x"]
    with edgekit.Runner(write_model(float_model)) as real, edgekit.Runner(
        write_model(fitted)
    ) as small:
        expected = np.stack([real.predict(each[None])[0] for each in x])
        actual = np.stack([small.predict(each[None])[0] for each in x])
    noise = np.square(actual - expected).sum()
    signal = np.square(expected - expected.mean(0)).sum()
    result = edgekit.debug(write_model(float_model), write_model(fitted), data)
    assert result.outputs[0].snr_db == pytest.approx(10 * np.log10(signal / noise), abs=1.0)


@pytest.mark.parametrize(
    ("kind", "index"), [("wide_range", 1), ("saturation", 1), ("weights", 1), ("weights", 4)]
)
def test_a_planted_fault_is_the_first_cause(
    kind: str, index: int, fitted: Model, float_model: Model, data: Path
) -> None:
    top = next(t for t in fitted.main.tensors if t.name == "conv/relu").scale
    assert top is not None
    model = fitted
    if kind == "weights":
        model = _with_weights(fitted, "conv/w" if index == 1 else "dense/w", 1.5)
    else:
        factor = 8.0 if kind == "wide_range" else 0.4
        for name in ("conv/relu", "pool/max", "flatten/flat"):
            model = _with_range(model, name, (0.0, 255 * top * factor))
    result = edgekit.debug(write_model(float_model), write_model(model), data)
    first = result.causes[0]
    assert (first.kind, first.index) == (kind, index)
    assert first.share > 0.5


def _refusal(first: bytes, second: bytes, data: Path) -> UnsupportedModelError:
    with pytest.raises(UnsupportedModelError) as caught:
        edgekit.debug(first, second, data)
    return caught.value


def test_exchanged_files_are_refused(int8_model: Model, float_model: Model, data: Path) -> None:
    real, small = write_model(float_model), write_model(int8_model)
    assert _refusal(small, real, data).code == "debug.not_float"
    assert _refusal(real, real, data).code == "debug.not_integer"


def test_another_network_is_refused(fitted: Model, float_model: Model, data: Path) -> None:
    graph, random = float_model.main, np.random.default_rng(0)
    buffers = list(float_model.buffers)
    for each in graph.tensors:
        if each.name in {"conv/w", "dense/w"}:
            values = random.normal(size=each.num_elements).astype("<f4")
            buffers[each.buffer] = np.frombuffer(values.tobytes(), np.uint8)
    other = replace(float_model, buffers=tuple(buffers))
    assert _refusal(write_model(other), write_model(fitted), data).code == "debug.different"


def test_inputs_of_other_sizes_are_refused(fitted: Model, float_model: Model, data: Path) -> None:
    tensors = tuple(
        replace(each, shape=(1, 10, 10, 1)) if each.name == "image" else each
        for each in float_model.main.tensors
    )
    other = replace(float_model, subgraphs=(replace(float_model.main, tensors=tensors),))
    assert _refusal(write_model(other), write_model(fitted), data).code == "debug.different"


def test_samples_with_nan_are_refused(fitted: Model, float_model: Model, tmp_path: Path) -> None:
    path = tmp_path / "nan.npz"
    np.savez(path, x=np.full((3, 8, 8, 1), np.nan, np.float32))
    with pytest.raises(DataError) as caught:
        edgekit.debug(write_model(float_model), write_model(fitted), path)
    assert caught.value.code == "debug.not_finite"


def test_the_command_prints_a_table_and_a_cause(
    fitted: Model,
    float_path: Path,
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "small.tflite"
    path.write_bytes(write_model(fitted))
    words = ["debug", str(float_path), str(path), "--data", str(data)]
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "CONV_2D" in text
    assert "cause 1    rounding" in text
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "edgekit.debug/1"
    assert {"index", "opcode", "name", "kind", "advice"} <= set(document["causes"][0])


def test_missing_data_is_an_error_with_status_3(
    float_path: Path, int8_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["debug", str(float_path), str(int8_path), "--data", "nowhere"])
    assert caught.value.code == 3
    assert "nowhere" in capsys.readouterr().err


def test_an_equalized_network_is_matched_with_factors(
    fitted: Model, float_model: Model, data: Path
) -> None:
    """Channels of the convolution are scaled, and the dense layer divides by the same factors."""
    factors = np.array([1.0, 4.0, 0.25, 2.0])
    model = _with_weights(fitted, "conv/w", factors)
    model = _with_weights(model, "conv/b", factors)
    graph = model.main
    weights = next(each for each in graph.tensors if each.name == "dense/w")
    codes = np.asarray(model.data(weights), np.float64)
    real = codes * (weights.scale or 1.0) / np.tile(factors, 9)
    scale = float(np.abs(real).max() / 127)
    buffers = list(model.buffers)
    buffers[weights.buffer] = np.frombuffer(np.rint(real / scale).astype(np.int8), np.uint8)
    tensors = tuple(
        replace(each, quantization=Quantization((scale,), (0,))) if each is weights else each
        for each in graph.tensors
    )
    model = replace(model, buffers=tuple(buffers), subgraphs=(replace(graph, tensors=tensors),))
    for name in ("conv/relu", "pool/max", "flatten/flat"):
        model = _with_range(model, name, (0.0, 16.0))
    result = edgekit.debug(write_model(float_model), write_model(model), data)
    matched = {each.opcode: each.matched for each in result.operators}
    assert matched["CONV_2D"] == matched["MAX_POOL_2D"] == "factors"
    assert matched["FULLY_CONNECTED"] == "values"
    assert "weights" not in {each.kind for each in result.causes}


def test_calibration_with_other_pixels_is_found(
    fitted: Model, float_model: Model, data: Path
) -> None:
    model = fitted
    for name in ("image", "image_int8"):
        model = _with_range(model, name, (-1.0, 1.0))
    for name in ("conv/relu", "pool/max", "flatten/flat"):
        model = _with_range(model, name, (0.0, 2.0))
    first = edgekit.debug(write_model(float_model), write_model(model), data).causes[0]
    assert (first.kind, first.index) == ("preprocess", None)
    assert "tf" in first.text


def test_inputs_in_another_order_are_paired() -> None:
    def model(shape: tuple[int, ...]) -> Model:
        tensor = Tensor("image", shape, "FLOAT32", 0)
        return Model((Subgraph((tensor,), (0,), (0,), ()),), ())

    (match,) = pair_inputs(model((1, 3, 8, 6)), model((1, 8, 6, 3)), "").values()
    values = np.random.default_rng(0).random((1, 3, 8, 6)).astype(np.float32)
    assert np.array_equal(match.ordered(values, (1, 8, 6, 3)), values.transpose(0, 2, 3, 1))


def test_indices_of_words_are_inputs(tmp_path: Path) -> None:
    """An embedding: GATHER reads int32 indices, which have no scale."""
    graph = Graph((1, 6))
    graph.tensors[graph.input] = Tensor("words", (1, 6), "INT32", 0)
    table = graph.random.integers(-127, 128, (10, 8)).astype(np.int8)
    rows = graph.constant(table, Quantization((0.05,), (0,)))
    options = {"axis": 0, "batch_dims": 0}
    out = graph.tensor((1, 6, 8), 0.05, 0)
    graph.apply("GATHER", [rows, graph.input], out, options, "GatherOptions")
    graph.dense(4, keep_num_dims=True)
    model = graph.model()
    path = tmp_path / "words.npy"
    np.save(path, graph.random.integers(0, 10, (_NUM, 6)).astype(np.int32))
    result = edgekit.debug(write_model(float_twin(model)), write_model(model), path)
    assert (result.num_matched, result.num_operators) == (2, 2)


def test_an_output_may_be_a_constant(int8_model: Model, data: Path) -> None:
    graph = int8_model.main
    constant = next(i for op in graph.operators for i in op.inputs if _is_constant(int8_model, i))
    outputs = (*graph.outputs, constant)
    model = replace(int8_model, subgraphs=(replace(graph, outputs=outputs),), signature_defs=())
    result = edgekit.debug(write_model(float_twin(model)), write_model(model), data)
    assert len(result.outputs) == 1


def _is_constant(model: Model, index: int) -> bool:
    tensor = model.main.tensors[index]
    return tensor.quantization is not None and bool(model.buffers[tensor.buffer].size)


def test_equal_samples_are_no_other_network(
    fitted: Model, float_model: Model, tmp_path: Path
) -> None:
    path = tmp_path / "equal.npy"
    one = np.random.default_rng(3).random((1, 8, 8, 1)).astype(np.float32)
    np.save(path, np.repeat(one, 4, axis=0))
    result = edgekit.debug(write_model(float_model), write_model(fitted), path)
    assert any("the same answer" in each for each in result.warnings)


def test_the_weights_of_a_transposed_convolution_are_moved() -> None:
    """They are input 1, behind the shape and before the image; its rounding must be explained."""
    graph = Graph((1, 3, 3, 2))
    codes = graph.random.integers(1, 128, (4, 2, 2, 2)).astype(np.int8)
    shape = graph.constant(np.array((1, 6, 6, 4), np.int32))
    weights = graph.constant(codes, Quantization((0.1,), (0,)))
    out = graph.tensor((1, 6, 6, 4), 0.3)
    graph.apply(
        "TRANSPOSE_CONV",
        [shape, weights, graph.x],
        out,
        {"padding": "VALID", "stride_w": 2, "stride_h": 2, "fused_activation_function": "NONE"},
        "TransposeConvOptions",
    )
    model = graph.model()
    twin = float_twin(model)
    moved = with_moved_weights(twin, model)
    before, after = (each.data(each.main.tensors[weights]) for each in (twin, moved))
    assert before is not None
    assert after is not None
    distance = np.abs(after - before)
    assert distance.min() > 0
    assert distance.max() <= 0.05 + 1e-6


def test_rounded_factors_are_no_other_weights(tmp_path: Path) -> None:
    """MUL with a constant for each channel, as batch normalization leaves it."""
    graph = Graph((1, 4, 5, 8))
    graph.tensors[graph.input] = replace(
        graph.tensors[graph.input], quantization=Quantization((8 / 255,), (0,))
    )
    codes = graph.random.integers(-127, 128, 8).astype(np.int8)
    factors = graph.constant(codes, Quantization((0.01,), (0,)))
    out = graph.tensor((1, 4, 5, 8), 10 / 255, 0)
    options = {"fused_activation_function": "NONE"}
    graph.apply("MUL", [graph.x, factors], out, options, "MulOptions")
    model = graph.model()
    twin = float_twin(model)
    real = (codes + graph.random.uniform(-0.5, 0.5, 8)) * 0.01
    buffers = list(twin.buffers)
    place = twin.main.tensors[factors].buffer
    buffers[place] = np.frombuffer(real.astype("<f4").tobytes(), np.uint8)
    network = replace(twin, buffers=tuple(buffers))
    path = tmp_path / "data.npy"
    np.save(path, graph.random.uniform(-4, 4, (_NUM, 4, 5, 8)).astype(np.float32))
    result = edgekit.debug(write_model(network), write_model(model), path)
    assert {each.kind for each in result.causes} == {"rounding"}
