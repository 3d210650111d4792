# SPDX-License-Identifier: Apache-2.0
"""`evaluate --against` compares any two models, output by output, with a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data.describe import with_notes
from edgekit.errors import UnsupportedModelError
from edgekit.evaluate import EvaluateResult, evaluate
from edgekit.evaluate.outputs import Agreement, joined_cuts, output_order
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, read_model, write_model
from edgekit.formats.tflite_metadata import Notes
from edgekit.runtime import Runner, TensorInfo
from tests.evaluate.conftest import linear

_RNG = np.random.default_rng(11)


def _quality(result: EvaluateResult) -> Agreement:
    assert result.against is not None
    assert result.against.quality is not None
    return result.against.quality


def _files(tmp_path: Path, weights: np.ndarray, noise: float) -> tuple[Path, Path, Path]:
    """Samples, a regressor of many outputs, and one whose weights are off by ``noise``."""
    np.savez(tmp_path / "x.npz", x=_RNG.normal(size=(60, 4, 4)).astype(np.float32))
    (tmp_path / "float.tflite").write_bytes(linear(weights, (1, 4, 4)))
    other = weights + _RNG.normal(scale=noise, size=weights.shape)
    (tmp_path / "other.tflite").write_bytes(linear(other, (1, 4, 4)))
    return tmp_path / "x.npz", tmp_path / "float.tflite", tmp_path / "other.tflite"


@pytest.mark.parametrize(("noise", "verdict"), [(0.02, "good"), (0.7, "bad")])
def test_outputs_without_a_task_are_compared(tmp_path: Path, noise: float, verdict: str) -> None:
    weights = _RNG.normal(size=(30, 16))
    data, reference, model = _files(tmp_path, weights, noise)
    result = evaluate(model, data, against=reference, task="none")
    quality = _quality(result)
    assert (result.task, result.metrics, quality.num_samples) == ("none", {}, 60)
    assert quality.verdict == verdict
    with np.load(str(data)) as arrays:
        x = arrays["x"].reshape(60, 16)
    expected = x @ read_weights(reference).T
    off = x @ read_weights(model).T - expected
    ratio = ((expected - expected.mean(0)) ** 2).sum() * 60 / 59 / (off**2).sum()
    assert quality.outputs[0].record.centred_snr_db == pytest.approx(10 * np.log10(ratio), abs=0.02)
    assert bool(result.warnings) == (verdict == "bad")


def read_weights(path: Path) -> np.ndarray:
    model = read_model(path)
    data = model.data(model.main.tensors[3])
    assert data is not None
    return np.asarray(data)


def test_the_worker_count_changes_nothing_and_256_samples_are_enough(tmp_path: Path) -> None:
    _, reference, model = _files(tmp_path, _RNG.normal(size=(3, 16)), 0.1)
    x = _RNG.normal(size=(1000, 4, 4)).astype(np.float32)
    x[500:] *= 3  # the compared samples are spread over the data
    np.savez(tmp_path / "many.npz", x=x)
    results = [
        _quality(evaluate(model, tmp_path / "many.npz", against=reference, num_workers=workers))
        for workers in (1, 3)
    ]
    assert results[0].num_samples == 250
    assert results[0].outputs[0].record.spread == pytest.approx(
        results[1].outputs[0].record.spread, rel=1e-9
    )
    expected = x[::4].reshape(250, 16) @ read_weights(reference).T
    assert results[0].outputs[0].record.spread == pytest.approx(expected.std(0, ddof=1).mean(), 0.1)


def test_a_resumed_run_compares_the_same_samples(tmp_path: Path) -> None:
    data, reference, model = _files(tmp_path, _RNG.normal(size=(30, 16)), 0.3)
    journal = tmp_path / "journal"
    whole = _quality(evaluate(model, data, against=reference, task="none", journal=journal))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]))
    again = evaluate(model, data, against=reference, task="none", journal=journal, resume=True)
    assert _quality(again) == whole


def test_the_float_model_is_the_reference_whichever_comes_first(
    int8_path: Path, float_path: Path, tmp_path: Path
) -> None:
    with Runner(int8_path) as runner:
        shape = runner.inputs[0].shape
    np.savez(tmp_path / "x.npz", x=_RNG.random((60, *shape[1:])).astype(np.float32))
    one = _quality(evaluate(int8_path, tmp_path / "x.npz", against=float_path))
    other = _quality(evaluate(float_path, tmp_path / "x.npz", against=int8_path))
    assert one.outputs[0].record.step is not None
    assert one.outputs == other.outputs


@pytest.mark.parametrize("is_labelled", [True, False])
def test_numbers_in_a_row_are_classes_if_the_data_have_classes(
    tmp_path: Path, *, is_labelled: bool
) -> None:
    """The second model has its rows in another order; without labels their meaning is unknown."""
    weights = _RNG.normal(size=(5, 16))
    (tmp_path / "a.tflite").write_bytes(linear(weights, (1, 4, 4)))
    (tmp_path / "b.tflite").write_bytes(linear(weights[[1, 0, 2, 3, 4]], (1, 4, 4)))
    x = _RNG.normal(size=(200, 4, 4)).astype(np.float32)
    best = (x.reshape(200, 16) @ weights.T).argmax(1)
    labels = {"y": best} if is_labelled else {}
    np.savez(tmp_path / "x.npz", x=x, **labels)
    quality = _quality(
        evaluate(tmp_path / "b.tflite", tmp_path / "x.npz", against=tmp_path / "a.tflite")
    )
    assert quality.verdict == "bad"
    if not is_labelled:
        assert quality.decoded is None
        return
    assert quality.decoded is not None
    assert quality.decoded.found == int((best > 1).sum())
    assert quality.decoded.verdict == "bad"


@pytest.mark.parametrize(("num_values", "task"), [(1, "none"), (4, "none"), (5, "classification")])
def test_few_numbers_without_labels_or_names_are_not_taken_for_classes(
    tmp_path: Path, num_values: int, task: str
) -> None:
    weights = _RNG.normal(size=(num_values, 16))
    data, reference, model = _files(tmp_path, weights, 0.002)
    result = evaluate(model, data, against=reference)
    assert result.task == task
    assert _quality(result).verdict == "good"


def test_outputs_in_another_order_are_found_by_their_names_or_shapes() -> None:
    infos = [TensorInfo("a", (1, 3), "float32", None, None, 0)]
    infos.append(TensorInfo("b", (1, 7), "float32", None, None, 1))
    assert output_order(infos, infos[::-1]) == (1, 0)
    with pytest.raises(UnsupportedModelError, match="different outputs"):
        output_order(infos, infos[:1])


def test_parts_of_a_joined_output_are_compared_with_their_part(tmp_path: Path) -> None:
    """`edgekit fix --rule outputs` gives boxes and scores outputs of their own."""
    weights = _RNG.normal(size=(30, 16))
    data, whole, _ = _files(tmp_path, weights, 0)
    model = read_model(whole)
    tensors, (last,) = list(model.main.tensors), model.main.outputs
    operators = list(model.main.operators)
    buffers = list(model.buffers)
    for first, size in ((0, 4), (4, 26)):
        ends = []
        for values in ([0, first], [1, size]):
            buffers.append(np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8))
            tensors.append(Tensor(f"at{len(tensors)}", (2,), "INT32", len(buffers) - 1))
            ends.append(len(tensors) - 1)
        tensors.append(Tensor(f"part{first}", (1, size), "FLOAT32", 0))
        cut = Operator(
            "SLICE", 1, (last, *ends), (len(tensors) - 1,), {}, "SliceOptions", builtin_code=65
        )
        operators.append(cut)
    outputs = tuple(i for i, each in enumerate(tensors) if each.name.startswith("part"))
    graph = replace(model.main, tensors=tuple(tensors), operators=tuple(operators), outputs=outputs)
    parts = write_model(replace(model, subgraphs=(graph,), buffers=tuple(buffers)))
    (tmp_path / "parts.tflite").write_bytes(parts)
    quality = _quality(evaluate(tmp_path / "parts.tflite", data, against=whole, task="none"))
    assert [each.record.identical for each in quality.outputs] == [True, True]
    assert [each.record.shape[-1] for each in quality.outputs] == [4, 26]


@pytest.mark.parametrize(
    ("parts", "cuts"),
    [
        ([(1, 896, 16), (1, 512, 1), (1, 384, 1)], (None, (1, [512]))),
        ([(1, 500, 16), (1, 396, 16), (1, 896, 1)], ((1, [500]), None)),
        ([(1, 896, 4), (1, 896, 12), (1, 512, 1), (1, 384, 1)], ((2, [4]), (1, [512]))),
        ([(1, 896, 16), (1, 896, 1)], None),
        ([(1, 896, 16), (1, 512, 1), (1, 383, 1)], None),
        ([(1, 896, 16), (1, 512, 1), (1, 384, 1), (1, 1)], None),
    ],
)
def test_each_of_several_outputs_is_cut_into_its_parts(
    parts: list[tuple[int, ...]], cuts: object
) -> None:
    """BlazeFace has boxes and scores, and each joins the heads of two sizes of maps."""
    whole = [(1, 896, 16), (1, 896, 1)]
    before, after = (
        [TensorInfo(str(n), shape, "float32", None, None, n) for n, shape in enumerate(shapes)]
        for shapes in (whole, parts)
    )
    assert joined_cuts(before, after) == cuts


def test_masks_are_compared_without_true_masks(tmp_path: Path) -> None:
    """A float mask with one channel needs --task or its int8 model to be recognized."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(12):
        pixels = _RNG.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    result = evaluate(_mask(0.0), folder, against=_mask(0.02), task="segmentation")
    decoded = _quality(result).decoded
    assert decoded is not None
    assert (result.metrics, decoded.task, decoded.num_samples) == ({}, "segmentation", 12)
    pixels = np.stack([np.asarray(Image.open(each)) for each in sorted(folder.iterdir())]) / 255
    first, second = (pixels.mean(-1) + shift >= 0.5 for shift in (0.0, 0.02))
    overlaps = [
        (first == kind)[second == kind].sum() / ((first == kind) | (second == kind)).sum()
        for kind in (0, 1)
    ]
    assert decoded.share == pytest.approx(np.mean(overlaps), abs=0.01)


