# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware fine-tuning: the student rounds as the int8 model does, and recovers it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.cli import train as command
from edgekit.errors import DataError, UnsupportedModelError, UsageError
from edgekit.evaluate import evaluate
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.host.convert import convert
from edgekit.host.convert.quantizer import calibrate, quantize
from edgekit.host.convert.quantizer.fuse import fuse_activations
from edgekit.host.convert.trained_ranges import stored_ranges
from edgekit.host.train import train
from edgekit.host.train.network import Student, run_float
from edgekit.host.train.samples import TrainingSamples
from edgekit.host.train.train import LOSSES, _check_equal
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

pytestmark = [
    pytest.mark.host,
    pytest.mark.slow,
    pytest.mark.usefixtures("kept_converter"),
]

_SIDE = 8


@pytest.fixture(scope="module")
def tf(keras: Any) -> Any:  # noqa: ANN401
    """TensorFlow."""
    del keras
    import tensorflow as tf  # noqa: PLC0415 - slow

    return tf


def _branches(layers: Any) -> Any:  # noqa: ANN401
    x = image = layers.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(x)
    y = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(x)
    x = layers.Concatenate()([layers.Add()([x, y]), layers.MaxPooling2D(1)(x)])
    x = layers.PReLU(shared_axes=(1, 2))(x)
    gate = layers.Conv2D(16, 1, activation="sigmoid")(
        layers.GlobalAveragePooling2D(keepdims=True)(x)
    )
    x = layers.Multiply()([x, gate])
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x)
    x = layers.AveragePooling2D(3, strides=2)(layers.LeakyReLU()(x))
    return image, layers.Dense(5, activation="softmax")(layers.Flatten()(x))


def _recurrent_looking(layers: Any) -> Any:  # noqa: ANN401
    x = image = layers.Input((6, 4))
    x = layers.Dense(8, activation="tanh")(x)
    x = layers.Permute((2, 1))(x)
    x = layers.Conv1D(4, 3, padding="same", activation="relu")(x)
    x = layers.Subtract()([x, layers.Conv1D(4, 1)(x)])
    return image, layers.Dense(3)(layers.Flatten()(x))


@pytest.fixture(params=[_branches, _recurrent_looking], ids=lambda each: each.__name__)
def network(request: pytest.FixtureRequest, keras: Any, tmp_path: Path) -> Model:  # noqa: ANN401
    """A float network with random weights, in the form that the quantizer takes."""
    keras.utils.set_random_seed(3)
    source = keras.Model(*request.param(keras.layers))
    convert(source, output=tmp_path / "net.tflite", mode="float")
    return fuse_activations(read_model(tmp_path / "net.tflite"))


def _samples(model: Model, count: int) -> np.ndarray:
    shape = model.main.tensors[model.main.inputs[0]].shape[1:]
    return np.random.default_rng(5).random((count, *shape)).astype(np.float32)


def _outputs(model: Model, samples: np.ndarray) -> np.ndarray:
    with Runner(write_model(model)) as runner:
        return np.concatenate([runner.invoke(each[None])[0] for each in samples])


def test_the_student_is_the_int8_model_before_it_learns(network: Model, tf: Any) -> None:  # noqa: ANN401
    """In float the network is the interpreter's; rounded, it is the int8 model within a step."""
    samples = _samples(network, 16)
    output = network.main.outputs[0]
    real = run_float(tf, network, [tf.constant(samples)])[output].numpy()
    assert np.allclose(real, _outputs(network, samples), rtol=1e-4, atol=1e-5)
    calibrated = calibrate(network, ([each[None]] for each in samples))
    integer = quantize(calibrated, io="float32")
    made = Student(tf, calibrated).run([tf.constant(samples)])[output].numpy()
    step = integer.main.operators[-1].inputs[0]
    scale = integer.main.tensors[step].scale
    assert scale is not None
    wrong = np.abs(made - _outputs(integer, samples)) / scale
    assert wrong.max() <= 2.5
    assert (wrong < 0.5).mean() > 0.8


def test_a_student_that_did_not_learn_is_the_network(network: Model, tf: Any) -> None:  # noqa: ANN401
    calibrated = calibrate(network, ([each[None]] for each in _samples(network, 8)))
    student = Student(tf, calibrated)
    same = student.trained(student.arrays())
    assert write_model(quantize(same)) == write_model(quantize(calibrated))
    ranges = stored_ranges(write_model(same))
    assert ranges
    for index, tensor in enumerate(calibrated.main.tensors):
        if f"range {index}" in student.variables:
            quantization = tensor.quantization
            assert quantization is not None
            low, high = min(quantization.min[0], 0), max(quantization.max[0], 0)
            assert ranges[tensor.name] == pytest.approx((low, high))


