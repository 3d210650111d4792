# SPDX-License-Identifier: Apache-2.0
"""The data sets of TensorFlow and Keras as calibration data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.data import InputSpec, open_dataset
from edgekit.data.drawing import Drawing
from edgekit.data.spread import spread
from edgekit.errors import DataError

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]

_SPEC = (InputSpec("x", (1, 4, 5, 3)),)
_COUNT = 50
_PIXELS = np.arange(_COUNT, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((4, 5, 3), np.float32)
_LABELS = np.arange(_COUNT) % 5


def _tensors(make: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    tf = pytest.importorskip("tensorflow")
    return make(tf.data.Dataset.from_tensor_slices((_PIXELS, _LABELS)))


_KINDS: dict[str, Callable[[Any], Any]] = {
    "single": lambda data: data,
    "batched": lambda data: data.batch(8).prefetch(2),
    "without a rest": lambda data: data.batch(10, drop_remainder=True),
    "with weights": lambda data: data.map(lambda x, y: (x, y, 1.0)).batch(8),
    "dicts": lambda data: data.map(lambda x, y: ({"x": x}, y)).batch(8),
    "records": lambda data: data.map(lambda x, y: {"image": x, "label": y}).batch(8),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_a_tf_data_set_yields_its_samples_and_labels(kind: str) -> None:
    dataset = open_dataset(_tensors(_KINDS[kind]), inputs=_SPEC)
    samples = list(dataset)
    assert [int(sample.inputs[0][0, 0, 0]) for sample in samples] == list(range(_COUNT))
    assert [sample.label for sample in samples] == _LABELS.tolist()
    found = [int(sample.inputs[0][0, 0, 0]) for sample in spread(dataset, 10)]
    assert min(found) < 6
    assert max(found) > 40


def test_the_first_samples_of_a_tf_data_set_of_unknown_length_are_used() -> None:
    dataset = open_dataset(_tensors(lambda data: data.repeat().batch(8)), inputs=_SPEC)
    assert dataset.num_samples is None
    found = [int(sample.inputs[0][0, 0, 0]) for sample in Drawing(dataset).draw(20)]
    assert found == list(range(20))


def test_an_endless_tf_data_set_is_evaluated_only_up_to_a_number(tmp_path: Path) -> None:
    from edgekit.evaluate import evaluate  # noqa: PLC0415

    keras = pytest.importorskip("keras")
    from edgekit.host.convert import convert  # noqa: PLC0415

    layers = [keras.Input((4, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(5)]
    model = convert(keras.Sequential(layers), mode="float", output=tmp_path / "m.tflite").output
    endless = _tensors(lambda data: data.repeat().batch(8))
    with pytest.raises(DataError, match="the data have no end") as caught:
        evaluate(model, endless)
    assert "--num-samples" in caught.value.fix
    assert evaluate(model, endless, num_samples=60).num_samples == 60


def test_samples_of_a_shuffled_tf_data_set_are_held_out() -> None:
    drawing = Drawing(open_dataset(_tensors(lambda data: data.shuffle(50).batch(8)), inputs=_SPEC))
    first, second = (
        {int(sample.inputs[0][0, 0, 0]) for sample in drawing.draw(20)} for _ in range(2)
    )
    assert len(first) == 20
    assert second
    assert not first & second


def test_only_the_needed_batches_of_a_keras_data_set_are_created() -> None:
    keras = pytest.importorskip("keras")
    made = []

    class Batches(keras.utils.PyDataset):  # type: ignore[misc,name-defined] # keras is not typed
        """Seven batches, the last of two."""

        def __len__(self) -> int:
            return 7

        def __getitem__(self, index: int) -> Any:  # noqa: ANN401
            made.append(index)
            part = slice(8 * index, 8 * index + 8)
            return _PIXELS[part], np.eye(5)[_LABELS[part]]

    dataset = open_dataset(Batches(), inputs=_SPEC)
    assert dataset.num_samples == _COUNT
    samples = list(dataset)
    assert [int(np.argmax(sample.label)) for sample in samples] == _LABELS.tolist()
    made.clear()
    assert len(list(spread(dataset, 2))) == 2
    assert len(made) == 2


def test_a_model_is_calibrated_with_a_tf_data_set(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    from edgekit.host.convert import convert  # noqa: PLC0415

    model = keras.Sequential(
        [keras.Input((4, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    result = convert(
        model,
        data=_tensors(lambda data: data.batch(8)),
        output=tmp_path / "m.tflite",
        num_samples=20,
    )
    assert (result.num_samples, result.num_judged, result.held_out) == (20, 30, True)
    low, high = result.inputs[0].calibration_min, result.inputs[0].calibration_max
    assert low is not None
    assert high is not None
    assert low < 5
    assert high > 45
    assert result.data["reader"] == "tf.data"


def test_a_representative_data_set_of_tflite_is_accepted(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    from edgekit.host.convert import convert  # noqa: PLC0415

    def representative() -> Iterator[list[np.ndarray]]:
        for index in range(_COUNT):
            yield [_PIXELS[index : index + 1]]

    model = keras.Sequential(
        [keras.Input((4, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    )
    result = convert(model, data=representative, output=tmp_path / "m.tflite", num_samples=30)
    assert (result.num_samples, result.num_judged, result.held_out) == (30, 20, True)
    assert result.inputs[0].calibration_max == 29
    assert any("the first 30 were used to calibrate" in each for each in result.warnings)


def test_a_state_next_to_a_batch_is_calibrated_and_evaluated(tmp_path: Path) -> None:
    """One inference reads a frame (1, 6) and a whole state (2, 8, 1)."""
    keras = pytest.importorskip("keras")
    from edgekit.evaluate import evaluate  # noqa: PLC0415
    from edgekit.host.convert import convert  # noqa: PLC0415

    frame = keras.Input(batch_shape=(1, 6), name="frame")
    state = keras.Input(batch_shape=(2, 8, 1), name="state")
    rows = keras.layers.Concatenate()([frame, keras.ops.reshape(state, (1, 16))])
    model = keras.Model([frame, state], keras.layers.Dense(3)(rows))
    random = np.random.default_rng(0)
    frames = random.random((60, 6)).astype(np.float32)
    states = random.random((60, 2, 8, 1)).astype(np.float32)
    every = [
        model([each[None], state], training=False).numpy()[0]
        for each, state in zip(frames, states, strict=True)
    ]
    labels = np.argmax(every, axis=1)
    np.savez(str(tmp_path / "d.npz"), frame=frames, state=states, y=labels)
    int8, float32 = tmp_path / "i.tflite", tmp_path / "f.tflite"
    result = convert(model, data=tmp_path / "d.npz", output=int8, num_samples=40)
    assert (result.num_samples, result.num_judged, result.held_out) == (40, 20, True)
    assert [end.shape for end in result.inputs] == [(1, 6), (2, 8, 1)]
    convert(model, output=float32, mode="float")
    found = evaluate(float32, tmp_path / "d.npz")
    assert (found.num_samples, found.metrics["top1"]) == (60, 1)
    assert evaluate(int8, tmp_path / "d.npz").metrics["top1"] > 0.8