def _mask(shift: float) -> bytes:
    empty = np.empty(0, np.uint8)
    constants = [np.full((1, 1, 1, 3), 1 / 3, "<f4"), np.full(1, shift, "<f4")]
    tensors = (
        Tensor("image", (1, 16, 16, 3), "FLOAT32", 0),
        Tensor("weights", (1, 1, 1, 3), "FLOAT32", 1),
        Tensor("bias", (1,), "FLOAT32", 2),
        Tensor("mask", (1, 16, 16, 1), "FLOAT32", 0),
    )
    options = {"padding": "SAME", "stride_w": 1, "stride_h": 1, "fused_activation_function": "NONE"}
    options.update(dilation_w_factor=1, dilation_h_factor=1)
    conv = Operator("CONV_2D", 1, (0, 1, 2), (3,), options, "Conv2DOptions", builtin_code=3)
    buffers = (empty, *(np.frombuffer(each.tobytes(), np.uint8) for each in constants))
    return write_model(Model((Subgraph(tensors, (0,), (3,), (conv,)),), buffers))


def test_a_float_model_whose_answers_do_not_vary_is_named_as_the_cause(tmp_path: Path) -> None:
    """A row of ones on inputs that sum to 1: the results of an untrained network."""
    x = _RNG.random((60, 16)).astype(np.float32)
    x /= x.sum(axis=1, keepdims=True)
    np.savez(tmp_path / "x.npz", x=x.reshape(60, 4, 4))
    (tmp_path / "float.tflite").write_bytes(linear(np.ones((3, 16)), (1, 4, 4)))
    other = np.ones((3, 16)) + _RNG.normal(scale=0.01, size=(3, 16))
    (tmp_path / "other.tflite").write_bytes(linear(other, (1, 4, 4)))
    result = evaluate(
        tmp_path / "other.tflite",
        tmp_path / "x.npz",
        against=tmp_path / "float.tflite",
        task="none",
    )
    assert [each.code for each in _quality(result).causes] == ["cause.constant_answers"]
    assert "returns nearly the same answer for all 60 samples" in result.warnings[-1]