@pytest.fixture(scope="module")
def digits(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ANN401
    """A folder with a SiLU network trained on small digits, and three sets of them."""
    datasets = pytest.importorskip("sklearn.datasets")
    folder = tmp_path_factory.mktemp("digits")
    loaded = datasets.load_digits()
    images = (loaded.images / 16).astype(np.float32)[..., None]
    rows = np.arange(len(images)) % 4
    for place, name in enumerate(("train", "val", "test")):
        chosen = rows == place + 1 if place else rows < 2
        np.savez(folder / f"{name}.npz", x=images[chosen], y=loaded.target[chosen])
    np.savez(folder / "unlabelled.npz", x=images[rows < 2])
    layers = keras.layers
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [
            keras.Input((_SIDE, _SIDE, 1)),
            layers.Conv2D(12, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("silu"),
            layers.DepthwiseConv2D(3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("silu"),
            layers.Conv2D(16, 3, strides=2, activation="silu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(images[rows < 2], loaded.target[rows < 2], epochs=15, verbose=0)
    model.save(folder / "net.keras")
    return folder


def _train(folder: Path, output: Path, **changes: Any) -> Any:  # noqa: ANN401
    given = {
        "data": folder / "train.npz",
        "eval_data": folder / "val.npz",
        "output": output,
        "replace_activations": "swish=relu6",
        "epochs": 6,
    }
    return train(folder / "net.keras", **{**given, **changes})


def test_training_makes_up_for_replaced_activations(digits: Path, tmp_path: Path) -> None:
    result = _train(digits, tmp_path / "out.tflite")
    assert result.loss == "both"
    before, best = result.plain.reference, result.epochs[result.best]
    assert result.plain.value < before - 0.02
    assert best.number
    assert best.score.value > max(before - 0.01, result.plain.value)
    test = evaluate(tmp_path / "out.tflite", digits / "test.npz")
    assert test.metrics["top1"] > before - 0.04
    assert result.convert.outcome.now.num_mapped == result.convert.outcome.now.num_operators
    # The trained network converts with exactly the trained ranges, whatever the samples.
    again = convert(
        tmp_path / "out_float.tflite", data=digits / "val.npz", output=tmp_path / "again.tflite"
    )
    assert any("quantization-aware training" in text for text in again.warnings)
    made, wanted = (read_model(tmp_path / name) for name in ("again.tflite", "out.tflite"))
    assert made.main.tensors == wanted.main.tensors
    evaluated = evaluate(tmp_path / "out.tflite", digits / "val.npz")
    assert evaluated.metrics["top1"] == best.score.value


def test_a_float_tflite_is_trained_too(digits: Path, tmp_path: Path) -> None:
    convert(digits / "net.keras", output=tmp_path / "net.tflite", mode="float")
    seen = []
    result = train(
        tmp_path / "net.tflite",
        data=digits / "train.npz",
        eval_data=digits / "val.npz",
        output=tmp_path / "out.tflite",
        epochs=1,
        num_samples=64,
        on_epoch=lambda each, best: seen.append((each, best)),
    )
    assert [each.number for each in result.epochs] == [0, 1]
    assert [each for each, _best in seen] == list(result.epochs)
    assert seen[-1][1].number == result.best
    assert result.convert.source_kind == "tflite"


def test_training_without_labels_learns_from_the_float_network(
    digits: Path, tmp_path: Path
) -> None:
    data = {"data": digits / "unlabelled.npz", "eval_data": digits / "unlabelled.npz"}
    result = _train(digits, tmp_path / "out.tflite", **data, epochs=4)
    assert result.loss == "distill"
    assert result.plain.reference is None
    best, first = result.epochs[result.best].score, result.epochs[0].score
    assert best.snr_db > first.snr_db + 2
    with pytest.raises(UsageError, match="--loss labels"):
        _train(digits, tmp_path / "other.tflite", **data, loss="labels")


def test_an_interrupted_training_continues_from_its_checkpoint(
    digits: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.tflite"

    def stop(done: int, total: int | None) -> None:
        if total is not None and total > 100 and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(digits, output, progress=stop, epochs=6)
    assert not output.exists()
    before = (tmp_path / "out.checkpoint.npz").read_bytes()
    with pytest.raises(DataError, match="a checkpoint of an earlier training") as caught:
        _train(digits, output, epochs=6)
    assert "--resume" in caught.value.fix
    assert (tmp_path / "out.checkpoint.npz").read_bytes() == before
    resumed = _train(digits, output, resume=True, epochs=6)
    whole = _train(digits, tmp_path / "whole.tflite", epochs=6)
    assert [each.number for each in resumed.epochs] == [each.number for each in whole.epochs]
    for mine, other in zip(resumed.epochs, whole.epochs, strict=True):
        assert mine.score.value == pytest.approx(other.score.value, abs=0.02)
    with pytest.raises(DataError, match="another training"):
        _train(digits, output, resume=True, learning_rate=0.5)
    with pytest.raises(DataError, match="evaluation"):
        _train(digits, output, resume=True, eval_data=digits / "test.npz")
    checkpoint = tmp_path / "out.checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:3000])
    with pytest.raises(DataError, match="cannot be read"):
        _train(digits, output, resume=True)


def test_bad_arguments_are_refused(digits: Path, tmp_path: Path) -> None:
    for changes in ({"epochs": 0}, {"loss": "x"}, {"train_batch": 0}):
        with pytest.raises(UsageError):
            _train(digits, tmp_path / "out.tflite", **changes)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names
    np.savez(tmp_path / "nan.npz", x=np.full((20, _SIDE, _SIDE, 1), np.nan, np.float32))
    with pytest.raises(DataError):
        _train(digits, tmp_path / "out.tflite", data=tmp_path / "nan.npz")


def test_an_operator_that_cannot_be_trained_is_named(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    layers = keras.layers
    image = layers.Input((4, 4, 2))
    keras.Model(image, keras.ops.sin(layers.Conv2D(2, 1)(image))).save(tmp_path / "net.keras")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((20, 4, 4, 2), np.float32))
    with pytest.raises(UnsupportedModelError, match="SIN"):
        train(
            tmp_path / "net.keras",
            data=tmp_path / "x.npz",
            eval_data=tmp_path / "x.npz",
            output=tmp_path / "out.tflite",
        )


def test_a_constant_with_the_dimension_of_the_batch_is_refused(tf: Any) -> None:  # noqa: ANN401
    graph = FloatGraph((1, 4, 4, 2), 1)
    own = graph.constant(np.ones((1, 4, 4, 2), np.float32))
    model = graph.model(graph.concat(graph.input, own))
    inputs = np.random.default_rng(0).random((8, 4, 4, 2), np.float32)
    with pytest.raises(UnsupportedModelError, match="in batches"):
        _check_equal(tf, model, TrainingSamples((inputs,), None, 0))


def test_scores_far_beyond_what_matters_are_limited_in_training_too(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    """Without --clip-logits a step of the scores is larger than what decides."""
    layers = keras.layers
    keras.utils.set_random_seed(5)
    image = layers.Input((8, 8, 1))
    hidden = layers.Conv2D(8, 3, activation="relu")(image)
    scores = layers.Conv2D(1, 1, name="scores")(hidden)
    network = keras.Model(image, scores)
    samples = np.random.default_rng(1).random((60, 8, 8, 1), np.float32)
    kernel, bias = network.get_layer("scores").get_weights()
    found = network.predict(samples, verbose=0)
    factor = 2000 / float(np.ptp(found))
    top = float(np.quantile(found, 0.97)) * factor
    network.get_layer("scores").set_weights([kernel * factor, bias - top])
    network.save(tmp_path / "net.keras")
    np.savez(tmp_path / "train.npz", x=samples[:40])
    np.savez(tmp_path / "eval.npz", x=samples[40:])
    result = train(
        tmp_path / "net.keras",
        data=tmp_path / "train.npz",
        eval_data=tmp_path / "eval.npz",
        output=tmp_path / "out.tflite",
        clip_logits=True,
        epochs=1,
        preprocess="raw",
    )
    with Runner(tmp_path / "out.tflite") as runner:
        low, high = runner.outputs[0].real_range or (0.0, 0.0)
    assert high - low <= 40
    assert result.convert.agreement is not None
    assert (result.convert.agreement.outputs[0].record.centred_snr_db or 0) > 5


def test_a_training_that_diverges_is_stopped_and_named(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    layers = keras.layers
    keras.utils.set_random_seed(6)
    image = layers.Input((8, 8, 1))
    hidden = layers.Conv2D(4, 3, activation="relu")(image)
    keras.Model(image, layers.Dense(3)(layers.Flatten()(hidden))).save(tmp_path / "net.keras")
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).random((32, 8, 8, 1), np.float32))
    np.savez(tmp_path / "y.npz", x=np.random.default_rng(2).random((16, 8, 8, 1), np.float32))
    result = train(
        tmp_path / "net.keras",
        data=tmp_path / "x.npz",
        eval_data=tmp_path / "y.npz",
        output=tmp_path / "out.tflite",
        learning_rate=1e30,
        epochs=3,
    )
    assert result.best == 0
    assert any(
        "diverged in epoch" in each and "--learning-rate" in each for each in result.warnings
    )


def test_the_command_knows_every_loss() -> None:
    assert command.LOSSES == LOSSES


def test_every_quantizable_operator_can_be_trained() -> None:
    from edgekit.host.convert.quantizer.rules import RULES  # noqa: PLC0415
    from edgekit.host.train.operators import KNOWN  # noqa: PLC0415

    # Their outputs are indices, or have no gradient of use.
    assert set(RULES) - set(KNOWN) <= {
        *("ARG_MAX", "ARG_MIN", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND"),
    }