def _planes(activation: str, weights: np.ndarray) -> bytes:
    """A 1x1 convolution of (1, 16, 16, 3), followed by ``activation``."""
    channels = len(weights)
    empty = np.empty(0, np.uint8)
    constants = [weights.reshape(channels, 1, 1, 3).astype("<f4"), np.zeros(channels, "<f4")]
    shape = (1, 16, 16, channels)
    tensors = (
        Tensor("image", (1, 16, 16, 3), "FLOAT32", 0),
        Tensor("weights", (channels, 1, 1, 3), "FLOAT32", 1),
        Tensor("bias", (channels,), "FLOAT32", 2),
        Tensor("maps", shape, "FLOAT32", 0),
        Tensor("planes", shape, "FLOAT32", 0),
    )
    options = {"padding": "SAME", "stride_w": 1, "stride_h": 1, "fused_activation_function": "NONE"}
    options.update(dilation_w_factor=1, dilation_h_factor=1)
    conv = Operator("CONV_2D", 1, (0, 1, 2), (3,), options, "Conv2DOptions", builtin_code=3)
    ends = {
        "LOGISTIC": Operator("LOGISTIC", 1, (3,), (4,), builtin_code=14),
        "SOFTMAX": Operator(
            "SOFTMAX", 1, (3,), (4,), {"beta": 1.0}, "SoftmaxOptions", builtin_code=25
        ),
    }
    operators = (conv, ends[activation]) if activation else (conv,)
    buffers = (empty, *(np.frombuffer(each.tobytes(), np.uint8) for each in constants))
    graph = Subgraph(tensors, (0,), (4 if activation else 3,), operators)
    return write_model(Model((graph,), buffers))


@pytest.mark.parametrize(
    ("activation", "is_mask"), [("", False), ("LOGISTIC", False), ("SOFTMAX", True)]
)
def test_planes_are_masks_if_their_probabilities_sum_to_1(
    tmp_path: Path, activation: str, is_mask: bool
) -> None:
    """Feature maps and pictures have the shape of masks; their argmax has no meaning."""
    np.savez(tmp_path / "x.npz", x=_RNG.random((20, 16, 16, 3)).astype(np.float32))
    weights = _RNG.normal(size=(4, 3))
    weights[1] = weights[0] * 1.001  # which of the two is larger is a matter of rounding
    (tmp_path / "float.tflite").write_bytes(_planes(activation, weights))
    other = weights + np.array([[0], [-0.002], [0], [0]])
    (tmp_path / "other.tflite").write_bytes(_planes(activation, other))
    result = evaluate(
        tmp_path / "other.tflite", tmp_path / "x.npz", against=tmp_path / "float.tflite"
    )
    quality = _quality(result)
    ratio = quality.outputs[0].record.centred_snr_db
    assert ratio is not None
    assert ratio > 40
    assert (quality.decoded is not None) == is_mask
    assert quality.verdict == ("bad" if is_mask else "good")
    asked = evaluate(
        tmp_path / "other.tflite",
        tmp_path / "x.npz",
        against=tmp_path / "float.tflite",
        task="segmentation",
    )
    assert _quality(asked).decoded is not None


@pytest.mark.parametrize(("other", "is_told"), [("unit", True), ("raw,filter=bilinear", False)])
def test_a_reference_for_other_pixels_is_reported(
    tmp_path: Path, other: str, is_told: bool
) -> None:
    content = linear(_RNG.normal(size=(3, 16)), (1, 4, 4))
    for name, how in (("model", "raw"), ("other", other)):
        (tmp_path / f"{name}.tflite").write_bytes(with_notes(content, Notes(how)))
    pixels = _RNG.integers(0, 256, (20, 4, 4)).astype(np.uint8)
    np.savez(tmp_path / "pixels.npz", x=pixels)
    np.savez(tmp_path / "real.npz", x=pixels.astype(np.float32))
    for data, expected in (("pixels.npz", is_told), ("real.npz", False)):
        result = evaluate(
            tmp_path / "model.tflite", tmp_path / data, against=tmp_path / "other.tflite"
        )
        told = [text for text in result.warnings if "made for other pixels" in text]
        assert bool(told) is expected
        assert all("other.tflite was made" in text and "unit" in text for text in told)
